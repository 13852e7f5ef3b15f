// Videos are taken apart where they cut, without gap or overlap, and what was found is remembered.

#include "data/shot_list.h"

#include "base/files.h"
#include "tests/unit/data/video_fixture.h"

namespace zoetrope::data {
namespace {

namespace fs = std::filesystem;

std::vector<double> borders_of(const std::vector<ClipRange>& ranges) {
  std::vector<double> borders;
  for (const ClipRange& range : ranges) {
    if (!borders.empty()) {
      EXPECT_EQ(borders.back(), range.start_s);
    }
    borders.push_back(range.end_s);
  }
  return borders;
}

TEST(ClipRanges, AreTheShotsInPiecesOfEqualLength) {
  const Timeline timeline{1, 11, {3, 7.5}};
  EXPECT_EQ(borders_of(clip_ranges(timeline, true, 0)), (std::vector<double>{3, 7.5, 11}));
  EXPECT_EQ(borders_of(clip_ranges(timeline, false, 0)), (std::vector<double>{11}));
  EXPECT_EQ(borders_of(clip_ranges(timeline, true, 2)),
            (std::vector<double>{3, 4.5, 6, 7.5, 9.25, 11}));
  EXPECT_EQ(borders_of(clip_ranges(timeline, false, 5)), (std::vector<double>{6, 11}));
}

class FindShotsTest : public VideoTest {
 protected:
  Timeline shots_of(const fs::path& path, double start_s = 0, double end_s = 1e9) {
    const auto found = find_shots(reader_, path, start_s, end_s);
    if (skipped(found)) {
      ADD_FAILURE() << std::get<SkipReason>(found).detail;
      return {};
    }
    return std::get<Timeline>(found);
  }
  // An animated fractal, a test pattern and colour bars: cuts at 1.2 s and 2 s, the end at 3 s.
  void make_film() const {
    ffmpeg("-f lavfi -i mandelbrot=size=160x120:rate=25 -frames:v 30 -c:v libx264 one.mp4");
    ffmpeg("-f lavfi -i testsrc2=size=160x120:rate=25 -frames:v 20 -c:v libx264 two.mp4");
    ffmpeg("-f lavfi -i smptebars=size=160x120:rate=25 -frames:v 25 -c:v libx264 three.mp4");
    write_text("parts.txt", "ffconcat version 1.0\nfile one.mp4\nfile two.mp4\nfile three.mp4\n");
    ffmpeg("-f concat -i parts.txt -c:v libx264 -crf 28 -g 250 -pix_fmt yuv420p film.mp4");
  }
  static void expect_times(const std::vector<double>& times_s,
                           const std::vector<double>& wanted_s) {
    ASSERT_EQ(times_s.size(), wanted_s.size());
    for (std::size_t index = 0; index < times_s.size(); ++index)
      EXPECT_NEAR(times_s[index], wanted_s[index], 1e-6);
  }
};

TEST_F(FindShotsTest, TellsTheTimesInTheFile) {
  make_film();
  const Timeline film = shots_of(file("film.mp4"));
  expect_times(film.cuts_s, {1.2, 2.0});
  EXPECT_EQ(film.start_s, 0);
  EXPECT_NEAR(film.end_s, 3, 1e-6);
  const Timeline part = shots_of(file("film.mp4"), 0.48, 1.8);
  expect_times(part.cuts_s, {1.2});
  EXPECT_NEAR(part.start_s, 0.48, 1e-6);
  EXPECT_NEAR(part.end_s, 1.8, 1e-6);
}

TEST_F(FindShotsTest, ClipsOfTheShotsHoldAllPicturesOnce) {
  make_film();
  const Frames whole = read_whole("film.mp4");
  std::vector<std::uint8_t> joined;
  for (const ClipRange& range : clip_ranges(shots_of(file("film.mp4")), true, 0.5)) {
    const Frames clip =
        read({.path = file("film.mp4"), .start_s = range.start_s, .end_s = range.end_s});
    joined.insert(joined.end(), clip.rgb.begin(), clip.rgb.end());
  }
  EXPECT_EQ(difference(joined, whole.rgb), 0);
}

TEST_F(FindShotsTest, ImagesAreOneClip) {
  make_pattern("-frames:v 1 still.png");
  const Timeline still = shots_of(file("still.png"));
  EXPECT_EQ(still.end_s, 0);
  EXPECT_EQ(clip_ranges(still, true, 1).size(), 1u);
}

TEST_F(FindShotsTest, SaysWhyThereAreNone) {
  write_text("text.mp4", "not a video");
  const auto found = find_shots(reader_, file("text.mp4"), 0, 1e9);
  ASSERT_TRUE(skipped(found));
  EXPECT_EQ(std::get<SkipReason>(found).code, "not_a_video");
}

// Six shots of a documentary; the times were read off the pictures.
TEST_F(FindShotsTest, FindsTheCutsOfARealClip) {
  const fs::path bikes = cache_folder() / "clips" / "bikes.mp4";
  if (!fs::exists(bikes)) GTEST_SKIP() << bikes << " is not there: run tools/setup";
  expect_times(shots_of(bikes).cuts_s, {1.2, 3.04, 5.48, 7.48, 9.68});
}

TEST_F(FindShotsTest, CacheKnowsWhatOtherRanksFound) {
  const Timeline one{0, 3, {1.2, 2.000001}}, other{0.5, 0.75, {}};
  {
    ShotCache first(folder_, 0), second(folder_, 1);
    first.add("one", one);
    second.add("other", other);
    EXPECT_TRUE(first.find("one"));
    EXPECT_FALSE(first.find("other"));
  }
  const ShotCache later(folder_, 0);
  ASSERT_TRUE(later.find("one") && later.find("other"));
  EXPECT_EQ(later.find("one")->cuts_s, one.cuts_s);
  EXPECT_EQ(later.find("other")->start_s, 0.5);
  EXPECT_EQ(later.find("other")->end_s, 0.75);
}

TEST_F(FindShotsTest, CachePassesOverALineCutOffByAKill) {
  ShotCache(folder_, 0).add("one", {0, 3, {}});
  const std::string path = file("shots/rank_0.jsonl").string();
  const auto bytes = bytes_of("shots/rank_0.jsonl");
  write_text("shots/rank_0.jsonl", std::string(bytes.begin(), bytes.end()) + "{\"name\":\"tw");
  {
    ShotCache again(folder_, 0);
    EXPECT_TRUE(again.find("one"));
    EXPECT_FALSE(again.find("two"));
    again.add("two", {0, 1, {}});
  }
  EXPECT_TRUE(ShotCache(folder_, 0).find("two"));
}

}  // namespace
}  // namespace zoetrope::data
