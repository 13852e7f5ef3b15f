// A table of name pieces: outside the blocks, and inside one.
#include "model/wan_names.h"

#include <algorithm>
#include <span>

#include "base/error.h"

namespace zoetrope::model {
namespace {

struct Pair {
  std::string_view diffusers, native;
};

constexpr Pair kOutside[] = {
    {"patch_embedding", "patch_embedding"},
    {"condition_embedder.text_embedder.linear_1", "text_embedding.0"},
    {"condition_embedder.text_embedder.linear_2", "text_embedding.2"},
    {"condition_embedder.time_embedder.linear_1", "time_embedding.0"},
    {"condition_embedder.time_embedder.linear_2", "time_embedding.2"},
    {"condition_embedder.time_proj", "time_projection.1"},
    {"proj_out", "head.head"},
    {"scale_shift_table", "head.modulation"},
};

constexpr Pair kInBlock[] = {
    {"scale_shift_table", "modulation"},
    {"attn1.to_q", "self_attn.q"},
    {"attn1.to_k", "self_attn.k"},
    {"attn1.to_v", "self_attn.v"},
    {"attn1.to_out.0", "self_attn.o"},
    {"attn1.norm_q", "self_attn.norm_q"},
    {"attn1.norm_k", "self_attn.norm_k"},
    {"attn2.to_q", "cross_attn.q"},
    {"attn2.to_k", "cross_attn.k"},
    {"attn2.to_v", "cross_attn.v"},
    {"attn2.to_out.0", "cross_attn.o"},
    {"attn2.norm_q", "cross_attn.norm_q"},
    {"attn2.norm_k", "cross_attn.norm_k"},
    {"norm2", "norm3"},  // Wan numbers its norms in another order than it runs them
    {"ffn.net.0.proj", "ffn.0"},
    {"ffn.net.2", "ffn.2"},
};

// The rest behind `piece` when `name` is that piece or goes on with a dot.
bool starts_with_piece(std::string_view name, std::string_view piece, std::string_view& rest) {
  if (!name.starts_with(piece)) return false;
  rest = name.substr(piece.size());
  return rest.empty() || rest.front() == '.';
}

std::string translate(std::string_view name, std::span<const Pair> pairs, bool to_native) {
  for (const Pair& pair : pairs) {
    std::string_view rest;
    if (starts_with_piece(name, to_native ? pair.diffusers : pair.native, rest))
      return concat(to_native ? pair.native : pair.diffusers, rest);
  }
  return "";
}

std::string translate(std::string_view name, bool to_native) {
  constexpr std::string_view kBlockStart = "blocks.";
  if (!name.starts_with(kBlockStart)) return translate(name, kOutside, to_native);
  const std::string_view number =
      name.substr(kBlockStart.size(), name.find('.', kBlockStart.size()) - kBlockStart.size());
  const bool is_number = !number.empty() && std::all_of(number.begin(), number.end(), [](char c) {
    return c >= '0' && c <= '9';
  });
  const std::size_t prefix = kBlockStart.size() + number.size() + 1;
  if (!is_number || prefix > name.size()) return "";
  const std::string inner = translate(name.substr(prefix), kInBlock, to_native);
  return inner.empty() ? "" : concat(name.substr(0, prefix), inner);
}

}  // namespace

std::string to_native_name(std::string_view diffusers_name) {
  return translate(diffusers_name, true);
}

std::string from_native_name(std::string_view native_name) {
  return translate(native_name, false);
}

Json native_config(const DitConfig& config) {
  return {{"_class_name", "WanModel"},
          {"_diffusers_version", "0.30.0"},
          {"dim", config.width()},
          {"eps", config.eps},
          {"ffn_dim", config.ffn_dim},
          {"freq_dim", config.freq_dim},
          {"in_dim", config.in_channels},
          {"model_type", "t2v"},
          {"num_heads", config.num_attention_heads},
          {"num_layers", config.num_layers},
          {"out_dim", config.out_channels},
          {"patch_size", config.patch_size},
          {"qk_norm", config.qk_norm},
          {"cross_attn_norm", config.cross_attn_norm},
          {"text_dim", config.text_dim},
          {"text_len", 512}};
}

DitConfig dit_config_from_native(const Json& json) {
  ZOETROPE_CHECK_CONFIG(json.value("model_type", "t2v") == "t2v", "WanModel config: model_type is ",
                        json.at("model_type").dump(), ", supported is \"t2v\"");
  DitConfig config;
  config.num_attention_heads = json.at("num_heads").get<std::int64_t>();
  config.attention_head_dim = json.at("dim").get<std::int64_t>() / config.num_attention_heads;
  config.in_channels = json.at("in_dim").get<std::int64_t>();
  config.out_channels = json.at("out_dim").get<std::int64_t>();
  config.ffn_dim = json.at("ffn_dim").get<std::int64_t>();
  config.freq_dim = json.at("freq_dim").get<std::int64_t>();
  config.num_layers = json.at("num_layers").get<std::int64_t>();
  config.eps = json.at("eps").get<double>();
  // Wan's own files leave out what all its models share.
  config.text_dim = json.value("text_dim", config.text_dim);
  config.patch_size = json.value("patch_size", config.patch_size);
  config.qk_norm = json.value("qk_norm", config.qk_norm);
  config.cross_attn_norm = json.value("cross_attn_norm", config.cross_attn_norm);
  return config;
}

}  // namespace zoetrope::model
