// Winograd's convolution against LibTorch's in double precision.
#include "model/winograd.h"

#include <gtest/gtest.h>

#include <tuple>
#include <vector>

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/conv3d.h>
#include <ATen/ops/empty.h>

#include "base/random.h"
#include "model/winograd_kernels.h"

namespace zoetrope::model {
namespace {

at::Tensor random_tensor(const std::vector<std::int64_t>& shape, std::uint64_t step) {
  at::Tensor tensor = at::empty(shape);
  Random random(4, Purpose::kTest, step);
  random.fill_normal({tensor.mutable_data_ptr<float>(), static_cast<std::size_t>(tensor.numel())});
  return tensor;
}

Conv random_conv(std::int64_t in, std::int64_t out, std::int64_t taps) {
  const std::vector<std::int64_t> kernel =
      taps == 1 ? std::vector<std::int64_t>{3, 3} : std::vector<std::int64_t>{taps, 3, 3};
  Conv conv(in, out, kernel, at::kCPU);
  conv.weight.copy_(random_tensor(conv.weight.sizes().vec(), 1));
  conv.bias.copy_(random_tensor(conv.bias.sizes().vec(), 2));
  return conv;
}

at::Tensor exact(const Conv& conv, const at::Tensor& x_BTHWC) {
  const at::Tensor weight = conv.weight.dim() == 5 ? conv.weight : conv.weight.unsqueeze(2);
  return at::conv3d(x_BTHWC.permute({0, 4, 1, 2, 3}).to(at::kDouble), weight.to(at::kDouble),
                    conv.bias.to(at::kDouble), {1, 1, 1}, {0, 1, 1})
      .permute({0, 2, 3, 4, 1});
}

double relative_error(const at::Tensor& got, const at::Tensor& expected) {
  return ((got.to(at::kDouble) - expected).norm() / expected.norm()).item<double>();
}

class Winograd : public testing::Test {
 protected:
  void SetUp() override {
    if (!winograd::is_supported()) GTEST_SKIP() << "no AVX-512 here";
  }
  at::NoGradGuard no_grad_;
};

TEST_F(Winograd, EqualsThePlainConvolution) {
  // clips, frames, taps, height, width, in, out: sides that tiles do and do not divide
  using Shape = std::tuple<int, int, int, int, int, int, int>;
  for (const auto& [clips, frames, taps, height, width, in, out] :
       {Shape{1, 6, 3, 32, 24, 32, 32}, Shape{2, 4, 3, 25, 30, 48, 64},
        Shape{1, 18, 3, 27, 27, 96, 32}, Shape{2, 3, 1, 30, 23, 64, 96}}) {
    const Conv conv = random_conv(in, out, taps);
    const at::Tensor x = random_tensor({clips, frames, height, width, in}, 3);
    ASSERT_TRUE(winograd_pays(conv, x));
    const at::Tensor got = winograd_conv(conv, x), expected = exact(conv, x);
    ASSERT_EQ(got.sizes(), expected.sizes());
    EXPECT_LT(relative_error(got, expected), 6e-6);
    EXPECT_LT((got.to(at::kDouble) - expected).abs().max().item<double>(),
              2e-5 * expected.abs().max().item<double>());
    const at::Tensor coarse = x.to(at::kBFloat16);
    const at::Tensor got_bf16 = winograd_conv(conv, coarse);
    EXPECT_EQ(got_bf16.scalar_type(), at::kBFloat16);
    EXPECT_LT(relative_error(got_bf16, exact(conv, coarse.to(at::kFloat))), 2e-3);  // the rounding
  }
}

TEST_F(Winograd, DoesNotDependOnThreads) {
  const Conv conv = random_conv(32, 64, 3);
  const at::Tensor x = random_tensor({1, 6, 48, 48, 32}, 3);
  const int threads = at::get_num_threads();
  at::set_num_threads(1);
  const at::Tensor one = winograd_conv(conv, x);
  at::set_num_threads(3);
  const at::Tensor three = winograd_conv(conv, x);
  at::set_num_threads(threads);
  EXPECT_TRUE(one.equal(three));
}

TEST_F(Winograd, RunsWithoutGradientsOnly) {
  const Conv conv = random_conv(32, 32, 3);
  const at::Tensor x = random_tensor({1, 6, 32, 32, 32}, 3);
  const at::Tensor inference = causal_conv(conv, x);
  EXPECT_TRUE(inference.equal(winograd_conv(conv, x)));
  const at::AutoGradMode with_grad(true);
  const at::Tensor training = causal_conv(conv, x);
  EXPECT_FALSE(training.equal(inference));
  EXPECT_LT(relative_error(training, inference.to(at::kDouble)), 1e-5);
}

TEST_F(Winograd, LeavesSmallAndOddShapesAlone) {
  EXPECT_FALSE(winograd_pays(random_conv(16, 32, 3), random_tensor({1, 6, 32, 32, 16}, 3)));
  EXPECT_FALSE(winograd_pays(random_conv(40, 32, 3), random_tensor({1, 6, 32, 32, 40}, 3)));
  EXPECT_FALSE(winograd_pays(random_conv(32, 24, 3), random_tensor({1, 6, 32, 32, 32}, 3)));
  EXPECT_FALSE(winograd_pays(random_conv(32, 32, 3), random_tensor({1, 30, 24, 24, 32}, 3)));
}

}  // namespace
}  // namespace zoetrope::model
