// The groups of ranks that the planner seats long samples on, and what that makes of a batch.
#pragma once

#include <algorithm>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "data/planner.h"
#include "launch/mesh.h"
#include "model/packed.h"
#include "model/parallel/token_plan.h"

namespace zoetrope::train {

class SeatGroups {
 public:
  // Every group that the planner may choose. Collective; the mesh outlives them.
  SeatGroups(launch::Mesh& mesh, const data::PlannerConfig& planner);

  // Which of a batch's tokens this rank holds. `seats[i]` runs the sample of `grids[i]`; samples of
  // one seat are neighbours, in the same order on all its ranks: they make a pack.
  model::TokenPlan token_plan(const std::vector<data::Seat>& seats,
                              const std::vector<model::Grid>& grids) const;

 private:
  launch::Mesh& mesh_;
  std::map<int, std::unique_ptr<launch::Communicator>> groups_;  // by degree: at most one of each
};

// Brings the samples of each seat together, seats as they first come.
template <class Sample, class SeatOf>
void join_seats(std::vector<Sample>& samples, const SeatOf& seat_of) {
  std::map<std::pair<int, int>, std::size_t> order;
  const auto key = [&](const Sample& sample) {
    const data::Seat& seat = seat_of(sample);
    return std::pair(seat.first_rank, seat.sp_degree);
  };
  for (const Sample& sample : samples) order.emplace(key(sample), order.size());
  std::stable_sort(samples.begin(), samples.end(), [&](const auto& a, const auto& b) {
    return order.at(key(a)) < order.at(key(b));
  });
}

}  // namespace zoetrope::train
