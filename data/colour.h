// One 8-bit RGB colour, full range.
#pragma once

#include <cstdint>

namespace zoetrope::data {

struct RgbColour {
  std::uint8_t red = 0, green = 0, blue = 0;
};

}  // namespace zoetrope::data
