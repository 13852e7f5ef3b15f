// DitConfig <-> diffusers' config.json, and the arithmetic of a model's size.
#include "model/dit_config.h"

#include <string>

#include "base/error.h"

namespace zoetrope::model {
namespace {

constexpr const char* kClassName = "WanTransformer3DModel";
constexpr const char* kQkNorm = "rms_norm_across_heads";

template <class T>
void read_value(const Json& json, const char* name, T& value) {
  if (!json.contains(name)) return;
  try {
    value = json.at(name).get<T>();
  } catch (const Json::exception&) {
    throw ConfigError(
        concat(kClassName, " config: ", name, " has the wrong type: ", json.at(name).dump()));
  }
}

void refuse_unsupported(const Json& json) {
  for (const char* name : {"image_dim", "added_kv_proj_dim", "pos_embed_seq_len"}) {
    ZOETROPE_CHECK_CONFIG(!json.contains(name) || json.at(name).is_null(), kClassName,
                          " config: ", name, " is ", json.at(name).dump(),
                          "; image cross-attention is not supported, it must be null");
  }
}

// Absent = diffusers' default, which has the norm; null = none.
bool read_qk_norm(const Json& json) {
  if (!json.contains("qk_norm")) return true;
  const Json& value = json.at("qk_norm");
  if (value.is_null()) return false;
  ZOETROPE_CHECK_CONFIG(value == kQkNorm, kClassName, " config: qk_norm is ", value.dump(),
                        ", supported are \"", kQkNorm, "\" and null");
  return true;
}

void check(const DitConfig& config) {
  ZOETROPE_CHECK_CONFIG(config.patch_size.size() == 3,
                        "patch_size needs 3 numbers (time, height, width), not ",
                        config.patch_size.size());
  for (const std::int64_t edge : config.patch_size) {
    ZOETROPE_CHECK_CONFIG(edge >= 1, "patch_size holds ", edge, ", at least 1 is needed");
  }
  ZOETROPE_CHECK_CONFIG(config.attention_head_dim >= 6 && config.attention_head_dim % 2 == 0,
                        "attention_head_dim is ", config.attention_head_dim,
                        "; rotation in 3 axes needs an even number from 6");
  ZOETROPE_CHECK_CONFIG(config.freq_dim >= 2 && config.freq_dim % 2 == 0, "freq_dim is ",
                        config.freq_dim, ", an even number from 2 is needed");
}

}  // namespace

DitConfig dit_config_from_json(const Json& json) {
  refuse_unsupported(json);
  DitConfig config;
  // diffusers' own defaults where they differ from the 1.3B model's.
  config.num_attention_heads = 40;
  config.ffn_dim = 13824;
  config.num_layers = 40;
  read_value(json, "num_attention_heads", config.num_attention_heads);
  read_value(json, "attention_head_dim", config.attention_head_dim);
  read_value(json, "in_channels", config.in_channels);
  config.out_channels = config.in_channels;
  if (json.contains("out_channels") && !json.at("out_channels").is_null()) {
    read_value(json, "out_channels", config.out_channels);
  }
  read_value(json, "text_dim", config.text_dim);
  read_value(json, "freq_dim", config.freq_dim);
  read_value(json, "ffn_dim", config.ffn_dim);
  read_value(json, "num_layers", config.num_layers);
  read_value(json, "patch_size", config.patch_size);
  read_value(json, "cross_attn_norm", config.cross_attn_norm);
  config.qk_norm = read_qk_norm(json);
  read_value(json, "eps", config.eps);
  check(config);
  return config;
}

Json dit_config_to_json(const DitConfig& config) {
  Json json;
  json["_class_name"] = kClassName;
  json["_diffusers_version"] = "0.36.0";
  json["added_kv_proj_dim"] = nullptr;
  json["attention_head_dim"] = config.attention_head_dim;
  json["cross_attn_norm"] = config.cross_attn_norm;
  json["eps"] = config.eps;
  json["ffn_dim"] = config.ffn_dim;
  json["freq_dim"] = config.freq_dim;
  json["image_dim"] = nullptr;
  json["in_channels"] = config.in_channels;
  json["num_attention_heads"] = config.num_attention_heads;
  json["num_layers"] = config.num_layers;
  json["out_channels"] = config.out_channels;
  json["patch_size"] = config.patch_size;
  json["pos_embed_seq_len"] = nullptr;
  json["qk_norm"] = config.qk_norm ? Json(kQkNorm) : Json();
  json["rope_max_seq_len"] = 1024;
  json["text_dim"] = config.text_dim;
  return json;
}

std::int64_t count_parameters(const DitConfig& config) {
  const std::int64_t d = config.width();
  const auto linear = [](std::int64_t in, std::int64_t out) { return in * out + out; };
  const std::int64_t attention = 4 * linear(d, d) + (config.qk_norm ? 2 * d : 0);
  const std::int64_t block = 2 * attention + linear(d, config.ffn_dim) + linear(config.ffn_dim, d) +
                             (config.cross_attn_norm ? 2 * d : 0) + 6 * d;
  const std::int64_t time = linear(config.freq_dim, d) + linear(d, d) + linear(d, 6 * d);
  const std::int64_t text = linear(config.text_dim, d) + linear(d, d);
  const std::int64_t ends = linear(config.in_channels * config.patch_volume(), d) +
                            linear(d, config.out_channels * config.patch_volume()) + 2 * d;
  return config.num_layers * block + time + text + ends;
}

double forward_flops(const DitConfig& config, std::int64_t tokens, std::int64_t text_length) {
  const double d = static_cast<double>(config.width()), t = static_cast<double>(tokens);
  const double l = static_cast<double>(text_length), ffn = static_cast<double>(config.ffn_dim);
  const double per_token =
      2 * (4 * d * d + 2 * d * ffn + 2 * d * d);  // self q k v o, MLP, cross q o
  const double block = t * per_token + l * 2 * 2 * d * d + 4 * t * t * d + 4 * t * l * d;
  const double patch = static_cast<double>(config.patch_volume());
  const double ends =
      2 * t * d * patch * static_cast<double>(config.in_channels + config.out_channels);
  const double text = 2 * l * (static_cast<double>(config.text_dim) * d + d * d);
  const double time = 2 * (static_cast<double>(config.freq_dim) * d + 7 * d * d);
  return static_cast<double>(config.num_layers) * block + ends + text + time;
}

}  // namespace zoetrope::model
