// First fit over the tokens that each rank holds in each pass.
#include "data/passes.h"

#include <algorithm>

namespace zoetrope::data {

Passes cut_into_passes(const StepPlan& plan, const ClipPool& pool, int num_ranks,
                       std::int64_t max_tokens) {
  Passes passes;
  if (max_tokens == 0) {
    passes.pass_of.assign(plan.samples.size(), 0);
    return passes;
  }
  std::vector<std::vector<std::int64_t>> held;  // by pass and rank
  for (const PlannedSample& sample : plan.samples) {
    const Seat& seat = sample.seat;
    const std::int64_t whole = pool.tokens(sample.clip);
    const std::int64_t part = (whole + seat.sp_degree - 1) / seat.sp_degree;
    const auto fits = [&](const std::vector<std::int64_t>& pass) {
      const auto first = pass.begin() + seat.first_rank;
      return std::all_of(first, first + seat.sp_degree,
                         [&](std::int64_t sum) { return sum == 0 || sum + part <= max_tokens; });
    };
    const auto found = std::find_if(held.begin(), held.end(), fits);
    const auto pass = static_cast<std::size_t>(found - held.begin());
    if (found == held.end()) held.emplace_back(num_ranks);
    for (int r = seat.first_rank; r < seat.first_rank + seat.sp_degree; ++r) held[pass][r] += part;
    passes.pass_of.push_back(static_cast<std::int32_t>(pass));
  }
  passes.count = std::max<std::int32_t>(1, static_cast<std::int32_t>(held.size()));
  return passes;
}

}  // namespace zoetrope::data
