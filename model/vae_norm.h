// Wan's RMS norm over channels, with SiLU and the causal convolution's front padding in the same
// pass.
#pragma once

#include <cstdint>

#include <ATen/core/Tensor.h>

namespace zoetrope::model {

enum class Activation { kNone, kSilu };

// x [B, T, H, W, C] -> activation(x / max(|x|, 1e-12) sqrt(C) gamma), with `front_frames` zero
// frames put before the first one: [B, front_frames + T, H, W, C], contiguous, in x's dtype; the
// maths is fp32. `gamma` holds C numbers in any shape. Differentiable in x and gamma.
at::Tensor rms_norm(const at::Tensor& x_BTHWC, const at::Tensor& gamma, Activation activation,
                    std::int64_t front_frames = 0);

}  // namespace zoetrope::model
