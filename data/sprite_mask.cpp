// See sprite_mask.h. The ground is plain in MovingShapes and covers more than half of a frame,
// hence it is the median colour; the sprite is the one connected region that differs from it.
#include "data/sprite_mask.h"

#include <algorithm>
#include <cmath>

namespace zoetrope::data {
namespace {

// Frozen. Chosen from the generator's figures: every sprite colour lies >= 115 from every ground
// (Euclid, 0..255), reconstruction noise at 30 dB has sd 8 a channel, and sprites cover 1.9 .. 20 %
// of a frame (the smallest triangle at 64x96, the largest square at 64x64).
constexpr double kDiffers = 55;          // distance from the ground that may be sprite
constexpr double kMinSpriteShare = .01;  // of the frame
constexpr double kMaxSpriteShare = .40;
constexpr double kMinGroundShare = .55;  // of the frame within kDiffers of the median
constexpr double kRivalShare = .35;  // a second region of this share of the largest: two sprites
constexpr double kInside = .85;      // alpha of a pixel that counts for the colour
constexpr int kRimPx = 2;            // beyond the region, for its anti-aliased edge

using Colour = std::array<double, 3>;

Colour median_colour(const std::uint8_t* rgb, std::size_t num_pixels) {
  Colour median;
  for (int channel = 0; channel < 3; ++channel) {
    std::array<std::size_t, 256> histogram{};
    for (std::size_t i = 0; i < num_pixels; ++i) ++histogram[rgb[i * 3 + channel]];
    std::size_t below = 0;
    int value = 0;
    while ((below += histogram[value]) * 2 < num_pixels) ++value;
    median[channel] = value;
  }
  return median;
}

Colour minus(const std::uint8_t* pixel, const Colour& ground) {
  return {pixel[0] - ground[0], pixel[1] - ground[1], pixel[2] - ground[2]};
}

double dot(const Colour& a, const Colour& b) {
  return a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
}

struct Regions {
  std::vector<int> label;          // per pixel; -1 is ground
  std::vector<std::size_t> sizes;  // per label
};

// 4-connected regions of the pixels that differ.
Regions connected_regions(const std::vector<bool>& differs, int height, int width) {
  Regions regions{std::vector<int>(differs.size(), -1), {}};
  std::vector<int> open;
  for (std::size_t seed = 0; seed < differs.size(); ++seed) {
    if (!differs[seed] || regions.label[seed] >= 0) continue;
    const int label = static_cast<int>(regions.sizes.size());
    regions.sizes.push_back(0);
    regions.label[seed] = label;
    open.push_back(static_cast<int>(seed));
    const auto reach = [&](int pixel) {
      if (!differs[pixel] || regions.label[pixel] >= 0) return;
      regions.label[pixel] = label;
      open.push_back(pixel);
    };
    while (!open.empty()) {
      const int pixel = open.back(), x = pixel % width, y = pixel / width;
      open.pop_back();
      ++regions.sizes[label];
      if (x > 0) reach(pixel - 1);
      if (x + 1 < width) reach(pixel + 1);
      if (y > 0) reach(pixel - width);
      if (y + 1 < height) reach(pixel + width);
    }
  }
  return regions;
}

// The label of the region that is the sprite, or -1.
int only_sprite(const Regions& regions, std::size_t num_pixels) {
  std::size_t covered = 0;
  for (const std::size_t size : regions.sizes) covered += size;
  if (covered > (1 - kMinGroundShare) * num_pixels || regions.sizes.empty()) return -1;
  const auto largest = std::max_element(regions.sizes.begin(), regions.sizes.end());
  if (*largest < kMinSpriteShare * num_pixels || *largest > kMaxSpriteShare * num_pixels) return -1;
  const auto rivals = std::count_if(regions.sizes.begin(), regions.sizes.end(),
                                    [&](std::size_t s) { return s >= kRivalShare * *largest; });
  return rivals == 1 ? static_cast<int>(largest - regions.sizes.begin()) : -1;
}

// Pixels within kRimPx of the region.
std::vector<bool> with_rim(const Regions& regions, int label, int height, int width) {
  std::vector<bool> inside(regions.label.size(), false);
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      if (regions.label[y * width + x] != label) continue;
      for (int v = std::max(0, y - kRimPx); v <= std::min(height - 1, y + kRimPx); ++v) {
        for (int u = std::max(0, x - kRimPx); u <= std::min(width - 1, x + kRimPx); ++u) {
          inside[v * width + u] = true;
        }
      }
    }
  }
  return inside;
}

// Mean difference from the ground, of the half of the region's pixels that differ most: its inside.
Colour inner_difference(const std::uint8_t* rgb, const Colour& ground, const Regions& regions,
                        int label) {
  std::vector<std::pair<double, std::size_t>> pixels;
  for (std::size_t i = 0; i < regions.label.size(); ++i) {
    if (regions.label[i] != label) continue;
    const Colour difference = minus(rgb + i * 3, ground);
    pixels.emplace_back(dot(difference, difference), i);
  }
  const std::size_t half = (pixels.size() + 1) / 2;
  std::nth_element(pixels.begin(), pixels.begin() + (half - 1), pixels.end(), std::greater<>());
  Colour mean = {};
  for (std::size_t i = 0; i < half; ++i) {
    const Colour difference = minus(rgb + pixels[i].second * 3, ground);
    for (int c = 0; c < 3; ++c) mean[c] += difference[c] / static_cast<double>(half);
  }
  return mean;
}

void measure(SpriteMask& mask, const std::uint8_t* rgb, int width) {
  double num_inside = 0;
  for (std::size_t i = 0; i < mask.alpha.size(); ++i) {
    const double alpha = mask.alpha[i];
    mask.area_px += alpha;
    mask.x += alpha * (static_cast<double>(i % width) + .5);
    mask.y += alpha * (static_cast<double>(i / width) + .5);
    if (alpha < kInside) continue;
    ++num_inside;
    for (int c = 0; c < 3; ++c) mask.colour[c] += rgb[i * 3 + c];
  }
  mask.x /= mask.area_px;
  mask.y /= mask.area_px;
  for (double& value : mask.colour) value /= num_inside;
}

}  // namespace

float sharpen(float alpha) {
  return std::clamp(.5f + 2 * (alpha - .5f), 0.0f, 1.0f);
}

std::optional<SpriteMask> find_sprite(const std::uint8_t* rgb, int height, int width) {
  const std::size_t num_pixels = static_cast<std::size_t>(height) * width;
  const Colour ground = median_colour(rgb, num_pixels);
  std::vector<bool> differs(num_pixels);
  for (std::size_t i = 0; i < num_pixels; ++i) {
    const Colour difference = minus(rgb + i * 3, ground);
    differs[i] = dot(difference, difference) > kDiffers * kDiffers;
  }
  const Regions regions = connected_regions(differs, height, width);
  const int label = only_sprite(regions, num_pixels);
  if (label < 0) return std::nullopt;
  const Colour full = inner_difference(rgb, ground, regions, label);
  const std::vector<bool> near = with_rim(regions, label, height, width);
  SpriteMask mask;
  mask.alpha.assign(num_pixels, 0.0f);
  for (std::size_t i = 0; i < num_pixels; ++i) {
    if (!near[i]) continue;
    const double share = dot(minus(rgb + i * 3, ground), full) / dot(full, full);
    mask.alpha[i] = sharpen(static_cast<float>(share));
  }
  measure(mask, rgb, width);
  return mask;
}

}  // namespace zoetrope::data
