// What can be measured on a clip's pictures: numbers and a camera class that manifests keep and
// filters use, and a hash by which near-duplicates are found. data/README.md has the table.
#pragma once

#include <cstddef>
#include <map>
#include <string>
#include <vector>

#include "data/frames.h"

namespace zoetrope::data {

inline const std::vector<std::string> kCameraNames = {
    "static", "pan_left", "pan_right", "tilt_up", "tilt_down", "zoom_in", "zoom_out", "mixed"};

struct ClipScores {
  std::map<std::string, double> numbers;  // by name; finite, >= 0
  std::string camera;                     // of kCameraNames; "" for an image
  std::string look;                       // 48 hexadecimal digits: see look_distance
};

// The same frames give the same scores. An image has no scores of time.
ClipScores score_clip(const Frames& frames);

// Bits of 192 in which the looks of two clips differ: 64 each of the first, the middle and the last
// picture (signs of the low DCT coefficients of a 32x32 luma picture, DOI 10.1007/978-3-540-30115-8
// has the family). Chance gives 96; copies in another size or quality stay below
// kNearDuplicateBits.
inline constexpr int kNearDuplicateBits = 11;
inline constexpr std::size_t kLookDigits = 48;
int look_distance(const std::string& one, const std::string& other);

}  // namespace zoetrope::data
