// Adapters: merged they compute what they did apart, and their files are diffusers' and ComfyUI's.
#include "model/lora.h"

#include <cmath>

#include <ATen/TensorOperators.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <ATen/ops/randn.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "model/weight_formats.h"

namespace zoetrope::model {
namespace {
namespace fs = std::filesystem;

DitConfig tiny() {
  DitConfig config;
  config.num_attention_heads = 2;
  config.attention_head_dim = 12;
  config.num_layers = 2;
  config.ffn_dim = 40;
  config.freq_dim = 16;
  config.in_channels = config.out_channels = 4;
  config.text_dim = 10;
  return config;
}

DitInput input_of(const DitConfig& config) {
  DitInput input;
  input.grids = {{1, 2, 3}, {2, 2, 2}};
  input.row_of_segment = {0, 1};
  input.text_lengths = {3, 5};
  input.patches_TK = at::randn({14, config.in_channels * config.patch_volume()});
  input.text_LE = at::randn({8, config.text_dim});
  input.timesteps_U = at::full({2}, 300.f);
  return input;
}

// A transformer whose every parameter matters, and adapters that are not zero.
std::unique_ptr<Dit> random_dit(std::uint64_t seed) {
  auto dit = std::make_unique<Dit>(tiny(), at::kCPU);
  dit->init_weights(seed);
  dit->visit_parameters("", [](const std::string& name, at::Tensor& parameter) {
    if (name.starts_with("proj_out")) parameter.normal_(0, 0.1);
  });
  return dit;
}

LoraConfig rank_three() {
  LoraConfig config;
  config.rank = 3;
  config.alpha = 6;
  config.targets = {"to_q", "to_out.0", "ffn.net.0.proj"};
  return config;
}

TensorMap parameters_of(Module& module) {
  TensorMap tensors;
  for (const auto& [name, tensor] : module.named_parameters()) tensors[name] = tensor;
  return tensors;
}

void fill(LoraAdapters& adapters) {
  adapters.visit_parameters(
      "", [](const std::string&, at::Tensor& parameter) { parameter.normal_(0, 0.1); });
}

class LoraFiles : public testing::Test {
 protected:
  void SetUp() override {
    folder_ =
        fs::temp_directory_path() / (std::string("zoetrope_lora_test_") +
                                     testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::remove_all(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }
  fs::path folder_;
};

TEST(Lora, MergedComputesWhatItDidApart) {
  const auto dit = random_dit(1);
  const DitInput input = input_of(dit->config());
  const at::Tensor without = dit->forward(input);
  LoraAdapters adapters(*dit, rank_three());
  fill(adapters);
  const at::Tensor apart = dit->forward(input);
  adapters.merge();
  const at::Tensor merged = dit->forward(input);
  const double scale = apart.abs().max().item<double>();
  EXPECT_GT((apart - without).abs().max().item<double>(), 1e-3 * scale);  // they do something
  EXPECT_LT((merged - apart).abs().max().item<double>(), 1e-6 * scale);
}

TEST(Lora, FreshAdaptersChangeNothingAndLearnAlone) {
  for (const bool recompute : {false, true}) {
    const auto dit = random_dit(2);
    dit->set_checkpointing(recompute ? Checkpointing::kFull : Checkpointing::kNone);
    const DitInput input = input_of(dit->config());
    const at::Tensor before = dit->forward(input);
    LoraAdapters adapters(*dit, rank_three());
    adapters.visit_parameters("", adapters.initial_weights(5));
    EXPECT_TRUE(at::equal(dit->forward(input), before));
    adapters.set_requires_grad(true);
    dit->forward(input).square().sum().backward();
    // B starts at zero, so only it has a gradient that is not zero in the first step.
    adapters.visit_parameters("", [](const std::string& name, at::Tensor& parameter) {
      ASSERT_TRUE(parameter.grad().defined()) << name;
      if (name.ends_with("lora_B.weight")) {
        EXPECT_GT(parameter.grad().abs().max().item<double>(), 0) << name;
      }
    });
    dit->visit_parameters("", [](const std::string& name, at::Tensor& parameter) {
      EXPECT_FALSE(parameter.grad().defined()) << name;
    });
  }
}

TEST(Lora, TargetThatNoLayerHasIsNamed) {
  const auto dit = random_dit(1);
  LoraConfig config = rank_three();
  config.targets = {"to_q", "to_w"};
  try {
    LoraAdapters adapters(*dit, config);
    FAIL();
  } catch (const ConfigError& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("\"to_w\""));
  }
}

TEST_F(LoraFiles, CheckpointFolderLoadsMerged) {
  const auto dit = random_dit(3);
  save_dit(*dit, folder_ / "base", at::kFloat);
  LoraAdapters adapters(*dit, rank_three());
  fill(adapters);
  Json config = dit_config_to_json(dit->config());
  config["lora"] = lora_to_json(adapters.config());
  config["lora_base"] = (folder_ / "base").string();
  save_snapshot(lora_snapshot(adapters.config(), config, parameters_of(adapters)),
                folder_ / "lora");
  const auto loaded = load_dit(folder_ / "lora", at::kCPU);
  const DitInput input = input_of(dit->config());
  adapters.merge();
  EXPECT_TRUE(at::equal(loaded->forward(input), dit->forward(input)));
}

TEST_F(LoraFiles, FormatsGiveBackEveryBit) {
  const auto dit = random_dit(4);
  LoraAdapters adapters(*dit, rank_three());
  fill(adapters);
  save_snapshot(lora_snapshot(adapters.config(), {}, parameters_of(adapters)), folder_ / "ours");
  const LoraWeights ours = read_lora_weights(folder_ / "ours");
  EXPECT_EQ(ours.config.rank, 3);
  EXPECT_EQ(ours.config.alpha, 6);
  write_lora_weights(ours, folder_ / "comfy", WeightFormat::kComfy);
  const LoraWeights comfy = read_lora_weights(folder_ / "comfy" / "lora.safetensors");
  write_lora_weights(comfy, folder_ / "diffusers", WeightFormat::kDiffusers);
  const LoraWeights diffusers = read_lora_weights(folder_ / "diffusers");
  EXPECT_EQ(diffusers.config.rank, 3);
  EXPECT_EQ(diffusers.config.alpha, 6);
  ASSERT_EQ(diffusers.tensors.size(), adapters.named_parameters().size());
  for (const auto& [name, tensor] : adapters.named_parameters())
    EXPECT_TRUE(at::equal(diffusers.tensors.at(name), tensor)) << name;
  EXPECT_THROW(write_lora_weights(ours, folder_ / "wan", WeightFormat::kWan), ConfigError);
}

// Names as diffusers 0.36.0 translates them: tests/golden/make_names_golden.py.
TEST_F(LoraFiles, ReadsComfyAndMusubiNamesAsDiffusersDoes) {
  const Json golden = read_json(std::string(ZOETROPE_TEST_FOLDER) + "/golden/wan_names.json");
  for (const char* kind : {"comfy_lora", "musubi_lora"}) {
    EXPECT_EQ(golden.at(kind).size(), 20u);
    for (const auto& [theirs, ours] : golden.at(kind).items()) {
      const std::string layer = theirs.substr(0, theirs.find(".lora_down"));
      fs::create_directories(folder_);
      const at::Tensor down = at::randn({2, 3});
      save_tensors(folder_ / "one.safetensors", {{theirs, down},
                                                 {layer + ".lora_up.weight", at::randn({3, 2})},
                                                 {layer + ".alpha", at::full({}, 4.f)}});
      const LoraWeights read = read_lora_weights(folder_ / "one.safetensors");
      const std::string name = ours.get<std::string>().substr(std::string("transformer.").size());
      ASSERT_TRUE(read.tensors.contains(name)) << theirs;
      EXPECT_TRUE(at::equal(read.tensors.at(name), down));
      EXPECT_EQ(read.config.rank, 2);
      EXPECT_EQ(read.config.alpha, 4);
    }
  }
}

TEST_F(LoraFiles, TransformerFormatsGiveBackEveryBit) {
  const auto dit = random_dit(6);
  save_dit(*dit, folder_ / "diffusers", at::kBFloat16);
  const DitWeights first = read_dit_weights(folder_ / "diffusers");
  write_dit_weights(first, folder_ / "wan", WeightFormat::kWan, at::kBFloat16);
  const DitWeights wan = read_dit_weights(folder_ / "wan");
  write_dit_weights(wan, folder_ / "comfy", WeightFormat::kComfy, at::kBFloat16);
  const DitWeights comfy = read_dit_weights(folder_ / "comfy" / "diffusion_model.safetensors");
  write_dit_weights(comfy, folder_ / "again", WeightFormat::kDiffusers, at::kBFloat16);
  EXPECT_EQ(read_file(folder_ / "again" / "config.json"),
            read_file(folder_ / "diffusers" / "config.json"));
  EXPECT_EQ(hash_file(folder_ / "again" / "diffusion_pytorch_model.safetensors"),
            hash_file(folder_ / "diffusers" / "diffusion_pytorch_model.safetensors"));
}

TEST_F(LoraFiles, IncompleteTransformerIsRefusedByTensor) {
  const auto dit = random_dit(7);
  DitWeights weights{dit->config(), parameters_of(*dit)};
  weights.tensors.erase("blocks.1.attn2.to_v.bias");
  write_dit_weights(weights, folder_, WeightFormat::kWan, at::kFloat);
  try {
    read_dit_weights(folder_);
    FAIL();
  } catch (const ConfigError& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("blocks.1.attn2.to_v.bias is missing"));
  }
}

}  // namespace
}  // namespace zoetrope::model
