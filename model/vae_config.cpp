// diffusers' AutoencoderKLWan config.json, read strictly: what this class cannot compute is refused
// by name.
#include "model/vae_config.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <string>

#include "base/error.h"

namespace zoetrope::model {
namespace {

constexpr const char* kClassName = "AutoencoderKLWan";
constexpr std::int64_t kColours = 3;
const std::set<std::string> kKnownKeys = {"base_dim",
                                          "decoder_base_dim",
                                          "z_dim",
                                          "dim_mult",
                                          "num_res_blocks",
                                          "attn_scales",
                                          "temperal_downsample",
                                          "dropout",
                                          "latents_mean",
                                          "latents_std",
                                          "is_residual",
                                          "in_channels",
                                          "out_channels",
                                          "patch_size",
                                          "scale_factor_temporal",
                                          "scale_factor_spatial",
                                          "clip_output",
                                          "head_bypass"};

template <class T>
void read(const Json& json, const char* key, T& value) {
  const auto found = json.find(key);
  if (found == json.end() || found->is_null()) return;
  try {
    found->get_to(value);
  } catch (const Json::exception&) {
    throw ConfigError(concat("VAE config: ", key, " has the wrong type: ", found->dump()));
  }
}

void expect(const Json& json, const char* key, std::int64_t expected, std::int64_t fallback) {
  std::int64_t value = fallback;
  read(json, key, value);
  ZOETROPE_CHECK_CONFIG(value == expected, "VAE config: ", key, " is ", value,
                        ", the other fields make it ", expected);
}

void refuse_unsupported(const Json& json) {
  for (const auto& item : json.items()) {
    const bool is_known = item.key().starts_with("_") || kKnownKeys.contains(item.key());
    ZOETROPE_CHECK_CONFIG(is_known, "VAE config: unknown key ", item.key());
  }
  if (json.contains("attn_scales")) {
    ZOETROPE_CHECK_CONFIG(json["attn_scales"].empty(),
                          "VAE config: attn_scales must be empty, not ",
                          json["attn_scales"].dump());
  }
  double dropout = 0;
  read(json, "dropout", dropout);
  ZOETROPE_CHECK_CONFIG(dropout == 0, "VAE config: dropout must be 0, not ", dropout);
}

void check_statistics(const VaeConfig& config) {
  for (const auto* values : {&config.latents_mean, &config.latents_std}) {
    ZOETROPE_CHECK_CONFIG(values->empty() || std::ssize(*values) == config.z_dim, "VAE config: ",
                          values == &config.latents_mean ? "latents_mean" : "latents_std", " has ",
                          values->size(), " numbers, z_dim is ", config.z_dim);
  }
  for (const double value : config.latents_std) {
    ZOETROPE_CHECK_CONFIG(std::isfinite(value) && value > 0, "VAE config: latents_std holds ",
                          value);
  }
}

// Shortcuts average and repeat whole channels.
void check_shortcut_widths(const VaeConfig& config) {
  const auto& mult = config.dim_mult;
  for (std::size_t i = 0; i < mult.size(); ++i) {
    const bool is_last = i + 1 == mult.size();
    const std::int64_t factor = is_last ? 1 : (config.temporal_downsample[i] ? 8 : 4);
    const std::int64_t in = i == 0 ? 1 : mult[i - 1];
    ZOETROPE_CHECK_CONFIG(in * factor * config.base_dim % (mult[i] * config.base_dim) == 0,
                          "VAE config: dim_mult ", in, " -> ", mult[i], " at stage ", i,
                          " has no averaging shortcut: ", in, " * ", factor,
                          " is not a multiple of ", mult[i]);
  }
}

}  // namespace

int VaeConfig::time_stride() const {
  return 1 << std::count(temporal_downsample.begin(), temporal_downsample.end(), true);
}

int VaeConfig::space_stride() const {
  return static_cast<int>(patch_size) << (dim_mult.size() - 1);
}

void check_vae_config(const VaeConfig& config) {
  ZOETROPE_CHECK_CONFIG(config.dim_mult.size() >= 2, "VAE config: dim_mult has ",
                        config.dim_mult.size(), " stages, at least 2 are needed");
  ZOETROPE_CHECK_CONFIG(config.temporal_downsample.size() + 1 == config.dim_mult.size(),
                        "VAE config: temporal_downsample has ", config.temporal_downsample.size(),
                        " entries, dim_mult with ", config.dim_mult.size(), " stages needs ",
                        config.dim_mult.size() - 1);
  for (const std::int64_t value :
       {config.base_dim, config.z_dim, config.num_res_blocks, config.patch_size,
        *std::min_element(config.dim_mult.begin(), config.dim_mult.end())}) {
    ZOETROPE_CHECK_CONFIG(value >= 1,
                          "VAE config: base_dim, z_dim, num_res_blocks, patch_size and dim_mult ",
                          "must be at least 1, not ", value);
  }
  if (config.is_residual) check_shortcut_widths(config);
  check_statistics(config);
}

VaeConfig vae_config_from_json(const Json& json) {
  const std::string class_name = json.value("_class_name", kClassName);
  ZOETROPE_CHECK_CONFIG(class_name == kClassName, "VAE config: _class_name is ", class_name,
                        ", not ", kClassName);
  refuse_unsupported(json);
  VaeConfig config;
  read(json, "base_dim", config.base_dim);
  read(json, "decoder_base_dim", config.decoder_base_dim);
  read(json, "z_dim", config.z_dim);
  read(json, "dim_mult", config.dim_mult);
  read(json, "num_res_blocks", config.num_res_blocks);
  read(json, "temperal_downsample", config.temporal_downsample);
  read(json, "latents_mean", config.latents_mean);
  read(json, "latents_std", config.latents_std);
  read(json, "is_residual", config.is_residual);
  read(json, "patch_size", config.patch_size);
  read(json, "head_bypass", config.head_bypass);
  check_vae_config(config);
  const std::int64_t channels = kColours * config.patch_size * config.patch_size;
  expect(json, "in_channels", channels, kColours);
  expect(json, "out_channels", channels, kColours);
  // Files written before these two keys existed lack them; a file that has them must agree.
  expect(json, "scale_factor_temporal", config.time_stride(), config.time_stride());
  expect(json, "scale_factor_spatial", config.space_stride(), config.space_stride());
  return config;
}

Json vae_config_to_json(const VaeConfig& config) {
  check_vae_config(config);
  const auto or_default = [&](const std::vector<double>& values, double value) {
    return values.empty() ? std::vector<double>(static_cast<std::size_t>(config.z_dim), value)
                          : values;
  };
  const std::int64_t channels = kColours * config.patch_size * config.patch_size;
  Json json;
  json["_class_name"] = kClassName;
  json["_diffusers_version"] = "0.36.0";
  json["attn_scales"] = Json::array();
  json["base_dim"] = config.base_dim;
  json["decoder_base_dim"] =
      config.decoder_base_dim > 0 ? Json(config.decoder_base_dim) : Json(nullptr);
  json["dim_mult"] = config.dim_mult;
  json["dropout"] = 0.0;
  json["in_channels"] = channels;
  json["is_residual"] = config.is_residual;
  json["latents_mean"] = or_default(config.latents_mean, 0.0);
  json["latents_std"] = or_default(config.latents_std, 1.0);
  json["num_res_blocks"] = config.num_res_blocks;
  json["out_channels"] = channels;
  json["patch_size"] = config.patch_size > 1 ? Json(config.patch_size) : Json(nullptr);
  json["scale_factor_spatial"] = config.space_stride();
  json["scale_factor_temporal"] = config.time_stride();
  json["temperal_downsample"] = config.temporal_downsample;
  json["z_dim"] = config.z_dim;
  if (config.head_bypass) json["head_bypass"] = true;
  return json;
}

}  // namespace zoetrope::model
