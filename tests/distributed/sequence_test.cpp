// Attention over a sequence that ranks share equals plain attention on one rank.
#include "model/parallel/sequence.h"

#include <algorithm>
#include <cmath>

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/softmax.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/random.h"
#include "tests/distributed/world.h"

namespace zoetrope::model {
namespace {

// The same numbers on every rank.
at::Tensor draw(at::IntArrayRef shape, std::uint64_t key) {
  at::Tensor values = at::empty(shape, at::kFloat);
  Random(5, Purpose::kTest, 0, key)
      .fill_normal({values.data_ptr<float>(), static_cast<std::size_t>(values.numel())});
  return values;
}

void expect_close(const at::Tensor& a, const at::Tensor& b, const std::string& what,
                  double tolerance) {
  // A rank's part may be one token whose gradient is zero but for rounding.
  const double error = (a - b).norm().item<double>() / std::max(1.0, b.norm().item<double>());
  EXPECT_LT(error, tolerance) << what;
}

// softmax(q k^T / sqrt(H)) v of each segment by itself, as it is written.
at::Tensor plain_attention(const at::Tensor& q_TNH, const at::Tensor& k_TNH,
                           const at::Tensor& v_TNH, const std::vector<std::int64_t>& lengths) {
  std::vector<at::Tensor> outs;
  std::int64_t begin = 0;
  for (const std::int64_t length : lengths) {
    const auto segment = [&](const at::Tensor& x) {
      return x.narrow(0, begin, length).transpose(0, 1);
    };
    const at::Tensor scores =
        at::matmul(segment(q_TNH), segment(k_TNH).transpose(1, 2)) / std::sqrt(q_TNH.size(2));
    outs.push_back(at::matmul(at::softmax(scores, -1), segment(v_TNH)).transpose(0, 1));
    begin += length;
  }
  return at::cat(outs);
}

using Attend = at::Tensor (*)(const at::Tensor&, const at::Tensor&, const at::Tensor&,
                              const TokenPlan::SharedPack&);

// Output and gradients of a shared pack against those of the whole on one rank.
void expect_equals_plain_attention(Attend attend, std::int64_t heads,
                                   const std::vector<std::int64_t>& lengths, at::ScalarType type,
                                   double tolerance) {
  const TokenPlan plan(lengths, {{std::ssize(lengths), &world()}});
  const std::int64_t tokens = plan.total();
  std::vector<at::Tensor> whole, mine;
  for (std::uint64_t i = 0; i < 3; ++i) {
    const at::Tensor drawn = draw({tokens, heads, 8}, i).to(type);
    mine.push_back(plan.own(drawn).clone().requires_grad_());
    whole.push_back(drawn.to(at::kDouble).requires_grad_());
  }
  const at::Tensor weights = draw({tokens, heads, 8}, 9).to(type);
  const at::Tensor expected = plain_attention(whole[0], whole[1], whole[2], lengths);
  (expected * weights).sum().backward();
  const at::Tensor out = attend(mine[0], mine[1], mine[2], plan.packs()[0]);
  (out * plan.own(weights)).sum().backward();
  const std::string what = concat(heads, " heads, ", lengths.size(), " segments");
  expect_close(out, plan.own(expected), "output, " + what, tolerance);
  for (int i = 0; i < 3; ++i) {
    expect_close(mine[i].grad(), plan.own(whole[i].grad()), concat("gradient ", i, ", ", what),
                 tolerance);
  }
}

void expect_equals_plain_attention(Attend attend) {
  if (world().size() == 1) GTEST_SKIP() << "nothing is shared";
  for (const std::int64_t heads : {1, 3, 8}) {  // fewer than ranks, uneven, even
    for (const std::vector<std::int64_t>& lengths :
         {std::vector<std::int64_t>{5, 1, 250, 7, 2}, std::vector<std::int64_t>{301}}) {
      expect_equals_plain_attention(attend, heads, lengths, at::kDouble, 1e-12);
      expect_equals_plain_attention(attend, heads, lengths, at::kFloat, 1e-5);
      expect_equals_plain_attention(attend, heads, lengths, at::kBFloat16, 2e-2);
    }
  }
}

TEST(SequenceParallel, UlyssesEqualsPlainAttentionForAnyHeadsAndLengths) {
  expect_equals_plain_attention(ulysses_attention);
}

TEST(SequenceParallel, RingEqualsPlainAttentionForAnyHeadsAndLengths) {
  expect_equals_plain_attention(ring_attention);
}

TEST(SequenceParallel, RingIsTakenWhereHeadsDivideBadly) {
  EXPECT_FALSE(prefers_ring(12, 4));
  EXPECT_FALSE(prefers_ring(40, 3));  // 14 heads, 13.3 on average
  EXPECT_TRUE(prefers_ring(12, 8));   // Wan's 12 heads: 2 on four ranks, 1 on the others
  EXPECT_TRUE(prefers_ring(1, 2));
}

TEST(TokenPlan, RefusesMoreRanksThanTokensWithTheNumbers) {
  if (world().size() == 1) GTEST_SKIP() << "one rank holds any sequence";
  const std::vector<std::int64_t> lengths = {world().size() - 1};
  const auto refused = [&](launch::Communicator* group, launch::Communicator* tensor) {
    try {
      TokenPlan(lengths, {{1, group}}, tensor);
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find("leaves this rank none"), std::string::npos);
      return 1;
    }
    return 0;
  };
  std::vector<std::int64_t> refusals = {refused(&world(), nullptr), refused(nullptr, &world())};
  world().all_reduce_sum(std::span<std::int64_t>(refusals));
  EXPECT_EQ(refusals, (std::vector<std::int64_t>{1, 1}));
}

TEST(TokenPlan, PiecesAddUpToTheSegments) {
  const std::vector<std::int64_t> lengths = {5, 1, 6};
  const TokenPlan plan(lengths, {{3, &world()}});
  std::vector<std::int64_t> sums(lengths.size());
  for (const auto& [segment, length] : plan.joint_pieces()) sums[segment] = length;
  world().all_reduce_sum(std::span<std::int64_t>(sums));
  EXPECT_EQ(sums, lengths);
}

}  // namespace
}  // namespace zoetrope::model
