// The planner: who trains on what, the same everywhere, each clip once an epoch, loads level.
#include "data/planner.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/random.h"

namespace zoetrope::data {
namespace {

std::vector<std::int64_t> lengths(int count) {
  std::vector<std::int64_t> tokens;
  Random random(3, Purpose::kTest);
  for (int i = 0; i < count; ++i) tokens.push_back(random.integer(16, 60000));
  return tokens;
}

StepPlan plan_step(const PlannerConfig& config, std::int64_t step,
                   std::span<const std::int64_t> tokens, int num_ranks) {
  return plan_step(config, step, tokens, num_ranks, starting_calibration(config));
}

std::vector<PlannedSample> as_drawn(StepPlan plan) {
  std::sort(plan.samples.begin(), plan.samples.end(),
            [](const auto& a, const auto& b) { return a.global_index < b.global_index; });
  return plan.samples;
}

TEST(Planner, EveryClipComesExactlyOnceAnEpochThoughBatchesStraddleEpochs) {
  const auto tokens = lengths(37);
  PlannerConfig config;
  config.global_batch = 10;
  std::vector<std::int64_t> drawn;
  for (int step = 0; step < 37; ++step) {
    for (const PlannedSample& sample : as_drawn(plan_step(config, step, tokens, 3))) {
      EXPECT_EQ(sample.global_index, static_cast<std::int64_t>(drawn.size()));
      drawn.push_back(sample.clip);
    }
  }
  std::set<std::vector<std::int64_t>> orders;
  for (int epoch = 0; epoch < 10; ++epoch) {
    std::vector<std::int64_t> order(drawn.begin() + epoch * 37, drawn.begin() + (epoch + 1) * 37);
    orders.insert(order);
    std::sort(order.begin(), order.end());
    for (int i = 0; i < 37; ++i)
      EXPECT_EQ(order[static_cast<std::size_t>(i)], i) << "epoch " << epoch;
  }
  EXPECT_EQ(orders.size(), 10u);  // each epoch has its own order
}

TEST(Planner, RanksAndCalibrationDoNotChangeTheSamples) {
  const auto tokens = lengths(100);
  const PlannerConfig config;
  for (int step = 0; step < 5; ++step) {
    const auto one = as_drawn(plan_step(config, step, tokens, 1));
    for (const int num_ranks : {2, 7, 32, 40}) {
      Calibration calibration{0, {1e-3, 1e-6, 1e-10}, {}};
      calibration.speeds.assign(static_cast<std::size_t>(num_ranks), 1);
      calibration.speeds.back() = 0.5;
      const auto many = as_drawn(plan_step(config, step, tokens, num_ranks, calibration));
      ASSERT_EQ(many.size(), one.size());
      for (std::size_t i = 0; i < one.size(); ++i) {
        EXPECT_EQ(many[i].clip, one[i].clip);
        EXPECT_EQ(many[i].global_index, one[i].global_index);
      }
    }
  }
}

TEST(Planner, SeedAndStepChangeTheSamples) {
  const auto tokens = lengths(100);
  const auto clips = [&](std::uint64_t seed, std::int64_t step) {
    PlannerConfig config;
    config.seed = seed;
    std::vector<std::int64_t> result;
    for (const auto& sample : plan_step(config, step, tokens, 1).samples)
      result.push_back(sample.clip);
    return result;
  };
  EXPECT_EQ(clips(1, 4), clips(1, 4));
  EXPECT_NE(clips(1, 4), clips(2, 4));
  EXPECT_NE(clips(1, 4), clips(1, 5));
}

TEST(Planner, EveryRankHasASampleWhenThereAreEnough) {
  const auto tokens = lengths(50);
  PlannerConfig config;
  for (const int num_ranks : {1, 5, 31, 32, 33}) {
    std::set<int> used;
    for (const auto& sample : plan_step(config, 0, tokens, num_ranks).samples) {
      EXPECT_LT(sample.seat.first_rank, num_ranks);
      used.insert(sample.seat.first_rank);
    }
    EXPECT_EQ(used.size(), static_cast<std::size_t>(std::min(num_ranks, 32)));
  }
}

TEST(Planner, CostIsLinearPlusQuadraticInTokens) {
  PlannerConfig config;
  config.per_token = 3;
  config.per_token_squared = 0.5;
  const std::vector<std::int64_t> tokens = {10};
  EXPECT_DOUBLE_EQ(plan_step(config, 0, tokens, 1).samples[0].cost, 3 * 10 + 0.5 * 100);
}

// LPT's bound (Graham 1969): max load <= (4/3 - 1/(3R)) * best possible.
TEST(Planner, LoadsStayWithinTheBoundOfLongestProcessingTimeFirst) {
  const auto tokens = lengths(500);
  PlannerConfig config;
  config.global_batch = 64;
  for (int step = 0; step < 20; ++step) {
    for (const int num_ranks : {2, 4, 8}) {
      const StepPlan plan = plan_step(config, step, tokens, num_ranks);
      std::map<int, double> load;
      double total = 0, dearest = 0;
      for (const auto& sample : plan.samples) {
        load[sample.seat.first_rank] += sample.cost;
        total += sample.cost;
        dearest = std::max(dearest, sample.cost);
      }
      double max_load = 0;
      for (const auto& [rank, cost] : load) max_load = std::max(max_load, cost);
      const double mean = total / num_ranks;
      EXPECT_NEAR(plan.balance, mean / max_load, 1e-12);  // the sums are in another order
      EXPECT_LE(max_load, mean + dearest * (1 - 1.0 / num_ranks));
      EXPECT_GT(plan.balance, 0.9);
    }
  }
}

TEST(Planner, EqualCostsAreDealtInOrder) {
  const std::vector<std::int64_t> tokens(8, 100);
  PlannerConfig config;
  config.global_batch = 8;
  const StepPlan plan = plan_step(config, 0, tokens, 4);
  for (int i = 0; i < 8; ++i)
    EXPECT_EQ(plan.samples[static_cast<std::size_t>(i)].seat.first_rank, i % 4);
  EXPECT_EQ(plan.balance, 1);
}

TEST(Planner, RefusesWhatCannotBePlanned) {
  const std::vector<std::int64_t> none, zero = {0}, one = {5};
  PlannerConfig config;
  EXPECT_THROW(plan_step(config, 0, none, 1), DataError);
  EXPECT_THROW(plan_step(config, 0, zero, 1), DataError);
  EXPECT_THROW(plan_step(config, -1, one, 1), Error);
  EXPECT_THROW(plan_step(config, 0, one, 0), Error);
  config.global_batch = 0;
  EXPECT_THROW(plan_step(config, 0, one, 1), ConfigError);
  config = {};
  config.per_token = config.per_token_squared = 0;
  EXPECT_THROW(plan_step(config, 0, one, 1), ConfigError);
}

TEST(Planner, OutliersWaitForTheEndOfTheirWindowAndNoneIsLost) {
  const auto tokens = lengths(60);
  PlannerConfig config;
  config.global_batch = 10;
  config.delay_window = 3;
  config.outlier_tokens = 40000;
  for (int window = 0; window < 4; ++window) {
    std::set<std::int64_t> seen;
    bool outliers = false;
    for (int step = 3 * window; step < 3 * window + 3; ++step) {
      const StepPlan plan = plan_step(config, step, tokens, 4);
      ASSERT_EQ(plan.samples.size(), 10u);
      std::size_t num_long = 0;
      for (const PlannedSample& sample : plan.samples) {
        EXPECT_TRUE(seen.insert(sample.global_index).second);
        EXPECT_EQ(sample.global_index / 30, window);
        num_long += tokens[static_cast<std::size_t>(sample.clip)] > config.outlier_tokens;
      }
      if (outliers) {
        EXPECT_EQ(num_long, 10u) << "step " << step;
      }
      outliers = num_long > 0;
    }
    EXPECT_TRUE(outliers);
  }
  config.outlier_tokens = 0;
  PlannerConfig plain;
  plain.global_batch = 10;
  EXPECT_EQ(hash_plan(plan_step(config, 4, tokens, 4)), hash_plan(plan_step(plain, 4, tokens, 4)));
}

TEST(Planner, NoStepHasMoreTokensThanTheHeaviest) {
  const auto tokens = lengths(300);
  PlannerConfig config;
  config.global_batch = 25;
  const auto total = [&](const StepPlan& plan) {
    std::int64_t sum = 0;
    for (const auto& sample : plan.samples) sum += tokens[static_cast<std::size_t>(sample.clip)];
    return sum;
  };
  const auto heaviest = total(heaviest_step(config, tokens, 4, starting_calibration(config)));
  for (int step = 0; step < 40; ++step) {
    EXPECT_LT(total(plan_step(config, step, tokens, 4)), heaviest);
  }
}

TEST(Planner, HashTellsPlansApart) {
  const auto tokens = lengths(100);
  const PlannerConfig config;
  std::set<std::string> hashes;
  for (const int num_ranks : {1, 2, 3}) {
    for (int step = 0; step < 5; ++step) {
      const StepPlan plan = plan_step(config, step, tokens, num_ranks);
      EXPECT_EQ(hash_plan(plan), hash_plan(plan_step(config, step, tokens, num_ranks)));
      EXPECT_TRUE(hashes.insert(hash_plan(plan)).second);
    }
  }
}

}  // namespace
}  // namespace zoetrope::data
