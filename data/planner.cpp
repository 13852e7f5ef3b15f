// Draws a step's samples, holds outliers back, and hands them to the placement.
#include "data/planner.h"

#include <algorithm>
#include <functional>
#include <limits>
#include <queue>
#include <utility>

#include "base/error.h"
#include "base/files.h"

namespace zoetrope::data {
namespace {

void check(const PlannerConfig& config, std::int64_t step, const ClipPool& pool, int num_ranks) {
  ZOETROPE_CHECK_DATA(pool.size() > 0, "there are no clips to train on");
  ZOETROPE_CHECK_CONFIG(config.global_batch >= 1, "global_batch is ", config.global_batch,
                        ", expected at least 1");
  ZOETROPE_CHECK_CONFIG(config.delay_window >= 1, "delay_window is ", config.delay_window,
                        ", expected at least 1");
  ZOETROPE_CHECK(num_ranks >= 1, "planning for ", num_ranks, " ranks");
  ZOETROPE_CHECK(
      step >= 0 && step < std::numeric_limits<std::int64_t>::max() / config.global_batch -
                              config.delay_window,
      "step ", step, " is out of range");
}

// The step's part of its window: ordinary samples in the order drawn, then outliers.
std::vector<PlannedSample> samples_of_step(const PlannerConfig& config, std::int64_t step,
                                           const ClipPool& pool) {
  const std::int64_t batch = config.global_batch;
  const std::int64_t window = config.outlier_tokens > 0 ? config.delay_window : 1;
  const std::int64_t first_step = step - step % window;
  std::vector<PlannedSample> samples;
  samples.reserve(static_cast<std::size_t>(window * batch));
  for (const std::int64_t clip : pool.draw(first_step * batch, window * batch, config.seed)) {
    PlannedSample sample;
    sample.global_index = first_step * batch + static_cast<std::int64_t>(samples.size());
    sample.clip = clip;
    samples.push_back(sample);
  }
  if (window == 1) return samples;
  std::stable_partition(samples.begin(), samples.end(), [&](const PlannedSample& sample) {
    return pool.tokens(sample.clip) <= config.outlier_tokens;
  });
  const auto mine = samples.begin() + (step - first_step) * batch;
  return {mine, mine + batch};
}

StepPlan place(const PlannerConfig& config, std::int64_t step,
               const std::vector<PlannedSample>& samples, const ClipPool& pool, int num_ranks,
               const Calibration& calibration) {
  std::vector<std::int64_t> lengths;
  lengths.reserve(samples.size());
  for (const PlannedSample& sample : samples) {
    lengths.push_back(pool.tokens(sample.clip));
    ZOETROPE_CHECK_DATA(lengths.back() >= 1, "clip ", sample.clip, " has ", lengths.back(),
                        " tokens");
  }
  const RankLayout mesh{num_ranks, static_cast<int>(config.ranks_per_node),
                        static_cast<int>(config.max_sp_degree)};
  const Placement placement =
      place_samples(lengths, mesh, {config.sp_overhead, config.max_tokens_per_rank}, calibration);
  StepPlan plan{step, {}, placement.balance};
  plan.samples.reserve(samples.size());
  for (const std::int32_t position : placement.order) {
    const auto i = static_cast<std::size_t>(position);
    PlannedSample sample = samples[i];
    sample.seat = placement.seats[i];
    sample.cost = calibration.cost(lengths[i]);
    plan.samples.push_back(sample);
  }
  return plan;
}

}  // namespace

Calibration starting_calibration(const PlannerConfig& config) {
  Calibration calibration;
  calibration.cost = {0, config.per_token, config.per_token_squared};
  check_cost_model(calibration.cost, "planner");
  return calibration;
}

StepPlan plan_step(const PlannerConfig& config, std::int64_t step, const ClipPool& pool,
                   int num_ranks, const Calibration& calibration) {
  check(config, step, pool, num_ranks);
  return place(config, step, samples_of_step(config, step, pool), pool, num_ranks, calibration);
}

StepPlan heaviest_step(const PlannerConfig& config, const ClipPool& pool, int num_ranks,
                       const Calibration& calibration) {
  check(config, 0, pool, num_ranks);
  using Length = std::pair<std::int64_t, std::int64_t>;  // tokens, -clip: ties to the first clips
  std::priority_queue<Length, std::vector<Length>, std::greater<>> longest;
  for (std::int64_t clip = 0; clip < pool.size(); ++clip) {
    const Length length{pool.tokens(clip), -clip};
    const bool is_full = static_cast<std::int64_t>(longest.size()) == config.global_batch;
    if (is_full && length < longest.top()) continue;
    if (is_full) longest.pop();
    longest.push(length);
  }
  std::vector<std::int64_t> clips;  // longest first
  for (; !longest.empty(); longest.pop()) clips.insert(clips.begin(), -longest.top().second);
  std::vector<PlannedSample> samples;
  for (std::int64_t i = 0; i < config.global_batch; ++i) {
    PlannedSample sample;
    sample.global_index = i;
    sample.clip = clips[static_cast<std::size_t>(i) % clips.size()];
    samples.push_back(sample);
  }
  return place(config, 0, samples, pool, num_ranks, calibration);
}

std::string hash_plan(const StepPlan& plan) {
  std::vector<std::int64_t> numbers = {plan.step};
  numbers.reserve(1 + 4 * plan.samples.size());
  for (const PlannedSample& sample : plan.samples) {
    numbers.insert(numbers.end(), {sample.global_index, sample.clip, sample.seat.first_rank,
                                   sample.seat.sp_degree});
  }
  return hash_bytes(std::as_bytes(std::span(numbers)));
}

}  // namespace zoetrope::data
