// The arithmetic of the CUDA kernels, run on the host with one lane, against fp64 autograd of plain
// operations. What a device adds (launches, sums over lanes) is in cuda_test.cpp.
#include "model/kernels/row_math.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/_fused_adamw.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/layer_norm.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/rsqrt.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include "model/rope.h"

namespace zoetrope::model::kernels {
namespace {

constexpr std::int64_t kTokens = 7, kWidth = 128, kHeads = 2;
constexpr float kEps = 1e-6F;

double error(const at::Tensor& got, const at::Tensor& wanted) {
  return ((got.to(at::kDouble) - wanted).abs().max() / wanted.abs().max()).item<double>();
}
at::Tensor leaf64(const at::Tensor& x) {
  return x.to(at::kDouble).detach().clone().set_requires_grad(true);
}
float* row(const at::Tensor& x, std::int64_t t = 0) {
  return x.data_ptr<float>() + t * x.size(-1);
}
BFloat16* row_bf16(const at::Tensor& x, std::int64_t t = 0) {
  return reinterpret_cast<BFloat16*>(x.data_ptr()) + t * x.size(-1);
}

TEST(KernelArithmetic, Bf16RoundsAsTorchDoes) {
  const at::Tensor x = at::randn({1000}) * 1e3, rounded = x.to(at::kBFloat16);
  for (int i = 0; i < 1000; ++i) {
    EXPECT_EQ(narrow(row(x)[i]), row_bf16(rounded)[i].bits);
    EXPECT_EQ(widen(row_bf16(rounded)[i].bits), rounded[i].item<float>());
  }
  EXPECT_TRUE(std::isnan(widen(narrow(std::nanf("")))));
}

TEST(KernelArithmetic, LayerNormEqualsFp64Autograd) {
  const at::Tensor x = at::randn({kTokens, kWidth}) * 3 + 5, multiplier = at::randn({kWidth}),
                   shift = at::randn({kWidth}), g = at::randn({kTokens, kWidth});
  const at::Tensor y = at::empty({kTokens, kWidth}), statistics = at::empty({kTokens, 2}),
                   d_x = at::empty({kTokens, kWidth}), d_multiplier = at::zeros({kWidth}),
                   d_shift = at::zeros({kWidth});
  for (std::int64_t t = 0; t < kTokens; ++t) {
    layer_norm_row(OneLane(), kWidth, kEps, row(x, t), row(multiplier), row(shift), row(y, t),
                   row(statistics, t));
    layer_norm_row_backward(OneLane(), kWidth, row(g, t), row(x, t), row(statistics, t),
                            row(multiplier), row(d_x, t), row(d_multiplier), row(d_shift));
  }
  const at::Tensor x64 = leaf64(x), multiplier64 = leaf64(multiplier), shift64 = leaf64(shift);
  const at::Tensor y64 = at::layer_norm(x64, {kWidth}, {}, {}, kEps) * multiplier64 + shift64;
  (y64 * g).sum().backward();
  EXPECT_LT(error(y, y64), 5e-6);
  EXPECT_LT(error(d_x, x64.grad()), 1e-5);
  EXPECT_LT(error(d_multiplier, multiplier64.grad()), 1e-5);
  EXPECT_LT(error(d_shift, shift64.grad()), 1e-5);
}

TEST(KernelArithmetic, GatedResidualInBf16EqualsFp64Autograd) {
  const at::Tensor residual = at::randn({kTokens, kWidth}), gate = at::randn({kWidth}),
                   update = at::randn({kTokens, kWidth}).to(at::kBFloat16),
                   g = at::randn({kTokens, kWidth});
  const at::Tensor y = at::empty({kTokens, kWidth}), d_gate = at::zeros({kWidth}),
                   d_update = at::empty({kTokens, kWidth}, at::kBFloat16);
  for (std::int64_t t = 0; t < kTokens; ++t) {
    gated_residual_row(OneLane(), kWidth, row(residual, t), row_bf16(update, t), row(gate),
                       row(y, t));
    gated_residual_row_backward(OneLane(), kWidth, row(g, t), row_bf16(update, t), row(gate),
                                row_bf16(d_update, t), row(d_gate));
  }
  const at::Tensor residual64 = leaf64(residual), update64 = leaf64(update), gate64 = leaf64(gate);
  const at::Tensor y64 = residual64 + gate64 * update64;
  (y64 * g).sum().backward();
  EXPECT_LT(error(y, y64), 1e-6);
  EXPECT_LT(error(d_gate, gate64.grad()), 1e-5);
  EXPECT_LT(error(d_update, update64.grad()), 4e-3);  // rounded to bf16
}

TEST(KernelArithmetic, RmsNormWithRotationEqualsFp64Autograd) {
  const at::Tensor x = at::randn({kTokens, kWidth}) * 2, weight = at::randn({kWidth}),
                   g = at::randn({kTokens, kWidth});
  RotaryEmbedding rotary(kWidth / kHeads);
  const Rotation rotation = rotary.rotation({Grid{1, 1, 3}, Grid{2, 2, 1}}, at::kCPU);
  Turn turn;
  turn.positions = rotation.positions_T3.const_data_ptr<std::int32_t>();
  for (int axis = 0; axis < 3; ++axis) {
    turn.tables[axis] = row(rotation.tables[axis]);
    turn.pairs[axis] = rotation.tables[axis].size(1);
  }
  const at::Tensor y = at::empty({kTokens, kWidth}), d_x = at::empty({kTokens, kWidth}),
                   d_weight = at::zeros({kWidth}), rstd = at::empty({kTokens, 1});
  for (std::int64_t t = 0; t < kTokens; ++t) {
    rms_norm_rotate_row(OneLane(), kWidth, kEps, row(x, t), row(weight), turn, t, row(y, t),
                        row(rstd, t));
    rms_norm_rotate_row_backward(OneLane(), kWidth, row(g, t), row(x, t), *row(rstd, t),
                                 row(weight), turn, t, row(d_x, t), row(d_weight));
  }
  const at::Tensor x64 = leaf64(x), weight64 = leaf64(weight);
  const at::Tensor n64 = x64 * at::rsqrt((x64 * x64).mean(-1, true) + kEps) * weight64;
  const at::Tensor y64 = rotate(n64.unflatten(1, {kHeads, -1}), rotation).flatten(1);
  (y64 * g).sum().backward();
  EXPECT_LT(error(y, y64), 5e-6);
  EXPECT_LT(error(d_x, x64.grad()), 1e-5);
  EXPECT_LT(error(d_weight, weight64.grad()), 1e-5);
}

TEST(KernelArithmetic, BiasGeluEqualsFp64Autograd) {
  const at::Tensor x = at::randn({kTokens, kWidth}) * 2, bias = at::randn({kWidth}),
                   g = at::randn({kTokens, kWidth});
  const at::Tensor y = at::empty({kTokens, kWidth}), d_x = at::empty({kTokens, kWidth}),
                   d_bias = at::zeros({kWidth});
  for (std::int64_t t = 0; t < kTokens; ++t) {
    bias_gelu_row(OneLane(), kWidth, row(x, t), row(bias), row(y, t));
    bias_gelu_row_backward(OneLane(), kWidth, row(g, t), row(x, t), row(bias), row(d_x, t),
                           row(d_bias));
  }
  const at::Tensor x64 = leaf64(x), bias64 = leaf64(bias);
  const at::Tensor y64 = at::gelu(x64 + bias64, "tanh");
  (y64 * g).sum().backward();
  EXPECT_LT(error(y, y64), 1e-6);
  EXPECT_LT(error(d_x, x64.grad()), 1e-5);
  EXPECT_LT(error(d_bias, bias64.grad()), 1e-5);
}

TEST(KernelArithmetic, AdamEqualsTorchsFusedAdamW) {
  const at::Tensor p = at::randn({kWidth}), m = at::randn({kWidth}) * 0.1,
                   v = at::randn({kWidth}).square(), g = at::randn({kWidth});
  const at::Tensor ema = at::zeros({kWidth});
  const at::Tensor p64 = p.to(at::kDouble), m64 = m.to(at::kDouble), v64 = v.to(at::kDouble);
  const AdamStep step{0.9F,
                      0.99F,
                      1e-8F,
                      1e-2F,
                      0.1F,
                      0.5F,
                      static_cast<float>(1 / (1 - std::pow(0.9, 3))),
                      static_cast<float>(1 / (1 - std::pow(0.99, 3))),
                      0.25F};
  for (std::int64_t i = 0; i < kWidth; ++i) {
    row(p)[i] = adam_element(step, row(p)[i], row(g)[i], row(m)[i], row(v)[i], row(ema)[i]);
  }
  at::_fused_adamw_({p64}, {g.to(at::kDouble) * 0.5}, {m64}, {v64}, {}, {at::full({}, 3.0F)}, 1e-2,
                    0.9, 0.99, 0.1, 1e-8, false, false);
  EXPECT_LT(error(p, p64), 1e-6);
  EXPECT_LT(error(m, m64), 1e-6);
  EXPECT_LT(error(v, v64), 1e-6);
  EXPECT_LT(error(ema, p64 * 0.25), 1e-6);
}

}  // namespace
}  // namespace zoetrope::model::kernels
