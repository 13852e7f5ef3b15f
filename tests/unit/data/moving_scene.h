// Pictures with structure for tests of shots and scores: a textured ground that a camera moves
// over, and discs that move on it. The same seed gives the same scene.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <random>
#include <vector>

namespace zoetrope::data {

// Smooth noise of octaves 4 to 16 pixels, -1 .. 1, over the whole plane.
class Texture {
 public:
  explicit Texture(std::uint64_t seed) : seed_(seed) {}
  double at(double x, double y) const {
    return 0.5 * octave(x / 16, y / 16, 1) + 0.3 * octave(x / 8, y / 8, 2) +
           0.2 * octave(x / 4, y / 4, 3);
  }

 private:
  double corner(std::int64_t x, std::int64_t y, std::uint64_t octave) const {
    std::uint64_t mixed = seed_ + octave * 0x9E3779B97F4A7C15ULL +
                          static_cast<std::uint64_t>(x) * 0xBF58476D1CE4E5B9ULL +
                          static_cast<std::uint64_t>(y) * 0x94D049BB133111EBULL;
    mixed = (mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9ULL;
    mixed = (mixed ^ (mixed >> 27)) * 0x94D049BB133111EBULL;
    return static_cast<double>((mixed ^ (mixed >> 31)) >> 11) / 4503599627370496.0 - 1;
  }
  double octave(double x, double y, std::uint64_t which) const {
    const double left = std::floor(x), top = std::floor(y);
    auto smooth = [](double t) { return t * t * (3 - 2 * t); };
    const double u = smooth(x - left), v = smooth(y - top);
    const auto column = static_cast<std::int64_t>(left), row = static_cast<std::int64_t>(top);
    const double upper = std::lerp(corner(column, row, which), corner(column + 1, row, which), u);
    const double lower =
        std::lerp(corner(column, row + 1, which), corner(column + 1, row + 1, which), u);
    return std::lerp(upper, lower, v);
  }
  std::uint64_t seed_;
};

struct MovingScene {
  std::uint64_t seed = 1;
  double pan_x = 0, pan_y = 0;  // pixels a frame that the camera moves right and down
  double zoom = 1;              // a frame; above 1 the camera goes closer
  double disc_speed = 0;        // pixels a frame, each disc in a direction of its own
  int num_discs = 3;
  std::uint64_t disc_seed = 0;  // other discs on the same ground

  std::vector<std::uint8_t> picture(int frame, int height, int width) const {
    std::mt19937_64 random(seed);
    auto uniform = [&](double low, double high) {
      return std::uniform_real_distribution<double>(low, high)(random);
    };
    double ground[3], swing[3];
    for (int channel = 0; channel < 3; ++channel) {
      ground[channel] = uniform(40, 215);
      swing[channel] = uniform(30, 70);
    }
    const Texture texture(seed);
    const double scale = std::pow(zoom, frame);
    std::vector<std::uint8_t> rgb;
    rgb.reserve(std::size_t{3} * height * width);
    for (int y = 0; y < height; ++y) {
      for (int x = 0; x < width; ++x) {
        const double level = texture.at((x - width / 2.0) / scale + pan_x * frame,
                                        (y - height / 2.0) / scale + pan_y * frame);
        for (int channel = 0; channel < 3; ++channel)
          rgb.push_back(to_byte(ground[channel] + swing[channel] * level));
      }
    }
    if (disc_seed != 0) random.seed(disc_seed);
    for (int disc = 0; disc < num_discs; ++disc) {
      const double radius = height * uniform(.06, .12), angle = uniform(0, 6.28);
      const double left = uniform(0, width) + disc_speed * frame * std::cos(angle);
      const double top = uniform(0, height) + disc_speed * frame * std::sin(angle);
      const std::uint8_t colour[3] = {to_byte(uniform(0, 255)), to_byte(uniform(0, 255)),
                                      to_byte(uniform(0, 255))};
      for (int y = 0; y < height; ++y) {
        for (int x = 0; x < width; ++x) {
          if (std::hypot(x - left, y - top) < radius)
            std::copy(colour, colour + 3, rgb.begin() + 3 * (std::ptrdiff_t{y} * width + x));
        }
      }
    }
    return rgb;
  }

  static std::uint8_t to_byte(double level) {
    return static_cast<std::uint8_t>(std::clamp(std::lround(level), 0L, 255L));
  }
};

}  // namespace zoetrope::data
