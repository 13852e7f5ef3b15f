// The fused norm against the same formula in double precision, forward and backward.
#include "model/vae_norm.h"

#include <gtest/gtest.h>

#include <span>

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>

#include "base/random.h"

namespace zoetrope::model {
namespace {

at::Tensor random_tensor(const std::vector<std::int64_t>& shape, std::uint64_t step,
                         double scale = 1) {
  at::Tensor tensor = at::empty(shape);
  Random random(9, Purpose::kTest, step);
  random.fill_normal({tensor.mutable_data_ptr<float>(), static_cast<std::size_t>(tensor.numel())});
  return tensor.mul_(scale);
}

struct Pass {
  at::Tensor y, d_x, d_gamma;
};

Pass run_norm(const at::Tensor& x, const at::Tensor& gamma, Activation activation,
              const at::Tensor& cotangent) {
  const at::Tensor input = x.detach().clone().set_requires_grad(true);
  const at::Tensor weight = gamma.detach().clone().set_requires_grad(true);
  const at::Tensor y = rms_norm(input, weight, activation, 2);
  (y * cotangent.to(y.scalar_type())).sum().backward();
  return {y.detach(), input.grad(), weight.grad()};
}

double relative_error(const at::Tensor& got, const at::Tensor& expected) {
  return ((got.to(at::kDouble) - expected).norm() / expected.norm()).item<double>();
}

TEST(VaeNorm, EqualsTheFormulaInDoublePrecision) {
  for (const Activation activation : {Activation::kNone, Activation::kSilu}) {
    for (const std::int64_t channels : {5, 16, 48, 96}) {
      const at::Tensor x = random_tensor({2, 3, 4, 5, channels}, 1, 3),
                       gamma = random_tensor({channels, 1, 1, 1}, 2);
      const at::Tensor cotangent = random_tensor({2, 5, 4, 5, channels}, 3);
      const Pass exact = run_norm(x.to(at::kDouble), gamma.to(at::kDouble), activation, cotangent);
      const Pass fused = run_norm(x, gamma, activation, cotangent);
      EXPECT_LT(relative_error(fused.y, exact.y), 1e-6) << channels;
      EXPECT_LT(relative_error(fused.d_x, exact.d_x), 1e-5) << channels;
      EXPECT_LT(relative_error(fused.d_gamma, exact.d_gamma), 1e-5) << channels;
      const Pass half = run_norm(x.to(at::kBFloat16), gamma, activation, cotangent);
      EXPECT_LT(relative_error(half.y, exact.y), 1e-2) << channels;
      EXPECT_LT(relative_error(half.d_x, exact.d_x), 2e-2) << channels;
    }
  }
}

TEST(VaeNorm, PutsZeroFramesInFront) {
  const at::Tensor y =
      rms_norm(random_tensor({2, 3, 2, 2, 8}, 4), random_tensor({8}, 5), Activation::kSilu, 2);
  EXPECT_EQ(y.sizes(), at::IntArrayRef({2, 5, 2, 2, 8}));
  EXPECT_EQ(y.narrow(1, 0, 2).abs().max().item<float>(), 0.0f);
  EXPECT_GT(y.narrow(1, 2, 3).abs().amax(-1).min().item<float>(), 0.0f);
}

TEST(VaeNorm, IsFiniteForZeroRowsAndHugeNumbers) {
  at::Tensor x = random_tensor({1, 1, 1, 3, 8}, 6);
  x.select(3, 0).zero_();
  x.select(3, 1).mul_(1e15);
  const at::Tensor y = rms_norm(x, random_tensor({8}, 7, 50), Activation::kSilu);
  EXPECT_TRUE(y.isfinite().all().item<bool>());
  EXPECT_EQ(y.select(3, 0).abs().max().item<float>(), 0.0f);
}

TEST(VaeNorm, GradientsDoNotDependOnThreads) {
  const at::Tensor x = random_tensor({1, 4, 32, 32, 16}, 8), gamma = random_tensor({16}, 9);
  const at::Tensor cotangent = random_tensor({1, 6, 32, 32, 16}, 10);
  const int threads = at::get_num_threads();
  at::set_num_threads(1);
  const Pass one = run_norm(x, gamma, Activation::kSilu, cotangent);
  at::set_num_threads(3);
  const Pass three = run_norm(x, gamma, Activation::kSilu, cotangent);
  at::set_num_threads(threads);
  EXPECT_TRUE(one.d_gamma.equal(three.d_gamma));
  EXPECT_TRUE(one.d_x.equal(three.d_x));
}

}  // namespace
}  // namespace zoetrope::model
