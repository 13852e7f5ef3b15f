// See draw_text.h.
#include "data/draw_text.h"

#include "data/pixel_font.h"

namespace zoetrope::data {
namespace {

constexpr int kAdvance = kGlyphWidth + 1;

void fill_square(Frames& image, int left, int top, int side, RgbColour colour) {
  for (int y = top; y < top + side; ++y) {
    for (int x = left; x < left + side; ++x) {
      if (x < 0 || y < 0 || x >= image.width || y >= image.height) continue;
      std::uint8_t* pixel = image.frame(0) + 3 * (static_cast<std::size_t>(y) * image.width + x);
      pixel[0] = colour.red;
      pixel[1] = colour.green;
      pixel[2] = colour.blue;
    }
  }
}

}  // namespace

void draw_text(Frames& image, int x, int y, const std::string& text, RgbColour colour, int scale) {
  for (std::size_t i = 0; i < text.size(); ++i) {
    const int left = x + static_cast<int>(i) * kAdvance * scale;
    for (int v = 0; v < kGlyphHeight; ++v) {
      for (int u = 0; u < kGlyphWidth; ++u) {
        if (!glyph_pixel(text[i], u, v)) continue;
        fill_square(image, left + u * scale, y + v * scale, scale, colour);
      }
    }
  }
}

int text_width_px(const std::string& text, int scale) {
  return text.empty() ? 0 : (static_cast<int>(text.size()) * kAdvance - 1) * scale;
}

int text_height_px(int scale) {
  return kGlyphHeight * scale;
}

}  // namespace zoetrope::data
