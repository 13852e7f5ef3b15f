// BertModel without dropout and without the pooler.
// B texts, L positions, D width, N heads, H head width.
#include "model/bert.h"

#include <cmath>
#include <limits>

#include <ATen/TensorOperators.h>
#include <ATen/ops/embedding.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/layer_norm.h>
#include <ATen/ops/relu.h>
#include <ATen/ops/scaled_dot_product_attention.h>

#include "base/error.h"

namespace zoetrope::model {
namespace {

// [B, L] of 1 and 0 -> what is added to attention scores, in `type`. The lowest finite number
// rather than -inf: a text without a single token then gives numbers, not NaN.
at::Tensor attention_bias(const at::Tensor& mask_BL, at::ScalarType type) {
  const double lowest = type == at::kBFloat16 ? -3.3895313892515355e38
                        : type == at::kHalf   ? -65504.0
                                              : std::numeric_limits<float>::lowest();
  const at::Tensor hidden_BL = mask_BL.eq(0).to(type).mul(lowest);
  return hidden_BL.unsqueeze(1).unsqueeze(1);
}

template <class T>
void read_field(const Json& json, const std::string& origin, const char* key, T& value) {
  ZOETROPE_CHECK_CONFIG(json.contains(key), origin, ": ", key, " is missing");
  try {
    value = json[key].get<T>();
  } catch (const Json::exception& error) {
    throw ConfigError(concat(origin, ": ", key, ": ", error.what()));
  }
}

void check_supported(const BertConfig& config, const Json& json, const std::string& origin) {
  for (std::int64_t size :
       {config.vocab_size, config.hidden_size, config.num_hidden_layers, config.num_attention_heads,
        config.intermediate_size, config.max_position_embeddings, config.type_vocab_size}) {
    ZOETROPE_CHECK_CONFIG(size >= 1, origin, ": a size is ", size);
  }
  ZOETROPE_CHECK_CONFIG(config.hidden_size % config.num_attention_heads == 0, origin,
                        ": hidden_size ", config.hidden_size,
                        " is not a multiple of num_attention_heads ", config.num_attention_heads);
  const auto& act = config.hidden_act;
  ZOETROPE_CHECK_CONFIG(
      act == "gelu" || act == "gelu_new" || act == "gelu_pytorch_tanh" || act == "relu", origin,
      ": hidden_act \"", act, "\" is not supported (gelu, gelu_new, gelu_pytorch_tanh, relu)");
  const auto positions = json.value("position_embedding_type", Json("absolute"));
  ZOETROPE_CHECK_CONFIG(positions == "absolute", origin, ": position_embedding_type ",
                        positions.dump(), " is not supported, only \"absolute\"");
  for (const char* key : {"is_decoder", "add_cross_attention"}) {
    ZOETROPE_CHECK_CONFIG(json.value(key, Json(false)) != true, origin, ": ", key,
                          " true is not supported");
  }
}

}  // namespace

BertConfig bert_config_from_json(const Json& json, const std::string& origin) {
  BertConfig config;
  read_field(json, origin, "vocab_size", config.vocab_size);
  read_field(json, origin, "hidden_size", config.hidden_size);
  read_field(json, origin, "num_hidden_layers", config.num_hidden_layers);
  read_field(json, origin, "num_attention_heads", config.num_attention_heads);
  read_field(json, origin, "intermediate_size", config.intermediate_size);
  read_field(json, origin, "max_position_embeddings", config.max_position_embeddings);
  read_field(json, origin, "type_vocab_size", config.type_vocab_size);
  read_field(json, origin, "layer_norm_eps", config.layer_norm_eps);
  read_field(json, origin, "hidden_act", config.hidden_act);
  if (json.contains("pad_token_id")) {
    config.pad_token_id = -1;
    if (!json["pad_token_id"].is_null()) {
      read_field(json, origin, "pad_token_id", config.pad_token_id);
    }
  }
  check_supported(config, json, origin);
  return config;
}

void Bert::Norm::visit_parameters(const std::string& prefix, const ParameterVisitor& visit) {
  visit(prefix + "weight", weight);
  visit(prefix + "bias", bias);
}

void Bert::Layer::visit_parameters(const std::string& prefix, const ParameterVisitor& visit) {
  query.visit_parameters(prefix + "attention.self.query.", visit);
  key.visit_parameters(prefix + "attention.self.key.", visit);
  value.visit_parameters(prefix + "attention.self.value.", visit);
  attention_out.visit_parameters(prefix + "attention.output.dense.", visit);
  attention_norm.visit_parameters(prefix + "attention.output.LayerNorm.", visit);
  up.visit_parameters(prefix + "intermediate.dense.", visit);
  down.visit_parameters(prefix + "output.dense.", visit);
  output_norm.visit_parameters(prefix + "output.LayerNorm.", visit);
}

Bert::Norm Bert::make_norm(at::Device device) const {
  const auto options = at::TensorOptions().dtype(at::kFloat).device(device);
  return {at::empty({config_.hidden_size}, options), at::empty({config_.hidden_size}, options)};
}

Bert::Bert(const BertConfig& config, at::Device device) : config_(config) {
  const auto options = at::TensorOptions().dtype(at::kFloat).device(device);
  const std::int64_t width = config.hidden_size;
  word_embeddings_ = at::empty({config.vocab_size, width}, options);
  position_embeddings_ = at::empty({config.max_position_embeddings, width}, options);
  type_embeddings_ = at::empty({config.type_vocab_size, width}, options);
  embedding_norm_ = make_norm(device);
  for (std::int64_t i = 0; i < config.num_hidden_layers; ++i) {
    Layer& layer = layers_.emplace_back();
    for (Linear* linear : {&layer.query, &layer.key, &layer.value, &layer.attention_out}) {
      *linear = Linear(width, width, true, device);
    }
    layer.up = Linear(width, config.intermediate_size, true, device);
    layer.down = Linear(config.intermediate_size, width, true, device);
    layer.attention_norm = make_norm(device);
    layer.output_norm = make_norm(device);
  }
}

void Bert::visit_parameters(const std::string& prefix, const ParameterVisitor& visit) {
  visit(prefix + "embeddings.word_embeddings.weight", word_embeddings_);
  visit(prefix + "embeddings.position_embeddings.weight", position_embeddings_);
  visit(prefix + "embeddings.token_type_embeddings.weight", type_embeddings_);
  embedding_norm_.visit_parameters(prefix + "embeddings.LayerNorm.", visit);
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    layers_[i].visit_parameters(concat(prefix, "encoder.layer.", i, "."), visit);
  }
}

