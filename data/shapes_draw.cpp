// Pictures of MovingShapes scenes.
#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "base/random.h"
#include "data/shapes.h"
#include "data/shapes_rules.h"

namespace zoetrope::data {
namespace {

constexpr int kLinesPerPixel = 16;
constexpr int kBlotchLevels = 60;
constexpr double kBlotchPx = 6;
constexpr std::uint32_t kTextureKey = 0x5a6f6574;

// Sprites are at least 107 apart from each other and 118 from every background (Euclid, 0..255), so
// that chroma subsampling and a lossy VAE leave nearest-colour judging a wide margin.
constexpr std::array<RgbColour, 6> kSpriteRgb = {
    {{205, 15, 45}, {20, 175, 60}, {30, 70, 225}, {250, 228, 30}, {150, 30, 190}, {250, 125, 0}}};
constexpr std::array<RgbColour, 3> kBackgroundRgb = {
    {{16, 16, 16}, {128, 128, 128}, {240, 240, 240}}};

// Columns [left, right) that a shape covers on the line at height y.
std::pair<double, double> span_at(int shape, double cx, double cy, double size, double y) {
  const double half = size / 2, from_top = y - (cy - half);
  if (from_top <= 0 || from_top >= size) return {0, 0};
  double reach = half;
  if (shape == 0) reach = std::sqrt(std::max(0.0, half * half - (y - cy) * (y - cy)));
  if (shape == 2) reach = half * from_top / size;
  return {cx - reach, cx + reach};
}

void add_span(float* row, int width, double left, double right) {
  left = std::max(left, 0.0);
  right = std::min<double>(right, width);
  for (int x = static_cast<int>(left); x < right; ++x) {
    const double covered = std::min(right, x + 1.0) - std::max<double>(left, x);
    row[x] += static_cast<float>(covered / kLinesPerPixel);
  }
}

void blend(Frames& frames, int index, const std::vector<float>& coverage, const RgbColour& colour) {
  const std::array<int, 3> target = {colour.red, colour.green, colour.blue};
  std::uint8_t* rgb = frames.frame(index);
  for (std::size_t pixel = 0; pixel < coverage.size(); ++pixel) {
    if (coverage[pixel] <= 0) continue;
    for (int channel = 0; channel < 3; ++channel) {
      std::uint8_t& value = rgb[pixel * 3 + channel];
      value = static_cast<std::uint8_t>(
          std::lround(value + (target[channel] - value) * coverage[pixel]));
    }
  }
}

// A dark ground gets lighter, a light one darker, a grey one both.
void add_texture(const ShapesScene& scene, int index, Frames& frames) {
  const int below = find_name(kBackgroundNames, scene.background, "background") * kBlotchLevels / 2;
  std::uint8_t* rgb = frames.frame(index);
  for (const std::uint8_t level : ground_texture(scene, index)) {
    for (int channel = 0; channel < 3; ++channel, ++rgb)
      *rgb = static_cast<std::uint8_t>(*rgb + level - below);
  }
}

// -1 .. 1 at a corner of the grid of blotches; the same in all scenes.
double blotch_at(std::int64_t column, std::int64_t row) {
  const auto low = [](std::int64_t number) { return static_cast<std::uint32_t>(number); };
  return philox4x32({low(column), low(row), 0, 0}, {kTextureKey, 0})[0] / 2147483648.0 - 1;
}

double smooth(double t) {
  return t * t * (3 - 2 * t);
}

double texture_at(double x, double y) {
  const double left = std::floor(x / kBlotchPx), top = std::floor(y / kBlotchPx);
  const double u = smooth(x / kBlotchPx - left), v = smooth(y / kBlotchPx - top);
  const auto column = static_cast<std::int64_t>(left), row = static_cast<std::int64_t>(top);
  return std::lerp(std::lerp(blotch_at(column, row), blotch_at(column + 1, row), u),
                   std::lerp(blotch_at(column, row + 1), blotch_at(column + 1, row + 1), u), v);
}

}  // namespace

std::vector<std::uint8_t> ground_texture(const ShapesScene& scene, int index) {
  const double moved = scene.camera_speed * index;
  double right = 0, down = 0, scale = 1;
  if (scene.camera == "pan_left") right = -moved;
  if (scene.camera == "pan_right") right = moved;
  if (scene.camera == "tilt_up") down = -moved;
  if (scene.camera == "tilt_down") down = moved;
  if (scene.camera == "zoom_in") scale = std::exp(moved);
  if (scene.camera == "zoom_out") scale = std::exp(-moved);
  std::vector<std::uint8_t> levels;
  for (int y = 0; y < scene.height; ++y) {
    for (int x = 0; x < scene.width; ++x) {
      const double texture = texture_at((x + 0.5 - scene.width / 2.0) / scale + right,
                                        (y + 0.5 - scene.height / 2.0) / scale + down);
      levels.push_back(static_cast<std::uint8_t>((texture + 1) / 2 * (kBlotchLevels - 1)));
    }
  }
  return levels;
}

RgbColour sprite_rgb(const std::string& colour) {
  return kSpriteRgb[find_name(kColourNames, colour, "colour")];
}

RgbColour background_rgb(const std::string& background) {
  return kBackgroundRgb[find_name(kBackgroundNames, background, "background")];
}

std::vector<float> shape_coverage(const std::string& shape, double x, double y, double size_px,
                                  int height, int width) {
  const int kind = find_name(kShapeNames, shape, "shape");
  std::vector<float> coverage(static_cast<std::size_t>(height) * width, 0.0f);
  const int first = std::max(0, static_cast<int>(std::floor(y - size_px / 2)));
  const int last = std::min(height - 1, static_cast<int>(std::ceil(y + size_px / 2)));
  for (int row = first; row <= last; ++row) {
    for (int line = 0; line < kLinesPerPixel; ++line) {
      const double at = row + (line + 0.5) / kLinesPerPixel;
      const auto [left, right] = span_at(kind, x, y, size_px, at);
      add_span(coverage.data() + static_cast<std::size_t>(row) * width, width, left, right);
    }
  }
  return coverage;
}

Frames draw_scene(const ShapesScene& scene) {
  Frames frames;
  frames.num_frames = scene.frames;
  frames.height = scene.height;
  frames.width = scene.width;
  frames.fps = scene.frames == 1 ? 0 : kShapesFps;
  const RgbColour ground = background_rgb(scene.background);
  frames.rgb.resize(frames.frame_bytes() * scene.frames);
  for (std::size_t i = 0; i < frames.rgb.size(); i += 3) {
    frames.rgb[i] = ground.red;
    frames.rgb[i + 1] = ground.green;
    frames.rgb[i + 2] = ground.blue;
  }
  for (int t = 0; t < scene.frames; ++t) {
    frames.pts_s.push_back(t / kShapesFps);
    if (scene.textured) add_texture(scene, t, frames);
    for (const Sprite& sprite : scene.sprites) {
      const auto [dx, dy] = step_of(sprite.direction);
      const double moved = sprite.speed_px * t;
      blend(frames, t,
            shape_coverage(sprite.shape, sprite.x0 + dx * moved, sprite.y0 + dy * moved,
                           sprite.size_px, scene.height, scene.width),
            sprite_rgb(sprite.colour));
    }
  }
  return frames;
}

}  // namespace zoetrope::data
