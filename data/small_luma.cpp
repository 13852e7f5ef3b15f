// See small_luma.h.

#include "data/small_luma.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace zoetrope::data {

namespace {

// Mean of `count` values `step` apart over [from, to), ends counted by their share.
float span_mean(const float* values, std::size_t step, double from, double to) {
  double sum = 0;
  for (int at = static_cast<int>(from); at < to - 1e-9; ++at) {
    const double share = std::min<double>(to, at + 1) - std::max<double>(from, at);
    sum += share * values[static_cast<std::size_t>(at) * step];
  }
  return static_cast<float>(sum / (to - from));
}

}  // namespace

LumaPicture luma_of(const Frames& frames, int index) {
  LumaPicture picture{frames.height, frames.width, {}};
  picture.levels.resize(static_cast<std::size_t>(frames.height) * frames.width);
  const std::uint8_t* rgb = frames.frame(index);
  for (float& level : picture.levels) {
    level = .299f * rgb[0] + .587f * rgb[1] + .114f * rgb[2];
    rgb += 3;
  }
  return picture;
}

LumaPicture shrunk(const LumaPicture& picture, int height, int width) {
  ZOETROPE_CHECK(height >= 1 && width >= 1 && height <= picture.height && width <= picture.width,
                 "shrinking ", picture.width, "x", picture.height, " to ", width, "x", height);
  LumaPicture narrow{picture.height, width, {}};
  for (int y = 0; y < picture.height; ++y) {
    const float* row = picture.levels.data() + static_cast<std::size_t>(y) * picture.width;
    for (int x = 0; x < width; ++x) {
      narrow.levels.push_back(span_mean(row, 1, double(x) * picture.width / width,
                                        double(x + 1) * picture.width / width));
    }
  }
  LumaPicture small{height, width, {}};
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      small.levels.push_back(span_mean(narrow.levels.data() + x, static_cast<std::size_t>(width),
                                       double(y) * picture.height / height,
                                       double(y + 1) * picture.height / height));
    }
  }
  return small;
}

}  // namespace zoetrope::data
