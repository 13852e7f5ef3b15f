// Judges for MovingShapes: what a clip shows, read from its pixels alone. 100 % on ground truth.
#pragma once

#include <string>
#include <vector>

#include "data/frames.h"
#include "data/shapes.h"

namespace zoetrope::data {

struct SpriteSeen {
  bool found = false;
  std::string shape, colour, direction;   // "" when not certain
  double in_frame_share = 0;              // frames in which the sprite is seen
};

// Alpha mask against the median background; colour by the sprite's mean; direction by the centroid's
// track; shape by IoU with area-matched templates at the centroid (> .75 in >= 60 % of frames).
SpriteSeen judge_clip(const Frames& frames);

struct ShapesScore {
  int num_prompts = 0;
  double colour = 0, shape = 0, direction = 0, all = 0;  // shares of clips that agree
};
// Agreement of what is seen with what was asked. Direction is not judged for stills (frames == 1):
// it then counts as agreeing.
ShapesScore score_shapes(const std::vector<SpriteSeen>& seen, const std::vector<ShapesScene>& asked);

// 95 % Wilson interval of a share.
struct Interval {
  double low = 0, high = 1;
};
Interval wilson_interval(double share, int count);

}  // namespace zoetrope::data
