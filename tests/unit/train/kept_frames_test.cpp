// Kept frames lie where they were asked for, and the gaps repeat the nearest of them.
#include "train/kept_frames.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace zoetrope::train {
namespace {

// 2x2 frames, each of one grey: first, first + 1, ...
KeptClip clip(int first_grey, int count, int at) {
  data::Frames frames;
  frames.num_frames = count;
  frames.height = frames.width = 2;
  for (int i = 0; i < count; ++i) {
    frames.rgb.insert(frames.rgb.end(), frames.frame_bytes(),
                      static_cast<std::uint8_t>(first_grey + i));
  }
  return {frames, at};
}

std::vector<int> greys(const data::Frames& frames) {
  std::vector<int> values;
  for (int i = 0; i < frames.num_frames; ++i) values.push_back(frames.rgb[12 * i]);
  return values;
}

TEST(KeptFrames, StillAtTheStartIsTheFirstLatentFrame) {
  const KeptVideo video = place_kept({clip(7, 1, 0)}, 9, 2, 2, 4);
  EXPECT_EQ(greys(video.frames), std::vector<int>(9, 7));
  EXPECT_EQ(video.latent_frames, (std::vector<bool>{true, false, false}));
}

TEST(KeptFrames, NegativePlacesCountFromTheEnd) {
  const KeptVideo video = place_kept({clip(1, 1, 0), clip(9, 1, -1)}, 9, 2, 2, 4);
  EXPECT_EQ(greys(video.frames), (std::vector<int>{1, 1, 1, 1, 1, 9, 9, 9, 9}));
  EXPECT_EQ(video.latent_frames, (std::vector<bool>{true, false, true}));
}

TEST(KeptFrames, ClipsCoverWholeLatentFramesAroundAGap) {
  const KeptVideo video = place_kept({clip(1, 5, 0), clip(50, 4, 13)}, 17, 2, 2, 4);
  EXPECT_EQ(greys(video.frames),
            (std::vector<int>{1, 2, 3, 4, 5, 5, 5, 5, 5, 50, 50, 50, 50, 50, 51, 52, 53}));
  EXPECT_EQ(video.latent_frames, (std::vector<bool>{true, true, false, false, true}));
}

TEST(KeptFrames, RefusesWhatDoesNotFit) {
  EXPECT_THROW(place_kept({clip(1, 5, 5)}, 9, 2, 2, 4), ConfigError);
  EXPECT_THROW(place_kept({clip(1, 1, -10)}, 9, 2, 2, 4), ConfigError);
  EXPECT_THROW(place_kept({clip(1, 3, 0), clip(1, 1, 2)}, 9, 2, 2, 4), ConfigError);
  EXPECT_THROW(place_kept({clip(1, 1, 0)}, 9, 4, 2, 4), ConfigError);
}

}  // namespace
}  // namespace zoetrope::train
