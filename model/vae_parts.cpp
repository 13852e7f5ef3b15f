// Builds and runs encoder and decoder stage by stage.
#include "model/vae_parts.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>

#include "base/error.h"

namespace zoetrope::model {
namespace {

constexpr std::int64_t kColours = 3;
const std::vector<std::int64_t> kCube = {3, 3, 3};

at::Tensor new_gamma(std::int64_t channels, at::Device device) {
  return at::empty({channels, 1, 1, 1}, at::TensorOptions().dtype(at::kFloat).device(device));
}

std::int64_t pixel_channels(const VaeConfig& config) {
  return kColours * config.patch_size * config.patch_size;
}

std::int64_t decoder_base(const VaeConfig& config) {
  return config.decoder_base_dim > 0 ? config.decoder_base_dim : config.base_dim;
}

std::vector<Stage> down_stages(const VaeConfig& config, at::Device device) {
  std::vector<Stage> stages;
  std::int64_t in = config.base_dim;
  int flat = 0;  // Wan 2.1 numbers blocks and downsamplers in one list
  for (std::size_t i = 0; i < config.dim_mult.size(); ++i) {
    Stage stage{.kind = Resample::Kind::kDown, .has_shortcut = config.is_residual};
    stage.out_channels = config.base_dim * config.dim_mult[i];
    const std::string own = concat("down_blocks.", i, ".");
    for (std::int64_t j = 0; j < config.num_res_blocks; ++j) {
      stage.resnets.emplace_back(j == 0 ? in : stage.out_channels, stage.out_channels, device);
      stage.resnet_names.push_back(config.is_residual ? concat(own, "resnets.", j, ".")
                                                      : concat("down_blocks.", flat++, "."));
    }
    if (i + 1 < config.dim_mult.size()) {
      stage.resample.emplace_back(Resample::Kind::kDown, config.temporal_downsample[i],
                                  stage.out_channels, stage.out_channels, device);
      stage.resample_name =
          config.is_residual ? own + "downsampler." : concat("down_blocks.", flat++, ".");
    }
    in = stage.out_channels;
    stages.push_back(std::move(stage));
  }
  return stages;
}

std::vector<Stage> up_stages(const VaeConfig& config, at::Device device) {
  std::vector<Stage> stages;
  const std::size_t num_stages = config.dim_mult.size();
  std::int64_t in = decoder_base(config) * config.dim_mult.back();
  for (std::size_t i = 0; i < num_stages; ++i) {
    const bool is_last = i + 1 == num_stages;
    Stage stage{.kind = Resample::Kind::kUp, .has_shortcut = config.is_residual && !is_last};
    const std::int64_t width = decoder_base(config) * config.dim_mult[num_stages - 1 - i];
    stage.out_channels = is_last || config.is_residual ? width : width / 2;
    for (std::int64_t j = 0; j <= config.num_res_blocks; ++j) {
      stage.resnets.emplace_back(j == 0 ? in : width, width, device);
      stage.resnet_names.push_back(concat("up_blocks.", i, ".resnets.", j, "."));
    }
    if (!is_last) {
      stage.resample.emplace_back(Resample::Kind::kUp,
                                  config.temporal_downsample[num_stages - 2 - i], width,
                                  stage.out_channels, device);
      stage.resample_name =
          concat("up_blocks.", i, config.is_residual ? ".upsampler." : ".upsamplers.0.");
    }
    in = stage.out_channels;
    stages.push_back(std::move(stage));
  }
  return stages;
}

at::Tensor causal_conv_in(const Conv& conv, const at::Tensor& x_BTHWC, VaeHistory* history) {
  at::Tensor padded = with_front_frames(x_BTHWC, kCausalFrames);
  if (history != nullptr) history->carry(padded, kCausalFrames);
  return causal_conv(conv, padded);
}

// The norm keeps only the direction of a channel vector; the bypass carries its length past it.
at::Tensor head(const Conv& conv, const Conv& bypass, const at::Tensor& gamma,
                const at::Tensor& x_BTHWC, VaeHistory* history) {
  const at::Tensor out = norm_silu_conv(conv, gamma, x_BTHWC, history);
  return bypass.defined() ? out + pointwise_conv(bypass, x_BTHWC) : out;
}

Conv new_bypass(const VaeConfig& config, std::int64_t in, std::int64_t out, at::Device device) {
  return config.head_bypass ? Conv(in, out, {1, 1, 1}, device) : Conv();
}

}  // namespace

VaeEncoder::VaeEncoder(const VaeConfig& config, at::Device device)
    : conv_in(pixel_channels(config), config.base_dim, kCube, device),
      stages(down_stages(config, device)),
      mid(config.base_dim * config.dim_mult.back(), device),
      norm_out(new_gamma(config.base_dim * config.dim_mult.back(), device)),
      conv_out(config.base_dim * config.dim_mult.back(), 2 * config.z_dim, kCube, device),
      bypass(
          new_bypass(config, config.base_dim * config.dim_mult.back(), 2 * config.z_dim, device)) {}

at::Tensor VaeEncoder::forward(const at::Tensor& x_BTHWC, VaeHistory* history) const {
  at::Tensor h = causal_conv_in(conv_in, x_BTHWC, history);
  for (const Stage& stage : stages) h = stage.forward(h, history);
  return head(conv_out, bypass, norm_out, mid.forward(h, history), history);
}

void VaeEncoder::visit_parameters(const std::string& prefix, const ParameterVisitor& visit) {
  conv_in.visit_parameters(prefix + "conv_in.", visit);
  for (Stage& stage : stages) stage.visit_parameters(prefix, visit);
  mid.visit_parameters(prefix + "mid_block.", visit);
  visit(prefix + "norm_out.gamma", norm_out);
  conv_out.visit_parameters(prefix + "conv_out.", visit);
  if (bypass.defined()) bypass.visit_parameters(prefix + "bypass.", visit);
}

VaeDecoder::VaeDecoder(const VaeConfig& config, at::Device device)
    : conv_in(config.z_dim, decoder_base(config) * config.dim_mult.back(), kCube, device),
      mid(decoder_base(config) * config.dim_mult.back(), device),
      stages(up_stages(config, device)),
      norm_out(new_gamma(decoder_base(config) * config.dim_mult.front(), device)),
      conv_out(decoder_base(config) * config.dim_mult.front(), pixel_channels(config), kCube,
               device),
      bypass(new_bypass(config, decoder_base(config) * config.dim_mult.front(),
                        pixel_channels(config), device)) {}

at::Tensor VaeDecoder::forward(const at::Tensor& x_BTHWC, VaeHistory* history) const {
  at::Tensor h = mid.forward(causal_conv_in(conv_in, x_BTHWC, history), history);
  for (const Stage& stage : stages) h = stage.forward(h, history);
  return head(conv_out, bypass, norm_out, h, history);
}

void VaeDecoder::visit_parameters(const std::string& prefix, const ParameterVisitor& visit) {
  conv_in.visit_parameters(prefix + "conv_in.", visit);
  mid.visit_parameters(prefix + "mid_block.", visit);
  for (Stage& stage : stages) stage.visit_parameters(prefix, visit);
  visit(prefix + "norm_out.gamma", norm_out);
  conv_out.visit_parameters(prefix + "conv_out.", visit);
  if (bypass.defined()) bypass.visit_parameters(prefix + "bypass.", visit);
}

Vae::Parts::Parts(const VaeConfig& config, at::Device device)
    : encoder(config, device),
      quant_conv(2 * config.z_dim, 2 * config.z_dim, {1, 1, 1}, device),
      post_quant_conv(config.z_dim, config.z_dim, {1, 1, 1}, device),
      decoder(config, device) {}

at::Tensor shuffle_pixels_down(const at::Tensor& pixels_BCTHW, std::int64_t patch) {
  const std::int64_t clips = pixels_BCTHW.size(0), frames = pixels_BCTHW.size(2),
                     height = pixels_BCTHW.size(3) / patch, width = pixels_BCTHW.size(4) / patch;
  return pixels_BCTHW.reshape({clips, kColours, frames, height, patch, width, patch})
      .permute({0, 2, 3, 5, 1, 6, 4})
      .reshape({clips, frames, height, width, kColours * patch * patch});
}

at::Tensor shuffle_pixels_up(const at::Tensor& x_BTHWC, std::int64_t patch) {
  const std::int64_t clips = x_BTHWC.size(0), frames = x_BTHWC.size(1), height = x_BTHWC.size(2),
                     width = x_BTHWC.size(3);
  return x_BTHWC.reshape({clips, frames, height, width, kColours, patch, patch})
      .permute({0, 4, 1, 2, 6, 3, 5})
      .reshape({clips, kColours, frames, height * patch, width * patch});
}

}  // namespace zoetrope::model
