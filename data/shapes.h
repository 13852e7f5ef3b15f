// MovingShapes: generated clips with exact captions, so that prompt following is measured without a
// learned judge.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/json.h"
#include "data/frames.h"

namespace zoetrope::data {

inline const std::vector<std::string> kShapeNames = {"circle", "square", "triangle"};
inline const std::vector<std::string> kColourNames = {"red", "green", "blue", "yellow", "purple", "orange"};
// "still" does not move.
inline const std::vector<std::string> kDirectionNames = {"left", "right", "up", "down", "still"};

struct Sprite {
  std::string shape, colour, direction;
  std::string start;        // "top left", "centre", ...
  int size_px = 20;         // diameter of the circle; the others have the same bounding box
  double speed_px = 1.5;    // a frame
  double x0 = 0, y0 = 0;    // centre in the first frame
};

// Everything about one clip; `truth.jsonl` holds it.
struct ShapesScene {
  int frames = 17, height = 64, width = 64;
  std::string background;   // "black", "grey", "white", ...
  std::string camera = "static";
  bool cut = false;
  std::vector<Sprite> sprites;
};

struct ShapesOptions {
  int frames = 17, height = 64, width = 64;
  bool vary = false;        // mixes sizes, lengths (1, 5, 9, 13, 17) and aspect ratios
};

// Scene `index` of a split; train and test never share a (seed, index).
ShapesScene make_scene(std::uint64_t seed, const std::string& split, std::int64_t index,
                       const ShapesOptions& options);
Frames draw_scene(const ShapesScene& scene);   // anti-aliased, 16 fps
std::string short_caption(const ShapesScene& scene);  // "a red circle moves left"
std::string dense_caption(const ShapesScene& scene);  // with background, size, start, speed
Json scene_to_json(const ShapesScene& scene, const std::string& video);
ShapesScene scene_from_json(const Json& json);

}  // namespace zoetrope::data
