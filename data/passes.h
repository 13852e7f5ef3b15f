// A step's samples cut into passes: forward and backward passes one after another whose gradients
// add up, so that memory holds the activations of one of them.
#pragma once

#include <cstdint>
#include <vector>

#include "data/planner.h"

namespace zoetrope::data {

struct Passes {
  std::vector<std::int32_t> pass_of;  // of each sample of the plan
  std::int32_t count = 1;
};

// In the plan's order, each sample joins the first pass where its part fits into `max_tokens` on
// every rank of its seat; a part that is longer has a pass for itself there. 0: one pass holds all.
// A pure function: ranks agree on the number, and on the pass of each shared sample.
Passes cut_into_passes(const StepPlan& plan, const ClipPool& pool, int num_ranks,
                       std::int64_t max_tokens);

}  // namespace zoetrope::data
