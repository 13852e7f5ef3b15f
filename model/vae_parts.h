// Encoder and decoder of the VAE with the parameter names of diffusers' AutoencoderKLWan. `history`
// is null for a whole clip.
#pragma once

#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "model/vae.h"
#include "model/vae_blocks.h"

namespace zoetrope::model {

// pixels (un-shuffled) [B, T, H, W, 3 patch^2] -> [B, t, h, w, 2 z], before quant_conv.
struct VaeEncoder {
  Conv conv_in;
  std::vector<Stage> stages;
  MidBlock mid;
  at::Tensor norm_out;
  Conv conv_out;
  Conv bypass;  // of norm_out and conv_out; only with config.head_bypass
  VaeEncoder(const VaeConfig& config, at::Device device);
  at::Tensor forward(const at::Tensor& x_BTHWC, VaeHistory* history) const;
  void visit_parameters(const std::string& prefix, const ParameterVisitor& visit);
};

// latents [B, t, h, w, z], after post_quant_conv -> [B, T, H, W, 3 patch^2].
struct VaeDecoder {
  Conv conv_in;
  MidBlock mid;
  std::vector<Stage> stages;
  at::Tensor norm_out;
  Conv conv_out;
  Conv bypass;  // likewise
  VaeDecoder(const VaeConfig& config, at::Device device);
  at::Tensor forward(const at::Tensor& x_BTHWC, VaeHistory* history) const;
  void visit_parameters(const std::string& prefix, const ParameterVisitor& visit);
};

struct Vae::Parts {
  VaeEncoder encoder;
  Conv quant_conv, post_quant_conv;
  VaeDecoder decoder;
  Parts(const VaeConfig& config, at::Device device);
};

// pixels [B, 3, T, H, W] <-> [B, T, H/p, W/p, 3 p p], channels in the order (colour, x, y).
at::Tensor shuffle_pixels_down(const at::Tensor& pixels_BCTHW, std::int64_t patch);
at::Tensor shuffle_pixels_up(const at::Tensor& x_BTHWC, std::int64_t patch);

}  // namespace zoetrope::model
