// Which samples a step trains on, and on which rank: pure functions, the same on every rank, without
// communication.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace zoetrope::data {

struct PlannerConfig {
  std::int64_t global_batch = 32;   // samples a step, over all ranks
  std::uint64_t seed = 0;
};

// One sample of a step. `global_index` = step * global_batch + position: the name under which noise,
// timestep and caption draws are keyed, whatever the rank.
struct PlannedSample {
  std::int64_t global_index = 0;
  std::int64_t clip = 0;            // index into the manifest
  int rank = 0;
  double cost = 0;
};

struct StepPlan {
  std::int64_t step = 0;
  std::vector<PlannedSample> samples;   // in global order
  double balance = 1;                   // mean rank cost / max rank cost
};

// `tokens[i]`: sequence length of clip i. Samples are drawn by a stateless permutation of each epoch
// (every clip once an epoch); cost = tokens + tokens^2 * quadratic; ranks are filled longest-processing-time first.
StepPlan plan_step(const PlannerConfig& config, std::int64_t step, std::span<const std::int64_t> tokens,
                   int num_ranks);

}  // namespace zoetrope::data
