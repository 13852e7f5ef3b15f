// A sequence shared by ranks equals the sequence on one rank: attention alone, and the whole DiT.
#include "model/parallel/sequence.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/random.h"
#include "model/attention.h"
#include "model/dit.h"
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

at::Tensor sum_over_ranks(at::Tensor values) {
  values = values.contiguous();
  world().all_reduce_sum(
      std::span<float>(values.data_ptr<float>(), static_cast<std::size_t>(values.numel())));
  return values;
}

void expect_close(const at::Tensor& a, const at::Tensor& b, const std::string& what) {
  const double error = (a - b).norm().item<double>() / b.norm().item<double>();
  EXPECT_LT(error, 1e-5) << what;
}

TEST(SequenceParallel, AttentionEqualsOneRankForAnyHeadsAndLengths) {
  for (const std::int64_t heads : {1, 3, 8}) {  // fewer than ranks, uneven, even
    const std::vector<std::int64_t> lengths = {5, 1, 250, 7, 2};
    const std::int64_t tokens = 265;
    std::vector<at::Tensor> whole, mine;
    const SequencePlan plan(tokens, &world());
    for (std::uint64_t i = 0; i < 3; ++i) {
      whole.push_back(draw({tokens, heads, 8}, i).requires_grad_());
      mine.push_back(plan.mine(whole.back().detach()).clone().requires_grad_());
    }
    const at::Tensor weights = draw({tokens, heads, 8}, 9);
    const at::Tensor expected = packed_attention(whole[0], whole[1], whole[2], lengths, lengths);
    (expected * weights).sum().backward();
    const at::Tensor out = sequence_attention(mine[0], mine[1], mine[2], lengths, plan);
    (out * plan.mine(weights)).sum().backward();
    expect_close(out, plan.mine(expected), "output");
    for (int i = 0; i < 3; ++i) {
      expect_close(mine[i].grad(), plan.mine(whole[i].grad()), "gradient " + std::to_string(i));
    }
  }
}

TEST(SequenceParallel, DitEqualsOneRankAndItsGradientsAddUp) {
  DitConfig config;
  config.num_attention_heads = 3;
  config.attention_head_dim = 12;
  config.num_layers = 2;
  config.ffn_dim = 40;
  config.freq_dim = 16;
  config.in_channels = config.out_channels = 4;
  config.text_dim = 10;
  Dit dit(config, at::kCPU);
  dit.init_weights(1);
  const auto fill_head = [](const std::string& name, at::Tensor& parameter) {
    const at::NoGradGuard no_grad;
    if (name == "proj_out.weight") parameter.copy_(draw(parameter.sizes(), 20));
  };
  // The head starts at zero: then no gradient would reach the blocks.
  dit.visit_parameters("", fill_head);
  dit.set_requires_grad(true);

  DitInput input;
  input.grids = {{1, 2, 2}, {3, 5, 7}, {2, 1, 3}};
  input.patches_TK = draw({115, 16}, 21);
  input.timesteps_U = at::tensor({10.f, 500.f, 900.f});
  input.row_of_segment = {0, 1, 2};
  input.text_lengths = {3, 1, 5};
  input.text_LE = draw({9, 10}, 22);
  const at::Tensor weights = draw({115, 16}, 23);

  const auto gradients = [&](const SequencePlan& plan, at::Tensor& out) {
    for (auto& [name, parameter] : dit.named_parameters()) parameter.mutable_grad().reset();
    out = dit.forward(input, at::kFloat, plan);
    (out * plan.mine(weights)).sum().backward();
    std::vector<at::Tensor> all;
    for (auto& [name, parameter] : dit.named_parameters()) all.push_back(parameter.grad().clone());
    return all;
  };
  const SequencePlan plan(115, &world());
  at::Tensor expected, out;
  const auto alone = gradients(SequencePlan(115), expected);
  const auto parts = gradients(plan, out);
  expect_close(out, plan.mine(expected), "output");
  const auto names = dit.named_parameters();
  for (std::size_t i = 0; i < parts.size(); ++i) {
    expect_close(sum_over_ranks(parts[i]), alone[i], names[i].first);
  }
}

TEST(SequencePlan, RefusesMoreRanksThanTokensWithTheNumbers) {
  if (world().size() == 1) GTEST_SKIP() << "one rank holds any sequence";
  EXPECT_THROW(SequencePlan(world().size() - 1, &world()), Error);
}

TEST(SequencePlan, PiecesAddUpToTheSegments) {
  const std::vector<std::int64_t> lengths = {5, 1, 6};
  const SequencePlan plan(12, &world());
  const SequencePlan::Pieces pieces = plan.pieces(lengths);
  std::vector<std::int64_t> sums(lengths.size());
  for (std::size_t i = 0; i < pieces.lengths.size(); ++i) {
    sums[pieces.first_segment + i] = pieces.lengths[i];
  }
  world().all_reduce_sum(std::span<std::int64_t>(sums));
  EXPECT_EQ(sums, lengths);
}

}  // namespace
}  // namespace zoetrope::model
