// Each score on clips whose answer is known: from arithmetic, from how the clip was generated, or
// from the truth that MovingShapes keeps.

#include "data/clip_scores.h"

#include <functional>
#include <iostream>

#include "data/shapes.h"
#include "tests/unit/data/moving_scene.h"
#include "tests/unit/data/video_fixture.h"

namespace zoetrope::data {
namespace {

constexpr double kFps = 25;

// Grey levels by (frame, y, x).
Frames gray_clip(int num_frames, int height, int width,
                 const std::function<int(int, int, int)>& level) {
  Frames frames;
  frames.num_frames = num_frames;
  frames.height = height;
  frames.width = width;
  frames.fps = num_frames > 1 ? kFps : 0;
  for (int t = 0; t < num_frames; ++t) {
    frames.pts_s.push_back(t / kFps);
    for (int y = 0; y < height; ++y) {
      for (int x = 0; x < width; ++x)
        frames.rgb.insert(frames.rgb.end(), 3, static_cast<std::uint8_t>(level(t, y, x)));
    }
  }
  return frames;
}

Frames clip_of(const MovingScene& scene, int num_frames, int height, int width) {
  Frames frames;
  frames.num_frames = num_frames;
  frames.height = height;
  frames.width = width;
  frames.fps = kFps;
  for (int t = 0; t < num_frames; ++t) {
    frames.pts_s.push_back(t / kFps);
    const auto picture = scene.picture(t, height, width);
    frames.rgb.insert(frames.rgb.end(), picture.begin(), picture.end());
  }
  return frames;
}

double score(const Frames& frames, const std::string& name) {
  return score_clip(frames).numbers.at(name);
}

TEST(ClipScores, BrightnessAndContrastOfKnownPictures) {
  const Frames grey = gray_clip(3, 16, 16, [](int, int, int) { return 51; });
  EXPECT_NEAR(score(grey, "brightness"), 0.2, 1e-6);
  EXPECT_NEAR(score(grey, "contrast"), 0, 1e-6);
  const Frames halves = gray_clip(1, 16, 16, [](int, int, int x) { return x < 8 ? 0 : 255; });
  EXPECT_NEAR(score(halves, "brightness"), 0.5, 1e-6);
  EXPECT_NEAR(score(halves, "contrast"), 0.5, 1e-6);
}

TEST(ClipScores, SharpnessOfStripesIsTheirLaplacian) {
  // Columns of 100 and 110 in turn: the Laplacian is +-20 everywhere.
  const Frames stripes = gray_clip(2, 12, 20, [](int, int, int x) { return x % 2 ? 110 : 100; });
  EXPECT_NEAR(score(stripes, "sharpness"), 20.0 / 255, 1e-6);
  const Frames ramp = gray_clip(2, 12, 20, [](int, int, int x) { return 5 * x; });
  EXPECT_NEAR(score(ramp, "sharpness"), 0, 1e-6);
}

TEST(ClipScores, BlackAndFrozenSharesCountPictures) {
  // 2 of 8 pictures are black; 5 of 7 are shown again.
  const std::vector<int> levels = {0, 0, 90, 90, 90, 120, 120, 120};
  const Frames clip = gray_clip(8, 16, 16, [&](int t, int, int) { return levels[t]; });
  EXPECT_NEAR(score(clip, "black_share"), 0.25, 1e-9);
  EXPECT_NEAR(score(clip, "frozen_share"), 5.0 / 7, 1e-9);
  EXPECT_NEAR(score(clip, "letterbox_share"), 0, 1e-9);
}

TEST(ClipScores, LetterboxShareIsTheAreaOfTheBars) {
  // Bars of 8 rows above and below of 64, and none at the sides; then also 5 columns at the left.
  const auto wide = [](int, int y, int) { return y < 8 || y >= 56 ? 16 : 100; };
  EXPECT_NEAR(score(gray_clip(2, 64, 50, wide), "letterbox_share"), 0.25, 1e-9);
  const auto boxed = [&](int t, int y, int x) { return x < 5 ? 16 : wide(t, y, x); };
  EXPECT_NEAR(score(gray_clip(2, 64, 50, boxed), "letterbox_share"), 1 - 0.75 * 0.9, 1e-9);
  const auto black = [](int, int, int) { return 0; };
  EXPECT_NEAR(score(gray_clip(2, 64, 50, black), "letterbox_share"), 0, 1e-9);
}

TEST(ClipScores, MotionIsSidesASecond) {
  for (const double pixels : {0.5, 1.0, 2.5}) {
    const MovingScene scene{.seed = 3, .pan_x = pixels, .num_discs = 0};
    const double expected = pixels / 96 * kFps;
    EXPECT_NEAR(score(clip_of(scene, 12, 64, 96), "motion"), expected, 0.2 * expected) << pixels;
    // The same picture in double size moves the same.
    EXPECT_NEAR(
        score(clip_of({.seed = 3, .pan_x = 2 * pixels, .num_discs = 0}, 8, 128, 192), "motion"),
        expected, 0.2 * expected)
        << pixels;
  }
}

TEST(ClipScores, StaticShareCountsPairsThatStandStill) {
  const MovingScene moving{.seed = 4, .pan_x = 2, .num_discs = 0};
  Frames clip = clip_of(moving, 11, 48, 64);
  EXPECT_NEAR(score(clip, "static_share"), 0, 1e-9);
  for (int t = 6; t < 11; ++t)  // 5 of 10 pairs
    std::copy(clip.frame(5), clip.frame(5) + clip.frame_bytes(), clip.frame(t));
  EXPECT_NEAR(score(clip, "static_share"), 0.5, 1e-9);
  EXPECT_NEAR(score(clip, "frozen_share"), 0.5, 1e-9);
}

TEST(ClipScores, ImagesHaveNoScoresOfTime) {
  const ClipScores scores = score_clip(gray_clip(1, 16, 16, [](int, int, int x) { return 9 * x; }));
  EXPECT_EQ(scores.camera, "");
  EXPECT_EQ(scores.numbers.count("motion"), 0u);
  EXPECT_EQ(scores.numbers.count("static_share"), 0u);
  EXPECT_EQ(scores.numbers.count("brightness"), 1u);
}

TEST(ClipScores, TakesTheSmallestPictures) {
  for (const int side : {1, 2, 7, 9}) {
    const ClipScores scores =
        score_clip(gray_clip(2, side, side, [](int t, int, int x) { return 40 * t + x; }));
    for (const auto& [name, value] : scores.numbers)
      EXPECT_TRUE(std::isfinite(value) && value >= 0) << name << " at " << side;
  }
}

TEST(ClipScores, CameraOfMovingShapesIsNamed) {
  constexpr int kScenes = 63;
  int right = 0;
  for (int index = 0; index < kScenes; ++index) {
    ShapesOptions options{17, 64, 64};
    options.camera = true;
    if (index % 3 == 1) options.width = 96;
    if (index % 3 == 2) options.height = 96;
    const ShapesScene scene = make_scene(11, "test", index, options);
    const std::string named = score_clip(draw_scene(scene)).camera;
    right += named == scene.camera ? 1 : 0;
    if (named != scene.camera)
      std::cout << index << " " << scene.camera << " " << scene.camera_speed << " named " << named
                << "\n";
  }
  EXPECT_GE(right, 0.95 * kScenes);
}

TEST(ClipScores, CameraOfPlainMovingShapesIsStatic) {
  for (int index = 0; index < 30; ++index) {
    const ShapesScene scene = make_scene(12, "test", index, {});
    EXPECT_EQ(score_clip(draw_scene(scene)).camera, "static") << index;
  }
}

TEST(ClipScores, CameraOfLargerScenesIsNamed) {
  auto camera = [](MovingScene scene) { return score_clip(clip_of(scene, 24, 108, 192)).camera; };
  EXPECT_EQ(camera({.seed = 1, .disc_speed = 2}), "static");
  EXPECT_EQ(camera({.seed = 2, .pan_x = 3, .disc_speed = 2}), "pan_right");
  EXPECT_EQ(camera({.seed = 3, .pan_x = -0.4, .disc_speed = 2}), "pan_left");
  EXPECT_EQ(camera({.seed = 4, .pan_y = 2, .disc_speed = 2}), "tilt_down");
  EXPECT_EQ(camera({.seed = 5, .pan_y = -10, .disc_speed = 2}), "tilt_up");
  EXPECT_EQ(camera({.seed = 6, .zoom = 1.01, .disc_speed = 2}), "zoom_in");
  EXPECT_EQ(camera({.seed = 7, .zoom = 0.98, .disc_speed = 2}), "zoom_out");
}

TEST(LookDistance, CopiesAreNearAndOthersAreFar) {
  const MovingScene scene{.seed = 21, .pan_x = 1, .disc_speed = 1};
  const std::string look = score_clip(clip_of(scene, 9, 96, 128)).look;
  EXPECT_EQ(look_distance(look, look), 0);
  for (int seed = 22; seed < 40; ++seed) {
    const MovingScene other{.seed = std::uint64_t(seed), .pan_x = 1, .disc_speed = 1};
    EXPECT_GT(look_distance(look, score_clip(clip_of(other, 9, 96, 128)).look),
              2 * kNearDuplicateBits);
  }
}

using LookDistanceTest = VideoTest;

TEST_F(LookDistanceTest, CopiesInAnotherSizeAndQualityAreNear) {
  ffmpeg("-f lavfi -i mandelbrot=size=320x240:rate=25:start_scale=1 -frames:v 20 -c:v ffv1 a.mkv");
  ffmpeg("-i a.mkv -vf scale=160:-2 -c:v libx264 -crf 34 -pix_fmt yuv420p b.mp4");
  EXPECT_LE(
      look_distance(score_clip(read_whole("a.mkv")).look, score_clip(read_whole("b.mp4")).look),
      kNearDuplicateBits);
}

}  // namespace
}  // namespace zoetrope::data
