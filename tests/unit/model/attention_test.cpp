// Packed attention equals attention on each segment alone, forward and backward.
#include "model/attention.h"

#include <cmath>

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include "base/error.h"

namespace zoetrope::model {
namespace {

using Lengths = std::vector<std::int64_t>;

double error(const at::Tensor& got, const at::Tensor& wanted) {
  return ((got.to(at::kDouble) - wanted).abs().max() / wanted.abs().max()).item<double>();
}

// One segment after another, from plain operations in fp64.
at::Tensor reference(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                     const Lengths& query_lengths, const Lengths& key_lengths) {
  std::vector<at::Tensor> outputs;
  std::int64_t query = 0, key = 0;
  for (std::size_t s = 0; s < query_lengths.size(); ++s) {
    const auto heads_first = [](const at::Tensor& x, std::int64_t begin, std::int64_t length) {
      return x.narrow(0, begin, length).transpose(0, 1);
    };
    const at::Tensor scores = at::matmul(heads_first(q, query, query_lengths[s]),
                                         heads_first(k, key, key_lengths[s]).transpose(1, 2));
    const at::Tensor p = at::softmax(scores / std::sqrt(static_cast<double>(q.size(2))), -1);
    outputs.push_back(at::matmul(p, heads_first(v, key, key_lengths[s])).transpose(0, 1));
    query += query_lengths[s];
    key += key_lengths[s];
  }
  return at::cat(outputs);
}

std::int64_t total(const Lengths& lengths) {
  std::int64_t sum = 0;
  for (const std::int64_t length : lengths) sum += length;
  return sum;
}

void expect_equal(const Lengths& query_lengths, const Lengths& key_lengths, at::ScalarType type,
                  double tolerance) {
  const auto leaf = [&](std::int64_t tokens) {
    return at::randn({tokens, 2, 16}).to(type).set_requires_grad(true);
  };
  const at::Tensor q = leaf(total(query_lengths)), k = leaf(total(key_lengths)),
                   v = leaf(total(key_lengths));
  const auto copy = [](const at::Tensor& x) {
    return x.detach().to(at::kDouble).set_requires_grad(true);
  };
  const at::Tensor q64 = copy(q), k64 = copy(k), v64 = copy(v);
  const at::Tensor out = packed_attention(q, k, v, query_lengths, key_lengths);
  const at::Tensor out64 = reference(q64, k64, v64, query_lengths, key_lengths);
  const at::Tensor cotangent = at::randn(out.sizes()).to(type);
  (out * cotangent).sum().backward();
  (out64 * cotangent.to(at::kDouble)).sum().backward();
  EXPECT_EQ(out.scalar_type(), type);
  EXPECT_LT(error(out, out64), tolerance);
  EXPECT_LT(error(q.grad(), q64.grad()), tolerance);
  EXPECT_LT(error(k.grad(), k64.grad()), tolerance);
  EXPECT_LT(error(v.grad(), v64.grad()), tolerance);
}

TEST(PackedAttention, EqualsSegmentsAloneWhenTheirLengthsAreMixed) {
  expect_equal({5, 300, 7, 7, 1}, {5, 300, 7, 7, 1}, at::kFloat, 1e-5);  // kept scores and flash
}

TEST(PackedAttention, EqualsSegmentsAloneWhenTheyFormOneGroup) {
  expect_equal({24, 24, 24}, {24, 24, 24}, at::kFloat, 1e-5);
  expect_equal({260, 260}, {260, 260}, at::kFloat, 1e-5);
}

TEST(PackedAttention, TakesKeysOfOtherLengths) {
  expect_equal({5, 300, 6, 6}, {3, 200, 9, 9}, at::kFloat, 1e-5);
  expect_equal({6, 6}, {1, 2}, at::kFloat, 1e-5);  // equal queries, other keys: two groups
}

TEST(PackedAttention, StaysWithinTheRoundingOfBf16) {
  expect_equal({40, 300, 40}, {40, 300, 40}, at::kBFloat16, 0.02);
  expect_equal({40, 1100}, {40, 1100}, at::kBFloat16, 0.02);  // past the kept scores
}

TEST(PackedAttention, RunsInFp64) {
  expect_equal({5, 250}, {4, 250}, at::kDouble, 1e-12);
}

TEST(PackedAttention, ASegmentDoesNotSeeItsNeighbours) {
  const at::Tensor q = at::randn({20, 2, 8}), k = at::randn({20, 2, 8}), v = at::randn({20, 2, 8});
  const at::Tensor before = packed_attention(q, k, v, {12, 8}, {12, 8});
  k.narrow(0, 12, 8).mul_(9);
  v.narrow(0, 12, 8).add_(100);
  const at::Tensor after = packed_attention(q, k, v, {12, 8}, {12, 8});
  EXPECT_TRUE(after.narrow(0, 0, 12).equal(before.narrow(0, 0, 12)));
  EXPECT_GT((after - before).abs().max().item<double>(), 50);
}

TEST(PackedAttention, RefusesLengthsThatDoNotAddUp) {
  const at::Tensor x = at::zeros({10, 1, 8});
  EXPECT_THROW(packed_attention(x, x, x, {5, 4}, {5, 5}), Error);
  EXPECT_THROW(packed_attention(x, x, x, {5, 5}, {5, 6}), Error);
  EXPECT_THROW(packed_attention(x, x, x, {10}, {5, 5}), Error);
}

}  // namespace
}  // namespace zoetrope::model
