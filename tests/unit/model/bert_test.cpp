// The text encoder's config, its limits, and the pipeline from caption to states.
#include "model/bert.h"

#include <unistd.h>

#include <filesystem>

#include <ATen/TensorOperators.h>
#include <ATen/ops/full.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/files.h"
#include "base/random.h"
#include "model/weights.h"

namespace zoetrope::model {
namespace {

namespace fs = std::filesystem;

template <class Run>
std::string refusal(Run run) {
  try {
    run();
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "accepted";
}

Json small_config() {
  return parse_json(R"({"architectures": ["BertModel"], "vocab_size": 6, "hidden_size": 8,
      "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 12,
      "max_position_embeddings": 7, "type_vocab_size": 2, "layer_norm_eps": 1e-12,
      "hidden_act": "gelu", "pad_token_id": 0})",
                    "test");
}

std::string refused(const char* key, const Json& value) {
  Json config = small_config();
  config[key] = value;
  return refusal([&] { bert_config_from_json(config, "config.json"); });
}

TEST(BertConfig, NamesWhatItDoesNotSupport) {
  EXPECT_NE(refused("hidden_act", "silu").find("hidden_act \"silu\""), std::string::npos);
  EXPECT_NE(refused("position_embedding_type", "relative_key").find("relative_key"),
            std::string::npos);
  EXPECT_NE(refused("is_decoder", true).find("is_decoder"), std::string::npos);
  EXPECT_NE(refused("num_attention_heads", 3).find("num_attention_heads 3"), std::string::npos);
  EXPECT_NE(refused("vocab_size", "many").find("vocab_size"), std::string::npos);
  EXPECT_EQ(refused("hidden_act", "gelu_new"), "accepted");
}

void fill(Module& module) {
  Random random(3, Purpose::kTest);
  module.visit_parameters("", [&](const std::string&, at::Tensor& parameter) {
    random.fill_normal({parameter.data_ptr<float>(), static_cast<std::size_t>(parameter.numel())});
  });
}

TEST(Bert, RefusesIdsAndLengthsOutOfRange) {
  Bert bert(bert_config_from_json(small_config(), "test"), at::kCPU);
  fill(bert);
  const auto run = [&](const at::Tensor& ids) {
    return refusal([&] { bert.forward(ids, at::ones(ids.sizes(), at::kLong)); });
  };
  EXPECT_NE(run(at::full({1, 3}, 6, at::kLong)).find("vocabulary of 6"), std::string::npos);
  EXPECT_NE(run(at::full({1, 3}, -1, at::kLong)).find("from -1"), std::string::npos);
  EXPECT_NE(run(at::ones({1, 8}, at::kLong)).find("length 8"), std::string::npos);
  EXPECT_EQ(run(at::ones({1, 7}, at::kLong)), "accepted");
}

TEST(Bert, GivesNumbersForATextThatIsAllMasked) {
  Bert bert(bert_config_from_json(small_config(), "test"), at::kCPU);
  fill(bert);
  const at::Tensor out = bert.forward(at::ones({1, 4}, at::kLong), at::zeros({1, 4}, at::kLong));
  EXPECT_TRUE(out.isfinite().all().item<bool>());
}

TEST(Bert, PaddingIdGetsNoGradient) {
  Bert bert(bert_config_from_json(small_config(), "test"), at::kCPU);
  fill(bert);
  bert.set_requires_grad(true);
  at::Tensor ids = at::ones({1, 4}, at::kLong);
  ids[0][3] = 0;
  (bert.forward(ids, at::ones({1, 4}, at::kLong)).square()).sum().backward();
  const at::Tensor grad = bert.named_parameters().front().second.grad();
  EXPECT_EQ(grad[0].abs().max().item<float>(), 0);
  EXPECT_GT(grad.abs().max().item<float>(), 0);
}

// A folder with a small encoder and its tokenizer.
class TextPipelineFolder : public testing::Test {
 protected:
  TextPipelineFolder() {
    fs::create_directories(folder_);
    write_json(folder_ / "config.json", small_config());
    write_json(folder_ / "tokenizer.json", tokenizer());
    Bert bert(bert_config_from_json(small_config(), "test"), at::kCPU);
    fill(bert);
    std::map<std::string, at::Tensor> tensors;
    for (const auto& [name, tensor] : bert.named_parameters()) tensors[name] = tensor;
    tensors["embeddings.position_ids"] = at::zeros({1, 7}, at::kLong);
    tensors["pooler.dense.weight"] = at::zeros({8, 8});
    save_tensors(folder_ / "model.safetensors", tensors);
  }
  ~TextPipelineFolder() override { fs::remove_all(folder_); }

