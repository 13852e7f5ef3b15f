// Which steps the guard leaves out.
#include "train/guard.h"

#include <cmath>
#include <limits>

#include <gtest/gtest.h>

#include "base/random.h"

namespace zoetrope::train {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

// Norms as of a healthy run: log-normal, 20 % wide, falling.
double healthy(int step) {
  Random random(3, Purpose::kTest, static_cast<std::uint64_t>(step));
  return 2 * std::exp(0.2 * random.normal() - 0.001 * step);
}

TEST(StepGuard, NumbersThatAreNotFiniteNeverPass) {
  StepGuard guard({.spike_zscore = 0});
  EXPECT_EQ(guard.judge(1, 1), "");
  for (const double bad : {kNaN, kInfinity, -kInfinity}) {
    EXPECT_NE(guard.judge(bad, 1), "");
    EXPECT_NE(guard.judge(1, bad), "");
  }
}

TEST(StepGuard, HealthyRunIsLeftAlone) {
  StepGuard guard({.spike_zscore = 8});
  for (int step = 1; step <= 5000; ++step) EXPECT_EQ(guard.judge(1, healthy(step)), "") << step;
}

TEST(StepGuard, SpikeIsLeftOutAndTeachesNothing) {
  StepGuard guard({.spike_zscore = 8});
  for (int step = 1; step <= 200; ++step) guard.judge(1, healthy(step));
  const Json before = guard.state();
  const std::string reason = guard.judge(1, 40);
  EXPECT_NE(reason.find("norm 40 is a spike"), std::string::npos) << reason;
  EXPECT_EQ(guard.state()["mean"], before["mean"]);
  EXPECT_EQ(guard.judge(1, healthy(201)), "");
  StepGuard off({.spike_zscore = 0});
  for (int step = 1; step <= 200; ++step) off.judge(1, healthy(step));
  EXPECT_EQ(off.judge(1, 40), "");
}

TEST(StepGuard, LevelThatStaysIsAccepted) {
  StepGuard guard({.spike_zscore = 8});
  for (int step = 1; step <= 200; ++step) guard.judge(1, healthy(step));
  int left_out = 0;
  for (int step = 0; step < 100; ++step) left_out += !guard.judge(1, 40).empty();
  EXPECT_EQ(left_out, StepGuard::kPatience);
}

TEST(StepGuard, FirstStepsOnlyTeach) {
  StepGuard guard({.spike_zscore = 8});
  for (int step = 1; step < StepGuard::kLearning; ++step) {
    EXPECT_EQ(guard.judge(1, step % 2 == 0 ? 100 : 0.01), "");
  }
}

TEST(StepGuard, StateGoesOnWhereItWas) {
  StepGuard guard({.spike_zscore = 8}), resumed({.spike_zscore = 8});
  for (int step = 1; step <= 120; ++step) guard.judge(1, healthy(step));
  resumed.load_state(guard.state());
  guard.judge(1, 40);
  resumed.judge(1, 40);
  EXPECT_EQ(guard.state(), resumed.state());
  EXPECT_EQ(guard.state()["spikes"], 1);
}

}  // namespace
}  // namespace zoetrope::train
