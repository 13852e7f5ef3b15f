// A built-in 5x7 font for printable ASCII, so that pictures can carry captions without a font
// library.
#pragma once

#include <cstdint>

namespace zoetrope::data {

constexpr int kGlyphWidth = 5;
constexpr int kGlyphHeight = 7;

// Whether the pixel (x, y) of `letter` is set. Letters outside ' ' .. '~' show as '?'.
bool glyph_pixel(char letter, int x, int y);

}  // namespace zoetrope::data