  static Json tokenizer() {
    return parse_json(R"({"model": {"type": "WordPiece", "unk_token": "u",
        "vocab": {"[PAD]": 0, "u": 1, "[CLS]": 2, "[SEP]": 3, "a": 4, "b": 5}},
        "normalizer": null, "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {"type": "BertProcessing", "cls": ["[CLS]", 2], "sep": ["[SEP]", 3]},
        "decoder": null, "added_tokens": []})",
                      "test");
  }

  fs::path folder_ = fs::temp_directory_path() / concat("zoetrope_text_", ::getpid());
};

TEST_F(TextPipelineFolder, GivesTrueLengthsInTheOrderOfTheTexts) {
  TextPipeline pipeline(folder_, at::kCPU);
  const auto states = pipeline.encode({"a b a", "", "b", "a b a b"});
  ASSERT_EQ(states.size(), 4u);
  EXPECT_EQ(states[0].sizes(), (at::IntArrayRef{5, 8}));
  EXPECT_EQ(states[1].sizes(), (at::IntArrayRef{2, 8}));
  EXPECT_EQ(states[2].sizes(), (at::IntArrayRef{3, 8}));
  EXPECT_EQ(states[3].sizes(), (at::IntArrayRef{6, 8}));
  const at::Tensor alone = pipeline.encode({"a b a"})[0];
  EXPECT_LT((states[0] - alone).abs().max().item<double>(), 1e-5);
}

TEST_F(TextPipelineFolder, CutsLongTextsKeepingTheLastToken) {
  TextPipeline pipeline(folder_, at::kCPU);
  const auto states = pipeline.encode({"a b a b a b a b a b", "a b a b a"});
  EXPECT_EQ(states[0].sizes(), (at::IntArrayRef{7, 8}));
  EXPECT_LT((states[0] - states[1]).abs().max().item<double>(), 1e-5);
}

TEST_F(TextPipelineFolder, HashFollowsWeightsAndTokenizer) {
  const std::string before = TextPipeline(folder_, at::kCPU).hash();
  EXPECT_EQ(TextPipeline(folder_, at::kCPU).hash(), before);
  Json changed = tokenizer();
  changed["model"]["max_input_chars_per_word"] = 9;
  write_json(folder_ / "tokenizer.json", changed);
  const std::string other_tokenizer = TextPipeline(folder_, at::kCPU).hash();
  EXPECT_NE(other_tokenizer, before);
  auto tensors = load_tensors(folder_ / "model.safetensors");
  tensors["embeddings.LayerNorm.bias"].add_(1);
  save_tensors(folder_ / "model.safetensors", tensors);
  EXPECT_NE(TextPipeline(folder_, at::kCPU).hash(), other_tokenizer);
}

TEST_F(TextPipelineFolder, NamesAnEncoderItDoesNotKnow) {
  Json config = small_config();
  config["architectures"][0] = "CLIPTextModel";
  write_json(folder_ / "config.json", config);
  EXPECT_NE(refusal([&] { TextPipeline(folder_, at::kCPU); }).find("CLIPTextModel"),
            std::string::npos);
}

TEST_F(TextPipelineFolder, NamesATensorTheFileLacks) {
  auto tensors = load_tensors(folder_ / "model.safetensors");
  tensors.erase("encoder.layer.0.output.dense.bias");
  save_tensors(folder_ / "model.safetensors", tensors);
  EXPECT_NE(
      refusal([&] { TextPipeline(folder_, at::kCPU); }).find("encoder.layer.0.output.dense.bias"),
      std::string::npos);
}

}  // namespace
}  // namespace zoetrope::model
