// Learned perceptual distance (LPIPS 0.1, arXiv:1801.03924) on VGG16: how different two pictures
// look. The weights are the user's: this project ships none.
#pragma once

#include <filesystem>
#include <vector>

#include <ATen/core/Tensor.h>

#include "model/conv.h"

namespace zoetrope::model {

class Lpips {
 public:
  // A safetensors file with torchvision's VGG16 ("features.0.weight" ...) and LPIPS' linear layers
  // ("lin0.model.1.weight" ...). Widths are the file's. ConfigError names what is missing or does
  // not fit.
  explicit Lpips(const std::filesystem::path& safetensors_file);

  // pixels and reconstruction [B, 3, T, H, W] in [-1, 1], H and W at least 16: the mean over clips
  // and frames. Differentiable in the reconstruction; convolutions run in `compute_type`.
  at::Tensor distance(const at::Tensor& pixels, const at::Tensor& reconstruction,
                      at::ScalarType compute_type) const;

 private:
  std::vector<at::Tensor> features(const at::Tensor& pixels) const;

  std::vector<Conv> convs_;
  std::vector<at::Tensor> linear_;  // [C] of each of the five slices
};

}  // namespace zoetrope::model
