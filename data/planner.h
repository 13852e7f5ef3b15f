// Which samples a step trains on, and on which ranks: pure functions, the same on every rank,
// without communication.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/config.h"
#include "data/clip_pool.h"
#include "data/placement.h"

namespace zoetrope::data {

struct PlannerConfig {
  std::int64_t global_batch = 32;  // samples a step, over all ranks; set by the run
  std::uint64_t seed = 0;          // set by the run
  double per_token = 1;
  double per_token_squared = 1e-4;
  std::int64_t calibrate_every = 0;
  std::int64_t max_tokens_per_rank = 0;
  std::int64_t delay_window = 1;
  std::int64_t outlier_tokens = 0;
  bool rehearse = false;
  std::int64_t max_sp_degree = 1;
  std::int64_t ranks_per_node = 8;
  double sp_overhead = 0.03;
  template <class Visitor>
  void visit_fields(Visitor& visit) {
    visit("per_token", per_token, "cost of a token outside attention, until calibrated",
          at_least(0));
    visit("per_token_squared", per_token_squared,
          "cost of a pair of tokens in attention; about per_token / (6 * width)", at_least(0));
    visit("calibrate_every", calibrate_every,
          "steps between fits of costs and rank speeds to measured times; 0 = never, and two runs "
          "are bit-equal",
          at_least(0));
    visit("max_tokens_per_rank", max_tokens_per_rank, "tokens a rank takes a step; 0 = any",
          at_least(0));
    visit("delay_window", delay_window,
          "outliers wait for the last steps of every so many; 1 = none waits", between(1, 1024));
    visit("outlier_tokens", outlier_tokens, "longer samples are outliers; 0 = none", at_least(0));
    visit("rehearse", rehearse,
          "run the heaviest possible step once before the first, so that memory fails there");
    visit("max_sp_degree", max_sp_degree, "ranks that may share a sample (power of two)",
          between(1, 65536));
    visit("ranks_per_node", ranks_per_node, "groups up to this size stay inside a node",
          at_least(1));
    visit("sp_overhead", sp_overhead, "cost added to a shared sample per doubling of its ranks",
          at_least(0));
  }
};

// One sample of a step. `global_index` = step * global_batch + position, where it was drawn: the
// name under which noise, timestep and caption draws are keyed, whatever the rank and the step.
struct PlannedSample {
  std::int64_t global_index = 0;
  std::int64_t clip = 0;  // of the pool
  Seat seat;              // the ranks that run it
  double cost = 0;        // of the whole sample
};

struct StepPlan {
  std::int64_t step = 0;
  std::vector<PlannedSample> samples;  // as they run: each rank runs its own in this order
  double balance = 1;                  // mean over max of the ranks' predicted busy time
};

// What places work until a first record is published: the config's costs, equal ranks.
Calibration starting_calibration(const PlannerConfig& config);

// Samples are drawn from the pool by their global index: every clip of a corpus exactly once an
// epoch; a global batch may straddle two epochs. In a window of `delay_window` steps the samples
// above `outlier_tokens` come last, in order: steps share long samples that few of them could
// level, all batches stay full and nothing is dropped. Which samples a step has depends on (config,
// step, pool) alone; where they run also on the mesh and the calibration (data/placement.h). Asks
// for the lengths of the window's clips only.
StepPlan plan_step(const PlannerConfig& config, std::int64_t step, const ClipPool& pool,
                   int num_ranks, const Calibration& calibration);

// The longest `global_batch` clips as a step: no step of distinct clips has more tokens. Asks for
// every length.
StepPlan heaviest_step(const PlannerConfig& config, const ClipPool& pool, int num_ranks,
                       const Calibration& calibration);

// XXH3 over step, samples, seats and order: ranks with equal hashes have the same plan.
std::string hash_plan(const StepPlan& plan);

}  // namespace zoetrope::data
