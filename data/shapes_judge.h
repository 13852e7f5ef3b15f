// Judges for MovingShapes: what a clip shows, read from its pixels alone. 100 % on ground truth.
// They never guess: what is not certain is "", and a clip without one clear sprite is not found.
#pragma once

#include <string>
#include <vector>

#include "data/frames.h"
#include "data/shapes.h"

namespace zoetrope::data {

struct SpriteSeen {
  bool found = false;                    // one sprite on a plain ground in >= 60 % of the frames
  std::string shape, colour, direction;  // "" when not certain; direction is "" for one frame
  double in_frame_share = 0;             // frames in which the sprite is seen
};

// Alpha mask against each frame's median colour; colour by the sprite's mean; direction by the
// centroid's track; shape by IoU with area-matched templates at the centroid (> .75 and best of the
// three in >= 60 % of the frames in which the sprite is seen).
SpriteSeen judge_clip(const Frames& frames);

struct ShapesScore {
  int num_prompts = 0;
  double colour = 0, shape = 0, direction = 0, all = 0;  // shares of clips that agree
};
// Agreement of what is seen with what was asked (its first sprite). Direction is not judged for
// stills (frames == 1): it then counts as agreeing when a sprite is found. Throws Error when the
// two lists differ in length or are empty.
ShapesScore score_shapes(const std::vector<SpriteSeen>& seen,
                         const std::vector<ShapesScene>& asked);

// 95 % Wilson interval of a share.
struct Interval {
  double low = 0, high = 1;
};
Interval wilson_interval(double share, int count);

}  // namespace zoetrope::data
