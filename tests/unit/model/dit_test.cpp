// The transformer on packed samples: what packing, modulation rows and the zero head promise.
#include "model/dit.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/full.h>
#include <ATen/ops/randn.h>
#include <c10/core/Allocator.h>
#include <c10/util/ThreadLocalDebugInfo.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"

namespace zoetrope::model {
namespace {

DitConfig tiny_config() {
  DitConfig config;
  config.num_attention_heads = 2;
  config.attention_head_dim = 24;
  config.in_channels = config.out_channels = 4;
  config.text_dim = 20;
  config.freq_dim = 32;
  config.ffn_dim = 96;
  config.num_layers = 2;
  return config;
}

// Random everywhere, the zero head and biases too, so that nothing hides behind a zero.
std::unique_ptr<Dit> random_dit(const DitConfig& config = tiny_config()) {
  auto dit = std::make_unique<Dit>(config, at::kCPU);
  dit->init_weights(3);
  at::manual_seed(0);
  dit->visit_parameters("", [](const std::string& name, at::Tensor& parameter) {
    if (name.find("norm") == std::string::npos) parameter.add_(at::randn(parameter.sizes()) * 0.05);
  });
  return dit;
}

DitInput make_input(const DitConfig& config, const std::vector<Grid>& grids,
                    const std::vector<std::int64_t>& text_lengths) {
  DitInput input;
  std::int64_t tokens = 0, text = 0;
  for (std::size_t s = 0; s < grids.size(); ++s) {
    tokens += grids[s].tokens();
    text += text_lengths[s];
    input.row_of_segment.push_back(static_cast<std::int64_t>(s));
  }
  input.grids = grids;
  input.text_lengths = text_lengths;
  input.patches_TK = at::randn({tokens, config.in_channels * config.patch_volume()});
  input.text_LE = at::randn({text, config.text_dim});
  input.timesteps_U = at::randn({static_cast<std::int64_t>(grids.size())}).abs() * 400;
  return input;
}

DitInput sample_of(const DitInput& input, std::size_t s) {
  std::int64_t tokens = 0, text = 0;
  for (std::size_t i = 0; i < s; ++i) {
    tokens += input.grids[i].tokens();
    text += input.text_lengths[i];
  }
  DitInput one;
  one.grids = {input.grids[s]};
  one.text_lengths = {input.text_lengths[s]};
  one.row_of_segment = {0};
  one.timesteps_U = input.timesteps_U.narrow(0, static_cast<std::int64_t>(s), 1);
  one.patches_TK = input.patches_TK.narrow(0, tokens, input.grids[s].tokens());
  one.text_LE = input.text_LE.narrow(0, text, input.text_lengths[s]);
  return one;
}

std::vector<at::Tensor> gradients(Dit& dit, const at::Tensor& output, const at::Tensor& cotangent) {
  dit.visit_parameters(
      "", [](const std::string&, at::Tensor& parameter) { parameter.mutable_grad().reset(); });
  (output * cotangent).sum().backward();
  std::vector<at::Tensor> gradients;
  for (const auto& [name, parameter] : dit.named_parameters())
    gradients.push_back(parameter.grad().clone());
  return gradients;
}

double error(const at::Tensor& got, const at::Tensor& wanted) {
  return ((got - wanted).abs().max() / wanted.abs().max()).item<double>();
}

TEST(Dit, CheckpointingChangesNoBitOfOutputsAndGradients) {
  DitConfig config = tiny_config();
  config.num_layers = 3;
  const auto dit = random_dit(config);
  dit->set_requires_grad(true);
  const DitInput input = make_input(config, {{2, 3, 4}, {1, 2, 2}, {3, 1, 5}}, {4, 1, 9});
  const at::Tensor kept = dit->forward(input);
  const at::Tensor cotangent = at::randn(kept.sizes());
  const auto wanted = gradients(*dit, kept, cotangent);
  for (const Checkpointing how :
       {Checkpointing::kFull, Checkpointing::kOffload, Checkpointing::kSelective}) {
    dit->set_checkpointing(how);
    const at::Tensor recomputed = dit->forward(input);
    EXPECT_TRUE(recomputed.equal(kept));
    const auto got = gradients(*dit, recomputed, cotangent);
    for (std::size_t i = 0; i < got.size(); ++i)
      EXPECT_TRUE(got[i].equal(wanted[i])) << dit->named_parameters()[i].first;
  }
}

// Bytes of tensors that this thread has allocated and not freed since it was made.
class MemoryMeter : public c10::MemoryReportingInfoBase {
 public:
  void reportMemoryUsage(void*, std::int64_t bytes, std::size_t, std::size_t,
                         c10::Device) override {
    held += bytes;
  }
  bool memoryProfilingEnabled() const override { return true; }
  std::int64_t held = 0;
};

TEST(Dit, SelectiveCheckpointingKeepsFourTenthsLessAndFreesItInBackward) {
  DitConfig config = tiny_config();
  config.num_layers = 3;
  config.ffn_dim = 4 * config.width();
  const auto dit = random_dit(config);
  dit->set_requires_grad(true);
  const DitInput input = make_input(config, {{4, 20, 20}}, {4});
  for (const auto type : {at::kFloat, at::kBFloat16}) {
    std::vector<std::int64_t> held;
    for (const Checkpointing how : {Checkpointing::kNone, Checkpointing::kSelective}) {
      dit->set_checkpointing(how);
      const auto meter = std::make_shared<MemoryMeter>();
      const c10::DebugInfoGuard guard(c10::DebugInfoKind::PROFILER_STATE, meter);
      at::Tensor out = dit->forward(input, type);
      held.push_back(meter->held);
      out.sum().backward();
      for (auto& [name, parameter] : dit->named_parameters()) parameter.mutable_grad().reset();
      EXPECT_LT(meter->held, held.back() / 4) << "after backward, with the graph still there";
    }
    EXPECT_LT(held[1], 0.6 * held[0]) << held[1] << " of " << held[0] << " bytes";
  }
}

TEST(Dit, PackedSamplesEqualSeparateOnesInOutputsAndGradients) {
  const auto dit = random_dit();
  dit->set_requires_grad(true);
  const DitInput packed =
      make_input(dit->config(), {{2, 3, 4}, {1, 2, 2}, {1, 2, 2}, {3, 1, 5}}, {4, 1, 1, 9});
  const at::Tensor together = dit->forward(packed), cotangent = at::randn(together.sizes());
  const auto together_gradients = gradients(*dit, together, cotangent);
  std::vector<at::Tensor> outputs;
  for (std::size_t s = 0; s < packed.grids.size(); ++s)
    outputs.push_back(dit->forward(sample_of(packed, s)));
  const at::Tensor separate = at::cat(outputs);
  EXPECT_LT(error(together, separate), 1e-5);
  const auto separate_gradients = gradients(*dit, separate, cotangent);
  const auto names = dit->named_parameters();
  for (std::size_t i = 0; i < names.size(); ++i) {
    EXPECT_LT((together_gradients[i] - separate_gradients[i]).abs().max().item<double>(),
              1e-5 * (1 + separate_gradients[i].abs().max().item<double>()))
        << names[i].first;
  }
}

TEST(Dit, RowsPerTokenEqualRowsPerSegment) {
  const auto dit = random_dit();
  DitInput input = make_input(dit->config(), {{2, 3, 4}, {1, 2, 2}}, {4, 2});
  const at::Tensor by_segment = dit->forward(input);
  input.row_of_segment = {-1, -1};
  input.row_of_token_T = at::cat({at::full({24}, 0, at::kLong), at::full({4}, 1, at::kLong)});
  EXPECT_TRUE(dit->forward(input).equal(by_segment));
  input.row_of_token_T[3] = 1;
  EXPECT_FALSE(dit->forward(input).equal(by_segment));
}

TEST(Dit, GradientsReachPatchesAndTextInBf16Too) {
  const auto dit = random_dit();
  for (const auto type : {at::kFloat, at::kBFloat16}) {
    DitInput input = make_input(dit->config(), {{1, 2, 2}, {2, 2, 3}}, {3, 5});
    input.patches_TK.set_requires_grad(true);
    input.text_LE.set_requires_grad(true);
    dit->forward(input, type).square().sum().backward();
    EXPECT_GT(input.patches_TK.grad().abs().min().item<double>(), 0);
    EXPECT_GT(input.text_LE.grad().abs().max().item<double>(), 0);
  }
}

TEST(Dit, InputGradientEqualsFiniteDifferencesInFp64) {
  const auto dit = random_dit();
  dit->to(at::kCPU, at::kDouble);
  DitInput input = make_input(dit->config(), {{1, 2, 2}, {1, 2, 3}}, {2, 3});
  input.patches_TK = input.patches_TK.to(at::kDouble).set_requires_grad(true);
  input.text_LE = input.text_LE.to(at::kDouble);
  const auto loss = [&] { return dit->forward(input, at::kDouble).square().sum(); };
  loss().backward();
  const at::Tensor direction = at::randn(input.patches_TK.sizes(), at::kDouble);
  const double slope = (input.patches_TK.grad() * direction).sum().item<double>();
  const at::Tensor at_point = input.patches_TK.detach();
  const auto loss_at = [&](double step) {
    input.patches_TK = at_point + direction * step;
    return loss().item<double>();
  };
  EXPECT_NEAR((loss_at(1e-5) - loss_at(-1e-5)) / 2e-5, slope, 1e-6 * std::abs(slope) + 1e-6);
}

TEST(Dit, AFreshModelPredictsZero) {
  Dit dit(tiny_config(), at::kCPU);
  dit.init_weights(1);
  const at::Tensor v = dit.forward(make_input(dit.config(), {{1, 2, 2}}, {3}));
  EXPECT_EQ(v.abs().max().item<double>(), 0);
}

TEST(Dit, InitialWeightsDependOnTheSeedAlone) {
  Dit first(tiny_config(), at::kCPU), again(tiny_config(), at::kCPU),
      other(tiny_config(), at::kCPU);
  first.init_weights(1);
  again.init_weights(1);
  other.init_weights(2);
  const auto a = first.named_parameters(), b = again.named_parameters(),
             c = other.named_parameters();
  for (std::size_t i = 0; i < a.size(); ++i) {
    EXPECT_TRUE(a[i].second.equal(b[i].second)) << a[i].first;
    const bool is_constant = a[i].second.min().item<float>() == a[i].second.max().item<float>();
    EXPECT_NE(a[i].second.equal(c[i].second), !is_constant) << a[i].first;
  }
}

TEST(Dit, InitialWeightsHaveTheStatedSpread) {
  DitConfig config = tiny_config();
  config.ffn_dim = 512;
  Dit dit(config, at::kCPU);
  dit.init_weights(1);
  const auto spread = [&](const std::string& name) {
    for (const auto& [n, parameter] : dit.named_parameters()) {
      if (n == name) return parameter.std().item<double>();
    }
    throw Error(name);
  };
  EXPECT_NEAR(spread("blocks.0.ffn.net.0.proj.weight"), std::sqrt(2.0 / (48 + 512)), 0.001);
  EXPECT_NEAR(spread("patch_embedding.weight"), std::sqrt(2.0 / (48 + 16)), 0.01);
  EXPECT_NEAR(spread("condition_embedder.text_embedder.linear_2.weight"), 0.02, 0.001);
  EXPECT_NEAR(spread("blocks.1.scale_shift_table"), 1 / std::sqrt(48.0), 0.02);
}

TEST(Dit, WorksWithoutTheOptionalNorms) {
  DitConfig config = tiny_config();
  config.qk_norm = config.cross_attn_norm = false;
  const auto dit = random_dit(config);
  EXPECT_EQ(dit->num_parameters(), count_parameters(config));
  const at::Tensor v = dit->forward(make_input(config, {{1, 2, 2}, {2, 2, 2}}, {3, 2}));
  EXPECT_TRUE(v.isfinite().all().item<bool>());
}

TEST(Dit, RefusesInputsThatDoNotAddUpWithTheNumbers) {
  const auto dit = random_dit();
  const auto refusal = [&](const DitInput& input) -> std::string {
    try {
      dit->forward(input);
    } catch (const Error& e) {
      return e.what();
    }
    return "";
  };
  DitInput input = make_input(dit->config(), {{1, 2, 2}}, {3});
  input.grids[0].w = 3;
  EXPECT_EQ(refusal(input), "the samples' grids need patches [6, 16], not [4, 16]");
  input = make_input(dit->config(), {{1, 2, 2}}, {3});
  input.text_lengths[0] = 4;
  EXPECT_EQ(refusal(input), "the samples' texts need states [4, 20], not [3, 20]");
  input = make_input(dit->config(), {{1, 2, 2}}, {3});
  input.row_of_segment[0] = 1;
  EXPECT_EQ(refusal(input), "sample 0 uses modulation row 1 of 1");
  input.row_of_segment[0] = -1;
  EXPECT_THAT(refusal(input), ::testing::HasSubstr("row_of_token_T is not given"));
}

TEST(DitConfig, CountsThePublishedParameters) {
  DitConfig config;
  EXPECT_EQ(count_parameters(config), 1418996800);
  config.num_attention_heads = 40;
  config.ffn_dim = 13824;
  config.num_layers = 40;
  EXPECT_EQ(count_parameters(config), 14288491584);
  config = DitConfig();
  config.num_attention_heads = 24;
  config.ffn_dim = 14336;
  config.in_channels = config.out_channels = 48;
  EXPECT_EQ(count_parameters(config), 4999787712);
}

TEST(DitConfig, AgreesWithTheModelOnTheMetaDevice) {
  Dit dit(DitConfig(), at::kMeta);
  EXPECT_EQ(dit.num_parameters(), count_parameters(DitConfig()));
}

TEST(DitConfig, ComesBackFromJson) {
  DitConfig config = tiny_config();
  config.eps = 1e-5;
  config.cross_attn_norm = false;
  const DitConfig back = dit_config_from_json(dit_config_to_json(config));
  EXPECT_EQ(dit_config_to_json(back), dit_config_to_json(config));
  EXPECT_EQ(back.width(), 48);
}

TEST(DitConfig, NamesTheKeyItDoesNotSupport) {
  Json json = dit_config_to_json(tiny_config());
  json["added_kv_proj_dim"] = 5120;
  try {
    dit_config_from_json(json);
    FAIL() << "accepted added_kv_proj_dim";
  } catch (const ConfigError& error) {
    EXPECT_THAT(error.what(), ::testing::HasSubstr("added_kv_proj_dim is 5120"));
  }
  json = dit_config_to_json(tiny_config());
  json["ffn_dim"] = "wide";
  EXPECT_THROW(dit_config_from_json(json), ConfigError);
}

TEST(DitConfig, FlopsGrowWithTheSquareOfTheSampleNotOfTheBatch) {
  const DitConfig config;
  const double d = 1536, linear = 30 * (2 * (4 * d * d + 2 * d * 8960 + 2 * d * d)), text = 512;
  const double grown = forward_flops(config, 20000, 512) - 2 * forward_flops(config, 10000, 512);
  const double quadratic = 30 * 4 * d * (4e8 - 2e8);
  EXPECT_NEAR(grown / quadratic, 1, 0.01);
  EXPECT_GT(forward_flops(config, 1000, 512), 1000 * (linear + 30 * 4 * text * d));
}

}  // namespace
}  // namespace zoetrope::model
