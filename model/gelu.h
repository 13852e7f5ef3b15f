// GELU by tanh: x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))), arXiv:1606.08415.
#pragma once

#include <ATen/core/Tensor.h>

namespace zoetrope::model {

// Any shape and dtype, with a gradient. fp32 and bf16 on a CPU run in one pass each way.
at::Tensor tanh_gelu(const at::Tensor& x);

}  // namespace zoetrope::model
