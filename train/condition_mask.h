// Which patches of a training sample the model gets clean: one mask for animating a still,
// extending, filling gaps, joining, looping and editing (arXiv:2412.20404 trains such masks, too).
#pragma once

#include <string>

#include <ATen/core/Tensor.h>

#include "base/config.h"
#include "base/random.h"
#include "model/packed.h"

namespace zoetrope::train {

// Shares of the samples; the rest, and samples too small for their mask, get none.
struct ConditionConfig {
  double first = 0, last = 0, ends = 0, prefix = 0, suffix = 0, join = 0, frames = 0, region = 0;
  template <class Visitor>
  void visit_fields(Visitor& visit) {
    const Allowed share = between(0, 1);
    visit("first", first, "share of samples whose first frame is given: animate a still", share);
    visit("last", last, "the last frame", share);
    visit("ends", ends, "first and last frame: loops, and from one still to another", share);
    visit("prefix", prefix, "a first part of any length: extend forward", share);
    visit("suffix", suffix, "a last part of any length: extend backward", share);
    visit("join", join, "a first and a last part: join two videos", share);
    visit("frames", frames, "any frames: fill in the missing ones", share);
    visit("region", region, "all but a box, the same in every frame: edit there", share);
  }
  double total() const { return first + last + ends + prefix + suffix + join + frames + region; }
};

struct ConditionMask {
  std::string kind = "none";  // or the field's name
  at::Tensor clean_T;         // bool, in token order (t, h, w); undefined for none
};

// At least one patch is clean and one is not. Draws from `random` alone.
ConditionMask draw_condition(const ConditionConfig& config, const model::Grid& grid, Random random);

}  // namespace zoetrope::train
