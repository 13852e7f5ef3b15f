// Each fused pass equals plain operations in fp64, forward and backward, in fp32 and bf16.
#include "model/norms.h"

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/full.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/rand.h>
#include <ATen/ops/randn.h>
#include <gtest/gtest.h>

namespace zoetrope::model {
namespace {

constexpr double kEps = 1e-6;

double error(const at::Tensor& got, const at::Tensor& wanted) {
  return ((got.to(at::kDouble) - wanted).abs().max() / wanted.abs().max()).item<double>();
}

at::Tensor leaf(const at::Tensor& x) {
  return x.detach().clone().set_requires_grad(true);
}
at::Tensor leaf64(const at::Tensor& x) {
  return leaf(x.to(at::kDouble));
}

// Three samples of 130, 6 and 20 tokens; the second and third mix rows within a sample.
struct Rows {
  DitInput input;
  ModulationRows fused, plain;
  std::int64_t tokens = 156;
};

Rows mixed_rows() {
  Rows rows;
  rows.input.patches_TK = at::ones({156, 4});
  rows.input.grids = {Grid{1, 10, 13}, Grid{1, 2, 3}, Grid{5, 2, 2}};
  rows.input.row_of_segment = {2, -1, -1};
  rows.input.row_of_token_T = at::full({156}, 0, at::kLong);
  for (int t = 133; t < 136; ++t) rows.input.row_of_token_T[t] = 1;
  for (int t = 136; t < 156; ++t) rows.input.row_of_token_T[t] = t % 3;
  rows.fused = modulation_rows(rows.input);
  rows.input.patches_TK = rows.input.patches_TK.to(at::kDouble);
  rows.plain = modulation_rows(rows.input);
  return rows;
}

TEST(ModulationRows, CoverEveryTokenOnceWithItsRow) {
  const Rows rows = mixed_rows();
  std::int64_t next = 0;
  for (std::int64_t r = 0; r < rows.fused.runs_R3.size(0); ++r) {
    const at::Tensor run = rows.fused.runs_R3[r];
    EXPECT_EQ(run[1].item<std::int64_t>(), next);
    next = run[2].item<std::int64_t>();
    EXPECT_LE(next - run[1].item<std::int64_t>(), 64);
  }
  EXPECT_EQ(next, rows.tokens);
  at::Tensor wanted = rows.input.row_of_token_T.clone();
  wanted.narrow(0, 0, 130).fill_(2);
  EXPECT_TRUE(rows.plain.row_of_token_T.equal(wanted));
}

class FusedNorms : public ::testing::TestWithParam<std::int64_t> {};  // width

TEST_P(FusedNorms, ModulatedLayerNormEqualsPlainOperations) {
  const Rows rows = mixed_rows();
  const std::int64_t width = GetParam();
  const at::Tensor x = leaf(at::randn({rows.tokens, width}) * 3 + 5),
                   multiplier = leaf(at::randn({3, width}));
  const at::Tensor shift = leaf(at::randn({3, width})), cotangent = at::randn({rows.tokens, width});
  const at::Tensor x64 = leaf64(x), multiplier64 = leaf64(multiplier), shift64 = leaf64(shift);
  const at::Tensor y = modulated_layer_norm(x, multiplier, shift, rows.fused, kEps, at::kFloat);
  const at::Tensor y64 =
      modulated_layer_norm(x64, multiplier64, shift64, rows.plain, kEps, at::kDouble);
  (y * cotangent).sum().backward();
  (y64 * cotangent.to(at::kDouble)).sum().backward();
  EXPECT_LT(error(y, y64), 5e-6);
  EXPECT_LT(error(x.grad(), x64.grad()), 1e-5);
  EXPECT_LT(error(multiplier.grad(), multiplier64.grad()), 1e-5);
  EXPECT_LT(error(shift.grad(), shift64.grad()), 1e-5);

  const at::Tensor low =
      modulated_layer_norm(x, multiplier, shift, rows.fused, kEps, at::kBFloat16);
  EXPECT_TRUE(low.equal(y.to(at::kBFloat16)));
}

TEST_P(FusedNorms, GatedResidualEqualsPlainOperations) {
  const Rows rows = mixed_rows();
  const std::int64_t width = GetParam();
  for (const auto type : {at::kFloat, at::kBFloat16}) {
    const at::Tensor residual = leaf(at::randn({rows.tokens, width})),
                     gate = leaf(at::randn({3, width}));
    const at::Tensor update = leaf(at::randn({rows.tokens, width}).to(type));
    const at::Tensor cotangent = at::randn({rows.tokens, width});
    const at::Tensor residual64 = leaf64(residual), gate64 = leaf64(gate),
                     update64 = leaf64(update);
    const at::Tensor y = gated_residual(residual, update, gate, rows.fused);
    const at::Tensor y64 = gated_residual(residual64, update64, gate64, rows.plain);
    (y * cotangent).sum().backward();
    (y64 * cotangent.to(at::kDouble)).sum().backward();
    EXPECT_LT(error(y, y64), 1e-6);
    EXPECT_LT(error(residual.grad(), residual64.grad()), 1e-6);
    EXPECT_LT(error(gate.grad(), gate64.grad()), 5e-6);
    EXPECT_EQ(update.grad().scalar_type(), type);
    EXPECT_LT(error(update.grad(), update64.grad()), type == at::kFloat ? 1e-6 : 5e-3);
  }
}

TEST_P(FusedNorms, RmsNormAndRotationEqualPlainOperations) {
  const Rows rows = mixed_rows();
  const std::int64_t width = GetParam(), heads = 2;
  RotaryEmbedding rotary(width / heads);
  const Rotation rotation = rotary.rotation(rows.input.grids, at::kCPU);
  for (const auto type : {at::kFloat, at::kBFloat16}) {
    for (const Rotation* turn : {&rotation, static_cast<const Rotation*>(nullptr)}) {
      const at::Tensor x = leaf((at::randn({rows.tokens, width}) * 2).to(type)),
                       weight = leaf(at::randn({width}));
      const at::Tensor cotangent = at::randn({rows.tokens, width}).to(type);
      const at::Tensor x64 = leaf64(x), weight64 = leaf64(weight);
      const at::Tensor y = rms_norm_rotate(x, weight, turn, heads, kEps);
      const at::Tensor y64 = rms_norm_rotate(x64, weight64, turn, heads, kEps);
      (y * cotangent).sum().backward();
      (y64 * cotangent.to(at::kDouble)).sum().backward();
      const double tolerance = type == at::kFloat ? 5e-6 : 5e-3;
      EXPECT_EQ(y.scalar_type(), type);
      EXPECT_LT(error(y, y64), tolerance);
      EXPECT_LT(error(x.grad(), x64.grad()), tolerance);
      EXPECT_LT(error(weight.grad(), weight64.grad()), 1e-5);
    }
  }
}

// 44: no multiple of the 16 lanes. 256: heads of 128 as in Wan.
INSTANTIATE_TEST_SUITE_P(Widths, FusedNorms, ::testing::Values(32, 44, 256));

TEST(FusedNorms, GradientsDoNotDependOnTheNumberOfThreads) {
  const Rows rows = mixed_rows();
  const at::Tensor x = at::randn({rows.tokens, 64}), multiplier = leaf(at::randn({3, 64}));
  const at::Tensor shift = leaf(at::randn({3, 64}));
  const auto gradient = [&](int threads) {
    const int before = at::get_num_threads();
    at::set_num_threads(threads);
    multiplier.mutable_grad().reset();
    modulated_layer_norm(x, multiplier, shift, rows.fused, kEps, at::kFloat)
        .square()
        .sum()
        .backward();
    at::set_num_threads(before);
    return multiplier.grad().clone();
  };
  EXPECT_TRUE(gradient(1).equal(gradient(3)));
}

}  // namespace
}  // namespace zoetrope::model
