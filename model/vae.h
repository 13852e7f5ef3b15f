// The causal 3-D video VAE of Wan 2.1 and 2.2 (diffusers' AutoencoderKLWan): whole clips, with
// gradients, or chunk by chunk for inference (vae_stream.h drives that form).
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <vector>

#include "model/module.h"
#include "model/vae_config.h"
#include "model/vae_history.h"

namespace zoetrope::model {

struct Posterior {
  at::Tensor mean, logvar;  // [B, z, t, h, w]; logvar clamped to [-30, 20]
};

class Vae : public Module {
 public:
  Vae(const VaeConfig& config, at::Device device);
  ~Vae() override;
  Vae(Vae&& other) noexcept;
  // For training from scratch; the same numbers for a seed whatever the device or thread count.
  void init_weights(std::uint64_t seed);
  ParameterVisitor initial_weights(std::uint64_t seed);  // one parameter at a time

  // pixels [B, 3, T, H, W] in [-1, 1], T = 1 + k * time_stride, H and W multiples of space_stride
  // (ConfigError with the numbers otherwise). Convolutions run in `compute_type`, by default the
  // parameters' own dtype; results are fp32. Differentiable, unless a `history` makes `pixels` the
  // next chunk of a clip: T is then a multiple of time_stride in all chunks but the first.
  Posterior encode(const at::Tensor& pixels,
                   std::optional<at::ScalarType> compute_type = std::nullopt,
                   VaeHistory* history = nullptr);
  // raw (not normalised) latents [B, z, t, h, w] -> [B, 3, T, H, W]; `clamp` to [-1, 1] (off in
  // training). With a `history`, the next chunk: T = t * time_stride in all chunks but the first.
  at::Tensor decode(const at::Tensor& latents, bool clamp = true,
                    std::optional<at::ScalarType> compute_type = std::nullopt,
                    VaeHistory* history = nullptr);

  at::Tensor normalise(const at::Tensor& latents) const;  // (z - mean) / std per channel
  at::Tensor denormalise(const at::Tensor& latents) const;

  const VaeConfig& config() const { return config_; }
  // Weight of the decoder's last convolution: where losses of pixels are balanced.
  const at::Tensor& last_weight() const;
  void set_latent_statistics(const std::vector<double>& mean, const std::vector<double>& std);
  void visit_parameters(const std::string& prefix, const ParameterVisitor& visit) override;

 private:
  struct Parts;
  VaeConfig config_;
  std::unique_ptr<Parts> parts_;
};

std::unique_ptr<Vae> load_vae(const std::filesystem::path& folder, at::Device device);
void save_vae(Vae& vae, const std::filesystem::path& folder, at::ScalarType dtype);

// 8-bit frames [T, H, W, 3] <-> pixels [1, 3, T, H, W] in [-1, 1] (x / 127.5 - 1; rounded and
// clamped back).
at::Tensor pixels_from_rgb(const std::uint8_t* rgb, std::int64_t frames, std::int64_t height,
                           std::int64_t width);
void rgb_from_pixels(const at::Tensor& pixels, std::uint8_t* rgb);

}  // namespace zoetrope::model
