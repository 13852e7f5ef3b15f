// A small VAE of both kinds, and what is put into it.
#pragma once

#include <cstdint>
#include <vector>

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>

#include "base/random.h"
#include "model/vae.h"

namespace zoetrope::model {

inline VaeConfig tiny_config(bool is_residual) {
  VaeConfig config;
  config.base_dim = 4;
  config.z_dim = 3;
  config.dim_mult = {1, 2, 2};
  config.num_res_blocks = 1;
  config.temporal_downsample = {true, true};
  config.is_residual = is_residual;
  config.patch_size = is_residual ? 2 : 1;
  return config;
}

inline Vae tiny_vae(bool is_residual) {
  Vae vae(tiny_config(is_residual), at::kCPU);
  vae.init_weights(1);
  return vae;
}

inline at::Tensor random_tensor(const std::vector<std::int64_t>& shape, std::uint64_t step = 0) {
  at::Tensor tensor = at::empty(shape);
  Random random(3, Purpose::kTest, step);
  random.fill_normal({tensor.mutable_data_ptr<float>(), static_cast<std::size_t>(tensor.numel())});
  return tensor;
}

inline double largest(const at::Tensor& x) {
  return x.abs().max().item<double>();
}

}  // namespace zoetrope::model
