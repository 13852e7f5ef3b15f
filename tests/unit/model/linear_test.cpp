// The linear layer and its gradients equal plain fp64 operations, whatever kernel runs them.
#include "model/linear.h"

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <thread>

#include <ATen/TensorOperators.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/randn.h>
#include <gtest/gtest.h>

#include "launch/stop_signal.h"

namespace zoetrope::model {
namespace {

double error(const at::Tensor& got, const at::Tensor& wanted) {
  return ((got.to(at::kDouble) - wanted).abs().max() / wanted.abs().max()).item<double>();
}

struct Case {
  std::int64_t rows, in, out;
  bool with_bias;
};

void expect_equal(const Case& c, at::ScalarType type, double tolerance) {
  at::Tensor x = at::randn({c.rows, c.in}).to(type).set_requires_grad(true);
  at::Tensor weight = at::randn({c.out, c.in}).set_requires_grad(true);
  at::Tensor bias = c.with_bias ? at::randn({c.out}).set_requires_grad(true) : at::Tensor();
  const at::Tensor cotangent = at::randn({c.rows, c.out}).to(type);
  const at::Tensor y = linear(x, weight, bias);
  (y * cotangent).sum().backward();

  const auto copy = [](const at::Tensor& t) {
    return t.detach().to(at::kDouble).set_requires_grad(true);
  };
  const at::Tensor x64 = copy(x), weight64 = copy(weight),
                   bias64 = c.with_bias ? copy(bias) : at::Tensor();
  const at::Tensor y64 =
      c.with_bias ? at::linear(x64, weight64, bias64) : at::linear(x64, weight64);
  (y64 * cotangent.to(at::kDouble)).sum().backward();
  EXPECT_EQ(y.scalar_type(), type);
  EXPECT_EQ(weight.grad().scalar_type(), at::kFloat);
  EXPECT_LT(error(y, y64), tolerance);
  EXPECT_LT(error(x.grad(), x64.grad()), tolerance);
  EXPECT_LT(error(weight.grad(), weight64.grad()), tolerance);
  if (c.with_bias) {
    EXPECT_LT(error(bias.grad(), bias64.grad()), tolerance);
  }
}

TEST(LinearFunction, EqualsFp64InFp32) {
  for (const Case& c : {Case{1, 7, 5, true}, Case{130, 64, 33, false}, Case{257, 96, 160, true}}) {
    expect_equal(c, at::kFloat, 1e-5);
  }
}

TEST(LinearFunction, StaysWithinTheRoundingOfBf16) {
  for (const Case& c : {Case{3, 7, 5, true}, Case{257, 96, 160, true}})
    expect_equal(c, at::kBFloat16, 0.02);
}

TEST(LinearFunction, TakesManyDimensionsAndStridedInput) {
  const at::Tensor x = at::randn({6, 4, 8}).transpose(0, 1), weight = at::randn({3, 8});
  const at::Tensor y = linear(x, weight, at::Tensor());
  EXPECT_EQ(y.sizes(), at::IntArrayRef({4, 6, 3}));
  EXPECT_LT((y - at::linear(x, weight)).abs().max().item<double>(), 1e-5);
}

TEST(LinearFunction, LeavesFrozenWeightsWithoutGradient) {
  at::Tensor x = at::randn({4, 8}).set_requires_grad(true);
  const at::Tensor weight = at::randn({3, 8});
  linear(x, weight, at::Tensor()).sum().backward();
  EXPECT_TRUE(x.grad().defined());
  EXPECT_FALSE(weight.grad().defined());
}

TEST(LinearFunction, KeepsNoCastOfTheWeightInARecastScope) {
  const at::Tensor x = at::randn({4, 64}).to(at::kBFloat16);
  for (const bool recast : {false, true}) {
    at::Tensor weight = at::randn({32, 64}).set_requires_grad(true);
    const auto cast_at_forward = weight.detach().to(at::kBFloat16);
    at::Tensor leaf = x.clone().set_requires_grad(true), y;
    {
      const RecastScope scope(recast);
      y = linear(leaf, weight, at::Tensor());
    }
    // What backward multiplies by shows whether the weight or a cast of its old values was kept.
    std::fill_n(weight.data_ptr<float>(), weight.numel(), 1.0F);
    y.sum().backward();
    // Where bf16 is multiplied in fp32, there is no cast to keep.
    const bool keeps_weight = recast || product_type(at::kBFloat16) == at::kFloat;
    const at::Tensor used = keeps_weight ? weight.detach().to(at::kBFloat16) : cast_at_forward;
    EXPECT_TRUE(leaf.grad().allclose(used.sum(0).expand_as(leaf), 0.05, 0.05)) << recast;
  }
}

// For half of the two seconds in which signals are one request. Ends the process.
[[noreturn]] void multiply_under_stop_signals() {
  using Clock = std::chrono::steady_clock;
  launch::listen_for_stop_signals();
  std::atomic<bool> ended = false;
  std::thread([&ended, multiplies = pthread_self()] {
    for (const auto end = Clock::now() + std::chrono::seconds(1); Clock::now() < end;) {
      pthread_kill(multiplies, SIGTERM);
      std::this_thread::sleep_for(std::chrono::microseconds(100));
    }
    ended = true;
  }).detach();
  const at::Tensor weight = at::randn({32, 256});
  while (!ended) {
    for (const std::int64_t rows : {1, 4, 5, 20}) {
      linear(at::randn({rows, 256}), weight, at::Tensor());
    }
  }
  _exit(launch::stop_signal() == SIGTERM ? 0 : 1);
}

TEST(LinearFunction, LeavesTheHeapWholeUnderStopSignals) {
  EXPECT_EXIT(multiply_under_stop_signals(), testing::ExitedWithCode(0), "");
}

}  // namespace
}  // namespace zoetrope::model
