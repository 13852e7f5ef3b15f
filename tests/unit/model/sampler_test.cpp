// Sampling solves the flow ODE, and a sample depends on its request alone.
#include "model/sampler.h"

#include <cmath>

#include <ATen/TensorOperators.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/full_like.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include "base/error.h"

namespace zoetrope::model {
namespace {

constexpr double kMean = 1.3, kStd = 0.4;

// Exact velocity of the flow whose data is Gaussian: x_s has mean (1 - s) m and variance (1 - s)^2
// d^2 + s^2.
at::Tensor gaussian_velocity(const at::Tensor& x, double s) {
  const double variance = (1 - s) * (1 - s) * kStd * kStd + s * s;
  const at::Tensor z = (x - (1 - s) * kMean) / variance;
  return z * (s - (1 - s) * kStd * kStd) - kMean;
}

at::Tensor solve(const std::string& name, const std::vector<double>& sigmas, at::Tensor x) {
  const auto solver = make_solver(name, sigmas);
  for (int i = 0; i + 1 < static_cast<int>(sigmas.size()); ++i)
    x = solver->step(i, x, gaussian_velocity(x, sigmas[i]));
  return x;
}

TEST(Solvers, TurnNoiseIntoTheGaussianOfTheData) {
  at::manual_seed(1);
  at::Tensor noise = at::randn({4096}, at::kDouble);
  noise = (noise - noise.mean()) / noise.std();
  // The last step jumps to the mean of x0 given x, which costs the variance left at its level: 0.02
  // here.
  const at::Tensor by_unipc = solve("unipc", sigma_schedule(50, 1), noise);
  EXPECT_NEAR(by_unipc.mean().item<double>(), kMean, 0.01 * kMean);
  EXPECT_NEAR(by_unipc.var().item<double>(), kStd * kStd, 0.01 * kStd * kStd);
  const at::Tensor by_euler = solve("euler", sigma_schedule(1000, 3), noise);
  EXPECT_NEAR(by_euler.mean().item<double>(), kMean, 0.01 * kMean);
  EXPECT_NEAR(by_euler.var().item<double>(), kStd * kStd, 0.01 * kStd * kStd);
}

// Error at the level 0.2 against the exact flow map, from the level 0.9 in equal steps of log((1 -
// s) / s).
double error_after(const std::string& name, int steps) {
  std::vector<double> sigmas;
  const double first = std::log(0.1 / 0.9), last = std::log(0.8 / 0.2);
  for (int i = 0; i <= steps; ++i)
    sigmas.push_back(1 / (1 + std::exp(first + (last - first) * i / steps)));
  const auto spread = [](double s) { return std::sqrt((1 - s) * (1 - s) * kStd * kStd + s * s); };
  const at::Tensor start = at::randn({64}, at::kDouble) * spread(0.9) + 0.1 * kMean;
  const at::Tensor exact = (start - 0.1 * kMean) / spread(0.9) * spread(0.2) + 0.8 * kMean;
  return (solve(name, sigmas, start) - exact).abs().max().item<double>();
}

TEST(Solvers, ConvergeWithTheirOrder) {
  const auto order = [](const std::string& name, int steps) {
    at::manual_seed(2);
    const double coarse = error_after(name, steps);
    at::manual_seed(2);
    return std::log2(coarse / error_after(name, 2 * steps));
  };
  EXPECT_NEAR(order("euler", 64), 1, 0.15);
  EXPECT_GT(order("unipc", 32), 1.8);
}

TEST(Solvers, RefuseStepsOutOfOrderAndUnknownNames) {
  const auto solver = make_solver("unipc", sigma_schedule(4, 1));
  const at::Tensor x = at::randn({4});
  EXPECT_THROW(solver->step(1, x, x), Error);
  EXPECT_THROW(make_solver("heun", {1, 0}), ConfigError);
}

TEST(Schedule, GridsStartAndEndAsTheirOrigins) {
  const auto diffusers = sigma_schedule(50, 5, "diffusers"), wan = sigma_schedule(50, 5, "wan");
  EXPECT_EQ(diffusers.size(), 51u);
  EXPECT_NEAR(diffusers[0], 1 - 1e-6, 1e-12);
  EXPECT_NEAR(wan[0], 5 * 0.999 / (1 + 4 * 0.999), 1e-12);
  EXPECT_EQ(diffusers.back(), 0);
  EXPECT_EQ(wan.back(), 0);
  double largest = 0;
  for (int i = 0; i < 50; ++i) {
    EXPECT_GT(diffusers[i], diffusers[i + 1]);
    largest = std::max(largest, std::abs(diffusers[i] - wan[i]));
  }
  EXPECT_NEAR(largest, 0.0043, 0.0005);
  EXPECT_THROW(sigma_schedule(0, 3), ConfigError);
  EXPECT_THROW(sigma_schedule(5, 3, "other"), ConfigError);
}

class SampleLatents : public ::testing::Test {
 protected:
  SampleLatents() : dit_(config(), at::kCPU) {
    dit_.init_weights(4);
    at::manual_seed(6);
    dit_.visit_parameters("", [](const std::string& name, at::Tensor& parameter) {
      if (name == "proj_out.weight") parameter.copy_(at::randn(parameter.sizes()) * 0.2);
    });
    null_text_ = at::randn({1, 20});
  }
  static DitConfig config() {
    DitConfig config;
    config.num_attention_heads = 2;
    config.attention_head_dim = 12;
    config.in_channels = config.out_channels = 4;
    config.text_dim = 20;
    config.freq_dim = 16;
    config.ffn_dim = 32;
    config.num_layers = 2;
    return config;
  }
  SampleRequest request(std::int64_t index, std::int64_t frames, std::int64_t height,
                        std::int64_t width) {
    return {4, frames, height, width, at::randn({3 + index, 20}), null_text_, 11, index};
  }
  static double distance(const at::Tensor& a, const at::Tensor& b) {
    return (a - b).abs().max().item<double>();
  }

