// Contact sheets: contact_sheet of video_writer.h. Light text on a dark ground, so that frames
// stand out.

#include <algorithm>
#include <cmath>
#include <string>

#include "base/error.h"
#include "data/pixel_font.h"
#include "data/video_writer.h"

namespace zoetrope::data {

namespace {

constexpr int kGapPx = 4;
constexpr int kLetterPx = kGlyphWidth + 1;
constexpr int kCaptionPx = kGlyphHeight + 2 * kGapPx;
constexpr std::uint8_t kGround = 24;
constexpr std::uint8_t kInk = 224;

struct Cell {
  int width = 0;
  int height = 0;
};

Cell cell_of(const Frames& frames, int cell_px) {
  const int longer = std::max(frames.width, frames.height);
  if (longer <= cell_px) return {frames.width, frames.height};
  const double scale = static_cast<double>(cell_px) / longer;
  auto side = [&](int length) {
    return std::max(1, static_cast<int>(std::lround(length * scale)));
  };
  return {side(frames.width), side(frames.height)};
}

// Pixels [from, to) of a picture that one pixel of a smaller one covers; at least one.
struct Span {
  int from = 0;
  int to = 0;
};
Span covered(int index, int small, int large) {
  const int from = static_cast<int>(std::int64_t{index} * large / small);
  const int to = static_cast<int>(std::int64_t{index + 1} * large / small);
  return {from, std::max(to, from + 1)};
}

std::uint8_t mean_of(const std::uint8_t* rgb, int width, Span rows, Span columns, int channel) {
  std::int64_t sum = 0;
  for (int y = rows.from; y < rows.to; ++y) {
    for (int x = columns.from; x < columns.to; ++x) {
      sum += rgb[(std::int64_t{y} * width + x) * 3 + channel];
    }
  }
  const std::int64_t count = std::int64_t{rows.to - rows.from} * (columns.to - columns.from);
  return static_cast<std::uint8_t>((sum + count / 2) / count);
}

void draw_cell(const Frames& frames, int index, Cell cell, int left, int top, Frames& sheet) {
  for (int y = 0; y < cell.height; ++y) {
    const Span rows = covered(y, cell.height, frames.height);
    std::uint8_t* to = sheet.frame(0) + (std::int64_t{top + y} * sheet.width + left) * 3;
    for (int x = 0; x < cell.width; ++x) {
      const Span columns = covered(x, cell.width, frames.width);
      for (int channel = 0; channel < 3; ++channel) {
        *to++ = mean_of(frames.frame(index), frames.width, rows, columns, channel);
      }
    }
  }
}

void draw_text(const std::string& text, int left, int top, Frames& sheet) {
  for (std::size_t index = 0; index < text.size(); ++index) {
    for (int y = 0; y < kGlyphHeight; ++y) {
      for (int x = 0; x < kGlyphWidth; ++x) {
        if (!glyph_pixel(text[index], x, y)) continue;
        const int column = left + static_cast<int>(index) * kLetterPx + x;
        std::uint8_t* pixel = sheet.frame(0) + (std::int64_t{top + y} * sheet.width + column) * 3;
        std::fill(pixel, pixel + 3, kInk);
      }
    }
  }
}

std::string fitted(const std::string& text, std::size_t most) {
  if (text.size() <= most) return text;
  return most < 3 ? text.substr(0, most) : text.substr(0, most - 3) + "...";
}

void check_rows(const std::vector<SheetRow>& rows, int columns, int cell_px) {
  ZOETROPE_CHECK(!rows.empty() && columns > 0 && cell_px > 0, "a contact sheet of ", rows.size(),
                 " rows, ", columns, " columns and cells of ", cell_px, " px");
  for (const SheetRow& row : rows) {
    ZOETROPE_CHECK(row.frames != nullptr && row.frames->num_frames > 0,
                   "a row of a contact sheet has no frames");
  }
}

}  // namespace

Frames contact_sheet(const std::vector<SheetRow>& rows, int columns, int cell_px) {
  check_rows(rows, columns, cell_px);
  int widest = 0, height = kGapPx;
  for (const SheetRow& row : rows) {
    const Cell cell = cell_of(*row.frames, cell_px);
    widest = std::max(widest, cell.width);
    height += cell.height + kCaptionPx;
  }
  Frames sheet;
  sheet.num_frames = 1;
  sheet.width = kGapPx + columns * (widest + kGapPx);
  sheet.height = height;
  sheet.pts_s = {0};
  sheet.rgb.assign(sheet.frame_bytes(), kGround);

  const auto letters = static_cast<std::size_t>((sheet.width - 2 * kGapPx + 1) / kLetterPx);
  int top = kGapPx;
  for (const SheetRow& row : rows) {
    const Cell cell = cell_of(*row.frames, cell_px);
    const int shown = std::min(columns, row.frames->num_frames);
    for (int column = 0; column < shown; ++column) {
      const int index = shown == 1 ? 0 : column * (row.frames->num_frames - 1) / (shown - 1);
      draw_cell(*row.frames, index, cell, kGapPx + column * (widest + kGapPx), top, sheet);
    }
    draw_text(fitted(row.caption, letters), kGapPx, top + cell.height + kGapPx, sheet);
    top += cell.height + kCaptionPx;
  }
  return sheet;
}

}  // namespace zoetrope::data
