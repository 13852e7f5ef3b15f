// Draws a step's samples and balances them over ranks by cost.
#include "data/planner.h"

#include <algorithm>
#include <functional>
#include <limits>
#include <numeric>
#include <queue>
#include <utility>

#include "base/error.h"
#include "base/random.h"

namespace zoetrope::data {
namespace {

void check(const PlannerConfig& config, std::int64_t step, std::span<const std::int64_t> tokens,
           int num_ranks) {
  ZOETROPE_CHECK_DATA(!tokens.empty(), "there are no clips to train on");
  ZOETROPE_CHECK_CONFIG(config.global_batch >= 1, "global_batch is ", config.global_batch,
                        ", expected at least 1");
  ZOETROPE_CHECK_CONFIG(config.linear > 0 && config.quadratic >= 0, "cost of ", config.linear,
                        " * tokens + ", config.quadratic, " * tokens^2: expected > 0 and >= 0");
  ZOETROPE_CHECK(num_ranks >= 1, "planning for ", num_ranks, " ranks");
  ZOETROPE_CHECK(
      step >= 0 && step < std::numeric_limits<std::int64_t>::max() / config.global_batch - 1,
      "step ", step, " is out of range");
}

PlannedSample draw(const PlannerConfig& config, std::int64_t global_index,
                   std::span<const std::int64_t> tokens) {
  const auto index = static_cast<std::uint64_t>(global_index);
  const std::uint64_t size = tokens.size();
  PlannedSample sample;
  sample.global_index = global_index;
  sample.clip = static_cast<std::int64_t>(permute(index % size, size, config.seed, index / size));
  const std::int64_t length = tokens[static_cast<std::size_t>(sample.clip)];
  ZOETROPE_CHECK_DATA(length >= 1, "clip ", sample.clip, " has ", length, " tokens");
  const auto count = static_cast<double>(length);
  sample.cost = config.linear * count + config.quadratic * count * count;
  return sample;
}

// Returns mean / max of the ranks' loads.
double balance_over_ranks(std::vector<PlannedSample>& samples, int num_ranks) {
  std::vector<std::size_t> order(samples.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return samples[a].cost > samples[b].cost; });
  using LoadOfRank = std::pair<double, int>;
  std::priority_queue<LoadOfRank, std::vector<LoadOfRank>, std::greater<>> least;
  for (int rank = 0; rank < num_ranks; ++rank) least.emplace(0.0, rank);
  double total = 0, max_load = 0;
  for (const std::size_t i : order) {
    auto [load, rank] = least.top();
    least.pop();
    samples[i].rank = rank;
    load += samples[i].cost;
    total += samples[i].cost;
    max_load = std::max(max_load, load);
    least.emplace(load, rank);
  }
  return std::min(total / num_ranks / max_load, 1.0);
}

}  // namespace

StepPlan plan_step(const PlannerConfig& config, std::int64_t step,
                   std::span<const std::int64_t> tokens, int num_ranks) {
  check(config, step, tokens, num_ranks);
  StepPlan plan;
  plan.step = step;
  for (std::int64_t position = 0; position < config.global_batch; ++position) {
    plan.samples.push_back(draw(config, step * config.global_batch + position, tokens));
  }
  plan.balance = balance_over_ranks(plan.samples, num_ranks);
  return plan;
}

}  // namespace zoetrope::data
