// Which ranks run each sample of a step: a sequence-parallel degree per sample, and the samples
// dealt to the least loaded ranks. Pure functions of their arguments, the same on every rank.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "data/calibration.h"

namespace zoetrope::data {

struct RankLayout {
  int num_ranks = 1;
  int ranks_per_node = 1;  // groups up to this size stay inside a node
  int max_sp_degree = 1;   // ranks that may share a sample; powers of two are used
};

struct PlacementLimits {
  double sp_overhead = 0.03;  // added to a shared sample's cost per doubling of its ranks
  std::int64_t max_tokens_per_rank = 0;  // of a step; 0 = unlimited
};

// The ranks [first_rank, first_rank + sp_degree) run a sample together; an aligned group: it starts
// at a multiple of its size, counted from the start of its node while it fits inside one.
struct Seat {
  int first_rank = 0, sp_degree = 1;
  bool holds(int rank) const { return rank >= first_rank && rank < first_rank + sp_degree; }
  bool operator==(const Seat&) const = default;
};

// Where the groups of this degree begin: every seat is one of them.
std::vector<int> first_ranks_of_groups(const RankLayout& mesh, int sp_degree);

struct Placement {
  std::vector<Seat> seats;          // of each sample
  std::vector<std::int32_t> order;  // samples as they run: each rank runs its own in this order
  double balance = 1;               // mean over max of the ranks' busy time, as predicted
};

// `tokens[i]`: length of sample i. Samples run longest first, equal lengths adjacent, ties in the
// order given; so shared samples come first, in one order on all ranks, and no two groups can wait
// for each other. A sample's degree is the least that keeps its part below a share of the mean
// load and below the token limit; the share with the least makespan wins. Each sample goes to the
// ranks that are free first and have room for its tokens (longest processing time first, load /
// speed); then `refine_seats`. ConfigError with the numbers when the tokens do not fit.
Placement place_samples(std::span<const std::int64_t> tokens, const RankLayout& mesh,
                        const PlacementLimits& limits, const Calibration& calibration);

// Cost on each rank of `sp_degree` that share a sample of cost `cost`.
double shared_cost(double cost, int sp_degree, double sp_overhead);

// Runs the seats with the given costs (of whole samples) and speeds (empty: all 1). A shared sample
// starts when the last of its ranks is free and lasts as long as the slowest of them needs.
struct Timeline {
  std::vector<double> busy, finish;  // of each rank
  double makespan = 0;               // latest finish
  double balance = 1;                // mean busy / makespan
};
Timeline run_seats(const Placement& placement, std::span<const double> costs,
                   std::span<const double> speeds, int num_ranks, double sp_overhead);

}  // namespace zoetrope::data
