// 3 x 3 (x 3) convolutions by Winograd's algorithm, for inference on CPUs with AVX-512: a quarter
// of the multiplications.
#pragma once

#include <ATen/core/Tensor.h>

#include "model/conv.h"

namespace zoetrope::model {

// True where winograd_conv runs and pays: AVX-512, fp32 or bf16, at least 32 input channels in
// multiples of 16, output channels in multiples of 32, and frames of at least 48 tiles of 4 x 4
// pixels.
bool winograd_pays(const Conv& conv, const at::Tensor& x_BTHWC);

// x [B, T + taps - 1, H, W, in], weight [out, in, taps, 3, 3] or [out, in, 3, 3] (taps = 1) ->
// [B, T, H, W, out] in x's dtype, with zero padding of 1 in space and none in time. The maths is
// fp32, with relative errors of a few 1e-6. Not differentiable. The result does not depend on the
// number of threads.
at::Tensor winograd_conv(const Conv& conv, const at::Tensor& x_BTHWC);

}  // namespace zoetrope::model
