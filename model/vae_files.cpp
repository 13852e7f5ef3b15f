// The VAE's folder in diffusers' layout, and frames in and out of pixel tensors.
#include <cstring>

#include <ATen/ops/from_blob.h>

#include "base/error.h"
#include "model/vae.h"
#include "model/weights.h"

namespace zoetrope::model {

std::unique_ptr<Vae> load_vae(const std::filesystem::path& folder, at::Device device) {
  const VaeConfig config = vae_config_from_json(read_json(folder / "config.json"));
  auto vae = std::make_unique<Vae>(config, device);
  load_weights(*vae, folder);
  return vae;
}

void save_vae(Vae& vae, const std::filesystem::path& folder, at::ScalarType dtype) {
  std::filesystem::create_directories(folder);
  save_weights(vae, folder, dtype);
  write_json(folder / "config.json", vae_config_to_json(vae.config()));
}

at::Tensor pixels_from_rgb(const std::uint8_t* rgb, std::int64_t frames, std::int64_t height,
                           std::int64_t width) {
  const auto options = at::TensorOptions().dtype(at::kByte);
  // from_blob only reads here; its signature asks for a pointer to non-const.
  const at::Tensor rgb_THWC =
      at::from_blob(const_cast<std::uint8_t*>(rgb), {frames, height, width, 3}, options);
  return rgb_THWC.permute({3, 0, 1, 2})
      .unsqueeze(0)
      .to(at::kFloat)
      .contiguous()
      .div_(127.5)
      .sub_(1);
}

void rgb_from_pixels(const at::Tensor& pixels, std::uint8_t* rgb) {
  ZOETROPE_CHECK(pixels.dim() == 5 && pixels.size(0) == 1 && pixels.size(1) == 3,
                 "frames are made of pixels [1, 3, T, H, W], not ", pixels.sizes());
  const at::Tensor bytes_THWC = pixels[0]
                                    .detach()
                                    .to(at::kCPU, at::kFloat)
                                    .add(1)
                                    .mul(127.5)
                                    .round()
                                    .clamp(0, 255)
                                    .permute({1, 2, 3, 0})
                                    .to(at::kByte)
                                    .contiguous();
  std::memcpy(rgb, bytes_THWC.const_data_ptr<std::uint8_t>(), bytes_THWC.nbytes());
}

}  // namespace zoetrope::model
