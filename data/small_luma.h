// Luma of pictures as floats, shrunk by averaging: what scores are measured on.
#pragma once

#include <vector>

#include "data/frames.h"

namespace zoetrope::data {

struct LumaPicture {
  int height = 0, width = 0;
  std::vector<float> levels;  // [height, width], 0 .. 255
  float at(int y, int x) const { return levels[static_cast<std::size_t>(y) * width + x]; }
};

// BT.601 luma of frame `index`.
LumaPicture luma_of(const Frames& frames, int index);
// Every pixel is the mean of the area that it covers; sides must not grow.
LumaPicture shrunk(const LumaPicture& picture, int height, int width);

}  // namespace zoetrope::data
