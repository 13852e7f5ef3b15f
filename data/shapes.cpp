// The scenes of MovingShapes. Every random number comes from Random(seed, kShapes, split, index):
// no order of work can change a scene.
#include "data/shapes.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "base/error.h"
#include "base/random.h"
#include "data/shapes_rules.h"

namespace zoetrope::data {
namespace {

constexpr double kMarginPx = 1;
constexpr int kMinSidePx = 32;
// A frame: shares of the side along which the camera moves, and growth.
constexpr double kSlowPan = 1.0 / 96, kFastPan = 1.0 / 32;
constexpr double kSlowZoom = 0.01, kFastZoom = 0.03;

constexpr std::array<std::pair<int, int>, 6> kVariedCanvases = {
    {{64, 64}, {48, 80}, {80, 48}, {64, 96}, {96, 64}, {48, 48}}};  // height, width

// Uniform over the speeds that keep the travel between its minimum and the room there is, with
// "slow" and "fast" equally likely where the clip's length allows both.
double draw_speed(Random& random, int frames, double side, double room) {
  const double low = side * kMinTravel / (frames - 1), high = room / (frames - 1);
  const double slow_until = std::min(high, side * kSlowBelow);
  const double fast_from = std::max(low, side * kFastAbove);
  const bool can_be_slow = low <= slow_until, can_be_fast = fast_from <= high;
  const bool slow = can_be_slow && (!can_be_fast || random.uniform() < 0.5);
  return slow ? random.uniform(low, slow_until) : random.uniform(fast_from, high);
}

std::string start_name(double x, double y, int height, int width) {
  constexpr std::array<const char*, 3> kRows = {"top", "", "bottom"},
                                       kColumns = {"left", "", "right"};
  const std::string row = kRows[std::clamp(static_cast<int>(3 * y / height), 0, 2)];
  const std::string column = kColumns[std::clamp(static_cast<int>(3 * x / width), 0, 2)];
  if (row.empty() && column.empty()) return "centre";
  return row.empty() ? column : column.empty() ? row : row + " " + column;
}

// Where a coordinate can start so that a travel of `travel` (signed) stays within [low, high].
double draw_start(Random& random, double low, double high, double travel) {
  return random.uniform(std::max(low, low - travel), std::min(high, high - travel));
}

void place_sprite(Random& random, const ShapesScene& scene, Sprite& sprite) {
  const auto [dx, dy] = step_of(sprite.direction);
  const double half = sprite.size_px / 2.0 + kMarginPx;
  const double side = dx != 0 ? scene.width : scene.height;
  sprite.speed_px = 0;
  if (dx != 0 || dy != 0) sprite.speed_px = draw_speed(random, scene.frames, side, side - 2 * half);
  const double travel = sprite.speed_px * (scene.frames - 1);
  sprite.x0 = draw_start(random, half, scene.width - half, dx * travel);
  sprite.y0 = draw_start(random, half, scene.height - half, dy * travel);
  sprite.start = start_name(sprite.x0, sprite.y0, scene.height, scene.width);
}

// Attributes of index: a permutation of the 90 combinations a run of 90, backgrounds in rotation.
Sprite stratified_sprite(std::uint64_t seed, std::uint64_t split_key, std::int64_t index,
                         std::string& background) {
  constexpr std::int64_t kCombinations = 3 * 6 * 5;
  const std::uint64_t run = index / kCombinations;
  const std::uint64_t key = seed * 2 + split_key;  // splits have their own order
  const std::uint64_t cell = permute(index % kCombinations, kCombinations, key, run);
  // The same shuffle for three runs, moved on by one in each: every background once a combination.
  const std::uint64_t shuffled = permute(cell, kCombinations, ~key, run / 3);
  background = kBackgroundNames[(shuffled + run) % kBackgroundNames.size()];
  Sprite sprite;
  sprite.shape = kShapeNames[cell % 3];
  sprite.colour = kColourNames[cell / 3 % 6];
  sprite.direction = kDirectionNames[cell / 18];
  return sprite;
}

// From a stream of its own, so that scenes without a camera stay what they were.
void draw_camera(Random random, ShapesScene& scene) {
  scene.textured = true;
  scene.camera = kShapesCameras[random.integer(0, kShapesCameras.size() - 1)];
  if (scene.frames == 1) scene.camera = "static";
  if (scene.camera == "static") return;
  const double side = scene.camera.starts_with("pan") ? scene.width : scene.height;
  scene.camera_speed = scene.camera.starts_with("zoom") ? random.uniform(kSlowZoom, kFastZoom)
                                                        : side * random.uniform(kSlowPan, kFastPan);
}

void check_options(const std::string& split, std::int64_t index, const ShapesOptions& options) {
  ZOETROPE_CHECK_CONFIG(split == "train" || split == "test",
                        "MovingShapes has the splits train and test, not \"", split, "\"");
  ZOETROPE_CHECK_CONFIG(index >= 0, "MovingShapes index ", index, " is negative");
  ZOETROPE_CHECK_CONFIG(options.frames >= 1, "MovingShapes needs at least 1 frame, not ",
                        options.frames);
  ZOETROPE_CHECK_CONFIG(options.height >= kMinSidePx && options.width >= kMinSidePx,
                        "MovingShapes canvas ", options.height, "x", options.width,
                        " is smaller than ", kMinSidePx, "x", kMinSidePx);
}

}  // namespace

int find_name(const std::vector<std::string>& names, const std::string& name, const char* what) {
  const auto found = std::find(names.begin(), names.end(), name);
  ZOETROPE_CHECK_DATA(found != names.end(), "MovingShapes knows no ", what, " \"", name, "\"");
  return static_cast<int>(found - names.begin());
}

std::pair<int, int> step_of(const std::string& direction) {
  constexpr std::array<std::pair<int, int>, 5> kSteps = {
      {{-1, 0}, {1, 0}, {0, -1}, {0, 1}, {0, 0}}};
  return kSteps[find_name(kDirectionNames, direction, "direction")];
}

SizeRange size_range(int height, int width) {
  const double shorter = std::min(height, width);
  const int low = static_cast<int>(std::lround(shorter / 8 + 8));
  const int high = static_cast<int>(std::lround(shorter * 7 / 16));
  const int third = (high - low) / 3;
  return {low, low + third, high - third, high};
}

ShapesScene make_scene(std::uint64_t seed, const std::string& split, std::int64_t index,
                       const ShapesOptions& options) {
  check_options(split, index, options);
  const std::uint64_t split_key = split == "test" ? 1 : 0;
  Random random(seed, Purpose::kShapes, split_key, static_cast<std::uint64_t>(index));
  ShapesScene scene;
  scene.frames = options.frames;
  scene.height = options.height;
  scene.width = options.width;
  if (options.vary) {
    scene.frames = 1 + 4 * static_cast<int>(random.integer(0, (options.frames - 1) / 4));
    const auto [height, width] = kVariedCanvases[random.integer(0, kVariedCanvases.size() - 1)];
    scene.height = height;
    scene.width = width;
  }
  Sprite sprite = stratified_sprite(seed, split_key, index, scene.background);
  if (scene.frames == 1) sprite.direction = "still";
  const SizeRange sizes = size_range(scene.height, scene.width);
  const bool large = random.uniform() < 0.5;
  sprite.size_px = static_cast<int>(large ? random.integer(sizes.large_from, sizes.high)
                                          : random.integer(sizes.low, sizes.small_until));
  place_sprite(random, scene, sprite);
  scene.sprites.push_back(sprite);
  if (options.camera) {
    draw_camera(Random(seed, Purpose::kShapes, split_key + 2, static_cast<std::uint64_t>(index)),
                scene);
  }
  return scene;
}

}  // namespace zoetrope::data
