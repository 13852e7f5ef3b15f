// Decoded pictures, and the reason when there are none.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <variant>
#include <vector>

namespace zoetrope::data {

// RGB frames: `rgb` is [num_frames, height, width, 3] row-major, 8 bits, full range.
struct Frames {
  int num_frames = 0;
  int height = 0;
  int width = 0;
  double fps = 0;             // of the frames kept; 0 for a still image
  std::vector<double> pts_s;  // one per frame, seconds from the first picture of the file
  std::vector<std::uint8_t> rgb;

  std::size_t frame_bytes() const { return std::size_t{3} * height * width; }
  const std::uint8_t* frame(int index) const { return rgb.data() + index * frame_bytes(); }
  std::uint8_t* frame(int index) { return rgb.data() + index * frame_bytes(); }
};

// One picture of many, RGB as in Frames.
struct RgbPicture {
  double pts_s = 0;
  int width = 0;
  int height = 0;
  std::span<const std::uint8_t> rgb;  // valid during the call that hands it over
  std::int64_t index = 0;             // 0, 1, ... in the request
  std::int64_t num_expected = 0;      // in the request, by what the file says of itself; 0: nothing
};

// Why a source gave no clip. `code` is stable and countable ("no_video_stream", "truncated",
// "empty_file", "not_a_file", "unreadable", "not_a_video", "too_short", "too_small",
// "decoder_crashed", "timed_out", ...); `detail` says it in words with the numbers.
struct SkipReason {
  std::string code;
  std::string detail;
};

template <class T>
using OrSkip = std::variant<T, SkipReason>;

template <class T>
bool skipped(const OrSkip<T>& result) {
  return std::holds_alternative<SkipReason>(result);
}

}  // namespace zoetrope::data
