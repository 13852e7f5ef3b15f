// MovingShapes: generated clips with exact captions, so that prompt following is measured without a
// learned judge.
//
// A scene is a pure function of (seed, split, index, options), the same on every machine. Each run
// of 90 indices holds every (shape, colour, direction) once; three such runs hold each of them once
// on every background. Rules, L being the side along which a sprite moves and S the shorter side of
// the canvas:
//   size      S/8 + 8 .. 7S/16 px (16..28 at 64x64); the lowest third is "small", the highest
//   "large",
//             and nothing lies between, so that the word is never in doubt
//   motion    at least L/6 over the clip; below L/64 a frame is "slow", above L/48 "fast", nothing
//   between position  the sprite stays at least 1 px inside the frame in every frame
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/json.h"
#include "data/colour.h"
#include "data/frames.h"

namespace zoetrope::data {

inline const std::vector<std::string> kShapeNames = {"circle", "square", "triangle"};
inline const std::vector<std::string> kColourNames = {"red",    "green",  "blue",
                                                      "yellow", "purple", "orange"};
// "still" does not move.
inline const std::vector<std::string> kDirectionNames = {"left", "right", "up", "down", "still"};
inline const std::vector<std::string> kBackgroundNames = {"black", "grey", "white"};

inline const std::vector<std::string> kShapesCameras = {
    "static", "pan_left", "pan_right", "tilt_up", "tilt_down", "zoom_in", "zoom_out"};

inline constexpr double kShapesFps = 16;

struct Sprite {
  std::string shape, colour, direction;
  std::string start;  // "top left", "centre", ...: the ninth of the canvas that holds its centre
  int size_px = 20;   // diameter of the circle; the others have the same bounding box
  double speed_px = 1.5;  // a frame
  double x0 = 0,
         y0 = 0;  // centre of the bounding box in the first frame; (0, 0) is the top left corner
};

// Everything about one clip; `truth.jsonl` holds it.
struct ShapesScene {
  int frames = 17, height = 64, width = 64;
  std::string background;  // "black", "grey" or "white"
  std::string camera = "static";
  // Pixels a frame of a pan or tilt; growth a frame of a zoom. The camera moves the ground alone:
  // sprites have their places in the picture.
  double camera_speed = 0;
  bool textured = false;  // smooth blotches on the ground, without which no camera would show
  bool cut = false;
  std::vector<Sprite> sprites;
};

struct ShapesOptions {
  int frames = 17, height = 64, width = 64;  // at least 1, 32, 32
  // Mixes lengths 1, 5, 9, ... up to `frames`, and the canvases 64x64, 48x80, 80x48, 64x96, 96x64
  // and 48x48 in place of height x width.
  bool vary = false;
  // Textured grounds under a camera that stands still, pans, tilts or zooms.
  bool camera = false;
};

// Scene `index` of a split ("train" or "test"); the two never share a random stream. A scene of one
// frame has direction "still". Throws ConfigError on an unknown split, a negative index or a canvas
// too small.
ShapesScene make_scene(std::uint64_t seed, const std::string& split, std::int64_t index,
                       const ShapesOptions& options);
Frames draw_scene(
    const ShapesScene& scene);  // anti-aliased, 16 fps; later sprites cover earlier ones
std::string short_caption(const ShapesScene& scene);  // "a red circle moves left"
std::string dense_caption(const ShapesScene& scene);  // with background, size, start, speed
Json scene_to_json(const ShapesScene& scene, const std::string& video);
ShapesScene scene_from_json(const Json& json);  // DataError naming the field

// Level added to the ground of a textured scene, 0 .. 59, [height, width], in frame `index`.
std::vector<std::uint8_t> ground_texture(const ShapesScene& scene, int index);

RgbColour sprite_rgb(const std::string& colour);          // DataError when unknown
RgbColour background_rgb(const std::string& background);  // DataError when unknown

// Share of each pixel that a shape covers, [height, width]. (x, y) is the centre of its bounding
// box, size_px the side; the triangle points up. Exact along rows, 16 lines a pixel.
std::vector<float> shape_coverage(const std::string& shape, double x, double y, double size_px,
                                  int height, int width);

}  // namespace zoetrope::data
