// The rules that scenes, pictures and captions of MovingShapes share. For shapes*.cpp alone.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace zoetrope::data {

// Shares of the side along which a sprite moves: over the clip, and a frame.
inline constexpr double kMinTravel = 1.0 / 6;
inline constexpr double kSlowBelow = 1.0 / 64;
inline constexpr double kFastAbove = 1.0 / 48;

// Position of a name in a list; DataError naming `what` when it is not there.
int find_name(const std::vector<std::string>& names, const std::string& name, const char* what);

// Unit step of a direction: x to the right, y down.
std::pair<int, int> step_of(const std::string& direction);

// Sprite sizes of a canvas: small ones low .. small_until, large ones large_from .. high.
struct SizeRange {
  int low, small_until, large_from, high;
};
SizeRange size_range(int height, int width);

}  // namespace zoetrope::data
