// Noise levels follow their distribution and their shift.
#include "model/flow.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include <gtest/gtest.h>

namespace zoetrope::model {
namespace {

std::vector<double> draw(const FlowConfig& config, int count) {
  std::vector<double> sigmas;
  for (int i = 0; i < count; ++i) {
    Random random(7, Purpose::kTimestep, 0, static_cast<std::uint64_t>(i));
    sigmas.push_back(draw_sigma(config, random));
  }
  std::sort(sigmas.begin(), sigmas.end());
  return sigmas;
}

TEST(Flow, ShiftKeepsTheEndsAndMovesTheMiddleUp) {
  EXPECT_EQ(shift_sigma(0, 5), 0);
  EXPECT_EQ(shift_sigma(1, 5), 1);
  EXPECT_NEAR(shift_sigma(0.5, 3), 0.75, 1e-15);
  EXPECT_EQ(shift_sigma(0.37, 1), 0.37);
}

TEST(Flow, LogitNormalHasItsQuantiles) {
  FlowConfig config;
  config.logit_mean = 0.4;
  config.logit_std = 1.5;
  const auto sigmas = draw(config, 40000);
  const double z[] = {-1.2816, 0, 1.2816};
  const double share[] = {0.1, 0.5, 0.9};
  for (int i = 0; i < 3; ++i) {
    const double wanted = 1 / (1 + std::exp(-(0.4 + 1.5 * z[i])));
    EXPECT_NEAR(sigmas[static_cast<std::size_t>(share[i] * 40000)], wanted, 0.01);
  }
}

TEST(Flow, ShiftAppliesAfterTheDraw) {
  FlowConfig config;
  const double median = draw(config, 40000)[20000];
  config.shift = 3;
  EXPECT_NEAR(draw(config, 40000)[20000], shift_sigma(median, 3), 1e-12);
}

TEST(Flow, UniformFillsTheOpenInterval) {
  FlowConfig config;
  config.timesteps = "uniform";
  const auto sigmas = draw(config, 40000);
  EXPECT_GT(sigmas.front(), 0);
  EXPECT_LT(sigmas.back(), 1);
  for (const double share : {0.1, 0.5, 0.9}) {
    EXPECT_NEAR(sigmas[static_cast<std::size_t>(share * 40000)], share, 0.01);
  }
}

}  // namespace
}  // namespace zoetrope::model
