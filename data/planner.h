// Which samples a step trains on, and on which rank: pure functions, the same on every rank,
// without communication.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace zoetrope::data {

// cost = linear * tokens + quadratic * tokens^2: what is per token in a DiT block (projections,
// MLP) against attention. Their ratio is about 1 / (6 * width): 1e-4 fits widths around 1500;
// measured times of the model at hand fit better.
struct PlannerConfig {
  std::int64_t global_batch = 32;  // samples a step, over all ranks
  std::uint64_t seed = 0;
  double linear = 1;        // > 0
  double quadratic = 1e-4;  // >= 0
};

// One sample of a step. `global_index` = step * global_batch + position: the name under which
// noise, timestep and caption draws are keyed, whatever the rank.
struct PlannedSample {
  std::int64_t global_index = 0;
  std::int64_t clip = 0;  // index into the manifest
  int rank = 0;
  double cost = 0;
};

struct StepPlan {
  std::int64_t step = 0;
  std::vector<PlannedSample> samples;  // in global order
  double balance = 1;                  // mean rank cost / max rank cost
};

// `tokens[i]`: sequence length of clip i. Samples are drawn by a stateless permutation of each
// epoch: every clip exactly once an epoch; a global batch may straddle two epochs. Ranks are filled
// longest-processing-time first: the dearest sample that is left goes to the rank with the least
// load, ties to the lower global index and the lower rank. As every cost is > 0, no rank stays
// empty while there are as many samples as ranks; with fewer, the last ranks have none. Which
// samples a step has depends on (seed, step, number of clips) alone.
StepPlan plan_step(const PlannerConfig& config, std::int64_t step,
                   std::span<const std::int64_t> tokens, int num_ranks);

}  // namespace zoetrope::data
