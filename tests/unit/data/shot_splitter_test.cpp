// Cuts that are there are found at their very picture; dissolves, fades, flashes and fast motion
// are no cuts. On generated scenes; shot_list_test.cpp has real ones.

#include "data/shot_splitter.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "tests/unit/data/moving_scene.h"

namespace zoetrope::data {
namespace {

using Pixels = std::vector<std::uint8_t>;

constexpr int kHeight = 45, kWidth = 80;
constexpr double kFps = 25;

// A film of generated shots, joined in one way or another; knows its hard cuts.
class Film {
 public:
  explicit Film(std::uint64_t seed) : random_(seed) {}

  double uniform(double low, double high) {
    return std::uniform_real_distribution<double>(low, high)(random_);
  }
  int length(int low, int high) { return std::uniform_int_distribution<int>(low, high)(random_); }

  MovingScene next_scene(double most_speed) {
    return {.seed = random_(),
            .pan_x = uniform(-most_speed, most_speed),
            .pan_y = uniform(-most_speed, most_speed) / 2,
            .zoom = 1,
            .disc_speed = uniform(0, most_speed)};
  }
  void add_cut(double most_speed, int frames) {
    scene_ = next_scene(most_speed);
    if (!pictures_.empty()) cuts_.push_back(static_cast<double>(pictures_.size()) / kFps);
    at_ = 0;
    go_on(frames);
  }
  void go_on(int frames) {
    for (int frame = 0; frame < frames; ++frame) add(current());
  }
  // A fixed camera, and other discs before it all at once.
  void add_fixed(int frames) {
    scene_ = {.seed = random_(), .disc_speed = uniform(0.3, 1), .num_discs = 16};
    if (!pictures_.empty()) cuts_.push_back(static_cast<double>(pictures_.size()) / kFps);
    at_ = 0;
    go_on(frames);
  }
  void jump(int frames) {
    scene_.disc_seed = random_();
    at_ = 0;
    cuts_.push_back(static_cast<double>(pictures_.size()) / kFps);
    go_on(frames);
  }
  // The next scene appears through this one within `frames` pictures.
  void dissolve(double most_speed, int frames) {
    const MovingScene old = scene_;
    const int old_at = at_;
    scene_ = next_scene(most_speed);
    at_ = 0;
    for (int frame = 1; frame <= frames; ++frame) {
      const double share = frame / (frames + 1.0);
      add(mixed(old.picture(old_at + frame - 1, kHeight, kWidth), current(), share));
    }
  }
  void fade_out_and_in(double most_speed, int frames) {
    const Pixels black(std::size_t{3} * kHeight * kWidth, 16);
    for (int frame = 1; frame <= frames; ++frame)
      add(mixed(current(), black, frame / double(frames)));
    scene_ = next_scene(most_speed);
    at_ = 0;
    for (int frame = 1; frame <= frames; ++frame)
      add(mixed(black, current(), frame / double(frames)));
  }
  void flash(int frames) {
    const Pixels white(std::size_t{3} * kHeight * kWidth, 255);
    for (int frame = 0; frame < frames; ++frame) add(mixed(current(), white, uniform(.5, 1)));
  }

  std::vector<double> found_cuts() const {
    ShotSplitter splitter;
    for (std::size_t index = 0; index < pictures_.size(); ++index)
      splitter.add({static_cast<double>(index) / kFps, kWidth, kHeight, pictures_[index]});
    return splitter.finish();
  }
  const std::vector<double>& cuts() const { return cuts_; }

 private:
  Pixels current() { return scene_.picture(at_++, kHeight, kWidth); }
  void add(Pixels picture) {
    for (std::uint8_t& level : picture) level = MovingScene::to_byte(level + uniform(-2, 2));
    pictures_.push_back(std::move(picture));
  }
  static Pixels mixed(Pixels one, const Pixels& other, double share) {
    for (std::size_t at = 0; at < one.size(); ++at)
      one[at] = MovingScene::to_byte(one[at] * (1 - share) + other[at] * share);
    return one;
  }

