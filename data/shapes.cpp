// Draws the scenes of MovingShapes and pictures of them.
// Every random number comes from Random(seed, kShapes, split, index): no order of work can change a
// scene.
#include "data/shapes.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "base/error.h"
#include "base/random.h"

namespace zoetrope::data {
namespace {

constexpr double kMarginPx = 1;
constexpr int kMinSidePx = 32;
constexpr int kLinesPerPixel = 16;
constexpr double kMinTravel = 1.0 / 6;   // of the side along which a sprite moves, over the clip
constexpr double kSlowBelow = 1.0 / 64;  // of that side, a frame
constexpr double kFastAbove = 1.0 / 48;

// Sprites are at least 107 apart from each other and 118 from every background (Euclid, 0..255), so
// that chroma subsampling and a lossy VAE leave nearest-colour judging a wide margin.
constexpr std::array<RgbColour, 6> kSpriteRgb = {
    {{205, 15, 45}, {20, 175, 60}, {30, 70, 225}, {250, 228, 30}, {150, 30, 190}, {250, 125, 0}}};
constexpr std::array<RgbColour, 3> kBackgroundRgb = {
    {{16, 16, 16}, {128, 128, 128}, {240, 240, 240}}};

constexpr std::array<std::pair<int, int>, 6> kVariedCanvases = {
    {{64, 64}, {48, 80}, {80, 48}, {64, 96}, {96, 64}, {48, 48}}};  // height, width

int find_name(const std::vector<std::string>& names, const std::string& name, const char* what) {
  const auto found = std::find(names.begin(), names.end(), name);
  ZOETROPE_CHECK_DATA(found != names.end(), "MovingShapes knows no ", what, " \"", name, "\"");
  return static_cast<int>(found - names.begin());
}

// Unit step of a direction: x to the right, y down.
std::pair<int, int> step_of(const std::string& direction) {
  constexpr std::array<std::pair<int, int>, 5> kSteps = {
      {{-1, 0}, {1, 0}, {0, -1}, {0, 1}, {0, 0}}};
  return kSteps[find_name(kDirectionNames, direction, "direction")];
}

struct SizeRange {
  int low, small_until, large_from, high;
};

SizeRange size_range(int height, int width) {
  const double shorter = std::min(height, width);
  const int low = static_cast<int>(std::lround(shorter / 8 + 8));
  const int high = static_cast<int>(std::lround(shorter * 7 / 16));
  const int third = (high - low) / 3;
  return {low, low + third, high - third, high};
}

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

RgbColour sprite_rgb(const std::string& colour) {
  return kSpriteRgb[find_name(kColourNames, colour, "colour")];
}

RgbColour background_rgb(const std::string& background) {
  return kBackgroundRgb[find_name(kBackgroundNames, background, "background")];
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
  return scene;
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

namespace {

std::string with_article(const std::string& words) {
  const bool vowel = std::string("aeiou").find(words.front()) != std::string::npos;
  return (vowel ? "an " : "a ") + words;
}

std::string joined_by_and(const std::vector<std::string>& parts) {
  std::string text;
  for (const std::string& part : parts) text += (text.empty() ? "" : " and ") + part;
  return text;
}

std::string size_word(const ShapesScene& scene, const Sprite& sprite) {
  const SizeRange sizes = size_range(scene.height, scene.width);
  return 2 * sprite.size_px <= sizes.small_until + sizes.large_from ? "small" : "large";
}

std::string speed_word(const ShapesScene& scene, const Sprite& sprite) {
  const double side = step_of(sprite.direction).first != 0 ? scene.width : scene.height;
  return sprite.speed_px < side * (kSlowBelow + kFastAbove) / 2 ? "slowly" : "fast";
}

std::string dense_sprite(const ShapesScene& scene, const Sprite& sprite) {
  const std::string what =
      "a " + size_word(scene, sprite) + " " + sprite.colour + " " + sprite.shape;
  const std::string where = "the " + sprite.start + " of a " + scene.background + " background";
  if (scene.frames == 1) return what + " at " + where;
  if (sprite.direction == "still") return what + " stays still at " + where;
  return what + " starts at " + where + " and moves " + sprite.direction + " " +
         speed_word(scene, sprite);
}

// A field of a truth line, with its name in the error when it is missing or of another type.
template <class T>
T field(const Json& json, const char* name) {
  ZOETROPE_CHECK_DATA(json.is_object() && json.contains(name), "MovingShapes scene has no field \"",
                      name, "\"");
  try {
    return json.at(name).get<T>();
  } catch (const nlohmann::json::exception& error) {
    throw DataError(concat("MovingShapes scene, field \"", name, "\": ", error.what()));
  }
}

Sprite sprite_from_json(const Json& json) {
  Sprite sprite;
  sprite.shape = field<std::string>(json, "shape");
  sprite.colour = field<std::string>(json, "colour");
  sprite.direction = field<std::string>(json, "direction");
  sprite.start = field<std::string>(json, "start");
  sprite.size_px = field<int>(json, "size_px");
  sprite.speed_px = field<double>(json, "speed_px");
  sprite.x0 = field<double>(json, "x0");
  sprite.y0 = field<double>(json, "y0");
  find_name(kShapeNames, sprite.shape, "shape");
  find_name(kColourNames, sprite.colour, "colour");
  find_name(kDirectionNames, sprite.direction, "direction");
  ZOETROPE_CHECK_DATA(sprite.size_px >= 1, "MovingShapes sprite size ", sprite.size_px, " px");
  return sprite;
}

}  // namespace

std::string short_caption(const ShapesScene& scene) {
  std::vector<std::string> parts;
  for (const Sprite& sprite : scene.sprites) {
    std::string part = with_article(sprite.colour + " " + sprite.shape);
    if (scene.frames > 1)
      part += sprite.direction == "still" ? " stays still" : " moves " + sprite.direction;
    parts.push_back(part);
  }
  return joined_by_and(parts);
}

std::string dense_caption(const ShapesScene& scene) {
  std::vector<std::string> parts;
  for (const Sprite& sprite : scene.sprites) parts.push_back(dense_sprite(scene, sprite));
  return joined_by_and(parts);
}

Json scene_to_json(const ShapesScene& scene, const std::string& video) {
  Json sprites = Json::array();
  for (const Sprite& sprite : scene.sprites) {
    sprites.push_back({{"shape", sprite.shape},
                       {"colour", sprite.colour},
                       {"size_px", sprite.size_px},
                       {"start", sprite.start},
                       {"direction", sprite.direction},
                       {"speed_px", sprite.speed_px},
                       {"x0", sprite.x0},
                       {"y0", sprite.y0}});
  }
  return {{"video", video},
          {"frames", scene.frames},
          {"height", scene.height},
          {"width", scene.width},
          {"background", scene.background},
          {"camera", scene.camera},
          {"cut", scene.cut},
          {"sprites", sprites}};
}

ShapesScene scene_from_json(const Json& json) {
  ShapesScene scene;
  scene.frames = field<int>(json, "frames");
  scene.height = field<int>(json, "height");
  scene.width = field<int>(json, "width");
  scene.background = field<std::string>(json, "background");
  scene.camera = field<std::string>(json, "camera");
  scene.cut = field<bool>(json, "cut");
  find_name(kBackgroundNames, scene.background, "background");
  find_name({"static"}, scene.camera, "camera");
  ZOETROPE_CHECK_DATA(!scene.cut, "MovingShapes draws no cuts");
  ZOETROPE_CHECK_DATA(scene.frames >= 1 && scene.height >= 1 && scene.width >= 1,
                      "MovingShapes scene of ", scene.frames, " frames of ", scene.height, "x",
                      scene.width);
  for (const Json& sprite : field<Json>(json, "sprites"))
    scene.sprites.push_back(sprite_from_json(sprite));
  return scene;
}

}  // namespace zoetrope::data
