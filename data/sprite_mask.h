// Finds the one sprite of a MovingShapes frame: its alpha mask, colour and centroid.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

namespace zoetrope::data {

struct SpriteMask {
  std::vector<float> alpha;           // [height, width]; 0 outside the sprite and its rim
  std::array<double, 3> colour = {};  // mean of its inside, 0..255
  double area_px = 0;                 // sum of alpha
  double x = 0, y = 0;                // centroid
};

// Doubles the contrast of a coverage about one half: blur by a codec or VAE then weighs little, and
// the position of the edge stays. Masks and the templates that they are compared with both go
// through it.
float sharpen(float alpha);

// Nothing when the frame has no plain ground, no sprite, or more than one.
std::optional<SpriteMask> find_sprite(const std::uint8_t* rgb, int height, int width);

}  // namespace zoetrope::data
