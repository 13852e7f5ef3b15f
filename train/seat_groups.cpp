// See seat_groups.h.
#include "train/seat_groups.h"

#include "base/error.h"

namespace zoetrope::train {

SeatGroups::SeatGroups(launch::Mesh& mesh, const data::PlannerConfig& planner) : mesh_(mesh) {
  const data::RankLayout layout{mesh.num_batches(), static_cast<int>(planner.ranks_per_node),
                                static_cast<int>(planner.max_sp_degree)};
  for (int degree = 2; degree <= std::min(layout.max_sp_degree, layout.num_ranks); degree *= 2) {
    int first = layout.num_ranks + mesh.batch();  // in none: a group of one
    for (const int rank : data::first_ranks_of_groups(layout, degree)) {
      if (data::Seat{rank, degree}.holds(mesh.batch())) first = rank;
    }
    const int tensors = mesh.size(launch::Axis::kTensor);
    groups_[degree] = mesh.world().split(first * tensors + mesh.index(launch::Axis::kTensor));
  }
}

model::TokenPlan SeatGroups::token_plan(const std::vector<data::Seat>& seats,
                                        const std::vector<model::Grid>& grids) const {
  ZOETROPE_CHECK(seats.size() == grids.size(), seats.size(), " seats of ", grids.size(), " grids");
  std::vector<std::int64_t> lengths;
  std::vector<model::TokenPlan::Pack> packs;
  for (std::size_t i = 0; i < seats.size(); ++i) {
    lengths.push_back(grids[i].tokens());
    if (i == 0 || !(seats[i] == seats[i - 1])) {
      packs.push_back({0, seats[i].sp_degree > 1 ? groups_.at(seats[i].sp_degree).get()
                                                 : &mesh_.group(launch::Axis::kSequence)});
    }
    ++packs.back().num_segments;
  }
  return model::TokenPlan(lengths, packs, &mesh_.group(launch::Axis::kTensor));
}

}  // namespace zoetrope::train