  Dit dit_;
  at::Tensor null_text_;
  SampleConfig sample_{.steps = 4, .guidance = 2.5};
};

TEST_F(SampleLatents, NeitherOrderNorCompanyChangesASample) {
  const auto a = request(0, 3, 4, 6), b = request(1, 1, 2, 10), c = request(2, 3, 4, 6);
  const auto together = sample_latents(dit_, {a, b, c}, sample_);
  const auto turned = sample_latents(dit_, {c, b, a}, sample_);
  const auto alone = sample_latents(dit_, {b}, sample_);
  EXPECT_EQ(together[1].sizes(), at::IntArrayRef({4, 1, 2, 10}));
  EXPECT_LT(distance(together[0], turned[2]), 1e-5);
  EXPECT_LT(distance(together[1], alone[0]), 1e-5);
  EXPECT_GT(distance(together[0], together[2]), 0.1);  // another index is another noise
}

TEST_F(SampleLatents, GuidanceExtrapolatesFromTheNullText) {
  sample_.steps = 1;
  const auto both = request(0, 1, 4, 4);
  auto null_only = both;
  null_only.text_LE = null_text_;
  const at::Tensor guided = sample_latents(dit_, {both}, sample_)[0];
  sample_.guidance = 1;
  const at::Tensor with_text = sample_latents(dit_, {both}, sample_)[0];
  const at::Tensor without = sample_latents(dit_, {null_only}, sample_)[0];
  EXPECT_GT(distance(with_text, without), 1e-4);
  EXPECT_LT(distance(guided, without + (with_text - without) * 2.5), 1e-5);
}

// With a constant output c the flow is known: a model of x0 ends at c, one of v at n - s c, and one
// of noise at (n - s c) / (1 - s), where n is the first noise and s its level.
TEST_F(SampleLatents, ModelsOfCleanSamplesAndNoiseAreReadAsSuch) {
  constexpr double kOutput = 0.3;
  dit_.visit_parameters("", [](const std::string& name, at::Tensor& parameter) {
    if (name == "proj_out.weight") parameter.zero_();
    if (name == "proj_out.bias") parameter.fill_(kOutput);
  });
  sample_.guidance = 1;
  sample_.shift = 1;
  sample_.steps = 8;
  const double s = sigma_schedule(8, 1)[0];
  const auto one = request(0, 2, 4, 4);
  for (const char* solver : {"euler", "unipc"}) {
    sample_.solver = solver;
    sample_.prediction = Prediction::kVelocity;
    const at::Tensor by_v = sample_latents(dit_, {one}, sample_)[0];
    const at::Tensor noise = by_v + s * kOutput;
    EXPECT_NEAR(noise.std().item<double>(), 1, 0.2);
    sample_.prediction = Prediction::kSample;
    EXPECT_LT(distance(sample_latents(dit_, {one}, sample_)[0], at::full_like(noise, kOutput)),
              1e-6);
    sample_.prediction = Prediction::kNoise;
    const at::Tensor expected = (noise - s * kOutput) / (1 - s);
    EXPECT_LT(distance(sample_latents(dit_, {one}, sample_)[0], expected),
              1e-3 * expected.abs().max().item<double>());
  }
}

TEST_F(SampleLatents, KeptLatentsComeBackBitForBitAndShapeTheRest) {
  auto plain = request(0, 3, 4, 6), kept = plain;
  kept.kept_CTHW = at::randn({4, 3, 4, 6});
  kept.keep_THW = at::zeros({3, 4, 6}, at::kBool);
  kept.keep_THW.select(0, 0).fill_(true);
  kept.keep_THW.select(0, 2).fill_(true);
  const auto other = request(1, 1, 2, 10);
  for (const char* solver : {"euler", "unipc"}) {
    sample_.solver = solver;
    const auto together = sample_latents(dit_, {kept, other}, sample_);
    EXPECT_TRUE(at::equal(together[0].select(1, 0), kept.kept_CTHW.select(1, 0)));
    EXPECT_TRUE(at::equal(together[0].select(1, 2), kept.kept_CTHW.select(1, 2)));
    const at::Tensor free = sample_latents(dit_, {plain}, sample_)[0];
    EXPECT_GT(distance(together[0].select(1, 1), free.select(1, 1)), 1e-3);
    EXPECT_GT(distance(together[0].select(1, 1), kept.kept_CTHW.select(1, 1)), 0.1);
    // Company that keeps nothing does not change.
    EXPECT_LT(distance(together[1], sample_latents(dit_, {other}, sample_)[0]), 1e-5);
  }
}

TEST_F(SampleLatents, KeepingNothingIsThePlainPathBitForBit) {
  auto plain = request(0, 3, 4, 6), masked = plain;
  masked.kept_CTHW = at::randn({4, 3, 4, 6});
  masked.keep_THW = at::zeros({3, 4, 6}, at::kBool);
  EXPECT_TRUE(at::equal(sample_latents(dit_, {masked}, sample_)[0],
                        sample_latents(dit_, {plain}, sample_)[0]));
}

TEST_F(SampleLatents, ReportsEveryStep) {
  std::vector<int> steps;
  sample_latents(dit_, {request(0, 1, 2, 2)}, sample_, [&](int i) { steps.push_back(i); });
  EXPECT_EQ(steps, (std::vector<int>{0, 1, 2, 3}));
  EXPECT_TRUE(sample_latents(dit_, {}, sample_).empty());
}

TEST_F(SampleLatents, RefusesWhatTheModelCannotMake) {
  EXPECT_THROW(sample_latents(dit_, {request(0, 1, 3, 4)}, sample_), ConfigError);
  auto wrong = request(0, 1, 4, 4);
  wrong.channels = 16;
  EXPECT_THROW(sample_latents(dit_, {wrong}, sample_), ConfigError);
  auto no_null = request(0, 1, 4, 4);
  no_null.null_text_LE.reset();
  EXPECT_THROW(sample_latents(dit_, {no_null}, sample_), ConfigError);
  sample_.guidance = 1;
  EXPECT_EQ(sample_latents(dit_, {no_null}, sample_).size(), 1u);
}

}  // namespace
}  // namespace zoetrope::model
