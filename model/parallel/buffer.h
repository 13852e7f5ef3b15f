// Tensors as the communicator sees them.
#pragma once

#include <ATen/core/Tensor.h>

#include "launch/communicator.h"

namespace zoetrope::model {

// A contiguous tensor in fp32, bf16 or fp64; the buffer shares its memory.
launch::Buffer buffer_of(const at::Tensor& tensor);

}  // namespace zoetrope::model
