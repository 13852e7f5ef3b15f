// Block attention equals plain attention in fp64 on the same bf16 values, to the rounding of bf16,
// for lengths on both sides of its blocks.
#include "model/block_attention.h"

#include <cmath>
#include <tuple>

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/logsumexp.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/softmax.h>
#include <gtest/gtest.h>

namespace zoetrope::model {
namespace {

double error(const at::Tensor& got, const at::Tensor& wanted) {
  return ((got.to(at::kDouble) - wanted).abs().max() / wanted.abs().max()).item<double>();
}

// [G, N, L, H] seen through packed [G L, N, H] memory, as the model has it.
at::Tensor packed_view(std::int64_t segments, std::int64_t length, std::int64_t width) {
  return at::randn({segments, length, 3, width}).to(at::kBFloat16).transpose(1, 2);
}

struct Result {
  at::Tensor out, lse, d_q, d_k, d_v;
};

Result run(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const at::Tensor& g,
           double scale) {
  Result r{at::empty_like(q), {}, at::empty_like(q), at::empty_like(k), at::empty_like(v)};
  r.lse = block_attention(q, k, v, scale, r.out);
  block_attention_backward(g, {q, k, v, r.out, r.lse}, scale, r.d_q, r.d_k, r.d_v);
  return r;
}

class BlockAttention : public testing::Test {
 protected:
  void SetUp() override {
    if (!can_use_block_attention(packed_view(1, 2, 16))) GTEST_SKIP() << "no AVX-512 bf16 here";
  }
};

class BlockAttentionOfLengths : public BlockAttention,
                                public testing::WithParamInterface<std::tuple<int, int, int>> {};

TEST_P(BlockAttentionOfLengths, EqualsPlainAttention) {
  const auto [queries, keys, width] = GetParam();
  const double scale = 1 / std::sqrt(width);
  const at::Tensor q = packed_view(2, queries, width), k = packed_view(2, keys, width),
                   v = packed_view(2, keys, width), g = packed_view(2, queries, width);
  const Result r = run(q, k, v, g, scale);
  const auto copy = [](const at::Tensor& x) {
    return x.detach().to(at::kDouble).set_requires_grad(true);
  };
  const at::Tensor q64 = copy(q), k64 = copy(k), v64 = copy(v);
  const at::Tensor scores = at::matmul(q64, k64.transpose(-2, -1)) * scale;
  const at::Tensor out64 = at::matmul(at::softmax(scores, -1), v64);
  (out64 * g.to(at::kDouble)).sum().backward();
  EXPECT_LT(error(r.lse, at::logsumexp(scores, {-1})), 1e-6);
  EXPECT_LT(error(r.out, out64), 0.01);
  EXPECT_LT(error(r.d_q, q64.grad()), 0.01);
  EXPECT_LT(error(r.d_k, k64.grad()), 0.01);
  EXPECT_LT(error(r.d_v, v64.grad()), 0.01);
}

INSTANTIATE_TEST_SUITE_P(Lengths, BlockAttentionOfLengths,
                         testing::Values(std::tuple{3, 2, 16}, std::tuple{128, 256, 64},
                                         std::tuple{129, 257, 128}, std::tuple{300, 77, 128},
                                         std::tuple{5, 513, 24}, std::tuple{401, 403, 32}));

TEST_F(BlockAttention, KeepsLargeScoresFinite) {
  const at::Tensor q = packed_view(1, 200, 32) * 30, k = packed_view(1, 300, 32) * 30,
                   v = packed_view(1, 300, 32), g = packed_view(1, 200, 32);
  const Result r = run(q, k, v, g, 1);  // scores of several thousand
  for (const at::Tensor* x : {&r.out, &r.lse, &r.d_q, &r.d_k, &r.d_v})
    EXPECT_TRUE(x->isfinite().all().item<bool>());
}

TEST_F(BlockAttention, DoesNotDependOnTheNumberOfThreads) {
  const at::Tensor q = packed_view(2, 150, 32), k = packed_view(2, 170, 32),
                   v = packed_view(2, 170, 32), g = packed_view(2, 150, 32);
  const int threads = at::get_num_threads();
  at::set_num_threads(1);
  const Result one = run(q, k, v, g, 0.2);
  at::set_num_threads(4);
  const Result four = run(q, k, v, g, 0.2);
  at::set_num_threads(threads);
  EXPECT_TRUE(one.out.equal(four.out));
  EXPECT_TRUE(one.d_q.equal(four.d_q) && one.d_k.equal(four.d_k) && one.d_v.equal(four.d_v));
}

}  // namespace
}  // namespace zoetrope::model
