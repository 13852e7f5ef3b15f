// Passes of a step: limits, agreement between the ranks of a seat.
#include "data/passes.h"

#include <gtest/gtest.h>

namespace zoetrope::data {
namespace {

// Sample i is clip i.
StepPlan plan_of(const std::vector<Seat>& seats) {
  StepPlan plan;
  for (std::size_t i = 0; i < seats.size(); ++i) {
    PlannedSample sample;
    sample.clip = static_cast<std::int64_t>(i);
    sample.seat = seats[i];
    plan.samples.push_back(sample);
  }
  return plan;
}

using Numbers = std::vector<std::int32_t>;

TEST(Passes, HoldAsManyTokensAsTheyMay) {
  const std::vector<std::int64_t> tokens = {60, 50, 40, 30, 10};
  const StepPlan plan = plan_of({{0, 1}, {0, 1}, {1, 1}, {0, 1}, {0, 1}});
  const Passes passes = cut_into_passes(plan, tokens, 2, 100);
  EXPECT_EQ(passes.pass_of, (Numbers{0, 1, 0, 0, 0}));  // 60 + 30 + 10 on rank 0
  EXPECT_EQ(passes.count, 2);
  EXPECT_EQ(cut_into_passes(plan, tokens, 2, 0).pass_of, (Numbers{0, 0, 0, 0, 0}));
  EXPECT_EQ(cut_into_passes(plan, tokens, 2, 0).count, 1);
}

TEST(Passes, AreOneForAllRanksOfASeat) {
  // Rank 0 is full in pass 0, so that the sample that it shares with rank 1 waits for both.
  const std::vector<std::int64_t> tokens = {80, 60, 90};
  const StepPlan plan = plan_of({{0, 1}, {0, 2}, {1, 1}});
  const Passes passes = cut_into_passes(plan, tokens, 2, 100);
  EXPECT_EQ(passes.pass_of, (Numbers{0, 1, 0}));
}

TEST(Passes, GiveASampleOverTheLimitAPassOfItsOwn) {
  const std::vector<std::int64_t> tokens = {300, 20, 20};
  const Passes passes = cut_into_passes(plan_of({{0, 1}, {0, 1}, {0, 1}}), tokens, 1, 100);
  EXPECT_EQ(passes.pass_of, (Numbers{0, 1, 1}));
}

}  // namespace
}  // namespace zoetrope::data
