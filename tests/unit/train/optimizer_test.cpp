// The fused optimiser against torch's own AdamW, and its schedule.
#include "train/optimizer.h"

#include <cmath>

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/_fused_adamw.h>
#include <ATen/ops/allclose.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/zeros_like.h>
#include <gtest/gtest.h>

namespace zoetrope::train {
namespace {

struct TwoTensors : model::Module {
  at::Tensor weight = at::randn({7, 5});
  at::Tensor bias = at::randn({9});
  void visit_parameters(const std::string& prefix, const model::ParameterVisitor& visit) override {
    visit(prefix + "weight", weight);
    visit(prefix + "bias", bias);
  }
};

const auto kWorld = launch::make_single_rank_communicator();
launch::Mesh alone({}, *kWorld);

void fused_adamw(at::Tensor& p, const at::Tensor& g, at::Tensor& m, at::Tensor& v, int step,
                 const OptimizerConfig& c, double decay) {
  std::vector<at::Tensor> ps = {p}, gs = {g}, ms = {m}, vs = {v}, none,
                          steps = {at::full({}, step, at::kFloat)};
  at::_fused_adamw_(ps, gs, ms, vs, none, steps, c.lr, c.beta1, c.beta2, decay, c.eps, false,
                    false);
}

TEST(Optimizer, EqualsTorchsAdamWOverManySteps) {
  TwoTensors module;
  OptimizerConfig config;
  config.lr = 0.01;
  config.weight_decay = 0.1;
  at::Tensor weight = module.weight.clone(), bias = module.bias.clone();
  at::Tensor mw = at::zeros_like(weight), vw = mw.clone(), mb = at::zeros_like(bias),
             vb = mb.clone();
  Optimizer optimizer(module, config, Sharding::kOptimizer, alone);
  for (int step = 1; step <= 50; ++step) {
    const at::Tensor gw = at::randn({7, 5}), gb = at::randn({9});
    {
      const at::NoGradGuard no_grad;
      module.weight.mutable_grad().copy_(gw);
      module.bias.mutable_grad().copy_(gb);
    }
    optimizer.update(step, config.lr, 1);
    fused_adamw(weight, gw, mw, vw, step, config, 0.1);
    fused_adamw(bias, gb, mb, vb, step, config, 0);  // biases do not decay
  }
  EXPECT_TRUE(at::allclose(module.weight, weight, 1e-5, 1e-6));
  EXPECT_TRUE(at::allclose(module.bias, bias, 1e-5, 1e-6));
}

TEST(Optimizer, GradientsOfBackwardLandInTheFlatBuffer) {
  TwoTensors module;
  Optimizer optimizer(module, {}, Sharding::kOptimizer, alone);
  for (int repeat = 0; repeat < 2; ++repeat) {  // a step starts from zero
    optimizer.begin_gradients();
    optimizer.begin_pass(true);
    (module.weight.sum() * 2 + module.bias.sum() * 3).backward();
    optimizer.finish_gradients();
    const auto gradients = optimizer.gradients();
    EXPECT_TRUE(at::equal(gradients.at("weight"), at::full({7, 5}, 2.0)));
    EXPECT_TRUE(at::equal(gradients.at("bias"), at::full({9}, 3.0)));
    EXPECT_NEAR(optimizer.gradient_norm(), std::sqrt(4 * 35.0 + 9 * 9.0), 1e-9);
  }
}

TEST(Optimizer, ParameterWithoutAGradientKeepsZero) {
  TwoTensors module;
  Optimizer optimizer(module, {}, Sharding::kOptimizer, alone);
  optimizer.begin_gradients();
  optimizer.begin_pass(true);
  module.bias.sum().backward();
  optimizer.finish_gradients();
  EXPECT_NEAR(optimizer.gradient_norm(), 3, 1e-9);
}

TEST(Optimizer, SecondGradientOfAParameterInOneStepIsRefused) {
  TwoTensors module;
  Optimizer optimizer(module, {}, Sharding::kOptimizer, alone);
  optimizer.begin_gradients();
  optimizer.begin_pass(true);
  (module.weight.sum() + module.bias.sum()).backward();
  EXPECT_ANY_THROW(module.weight.sum().backward());
  optimizer.finish_gradients();
}

TEST(Optimizer, SwappingAveragesTwiceRestoresTheWeights) {
  TwoTensors module;
  OptimizerConfig config;
  config.ema_decay = 0.9;
  Optimizer optimizer(module, config, Sharding::kOptimizer, alone);
  module.weight.mutable_grad().fill_(1);
  const at::Tensor start = module.weight.detach().clone();
  optimizer.update(1, 0.1, 1);
  const at::Tensor stepped = module.weight.detach().clone();
  optimizer.swap_averages();
  // d = min(0.9, 2 / 11)
  EXPECT_TRUE(at::allclose(module.weight, start + (stepped - start) * (1 - 2.0 / 11), 1e-5, 1e-6));
  optimizer.swap_averages();
  EXPECT_TRUE(at::equal(module.weight.detach(), stepped));
}

TEST(LearningRate, WarmsUpThenFollowsTheCosine) {
  OptimizerConfig config;
  config.lr = 2;
  config.warmup_steps = 10;
  config.schedule = "cosine";
  config.final_lr_share = 0.1;
  EXPECT_DOUBLE_EQ(learning_rate(config, 5, 110), 1);
  EXPECT_DOUBLE_EQ(learning_rate(config, 10, 110), 2);
  EXPECT_NEAR(learning_rate(config, 60, 110), 2 * (0.1 + 0.9 * 0.5), 1e-12);
  EXPECT_NEAR(learning_rate(config, 110, 110), 0.2, 1e-12);
  config.schedule = "constant";
  EXPECT_DOUBLE_EQ(learning_rate(config, 100, 110), 2);
}

}  // namespace
}  // namespace zoetrope::train
