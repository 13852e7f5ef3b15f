// AutoencoderKLWan: checks sizes, runs encoder or decoder, and keeps the latent statistics.
#include "model/vae.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/clamp.h>
#include <ATen/ops/tensor.h>

#include "base/error.h"
#include "model/vae_parts.h"

namespace zoetrope::model {
namespace {

// B clips, T frames, H height, W width, C channels (of pixels 3, of latents z)

void check_pixels(const at::Tensor& pixels, const VaeConfig& config, bool starts_clip) {
  ZOETROPE_CHECK_CONFIG(pixels.dim() == 5 && pixels.size(1) == 3,
                        "the VAE encodes pixels [B, 3, T, H, W], not ", pixels.sizes());
  const std::int64_t frames = pixels.size(2), height = pixels.size(3), width = pixels.size(4);
  ZOETROPE_CHECK_CONFIG(frames >= 1 && (frames - starts_clip) % config.time_stride() == 0,
                        starts_clip ? "a clip of " : "a later chunk of ", frames,
                        " frames does not fit the VAE: the count must be ",
                        starts_clip ? "1 + " : "", "a multiple of ", config.time_stride());
  ZOETROPE_CHECK_CONFIG(height >= 1 && width >= 1 && height % config.space_stride() == 0 &&
                            width % config.space_stride() == 0,
                        "a clip of ", width, "x", height,
                        " pixels does not fit the VAE: width and height must be multiples of ",
                        config.space_stride());
}

void check_latents(const at::Tensor& latents, const VaeConfig& config) {
  ZOETROPE_CHECK_CONFIG(
      latents.dim() == 5 && latents.size(1) == config.z_dim && latents.numel() > 0,
      "the VAE decodes latents [B, ", config.z_dim, ", t, h, w], not ", latents.sizes());
}

// One number a channel, ready to broadcast over [B, z, t, h, w].
at::Tensor per_channel(const std::vector<double>& values, const at::Tensor& like) {
  return at::tensor(values, at::TensorOptions().dtype(at::kDouble))
      .to(like.device(), like.scalar_type())
      .view({1, -1, 1, 1, 1});
}

}  // namespace

Vae::Vae(const VaeConfig& config, at::Device device) : config_(config) {
  check_vae_config(config);
  parts_ = std::make_unique<Parts>(config, device);
}

Vae::~Vae() = default;
Vae::Vae(Vae&& other) noexcept = default;

Posterior Vae::encode(const at::Tensor& pixels, std::optional<at::ScalarType> compute_type,
                      VaeHistory* history) {
  if (history != nullptr) history->begin_chunk();
  check_pixels(pixels, config_, history == nullptr || history->is_first_chunk());
  const at::ScalarType type = compute_type.value_or(parts_->quant_conv.weight.scalar_type());
  const at::Tensor x_BTHWC = shuffle_pixels_down(pixels.to(type), config_.patch_size);
  const at::Tensor moments_BTHWC =
      pointwise_conv(parts_->quant_conv, parts_->encoder.forward(x_BTHWC, history));
  const auto halves =
      moments_BTHWC.to(at::kFloat).permute({0, 4, 1, 2, 3}).contiguous().split(config_.z_dim, 1);
  return {halves[0], at::clamp(halves[1], -30, 20)};
}

at::Tensor Vae::decode(const at::Tensor& latents, bool clamp,
                       std::optional<at::ScalarType> compute_type, VaeHistory* history) {
  if (history != nullptr) history->begin_chunk();
  check_latents(latents, config_);
  const at::ScalarType type = compute_type.value_or(parts_->quant_conv.weight.scalar_type());
  const at::Tensor z_BTHWC = latents.to(type).permute({0, 2, 3, 4, 1}).contiguous();
  const at::Tensor x_BTHWC =
      parts_->decoder.forward(pointwise_conv(parts_->post_quant_conv, z_BTHWC), history);
  const at::Tensor pixels = shuffle_pixels_up(x_BTHWC.to(at::kFloat), config_.patch_size);
  return clamp ? at::clamp(pixels, -1, 1) : pixels;
}

at::Tensor Vae::normalise(const at::Tensor& latents) const {
  check_latents(latents, config_);
  at::Tensor z = latents;
  if (!config_.latents_mean.empty()) z = z - per_channel(config_.latents_mean, z);
  if (!config_.latents_std.empty()) z = z / per_channel(config_.latents_std, z);
  return z;
}

at::Tensor Vae::denormalise(const at::Tensor& latents) const {
  check_latents(latents, config_);
  at::Tensor z = latents;
  if (!config_.latents_std.empty()) z = z * per_channel(config_.latents_std, z);
  if (!config_.latents_mean.empty()) z = z + per_channel(config_.latents_mean, z);
  return z;
}

void Vae::set_latent_statistics(const std::vector<double>& mean, const std::vector<double>& std) {
  VaeConfig changed = config_;
  changed.latents_mean = mean;
  changed.latents_std = std;
  check_vae_config(changed);
  config_ = std::move(changed);
}

const at::Tensor& Vae::last_weight() const {
  return parts_->decoder.conv_out.weight;
}

void Vae::visit_parameters(const std::string& prefix, const ParameterVisitor& visit) {
  parts_->encoder.visit_parameters(prefix + "encoder.", visit);
  parts_->quant_conv.visit_parameters(prefix + "quant_conv.", visit);
  parts_->post_quant_conv.visit_parameters(prefix + "post_quant_conv.", visit);
  parts_->decoder.visit_parameters(prefix + "decoder.", visit);
}

}  // namespace zoetrope::model
