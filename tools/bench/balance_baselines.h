// How others place samples: each returns what one step costs its ranks.
#pragma once

#include <algorithm>
#include <map>
#include <numeric>
#include <utility>
#include <vector>

#include "data/placement.h"
#include "tools/bench/balance_mixes.h"

namespace zoetrope::bench {

struct StepBalance {
  double executed = 0;  // mean over max of the ranks' times
  double net = 0;       // cost of the samples themselves / ranks, over the max
};

inline StepBalance balance_of(const std::vector<double>& seconds, double useful) {
  const double longest = *std::max_element(seconds.begin(), seconds.end());
  const auto ranks = static_cast<double>(seconds.size());
  const double sum = std::accumulate(seconds.begin(), seconds.end(), 0.0);
  return {sum / ranks / longest, useful / ranks / longest};
}

struct StepSamples {
  std::vector<Clip> clips;
  std::vector<std::int64_t> tokens;
  std::vector<double> costs;
  double total = 0;
  int num_ranks = 1;
};

// Equal counts in the order drawn; `pad`: every sample as long as its rank's longest.
inline StepBalance in_order(const StepSamples& step, bool pad) {
  const std::size_t share = step.costs.size() / static_cast<std::size_t>(step.num_ranks);
  std::vector<double> seconds;
  for (auto first = step.costs.begin(); first != step.costs.end();) {
    const auto last = first + static_cast<std::ptrdiff_t>(share);
    seconds.push_back(pad ? *std::max_element(first, last) * static_cast<double>(share)
                          : std::accumulate(first, last, 0.0));
    first = last;
  }
  return balance_of(seconds, step.total);
}

// Buckets of (tokens a frame, frames rounded down to a power of two): each rank runs one batch of
// one bucket, buckets drawn by their number of batches; the batch size is the best whole number for
// the mean rank's cost. What rounding cuts off the clips is charged to nobody.
inline StepBalance buckets(const StepSamples& step, Random random) {
  const data::CostModel cost = layer_cost();
  std::map<std::int64_t, double> samples_of;  // by tokens
  for (Clip clip : step.clips) {
    std::int64_t frames = 1;
    while (2 * frames <= clip.frames) frames *= 2;
    clip.frames = frames;
    samples_of[clip.tokens()] += 1;
  }
  const double target = step.total / step.num_ranks;
  std::vector<std::pair<double, double>> batches;  // how many so far, cost of one
  double count = 0;
  for (const auto& [tokens, samples] : samples_of) {
    const double size = std::max(1.0, std::round(target / cost(tokens)));
    count += samples / size;
    batches.emplace_back(count, size * cost(tokens));
  }
  std::vector<double> seconds;
  for (int rank = 0; rank < step.num_ranks; ++rank) {
    const double draw = random.uniform() * count;
    const auto found = std::lower_bound(batches.begin(), batches.end(), std::pair(draw, 0.0));
    seconds.push_back(found == batches.end() ? batches.back().second : found->second);
  }
  return balance_of(seconds, std::accumulate(seconds.begin(), seconds.end(), 0.0));
}

// Longest processing time first by `weights`, without sharing; `sp_degree` ranks run everything
// together.
inline StepBalance without_adapting(const StepSamples& step, const data::CostModel& weights,
                                    int sp_degree, double sp_overhead) {
  const data::RankLayout mesh{step.num_ranks / sp_degree, 8, 1};
  const data::Placement placement =
      data::place_samples(step.tokens, mesh, {}, data::Calibration{0, weights, {}});
  std::vector<double> seconds(static_cast<std::size_t>(mesh.num_ranks));
  for (std::size_t i = 0; i < step.costs.size(); ++i) {
    seconds[static_cast<std::size_t>(placement.seats[i].first_rank)] +=
        data::shared_cost(step.costs[i], sp_degree, sp_overhead);
  }
  return balance_of(seconds, step.total / sp_degree);
}

}  // namespace zoetrope::bench
