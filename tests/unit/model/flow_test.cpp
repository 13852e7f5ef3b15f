// Noise levels follow their distribution and their shift.
#include "model/flow.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include <ATen/TensorOperators.h>
#include <ATen/ops/randn.h>
#include <gtest/gtest.h>

namespace zoetrope::model {
namespace {

std::vector<double> draw(const FlowConfig& config, int count, std::int64_t frames = 1,
                         std::int64_t area = 64) {
  const Objective objective(config);
  std::vector<double> sigmas;
  for (int i = 0; i < count; ++i) {
    Random random(7, Purpose::kTimestep, 0, static_cast<std::uint64_t>(i));
    sigmas.push_back(objective.draw_sigma(random, frames, area));
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

TEST(Flow, MixedIsUniformWithItsShareAndElseLogitNormal) {
  FlowConfig config;
  config.timesteps = "mixed";
  config.uniform_share = 0.3;
  config.logit_std = 0.5;
  const auto below = [](const std::vector<double>& sigmas, double limit) {
    return static_cast<double>(std::lower_bound(sigmas.begin(), sigmas.end(), limit) -
                               sigmas.begin()) /
           static_cast<double>(sigmas.size());
  };
  // 3.8 deviations down, logit-normal has next to nothing: what is there is uniform.
  EXPECT_NEAR(below(draw(config, 40000), 0.13), 0.3 * 0.13, 0.003);
  config.uniform_share = 0;
  EXPECT_LT(below(draw(config, 40000), 0.13), 0.001);
}

TEST(Flow, LargerAndLongerSamplesGetMoreNoise) {
  FlowConfig config;
  config.shift_base_area = 64;
  config.shift_base_frames = 4;
  const double median = draw(config, 20000, 4, 64)[10000];
  EXPECT_NEAR(median, 0.5, 0.01);
  EXPECT_NEAR(draw(config, 20000, 4, 256)[10000], shift_sigma(median, 2), 1e-12);
  EXPECT_NEAR(draw(config, 20000, 16, 256)[10000], shift_sigma(median, 4), 1e-12);
  config.shift_base_area = config.shift_base_frames = 0;
  EXPECT_NEAR(draw(config, 20000, 16, 256)[10000], median, 1e-12);
}

constexpr Prediction kAll[] = {Prediction::kVelocity, Prediction::kNoise, Prediction::kSample};

TEST(Predictions, ConvertToEachOtherAndBack) {
  at::manual_seed(1);
  for (const at::ScalarType type : {at::kFloat, at::kDouble}) {
    const at::Tensor x0 = at::randn({1000}, type), noise = at::randn({1000}, type);
    for (const double s : {0.1, 0.3, 0.5, 0.9}) {
      const at::Tensor x_s = x0 * (1 - s) + noise * s;
      const at::Tensor truth[] = {noise - x0, noise, x0};
      for (int from = 0; from < 3; ++from) {
        for (int to = 0; to < 3; ++to) {
          const at::Tensor there = convert_prediction(truth[from], kAll[from], kAll[to], x_s, s);
          const at::Tensor back = convert_prediction(there, kAll[to], kAll[from], x_s, s);
          const auto error = [](const at::Tensor& a, const at::Tensor& b) {
            return ((a - b).norm() / b.norm()).item<double>();
          };
          const double tolerance = type == at::kFloat ? 1e-6 : 1e-14;
          EXPECT_LT(error(there, truth[to]), tolerance) << from << " to " << to << " at " << s;
          EXPECT_LT(error(back, truth[from]), tolerance) << from << " to " << to << " at " << s;
        }
      }
    }
  }
}

// One model, read as giving v, noise or x0: with the loss on the same quantity the gradients are
// the same.
TEST(Predictions, LossesOnTheSameQuantityGiveTheSameGradients) {
  at::manual_seed(2);
  const at::Tensor x0 = at::randn({200}, at::kDouble), noise = at::randn({200}, at::kDouble);
  const at::Tensor guess = at::randn({200}, at::kDouble);
  for (const char* loss_on : {"v", "eps", "x0"}) {
    for (const double s : {0.08, 0.5, 0.93}) {
      const at::Tensor x_s = x0 * (1 - s) + noise * s;
      at::Tensor reference;
      for (const char* target : {"v", "eps", "x0"}) {
        FlowConfig config;
        config.target = target;
        config.loss_on = loss_on;
        config.weighting = "one_plus_shift";
        const Objective objective(config);
        const at::Tensor v = guess.clone().requires_grad_();
        const at::Tensor output =
            convert_prediction(v, Prediction::kVelocity, objective.prediction(), x_s, s);
        ((output - objective.target(x0, noise)).square().sum() * objective.loss_weight(s))
            .backward();
        if (!reference.defined()) reference = v.grad().clone();
        EXPECT_LT(((v.grad() - reference).norm() / reference.norm()).item<double>(), 1e-12)
            << target << " on " << loss_on << " at " << s;
      }
    }
  }
}

TEST(Presets, NameFillsTheFieldsAndGivenFieldsWin) {
  const auto read = [](const std::string& yaml) {
    FlowConfig config;
    const auto node = ConfigNode::from_text(yaml, "test.yaml");
    config_detail::Reader reader(node);
    config.visit_fields(reader);
    reader.finish();
    return config;
  };
  const FlowConfig dfm = read("preset: dfm");
  EXPECT_EQ(dfm.timesteps, "mixed");
  EXPECT_EQ(dfm.shift, 3);
  const FlowConfig changed = read("shift: 4\npreset: dfm\n");
  EXPECT_EQ(changed.shift, 4);
  EXPECT_EQ(changed.weighting, "one_plus_shift");
  EXPECT_EQ(read("preset: clean_patches").target, "x0");
  EXPECT_EQ(read("{}").timesteps, FlowConfig().timesteps);
  EXPECT_EQ(flow_config_to_json(changed)["shift"], 4.0);
  EXPECT_EQ(flow_config_to_json(changed)["preset"], "dfm");
}

// DiffSynth's own figures: weights of its 1,000 training steps have the mean 1, and the last level,
// pure noise, has none.
TEST(Presets, DiffsynthWeighsTheMiddle) {
  const Objective objective(FlowConfig::flow_preset("diffsynth"));
  double sum = 0;
  for (int i = 1; i <= 1000; ++i) sum += objective.loss_weight(shift_sigma(i / 1000.0, 5));
  EXPECT_NEAR(sum / 1000, 1, 1e-12);
  EXPECT_EQ(objective.loss_weight(1), 0);
  EXPECT_GT(objective.loss_weight(0.5), objective.loss_weight(0.2));
  EXPECT_GT(objective.loss_weight(0.5), objective.loss_weight(0.9));
  const Objective dfm(FlowConfig::flow_preset("dfm"));
  EXPECT_NEAR(dfm.loss_weight(0.25), 1.75, 1e-12);
}

}  // namespace
}  // namespace zoetrope::model
