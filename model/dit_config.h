// Shape of a diffusion transformer: the fields of diffusers' WanTransformer3DModel config.json.
#pragma once

#include <cstdint>
#include <vector>

#include "base/config.h"
#include "base/json.h"

namespace zoetrope::model {

struct DitConfig {
  std::int64_t num_attention_heads = 12;
  std::int64_t attention_head_dim = 128;
  std::int64_t in_channels = 16;
  std::int64_t out_channels = 16;
  std::int64_t text_dim = 4096;
  std::int64_t freq_dim = 256;
  std::int64_t ffn_dim = 8960;
  std::int64_t num_layers = 30;
  std::vector<std::int64_t> patch_size = {1, 2, 2};
  bool cross_attn_norm = true;
  bool qk_norm = true;  // RMSNorm over all heads' channels
  double eps = 1e-6;

  std::int64_t width() const { return num_attention_heads * attention_head_dim; }
  std::int64_t patch_volume() const { return patch_size[0] * patch_size[1] * patch_size[2]; }

  template <class Visitor>
  void visit_fields(Visitor& visit) {
    visit("num_attention_heads", num_attention_heads, "attention heads", at_least(1));
    visit("attention_head_dim", attention_head_dim, "channels a head, even", at_least(6));
    visit("in_channels", in_channels, "latent channels in", at_least(1));
    visit("out_channels", out_channels, "latent channels out", at_least(1));
    visit("text_dim", text_dim, "width of the text states", at_least(1));
    visit("freq_dim", freq_dim, "width of the sinusoidal timestep embedding", at_least(2));
    visit("ffn_dim", ffn_dim, "hidden width of the MLP", at_least(1));
    visit("num_layers", num_layers, "transformer blocks", at_least(1));
    visit("patch_size", patch_size, "patch along time, height, width", at_least(1));
    visit("cross_attn_norm", cross_attn_norm, "affine LayerNorm before cross-attention");
    visit("qk_norm", qk_norm, "RMSNorm on queries and keys");
    visit("eps", eps, "epsilon of the norms", at_least(0));
  }
};

// diffusers' config.json <-> DitConfig. A key that changes the maths and is not supported here
// (image_dim, added_kv_proj_dim, pos_embed_seq_len not null) throws ConfigError that names it.
DitConfig dit_config_from_json(const Json& json);
Json dit_config_to_json(const DitConfig& config);

// Parameters of such a model, without building it.
std::int64_t count_parameters(const DitConfig& config);
// Multiply-adds * 2 of one forward pass over one sample (tokens, text length); a training step is 3
// times this.
double forward_flops(const DitConfig& config, std::int64_t tokens, std::int64_t text_length);

}  // namespace zoetrope::model