at::Tensor Bert::normalise(const Norm& norm, const at::Tensor& x) const {
  return at::layer_norm(x, {config_.hidden_size}, norm.weight, norm.bias, config_.layer_norm_eps);
}

at::Tensor Bert::embed(const at::Tensor& ids_BL) const {
  const std::int64_t length = ids_BL.size(1);
  // Every token is of the first type: texts come alone, not in pairs.
  const at::Tensor words_BLD = at::embedding(word_embeddings_, ids_BL, config_.pad_token_id);
  const at::Tensor x_BLD =
      words_BLD + type_embeddings_[0] + position_embeddings_.narrow(0, 0, length);
  return normalise(embedding_norm_, x_BLD);
}

at::Tensor Bert::attend(const Layer& layer, const at::Tensor& x_BLD,
                        const at::Tensor& bias_B11L) const {
  const auto split_heads = [&](const at::Tensor& y_BLD) {
    return y_BLD.unflatten(-1, {config_.num_attention_heads, -1}).transpose(1, 2);
  };
  const at::Tensor context_BNLH = at::scaled_dot_product_attention(
      split_heads(layer.query(x_BLD)), split_heads(layer.key(x_BLD)),
      split_heads(layer.value(x_BLD)), bias_B11L);
  return layer.attention_out(context_BNLH.transpose(1, 2).flatten(2));
}

at::Tensor Bert::activate(const at::Tensor& x) const {
  if (config_.hidden_act == "relu") return at::relu(x);
  return at::gelu(x, config_.hidden_act == "gelu" ? "none" : "tanh");
}

at::Tensor Bert::forward(const at::Tensor& ids_BL, const at::Tensor& mask_BL) {
  ZOETROPE_CHECK_CONFIG(ids_BL.dim() == 2 && ids_BL.numel() > 0, "input_ids have ", ids_BL.dim(),
                        " dimensions and ", ids_BL.numel(), " elements, wanted [batch, length]");
  ZOETROPE_CHECK_CONFIG(mask_BL.sizes() == ids_BL.sizes(),
                        "attention_mask is not shaped as input_ids");
  ZOETROPE_CHECK_CONFIG(ids_BL.size(1) <= max_length(), "input_ids of length ", ids_BL.size(1),
                        " exceed the encoder's ", max_length(), " positions");
  const auto lowest = ids_BL.min().item<std::int64_t>();
  const auto highest = ids_BL.max().item<std::int64_t>();
  ZOETROPE_CHECK_CONFIG(lowest >= 0 && highest < config_.vocab_size, "input_ids from ", lowest,
                        " to ", highest, " do not fit a vocabulary of ", config_.vocab_size);
  at::Tensor x_BLD = embed(ids_BL);
  const at::Tensor bias_B11L = attention_bias(mask_BL, x_BLD.scalar_type());
  for (const Layer& layer : layers_) {
    x_BLD = normalise(layer.attention_norm, x_BLD + attend(layer, x_BLD, bias_B11L));
    x_BLD = normalise(layer.output_norm, x_BLD + layer.down(activate(layer.up(x_BLD))));
  }
  return x_BLD.to(at::kFloat);
}

}  // namespace zoetrope::model
