// Motion between pictures: where blocks went, and the move of the camera that explains most of it.
#pragma once

#include <string>
#include <vector>

#include "data/small_luma.h"

namespace zoetrope::data {

// A block of the later picture and how far its content moved, in pixels; x right, y down, from the
// picture's centre.
struct BlockMotion {
  double x = 0, y = 0, dx = 0, dy = 0;
  bool textured = false;  // a flat block says nothing about where it went; its motion is 0
};

// Blocks of 8x8 of `after`, each searched for in `before` by least absolute difference, to a
// fraction of a pixel; standing still is preferred where moving explains no more.
std::vector<BlockMotion> block_motion(const LumaPicture& before, const LumaPicture& after);

// Content moves by (dx, dy) + growth * (x, y).
struct CameraMove {
  double dx = 0, dy = 0, growth = 0;
  double agreeing = 0;  // share of the textured blocks that go along
  double moved = 0;     // share of all blocks that moved
};
// Least squares, blocks that disagree weighted down (Tukey's biweight).
CameraMove fit_camera(const std::vector<BlockMotion>& blocks);

// The name of kCameraNames for moves measured over `interval_s` on pictures whose longer side has
// `side` pixels: what the middle one of them shows.
std::string camera_name(const std::vector<CameraMove>& moves, double interval_s, int side);

}  // namespace zoetrope::data
