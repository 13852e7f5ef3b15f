// Encodes and decodes clips of any length and size in bounded memory: chunk by chunk in time, and
// on request in overlapping tiles in space. How every program runs the VAE.
#pragma once

#include <cstdint>
#include <vector>

#include <ATen/core/Tensor.h>

#include "model/vae.h"

namespace zoetrope::model {

struct VaeRunConfig {
  at::ScalarType compute_type = at::kFloat;
  std::int64_t chunk = 4;         // latent frames at a time
  std::int64_t tile = 0;          // side of a tile in pixels, of longer sides; 0 = whole frames
  std::int64_t tile_overlap = 0;  // pixels that neighbouring tiles share at least
};

// ConfigError when tile and overlap are no multiples of the VAE's stride or the overlap is not
// smaller than the tile.
void check_vae_run_config(const VaeRunConfig& config, int space_stride);

// One clip's way through encoder, decoder or both; pixels and latents are on the CPU, wherever the
// VAE is. Chunks equal the whole clip to rounding; tiles
// do not, because the attention in the middle sees one tile: they are blended linearly over the
// pixels they share.
class VaeStream {
 public:
  VaeStream(Vae& vae, const VaeRunConfig& config);

  // The next pixels [B, 3, T, H, W] -> means of their latents. T = 1 + k * time_stride in the first
  // call, a multiple of time_stride later.
  at::Tensor encode(const at::Tensor& pixels);
  // The next raw latents [B, z, t, h, w] -> pixels in [-1, 1].
  at::Tensor decode(const at::Tensor& latents);

 private:
  Vae& vae_;
  at::Device device_;
  VaeRunConfig config_;
  std::vector<VaeHistory> encoder_, decoder_;  // one a tile
};

// 8-bit frames [T, H, W, 3] <-> means of raw latents [1, z, t, h, w], a chunk at a time.
at::Tensor encode_frames(Vae& vae, const std::uint8_t* rgb, std::int64_t frames,
                         std::int64_t height, std::int64_t width, const VaeRunConfig& config);
void decode_frames(Vae& vae, const at::Tensor& latents, const VaeRunConfig& config,
                   std::uint8_t* rgb);

}  // namespace zoetrope::model