  std::mt19937_64 random_;
  MovingScene scene_;
  int at_ = 0;
  std::vector<Pixels> pictures_;
  std::vector<double> cuts_;
};

double f1_of(const std::vector<double>& found, const std::vector<double>& real) {
  std::size_t hits = 0;
  for (const double time_s : found) {
    for (const double cut_s : real) hits += std::abs(time_s - cut_s) < 1e-6 ? 1 : 0;
  }
  return 2.0 * static_cast<double>(hits) / static_cast<double>(found.size() + real.size());
}

TEST(ShotSplitter, FindsHardCutsAtTheirPicture) {
  Film film(1);
  for (int shot = 0; shot < 25; ++shot) film.add_cut(2, film.length(8, 40));
  EXPECT_GE(f1_of(film.found_cuts(), film.cuts()), 0.95);
}

TEST(ShotSplitter, FindsJumpCutsOfAFixedCamera) {
  Film film(8);
  for (int scene = 0; scene < 6; ++scene) {
    film.add_fixed(film.length(12, 30));
    for (int shot = 0; shot < 3; ++shot) film.jump(film.length(12, 30));
  }
  EXPECT_GE(f1_of(film.found_cuts(), film.cuts()), 0.95);
}

TEST(ShotSplitter, DissolvesAreNoCuts) {
  Film film(2);
  film.add_cut(1, 20);
  for (int shot = 0; shot < 8; ++shot) {
    film.dissolve(1, film.length(10, 25));
    film.go_on(film.length(10, 25));
  }
  EXPECT_EQ(film.found_cuts(), std::vector<double>{});
}

TEST(ShotSplitter, FadesThroughBlackAreNoCuts) {
  Film film(3);
  film.add_cut(1, 20);
  for (int shot = 0; shot < 6; ++shot) {
    film.fade_out_and_in(1, film.length(8, 20));
    film.go_on(film.length(10, 20));
  }
  EXPECT_EQ(film.found_cuts(), std::vector<double>{});
}

TEST(ShotSplitter, FlashesAreNoCuts) {
  Film film(4);
  film.add_cut(1, 20);
  for (int shot = 0; shot < 10; ++shot) {
    film.flash(film.length(1, 3));
    film.go_on(film.length(10, 20));
  }
  EXPECT_EQ(film.found_cuts(), std::vector<double>{});
}

TEST(ShotSplitter, FastMotionIsNoCut) {
  Film film(5);
  film.add_cut(6, 100);
  EXPECT_EQ(film.found_cuts(), std::vector<double>{});
}

TEST(ShotSplitter, FindsTheCutsAmongAllTheRest) {
  Film film(6);
  for (int round = 0; round < 10; ++round) {
    film.add_cut(3, film.length(10, 30));
    film.flash(film.length(1, 2));
    film.go_on(film.length(10, 20));
    film.add_cut(3, film.length(10, 30));
    film.dissolve(2, film.length(10, 20));
    film.go_on(film.length(10, 20));
  }
  EXPECT_GE(f1_of(film.found_cuts(), film.cuts()), 0.95);
}

TEST(ShotSplitter, TakesVideosOfAnyShortLength) {
  for (int frames = 0; frames < 4; ++frames) {
    Film film(7);
    film.add_cut(1, frames);
    EXPECT_EQ(film.found_cuts(), std::vector<double>{}) << frames;
  }
}

TEST(ShotSplitter, RefusesPicturesOfAnotherSize) {
  const Pixels rgb(3 * 8 * 8);
  ShotSplitter splitter;
  splitter.add({0, 8, 8, rgb});
  EXPECT_THROW(splitter.add({0.04, 16, 4, rgb}), Error);
}

}  // namespace
}  // namespace zoetrope::data
