// Text laid over moving and still scenes, and over a real clip, against the same pictures without.

#include "data/text_overlay.h"

#include <random>

#include "base/files.h"
#include "data/clip_scores.h"
#include "data/draw_text.h"
#include "data/shapes.h"
#include "tests/unit/data/moving_scene.h"
#include "tests/unit/data/video_fixture.h"

namespace zoetrope::data {
namespace {

namespace fs = std::filesystem;

Frames clip_with(const MovingScene& scene, int num_frames, int height, int width) {
  Frames frames{.num_frames = num_frames, .height = height, .width = width, .fps = 25};
  for (int t = 0; t < num_frames; ++t) {
    frames.pts_s.push_back(t / 25.0);
    const auto picture = scene.picture(t, height, width);
    frames.rgb.insert(frames.rgb.end(), picture.begin(), picture.end());
  }
  return frames;
}

struct Caption {
  std::string text;
  int scale = 1, x = 4, y = 4;
  RgbColour colour;
};

// Into the frames from `first` on.
void draw_caption(Frames& frames, const Caption& caption, int first = 0) {
  for (int index = first; index < frames.num_frames; ++index) {
    Frames one{.num_frames = 1, .height = frames.height, .width = frames.width};
    one.rgb.assign(frames.frame(index), frames.frame(index) + frames.frame_bytes());
    draw_text(one, caption.x, caption.y, caption.text, caption.colour, caption.scale);
    std::copy(one.rgb.begin(), one.rgb.end(), frames.frame(index));
  }
}

Caption any_caption(std::mt19937_64& random, const Frames& frames) {
  const std::vector<std::string> texts = {"Some words that stand", "LIVE 12:45", "www.example.org"};
  const std::vector<RgbColour> colours = {{255, 255, 255}, {255, 240, 0}, {0, 0, 0}};
  auto below = [&](int end) {
    return static_cast<int>(random() % static_cast<std::uint64_t>(end));
  };
  Caption caption{.text = texts[random() % texts.size()],
                  .colour = colours[random() % colours.size()]};
  const int most = (frames.width - 8) / text_width_px(caption.text);
  caption.scale = 1 + below(std::min(most, 3));
  caption.x = 4 + below(frames.width - 8 - text_width_px(caption.text, caption.scale) + 1);
  caption.y = 4 + below(frames.height - 8 - text_height_px(caption.scale) + 1);
  return caption;
}

double share(const Frames& frames) {
  return score_clip(frames).numbers.at("text_share");
}

// How often a clip with text scores higher than one without; ties count half.
double separation(const std::vector<double>& with, const std::vector<double>& without) {
  double higher = 0;
  for (const double one : with) {
    for (const double other : without) higher += one > other ? 1 : (one == other ? 0.5 : 0);
  }
  return higher / static_cast<double>(with.size() * without.size());
}

TEST(TextShare, TellsClipsWithTextFromTheSameWithout) {
  std::mt19937_64 random(5);
  std::vector<double> with, without;
  for (int seed = 0; seed < 24; ++seed) {
    const MovingScene scene{.seed = 100 + std::uint64_t(seed),
                            .pan_x = seed % 3 == 0 ? 0.0 : 1.5,
                            .disc_speed = seed % 2 == 0 ? 0.0 : 2.0};
    Frames frames = clip_with(scene, 6, seed % 4 == 0 ? 96 : 144, seed % 4 == 0 ? 160 : 192);
    without.push_back(share(frames));
    draw_caption(frames, any_caption(random, frames));
    with.push_back(share(frames));
  }
  EXPECT_GE(separation(with, without), 0.95);
}

using TextShareTest = VideoTest;

TEST_F(TextShareTest, TellsTextOnRealClips) {
  std::mt19937_64 random(6);
  std::vector<double> with, without;
  for (const char* name : {"bikes.mp4", "cockatoo.mp4", "carphone_pristine.mp4", "diver.mov"}) {
    const fs::path path = cache_folder() / "clips" / name;
    if (!fs::exists(path)) GTEST_SKIP() << path << " is not there: run tools/setup";
    for (const double start_s : {0.1, 1.6}) {
      Frames frames =
          read({.path = path, .start_s = start_s, .fps = 6, .max_frames = 6, .max_pixels = 65536});
      without.push_back(share(frames));
      draw_caption(frames, any_caption(random, frames));
      with.push_back(share(frames));
    }
  }
  EXPECT_GE(separation(with, without), 0.95);
}

TEST(TextShare, IsTheAreaOfTheLine) {
  Frames frames{.num_frames = 3, .height = 120, .width = 200, .fps = 25, .pts_s = {0, .04, .08}};
  frames.rgb.assign(3 * frames.frame_bytes(), 90);
  EXPECT_EQ(share(frames), 0);
  draw_caption(frames, {.text = "HEMMED MOMENT", .scale = 2, .colour = {255, 255, 255}});
  const double area = double(text_width_px("HEMMED MOMENT", 2)) * text_height_px(2);
  EXPECT_NEAR(share(frames), area / (120 * 200), 0.1 * area / (120 * 200));
}

TEST(TextShare, TextThatDoesNotStayIsNotLaidOver) {
  Frames frames = clip_with({.seed = 3, .num_discs = 0}, 9, 96, 160);
  draw_caption(frames, {.text = "PASSING BY", .scale = 2, .colour = {255, 255, 255}}, 7);
  EXPECT_EQ(share(frames), 0);
}

TEST(TextShare, MovingShapesHaveNone) {
  for (int index = 0; index < 30; ++index)
    EXPECT_EQ(share(draw_scene(make_scene(12, "test", index, {}))), 0) << index;
}

}  // namespace
}  // namespace zoetrope::data
