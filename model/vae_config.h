// Shape of a video VAE: the fields of diffusers' AutoencoderKLWan config.json (Wan 2.1 and 2.2).
#pragma once

#include <cstdint>
#include <vector>

#include "base/config.h"
#include "base/json.h"

namespace zoetrope::model {

struct VaeConfig {
  std::int64_t base_dim = 96;
  std::int64_t decoder_base_dim = 0;  // 0 = base_dim
  std::int64_t z_dim = 16;
  std::vector<std::int64_t> dim_mult = {1, 2, 4, 4};
  std::int64_t num_res_blocks = 2;
  std::vector<bool> temporal_downsample = {false, true,
                                           true};  // "temperal_downsample" in config.json
  std::vector<double> latents_mean, latents_std;   // z_dim each; empty = 0 and 1
  bool is_residual = false;                        // Wan 2.2: averaging / duplicating shortcuts
  std::int64_t patch_size = 1;                     // Wan 2.2: pixels are un-shuffled by 2 first
  bool head_bypass = false;  // ours: a linear path beside the last norm and convolution

  int time_stride() const;   // 4
  int space_stride() const;  // 8, with the pixel patch included

  template <class Visitor>
  void visit_fields(Visitor& visit) {
    visit("base_dim", base_dim, "width of the first encoder stage", at_least(1));
    visit("decoder_base_dim", decoder_base_dim, "width of the last decoder stage; 0 = base_dim",
          at_least(0));
    visit("z_dim", z_dim, "latent channels", at_least(1));
    visit("dim_mult", dim_mult, "width multiplier of each stage", at_least(1));
    visit("num_res_blocks", num_res_blocks, "residual blocks a stage (one more in the decoder)",
          at_least(1));
    visit("temporal_downsample", temporal_downsample, "which downsampling stages halve time");
    visit("latents_mean", latents_mean, "mean of each latent channel");
    visit("latents_std", latents_std, "standard deviation of each latent channel");
    visit("is_residual", is_residual,
          "averaging and duplicating shortcuts around stages (Wan 2.2)");
    visit("head_bypass", head_bypass,
          "linear path around both heads: trains small models in minutes");
    visit("patch_size", patch_size, "pixel un-shuffle before the encoder (Wan 2.2: 2)",
          between(1, 4));
  }
};

// ConfigError naming the field when the fields do not fit together.
void check_vae_config(const VaeConfig& config);

// diffusers' config.json <-> VaeConfig. A key that changes the maths and is not supported
// (attn_scales not empty, dropout not 0), an unknown key, or strides that contradict the stages
// throw ConfigError.
VaeConfig vae_config_from_json(const Json& json);
Json vae_config_to_json(const VaeConfig& config);

}  // namespace zoetrope::model
