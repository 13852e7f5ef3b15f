// Writes captions into pictures with the built-in 5x7 font. What falls outside the picture is left
// out.
#pragma once

#include <string>

#include "data/colour.h"
#include "data/frames.h"

namespace zoetrope::data {

// One line into the first frame; (x, y) is its top left corner. Each pixel of the font becomes
// scale x scale.
void draw_text(Frames& image, int x, int y, const std::string& text, RgbColour colour,
               int scale = 1);
int text_width_px(const std::string& text, int scale = 1);
int text_height_px(int scale = 1);

}  // namespace zoetrope::data
