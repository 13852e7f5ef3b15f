// Chunks and tiles of the VAE.
// B clips, C channels, T frames, H height, W width
#include "model/vae_stream.h"

#include <algorithm>

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>

#include "base/error.h"

namespace zoetrope::model {
namespace {

// Tiles along one side, in units of latent pixels: all of one size, spread evenly.
struct TileRow {
  std::int64_t size = 0;
  std::vector<std::int64_t> starts;
};

TileRow tile_row(std::int64_t length, std::int64_t tile, std::int64_t overlap) {
  if (tile == 0 || length <= tile) return {length, {0}};
  const std::int64_t step = tile - overlap, last = length - tile;
  const std::int64_t gaps = (last + step - 1) / step;
  TileRow row{tile, {}};
  for (std::int64_t i = 0; i <= gaps; ++i) row.starts.push_back((i * last + gaps / 2) / gaps);
  return row;
}

// Weights of tile i along its side of `scale` numbers a latent pixel: they fall linearly over what
// it shares with each neighbour.
at::Tensor tile_weights(const TileRow& row, std::size_t i, std::int64_t scale) {
  const std::int64_t length = row.size * scale;
  at::Tensor weights = at::ones({length});
  float* w = weights.mutable_data_ptr<float>();
  const auto fall = [&](std::int64_t shared, bool at_start) {
    for (std::int64_t j = 0; j < shared * scale; ++j) {
      w[at_start ? j : length - 1 - j] *= static_cast<float>(j + 1) / (shared * scale + 1);
    }
  };
  if (i > 0) fall(row.starts[i - 1] + row.size - row.starts[i], true);
  if (i + 1 < row.starts.size()) fall(row.starts[i] + row.size - row.starts[i + 1], false);
  return weights;
}

// Runs each tile of x [B, C, T, H, W] and blends the results. A latent pixel is `from` numbers a
// side of x and `to` of the result.
template <class Run>
at::Tensor run_in_tiles(const at::Tensor& x, const VaeRunConfig& config, std::int64_t stride,
                        std::int64_t from, std::int64_t to, std::vector<VaeHistory>& histories,
                        const Run& run) {
  const std::int64_t tile = config.tile / stride, overlap = config.tile_overlap / stride;
  const std::int64_t height = x.size(3) / from, width = x.size(4) / from;
  const TileRow rows = tile_row(height, tile, overlap), columns = tile_row(width, tile, overlap);
  const std::size_t num_tiles = rows.starts.size() * columns.starts.size();
  if (histories.empty()) histories.resize(num_tiles);
  ZOETROPE_CHECK(histories.size() == num_tiles, "a chunk of ", x.size(4), "x", x.size(3),
                 " does not continue the clip");
  if (num_tiles == 1) return run(x, histories[0]);
  at::Tensor sum, weight_HW = at::zeros({height * to, width * to});
  for (std::size_t i = 0; i < num_tiles; ++i) {
    const std::size_t r = i / columns.starts.size(), c = i % columns.starts.size();
    const std::int64_t y = rows.starts[r], x0 = columns.starts[c];
    const at::Tensor part = run(x.narrow(3, y * from, rows.size * from)
                                    .narrow(4, x0 * from, columns.size * from)
                                    .contiguous(),
                                histories[i]);
    const at::Tensor own_HW =
        tile_weights(rows, r, to).unsqueeze(1) * tile_weights(columns, c, to).unsqueeze(0);
    if (!sum.defined()) {
      sum = at::zeros({part.size(0), part.size(1), part.size(2), height * to, width * to});
    }
    sum.narrow(3, y * to, rows.size * to)
        .narrow(4, x0 * to, columns.size * to)
        .addcmul_(part, own_HW);
    weight_HW.narrow(0, y * to, rows.size * to).narrow(1, x0 * to, columns.size * to).add_(own_HW);
  }
  return sum.div_(weight_HW);
}

}  // namespace

void check_vae_run_config(const VaeRunConfig& config, int space_stride) {
  ZOETROPE_CHECK_CONFIG(config.chunk >= 1, "a chunk of ", config.chunk,
                        " latent frames: at least 1 is needed");
  ZOETROPE_CHECK_CONFIG(config.tile >= 0 && config.tile_overlap >= 0 &&
                            config.tile % space_stride == 0 &&
                            config.tile_overlap % space_stride == 0,
                        "tiles of ", config.tile, " pixels that share ", config.tile_overlap,
                        ": both must be multiples of the VAE's ", space_stride);
  ZOETROPE_CHECK_CONFIG(config.tile == 0 || config.tile_overlap < config.tile, "tiles of ",
                        config.tile, " pixels cannot share ", config.tile_overlap);
}

VaeStream::VaeStream(Vae& vae, const VaeRunConfig& config)
    : vae_(vae), device_(vae.device()), config_(config) {
  check_vae_run_config(config, vae.config().space_stride());
}

at::Tensor VaeStream::encode(const at::Tensor& pixels) {
  const at::NoGradGuard no_grad;
  const int stride = vae_.config().space_stride();
  return run_in_tiles(
      pixels, config_, stride, stride, 1, encoder_, [&](const at::Tensor& x, VaeHistory& history) {
        return vae_.encode(x.to(device_), config_.compute_type, &history).mean.cpu();
      });
}

at::Tensor VaeStream::decode(const at::Tensor& latents) {
  const at::NoGradGuard no_grad;
  const int stride = vae_.config().space_stride();
  return run_in_tiles(
      latents, config_, stride, 1, stride, decoder_, [&](const at::Tensor& z, VaeHistory& history) {
        return vae_.decode(z.to(device_), true, config_.compute_type, &history).cpu();
      });
}

at::Tensor encode_frames(Vae& vae, const std::uint8_t* rgb, std::int64_t frames,
                         std::int64_t height, std::int64_t width, const VaeRunConfig& config) {
  VaeStream stream(vae, config);
  const std::int64_t stride = vae.config().time_stride();
  std::vector<at::Tensor> latents;
  for (std::int64_t first = 0; first < frames;) {
    // The first latent frame is one picture, each later one `stride` of them.
    const std::int64_t whole = config.chunk * stride - (first == 0 ? stride - 1 : 0);
    const std::int64_t count = std::min(whole, frames - first);
    latents.push_back(
        stream.encode(pixels_from_rgb(rgb + first * height * width * 3, count, height, width)));
    first += count;
  }
  return at::cat(latents, 2);
}

void decode_frames(Vae& vae, const at::Tensor& latents, const VaeRunConfig& config,
                   std::uint8_t* rgb) {
  VaeStream stream(vae, config);
  for (std::int64_t first = 0; first < latents.size(2); first += config.chunk) {
    const std::int64_t count = std::min(config.chunk, latents.size(2) - first);
    const at::Tensor pixels = stream.decode(latents.narrow(2, first, count));
    rgb_from_pixels(pixels, rgb);
    rgb += pixels.numel();
  }
}

}  // namespace zoetrope::model
