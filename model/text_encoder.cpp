// Loads text encoders by their config and runs them over captions.
#include "model/text_encoder.h"

#include <algorithm>
#include <numeric>

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

#include "base/error.h"
#include "base/files.h"
#include "base/json.h"
#include "base/log.h"
#include "base/safetensors.h"
#include "model/bert.h"
#include "model/weights.h"

namespace zoetrope::model {
namespace {

constexpr std::int64_t kBatchTokens = 8192;  // of one forward pass, padding included
constexpr double kMaxStretch = 1.125;        // longest / shortest text of a batch

// A buffer of old files, and the pooler, which last_hidden_state does not go through.
const std::set<std::string> kIgnoredInBert = {"embeddings.position_ids",
                                              "embeddings.token_type_ids", "pooler.dense.weight",
                                              "pooler.dense.bias"};

std::string architecture_of(const Json& config, const std::string& origin) {
  const bool names_one = config.is_object() && config.contains("architectures") &&
                         config["architectures"].is_array() && !config["architectures"].empty() &&
                         config["architectures"][0].is_string();
  ZOETROPE_CHECK_CONFIG(names_one, origin, ": architectures[0] does not name a component");
  return config["architectures"][0].get<std::string>();
}

using Ids = std::vector<std::int64_t>;

// Indices of texts by length, cut into batches without much padding.
std::vector<std::vector<std::size_t>> plan_batches(const std::vector<Ids>& texts) {
  std::vector<std::size_t> order(texts.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return texts[a].size() < texts[b].size(); });
  std::vector<std::vector<std::size_t>> batches;
  for (std::size_t i : order) {
    const auto length = static_cast<std::int64_t>(texts[i].size());
    const bool fits =
        !batches.empty() &&
        static_cast<double>(length) <= kMaxStretch * texts[batches.back().front()].size() &&
        static_cast<std::int64_t>(batches.back().size() + 1) * length <= kBatchTokens;
    if (!fits) batches.emplace_back();
    batches.back().push_back(i);
  }
  return batches;
}

void cut_to(Ids& ids, std::int64_t max_length) {
  const auto length = static_cast<std::int64_t>(ids.size());
  if (length <= max_length) return;
  log_warn("a text of ", length, " tokens is cut to the text encoder's ", max_length);
  const std::int64_t last = ids.back();
  ids.resize(max_length);
  ids.back() = last;
}

std::string hash_of_folder(const std::filesystem::path& folder) {
  std::string hashes = hash_file(folder / "config.json") + hash_file(folder / "tokenizer.json");
  for (const auto& file : find_safetensors(folder)) hashes += hash_file(file);
  return hash_text(hashes);
}

}  // namespace

std::unique_ptr<TextEncoder> load_text_encoder(const std::filesystem::path& folder,
                                               at::Device device) {
  const std::string origin = (folder / "config.json").string();
  const Json config = read_json(folder / "config.json");
  const std::string architecture = architecture_of(config, origin);
  ZOETROPE_CHECK_CONFIG(architecture == "BertModel", origin, ": text encoder \"", architecture,
                        "\" is not supported, only BertModel");
  auto encoder = std::make_unique<Bert>(bert_config_from_json(config, origin), device);
  load_weights(*encoder, folder, kIgnoredInBert);
  return encoder;
}

TextPipeline::TextPipeline(const std::filesystem::path& folder, at::Device device)
    : encoder_(load_text_encoder(folder, device)),
      tokenizer_(load_tokenizer(folder)),
      hash_(hash_of_folder(folder)) {}

std::vector<at::Tensor> TextPipeline::encode(const std::vector<std::string>& texts) {
  const at::NoGradGuard no_grad;
  std::vector<Ids> ids;
  for (const std::string& text : texts) {
    ids.push_back(tokenizer_->encode(text));
    cut_to(ids.back(), encoder_->max_length());
    ZOETROPE_CHECK_CONFIG(!ids.back().empty(), "the tokenizer gives no token for \"", text, "\"");
  }
  const at::Device device = encoder_->named_parameters().front().second.device();
  std::vector<at::Tensor> states(texts.size());
  for (const auto& batch : plan_batches(ids)) {
    const auto rows = static_cast<std::int64_t>(batch.size());
    const auto length = static_cast<std::int64_t>(ids[batch.back()].size());
    at::Tensor ids_BL = at::zeros({rows, length}, at::kLong);
    at::Tensor mask_BL = at::zeros({rows, length}, at::kLong);
    for (std::int64_t row = 0; row < rows; ++row) {
      const Ids& text = ids[batch[row]];
      std::copy(text.begin(), text.end(), ids_BL[row].data_ptr<std::int64_t>());
      mask_BL[row].narrow(0, 0, static_cast<std::int64_t>(text.size())).fill_(1);
    }
    const at::Tensor all_BLD = encoder_->forward(ids_BL.to(device), mask_BL.to(device)).cpu();
    for (std::int64_t row = 0; row < rows; ++row) {
      const auto true_length = static_cast<std::int64_t>(ids[batch[row]].size());
      states[batch[row]] = all_BLD[row].narrow(0, 0, true_length).clone();
    }
  }
  return states;
}

}  // namespace zoetrope::model
