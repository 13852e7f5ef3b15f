// See text_overlay.h. Strokes are what a row's opening (the brightest level that a stretch of some
// width reaches everywhere) takes away; dark ones the same of the negative. What lies close
// together in a row becomes one, and boxes around what is then connected are judged by their shape.

#include "data/text_overlay.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <utility>

#include "base/error.h"

namespace zoetrope::data {

namespace {

constexpr float kStrokeLevels = 40;  // a stroke is this much brighter or darker than its sides
constexpr float kStillLevels = 24;   // and changes by less in the clip
constexpr int kLeastHeight = 5;      // of a line of text, pixels
constexpr int kMostHeightPart = 5;   // a line is at most this part of the picture's height
constexpr double kLeastAspect = 1.5;
constexpr double kLeastFilled = 0.35;  // of the box, when strokes close together are joined
constexpr double kLeastInk = 0.08, kMostInk = 0.65;
constexpr double kLeastStrokes = 3;           // in a row of pixels, on average,
constexpr double kLeastStrokesPerSide = 0.5;  // and for each square of the line's height

using Mask = std::vector<std::uint8_t>;

struct Levels {
  LumaPicture mean;
  Mask still;  // pixels that stay as they are
};

Levels levels_of(const std::vector<LumaPicture>& pictures) {
  Levels levels{pictures[0], Mask(pictures[0].levels.size(), 1)};
  for (std::size_t at = 0; at < levels.still.size(); ++at) {
    float low = pictures[0].levels[at], high = low, sum = 0;
    for (const LumaPicture& picture : pictures) {
      low = std::min(low, picture.levels[at]);
      high = std::max(high, picture.levels[at]);
      sum += picture.levels[at];
    }
    levels.mean.levels[at] = sum / static_cast<float>(pictures.size());
    levels.still[at] = high - low <= kStillLevels ? 1 : 0;
  }
  return levels;
}

// The least (or largest) of `row` within `reach` steps to the right or, of what that gave, to the
// left.
template <class Better>
std::vector<float> extreme_of(const std::vector<float>& row, int reach, bool right, Better better) {
  std::vector<float> result = row;
  const int width = static_cast<int>(row.size());
  for (int x = 0; x < width; ++x) {
    for (int step = 1; step < reach; ++step) {
      const int other = right ? x + step : x - step;
      if (other < 0 || other >= width) break;
      if (better(row[static_cast<std::size_t>(other)], result[static_cast<std::size_t>(x)]))
        result[static_cast<std::size_t>(x)] = row[static_cast<std::size_t>(other)];
    }
  }
  return result;
}

// Pixels of strokes thinner than `thickest`, brighter (sign 1) or darker (-1) than both sides.
Mask strokes_of(const Levels& levels, float sign, int thickest) {
  const int height = levels.mean.height, width = levels.mean.width;
  Mask mask(levels.still.size(), 0);
  std::vector<float> row(static_cast<std::size_t>(width));
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) row[static_cast<std::size_t>(x)] = sign * levels.mean.at(y, x);
    const auto opened = extreme_of(extreme_of(row, thickest, true, std::less<>()), thickest, false,
                                   std::greater<>());
    for (std::size_t x = 0; x < row.size(); ++x) {
      const std::size_t at = static_cast<std::size_t>(y) * row.size() + x;
      mask[at] = levels.still[at] != 0 && row[x] - opened[x] > kStrokeLevels ? 1 : 0;
    }
  }
  return mask;
}

// Fills gaps of at most `gap` pixels in each row.
Mask joined(const Mask& mask, int height, int width, int gap) {
  Mask result = mask;
  for (int y = 0; y < height; ++y) {
    std::uint8_t* row = result.data() + static_cast<std::ptrdiff_t>(y) * width;
    int last = -1;
    for (int x = 0; x < width; ++x) {
      if (row[x] == 0) continue;
      if (last >= 0 && x - last - 1 <= gap) std::fill(row + last, row + x, std::uint8_t{1});
      last = x;
    }
  }
  return result;
}

// A connected region, by what it holds.
struct Region {
  int left, right, top, bottom;  // inclusive
  double filled = 0, ink = 0, strokes = 0;

  double height() const { return bottom - top + 1; }
  double width() const { return right - left + 1; }
  double area() const { return height() * width(); }
  bool is_text(int picture_height) const {
    if (height() < kLeastHeight || height() * kMostHeightPart > picture_height) return false;
    if (width() < kLeastAspect * height() || filled < kLeastFilled * area()) return false;
    if (ink < kLeastInk * area() || ink > kMostInk * area()) return false;
    const double strokes_a_row = strokes / height();
    return strokes_a_row >= kLeastStrokes &&
           strokes_a_row >= kLeastStrokesPerSide * width() / height();
  }
};

// Takes the region of `filled` at (x, y) out of it.
Region take_region(Mask& filled, const Mask& strokes, int height, int width, int x, int y) {
  Region region{x, x, y, y};
  std::vector<std::pair<int, int>> open = {{x, y}};
  filled[static_cast<std::size_t>(y) * width + x] = 0;
  while (!open.empty()) {
    const auto [u, v] = open.back();
    open.pop_back();
    const std::size_t at = static_cast<std::size_t>(v) * width + u;
    region.left = std::min(region.left, u);
    region.right = std::max(region.right, u);
    region.top = std::min(region.top, v);
    region.bottom = std::max(region.bottom, v);
    ++region.filled;
    if (strokes[at] != 0) {
      ++region.ink;
      region.strokes += u == 0 || strokes[at - 1] == 0 ? 1 : 0;
    }
    for (const auto& [next_u, next_v] : {std::pair(u - 1, v), {u + 1, v}, {u, v - 1}, {u, v + 1}}) {
      if (next_u < 0 || next_v < 0 || next_u >= width || next_v >= height) continue;
      std::uint8_t& there = filled[static_cast<std::size_t>(next_v) * width + next_u];
      if (there != 0) open.emplace_back(next_u, next_v);
      there = 0;
    }
  }
  return region;
}

double text_area(const Levels& levels, float sign) {
  const int height = levels.mean.height, width = levels.mean.width;
  const Mask strokes = strokes_of(levels, sign, std::max(3, height / 24));
  Mask filled = joined(strokes, height, width, std::max(6, height / 10));
  double area = 0;
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      if (filled[static_cast<std::size_t>(y) * width + x] == 0) continue;
      const Region region = take_region(filled, strokes, height, width, x, y);
      if (region.is_text(height)) area += region.area();
    }
  }
  return area;
}

}  // namespace

double text_share(const std::vector<LumaPicture>& pictures) {
  ZOETROPE_CHECK(!pictures.empty(), "text in no pictures");
  const Levels levels = levels_of(pictures);
  const double pixels = double{1} * levels.mean.height * levels.mean.width;
  return std::max(text_area(levels, 1), text_area(levels, -1)) / pixels;
}

}  // namespace zoetrope::data
