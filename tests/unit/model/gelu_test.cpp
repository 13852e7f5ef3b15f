// GELU and its gradient equal LibTorch's in fp64.
#include "model/gelu.h"

#include <cmath>

#include <ATen/TensorOperators.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>

namespace zoetrope::model {
namespace {

// Errors of the values and of the gradient, relative to the largest of each.
void expect_equal(const at::Tensor& values, at::ScalarType type, double tolerance) {
  const at::Tensor x = values.to(type).clone().set_requires_grad(true);
  const at::Tensor x64 = x.detach().to(at::kDouble, false, true).set_requires_grad(true);
  const at::Tensor cotangent = at::randn(values.sizes()).to(type);
  const at::Tensor y = tanh_gelu(x), y64 = at::gelu(x64, "tanh");
  (y * cotangent).sum().backward();
  (y64 * cotangent.to(at::kDouble)).sum().backward();
  EXPECT_EQ(y.scalar_type(), type);
  const auto error = [](const at::Tensor& got, const at::Tensor& wanted) {
    return ((got.to(at::kDouble) - wanted).abs().max() / wanted.abs().max()).item<double>();
  };
  EXPECT_LT(error(y, y64), tolerance);
  EXPECT_LT(error(x.grad(), x64.grad()), tolerance);
}

TEST(Gelu, EqualsFp64WithItsGradient) {
  expect_equal(at::randn({77, 93}), at::kFloat, 1e-6);
  expect_equal(at::randn({3, 5000}).t(), at::kFloat, 1e-6);
  expect_equal(at::randn({77, 93}), at::kBFloat16, 0.004);
  expect_equal(at::randn({6, 5}), at::kDouble, 1e-12);
}

TEST(Gelu, TakesLargeNumbers) {
  const at::Tensor x = at::tensor({-1e4F, -100.0F, -12.0F, 0.0F, 12.0F, 100.0F, 1e4F});
  expect_equal(x, at::kFloat, 1e-6);
  EXPECT_NEAR(tanh_gelu(x)[0].item<float>(), 0, 1e-30);
  EXPECT_EQ(tanh_gelu(x)[6].item<float>(), 1e4F);
}

TEST(Gelu, PassesOnNan) {
  EXPECT_TRUE(tanh_gelu(at::tensor({1.0F, std::nanf("")})).isnan()[1].item<bool>());
}

}  // namespace
}  // namespace zoetrope::model
