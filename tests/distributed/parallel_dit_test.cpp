// The DiT on ranks that share tokens, heads and channels equals the DiT on one rank.
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/random.h"
#include "launch/mesh.h"
#include "model/dit.h"
#include "tests/distributed/world.h"

namespace zoetrope::model {
namespace {

// The same numbers on every rank.
at::Tensor draw_values(at::IntArrayRef shape, std::uint64_t key) {
  at::Tensor values = at::empty(shape, at::kFloat);
  Random(5, Purpose::kTest, 0, key)
      .fill_normal({values.data_ptr<float>(), static_cast<std::size_t>(values.numel())});
  return values;
}

// 5 heads and 42 channels: 4 ranks get unequal shares.
DitConfig small_config(bool qk_norm) {
  DitConfig config;
  config.num_attention_heads = 5;
  config.attention_head_dim = 12;
  config.num_layers = 2;
  config.ffn_dim = 42;
  config.freq_dim = 16;
  config.in_channels = config.out_channels = 4;
  config.text_dim = 10;
  config.qk_norm = qk_norm;
  return config;
}

const std::vector<std::int64_t> kLengths = {4, 105, 6};

DitInput batch() {
  DitInput input;
  input.grids = {{1, 2, 2}, {3, 5, 7}, {2, 1, 3}};
  input.patches_TK = draw_values({115, 16}, 21);
  input.timesteps_U = at::tensor({10.f, 500.f, 900.f});
  input.row_of_segment = {0, 1, 2};
  input.text_lengths = {3, 1, 5};
  input.text_LE = draw_values({9, 10}, 22);
  return input;
}

std::unique_ptr<Dit> make_dit(const DitConfig& config, const TensorPlace& place) {
  auto dit = std::make_unique<Dit>(config, at::kCPU, place);
  dit->init_weights(1);
  // Biases and the head start at zero, norms at one: an error there would not show.
  dit->visit_parameters("", [&](const std::string& name, at::Tensor& parameter) {
    const at::NoGradGuard no_grad;
    const ParameterPart part = dit->part_of(name);
    const at::Tensor shift =
        draw_values(part.global_shape(parameter.sizes()), std::hash<std::string>()(name));
    parameter.add_(part.of(shift) * 0.1);
  });
  dit->set_requires_grad(true);
  return dit;
}

struct Outcome {
  at::Tensor out;
  std::vector<std::pair<std::string, at::Tensor>> gradients;
};

Outcome run(Dit& dit, const TokenPlan& plan) {
  Outcome outcome;
  outcome.out = dit.forward(batch(), at::kFloat, plan);
  (outcome.out * plan.own(draw_values({115, 16}, 23))).sum().backward();
  for (const auto& [name, parameter] : dit.named_parameters()) {
    outcome.gradients.emplace_back(name, parameter.grad());
  }
  return outcome;
}

void expect_near(const at::Tensor& a, const at::Tensor& b, const std::string& what) {
  EXPECT_LT((a - b).norm().item<double>() / b.norm().item<double>(), 1e-5) << what;
}

// A shared DiT's output is this rank's tokens of one rank's; its gradients add up to that one's.
void expect_equals_one_rank(const launch::MeshConfig& config, bool qk_norm) {
  const DitConfig dit_config = small_config(qk_norm);
  const auto alone = make_dit(dit_config, {});
  const Outcome expected = run(*alone, TokenPlan(kLengths));
  launch::Mesh mesh(config, world());
  auto& sequence = mesh.group(launch::Axis::kSequence);
  auto& tensor = mesh.group(launch::Axis::kTensor);
  const auto shared = make_dit(dit_config, {tensor.rank(), tensor.size()});
  const TokenPlan plan(kLengths, {{3, &sequence}}, &tensor);
  const Outcome got = run(*shared, plan);
  const std::string where = concat(mesh.describe(), qk_norm ? "" : ", no qk norm", ": ");
  expect_near(got.out, plan.own(expected.out), where + "output");
  for (std::size_t i = 0; i < got.gradients.size(); ++i) {
    const auto& [name, gradient] = got.gradients[i];
    const ParameterPart part = shared->part_of(name);
    at::Tensor sum = gradient.contiguous();
    auto& holders = part.is_whole() ? mesh.copies() : mesh.replicas();
    holders.all_reduce_sum(
        std::span<float>(sum.data_ptr<float>(), static_cast<std::size_t>(sum.numel())));
    const at::Tensor whole = part.of(expected.gradients[i].second);
    // Softmax does not see what all keys share: without a norm this gradient is only rounding.
    if (!qk_norm && name.ends_with("to_k.bias")) {
      EXPECT_LT((sum - whole).norm().item<double>(), 1e-4) << where << name;
    } else {
      expect_near(sum, whole, where + name);
    }
  }
}

TEST(ParallelDit, EqualsOneRankOnAnySequenceAndTensorGroups) {
  for (std::int64_t sequence = 1; sequence <= world().size(); sequence *= 2) {
    launch::MeshConfig config;
    config.sequence = sequence;
    config.tensor = world().size() / sequence;
    for (const bool qk_norm : {true, false}) expect_equals_one_rank(config, qk_norm);
  }
}

TEST(ParallelDit, TensorGroupsStartWithOneRanksWeights) {
  const DitConfig config = small_config(true);
  Dit alone(config, at::kCPU), mine(config, at::kCPU, {world().rank(), world().size()});
  alone.init_weights(3);
  mine.init_weights(3);
  const auto expected = alone.named_parameters(), got = mine.named_parameters();
  EXPECT_EQ(mine.num_parameters(), alone.num_parameters());
  for (std::size_t i = 0; i < got.size(); ++i) {
    const ParameterPart part = mine.part_of(got[i].first);
    EXPECT_TRUE(got[i].second.equal(part.of(expected[i].second))) << got[i].first;
  }
}

TEST(ParallelDit, RefusesMoreTensorRanksThanHeadsWithTheNumbers) {
  try {
    Dit dit(small_config(true), at::kCPU, {0, 6});
    ADD_FAILURE() << "accepted";
  } catch (const ConfigError& error) {
    EXPECT_EQ(std::string(error.what()),
              "mesh.tensor 6: the model has 5 heads and 42 MLP channels to share out");
  }
}

}  // namespace
}  // namespace zoetrope::model
