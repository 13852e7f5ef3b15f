// The judges: always right on what was drawn, and silent on what shows nothing.

#include "data/shapes_judge.h"

#include <algorithm>
#include <cmath>
#include <filesystem>

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/random.h"
#include "data/shapes.h"
#include "data/video_reader.h"
#include "data/video_writer.h"
#include "tests/unit/data/video_fixture.h"

namespace zoetrope::data {
namespace {

ShapesOptions varied() {
  ShapesOptions options;
  options.vary = true;
  return options;
}

// Judges `count` scenes, each drawn and then passed through `damage`; names the ones judged wrong.
template <class Damage>
void expect_all_right(int count, const ShapesOptions& options, const Damage& damage) {
  std::vector<SpriteSeen> seen;
  std::vector<ShapesScene> asked;
  for (int i = 0; i < count; ++i) {
    asked.push_back(make_scene(21, "test", i, options));
    seen.push_back(judge_clip(damage(draw_scene(asked.back()))));
    EXPECT_EQ(score_shapes({seen.back()}, {asked.back()}).all, 1)
        << scene_to_json(asked.back(), "") << " seen as " << seen.back().colour << " "
        << seen.back().shape << " " << seen.back().direction;
  }
  const ShapesScore score = score_shapes(seen, asked);
  EXPECT_EQ(score.num_prompts, count);
  EXPECT_EQ(score.all, 1);
}

std::uint8_t to_byte(double value) {
  return static_cast<std::uint8_t>(std::clamp(std::lround(value), 0l, 255l));
}

// A 3x3 binomial blur and noise of sd 6: about what a small VAE's reconstruction looks like.
Frames blurred_and_noisy(const Frames& clip) {
  Frames out = clip;
  Random random(1, Purpose::kTest);
  constexpr int kWeights[3] = {1, 2, 1};
  for (int t = 0; t < clip.num_frames; ++t) {
    for (int y = 0; y < clip.height; ++y) {
      for (int x = 0; x < clip.width; ++x) {
        for (int c = 0; c < 3; ++c) {
          double sum = 0;
          for (int v = -1; v <= 1; ++v) {
            for (int u = -1; u <= 1; ++u) {
              const int row = std::clamp(y + v, 0, clip.height - 1);
              const int column = std::clamp(x + u, 0, clip.width - 1);
              sum += kWeights[v + 1] * kWeights[u + 1] *
                     clip.frame(t)[3 * (row * clip.width + column) + c];
            }
          }
          out.frame(t)[3 * (y * clip.width + x) + c] = to_byte(sum / 16 + 6 * random.normal());
        }
      }
    }
  }
  return out;
}

TEST(ShapesJudge, IsRightOnEveryDrawnClip) {
  expect_all_right(540, {}, [](const Frames& clip) { return clip; });
}

TEST(ShapesJudge, IsRightOnEverySizeAndLength) {
  expect_all_right(540, varied(), [](const Frames& clip) { return clip; });
}

TEST(ShapesJudge, IsRightThroughBlurAndNoise) {
  expect_all_right(420, {}, blurred_and_noisy);
  expect_all_right(420, varied(), blurred_and_noisy);
}

TEST(ShapesJudge, IsRightAtTheSlowestSpeedAndSmallestSize) {
  for (const std::string& shape : kShapeNames) {
    for (const std::string& direction : kDirectionNames) {
      ShapesScene scene;
      scene.background = "grey";
      const double speed = direction == "still" ? 0 : 64.0 / 6 / 16;
      scene.sprites = {{shape, "green", direction, "centre", 16, speed, 32, 32}};
      const SpriteSeen seen = judge_clip(draw_scene(scene));
      EXPECT_EQ(seen.direction, direction);
      EXPECT_EQ(seen.shape, shape);
      EXPECT_EQ(seen.in_frame_share, 1);
    }
  }
}

class ShapesJudgeFiles : public VideoTest {};

TEST_F(ShapesJudgeFiles, IsRightOnEveryClipThroughAFile) {
  VideoReader reader;
  expect_all_right(420, varied(), [&](const Frames& clip) {
    const auto path = write_clip(file("clip"), clip, {});
    DecodeRequest request;
    request.path = path;
    const auto read = reader.read(request);
    EXPECT_FALSE(skipped(read)) << std::get<SkipReason>(read).detail;
    std::filesystem::remove(path);
    return std::get<Frames>(read);
  });
}

Frames uniform(int num_frames, std::uint8_t level) {
  Frames frames;
  frames.num_frames = num_frames;
  frames.height = frames.width = 64;
  frames.rgb.assign(frames.frame_bytes() * num_frames, level);
  return frames;
}

void expect_nothing(const SpriteSeen& seen) {
  EXPECT_FALSE(seen.found);
  EXPECT_EQ(seen.colour + seen.shape + seen.direction, "");
  EXPECT_LT(seen.in_frame_share, 0.6);
}

TEST(ShapesJudge, FindsNothingInEmptyFrames) {
  for (const int level : {0, 128, 255}) {
    expect_nothing(judge_clip(uniform(17, static_cast<std::uint8_t>(level))));
  }
}

TEST(ShapesJudge, FindsNothingInNoise) {
  Random random(2, Purpose::kTest);
  for (int i = 0; i < 40; ++i) {
    Frames frames = uniform(17, 128);
    const double sd = 10 + 3 * i;
    for (std::uint8_t& value : frames.rgb) value = to_byte(128 + sd * random.normal());
    expect_nothing(judge_clip(frames));
  }
}

TEST(ShapesJudge, FindsNothingInTwoSprites) {
  ShapesScene scene;
  scene.background = "white";
  scene.sprites = {{"circle", "red", "still", "left", 20, 0, 16, 32},
                   {"circle", "red", "still", "right", 20, 0, 48, 32}};
  expect_nothing(judge_clip(draw_scene(scene)));
}

TEST(ShapesJudge, DoesNotNameAColourThatIsNone) {
  ShapesScene scene;
  scene.background = "black";
  scene.sprites = {{"square", "red", "still", "centre", 20, 0, 32, 32}};
  Frames frames = draw_scene(scene);
  for (std::size_t i = 0; i < frames.rgb.size(); i += 3) {
    const std::uint8_t red = frames.rgb[i];
    frames.rgb[i + 1] = frames.rgb[i + 2] = red;  // a light grey square
  }
  const SpriteSeen seen = judge_clip(frames);
  EXPECT_TRUE(seen.found);
  EXPECT_EQ(seen.colour, "");
  EXPECT_EQ(seen.shape, "square");
}

TEST(ShapesJudge, DoesNotNameAShapeThatIsNone) {
  // A plus sign: two bars, each a third of its length wide.
  ShapesScene scene;
  scene.background = "white";
  scene.sprites = {{"square", "blue", "still", "centre", 27, 0, 32, 32}};
  Frames frames = draw_scene(scene);
  for (int t = 0; t < frames.num_frames; ++t) {
    for (int y = 0; y < 64; ++y) {
      for (int x = 0; x < 64; ++x) {
        const bool bar = std::abs(x - 32) <= 3 || std::abs(y - 32) <= 3;
        if (!bar) std::fill_n(frames.frame(t) + 3 * (y * 64 + x), 3, 240);
      }
    }
  }
  const SpriteSeen seen = judge_clip(frames);
  EXPECT_TRUE(seen.found);
  EXPECT_EQ(seen.colour, "blue");
  EXPECT_EQ(seen.shape, "");
}

TEST(ShapesJudge, DoesNotNameADirectionThatIsNone) {
  ShapesScene scene;
  scene.background = "black";
  scene.sprites = {{"circle", "yellow", "right", "left", 16, 1.5, 12, 32}};
  const Frames straight = draw_scene(scene);
  Frames shuffled = straight;  // 7 and 17 have no common divisor: every frame once
  for (int t = 0; t < 17; ++t) {
    std::copy_n(straight.frame(t * 7 % 17), straight.frame_bytes(), shuffled.frame(t));
  }
  EXPECT_EQ(judge_clip(straight).direction, "right");
  EXPECT_EQ(judge_clip(shuffled).direction, "");
}

TEST(ShapesJudge, CountsASpriteThatLeavesAsNotFound) {
  ShapesScene scene;
  scene.background = "black";
  scene.sprites = {{"circle", "red", "right", "right", 16, 6, 40, 32}};
  const SpriteSeen seen = judge_clip(draw_scene(scene));
  EXPECT_FALSE(seen.found);
  EXPECT_GT(seen.in_frame_share, 0.1);
}

TEST(ShapesScore, CountsEachAttributeAndAllTogether) {
  ShapesScene clip, image;
  clip.sprites = image.sprites = {{"circle", "red", "left", "centre", 20, 1, 32, 32}};
  image.frames = 1;
  const SpriteSeen right{true, "circle", "red", "left", 1};
  const SpriteSeen wrong_way{true, "circle", "red", "up", 1};
  const SpriteSeen wrong_shape{true, "square", "red", "", 1};
  const SpriteSeen nothing;
  const ShapesScore score = score_shapes({right, wrong_way, wrong_shape, nothing, nothing},
                                         {clip, clip, image, clip, image});
  EXPECT_EQ(score.num_prompts, 5);
  EXPECT_DOUBLE_EQ(score.colour, 0.6);
  EXPECT_DOUBLE_EQ(score.shape, 0.4);
  EXPECT_DOUBLE_EQ(score.direction, 0.4);
  EXPECT_DOUBLE_EQ(score.all, 0.2);
  EXPECT_THROW(score_shapes({right}, {}), Error);
  EXPECT_THROW(score_shapes({}, {}), Error);
}

TEST(WilsonInterval, MatchesThePublishedFigures) {
  const Interval half = wilson_interval(0.5, 100);  // Newcombe 1998, method 3
  EXPECT_NEAR(half.low, 0.4038, 5e-4);
  EXPECT_NEAR(half.high, 0.5962, 5e-4);
  const Interval all = wilson_interval(1, 400);
  EXPECT_NEAR(all.low, 0.9905, 5e-4);
  EXPECT_DOUBLE_EQ(all.high, 1);
  const Interval few = wilson_interval(81.0 / 263, 263);  // Newcombe 1998, table I: .2553, .3662
  EXPECT_NEAR(few.low, 0.2553, 5e-4);
  EXPECT_NEAR(few.high, 0.3662, 5e-4);
  EXPECT_THROW(wilson_interval(0.5, 0), Error);
}

}  // namespace
}  // namespace zoetrope::data
