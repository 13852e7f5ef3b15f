// Convolutions of the VAE on activations [B, T, H, W, C]: channels last, the layout oneDNN and
// cuDNN are fastest in. Parameters are shaped and named as in torch's Conv2d and Conv3d.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "model/module.h"

namespace zoetrope::model {

struct Conv {
  at::Tensor weight, bias;  // [out, in, kernel...], [out]
  Conv() = default;
  // kernel {h, w} or {t, h, w}. Uninitialised fp32; at::kMeta builds shapes only.
  Conv(std::int64_t in, std::int64_t out, const std::vector<std::int64_t>& kernel,
       at::Device device);
  void visit_parameters(const std::string& prefix, const ParameterVisitor& visit);
  bool defined() const { return weight.defined(); }
};

// All take x [B, T, H, W, in] in any floating type, cast the weights to it and return it. Without
// gradients, 3 x 3 kernels run by Winograd's algorithm where that pays (winograd.h).

// 3 x 3 x 3 without padding in time, zero padding of 1 in space: T + 2 frames -> T. The caller puts
// the two zero frames in front (with_front_frames, or rms_norm in its own pass).
at::Tensor causal_conv(const Conv& conv, const at::Tensor& padded_BTHWC);
at::Tensor with_front_frames(const at::Tensor& x_BTHWC, std::int64_t frames);
// 1 x 1 (x 1): a matrix product.
at::Tensor pointwise_conv(const Conv& conv, const at::Tensor& x_BTHWC);
// 3 x 1 x 1 without padding.
at::Tensor time_conv(const Conv& conv, const at::Tensor& x_BTHWC, std::int64_t stride);
// 3 x 3 a frame: stride 1 with zero padding 1, or stride 2 with one zero row below and column to
// the right.
at::Tensor frame_conv(const Conv& conv, const at::Tensor& x_BTHWC);
at::Tensor halving_frame_conv(const Conv& conv, const at::Tensor& x_BTHWC);
// Each pixel twice along H and W.
at::Tensor double_pixels(const at::Tensor& x_BTHWC);

}  // namespace zoetrope::model
