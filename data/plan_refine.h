// Local refinement of a placement: moves and swaps between the last and the first rank to finish.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "data/placement.h"

namespace zoetrope::data {

// What refinement works on. Sample i stands at position i of the running order (longest first).
struct Load {
  std::span<const double> costs;         // of each sample
  std::span<const std::int64_t> tokens;  // of each sample
  std::span<const double> speeds;        // of each rank
  std::vector<double> finish;            // of each rank
  std::vector<std::int64_t> room;        // tokens that each rank may still take
};

// Lowers the latest finish, keeping within `room`: repeatedly the best move or swap of samples that
// are not shared between the rank that finishes last and the one that finishes first, until the
// gain is below 0.05 % of the latest finish. The latest finish never rises. Keeps `load` up to
// date.
void refine_seats(std::vector<Seat>& seats, Load& load);

}  // namespace zoetrope::data
