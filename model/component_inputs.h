// Checks of named input tensors, each failing with one line that names the tensor.
#pragma once

#include <string>
#include <vector>

#include "model/component.h"

namespace zoetrope::model {

// -1 matches any size of at least 1. Throws ConfigError when NAME is missing or has another shape;
// `expected` says the shape in words ("[batch, 16, frames, height, width]").
const at::Tensor& need_tensor(const TensorMap& inputs, const std::string& name,
                              const std::vector<std::int64_t>& shape, const std::string& expected);

// ConfigError naming a tensor that is not among `known`, with the nearest known name.
void check_known(const TensorMap& inputs, const std::vector<std::string>& known);

// "NAME.0", "NAME.1", ... -> how many there are, counted from 0 without a gap.
std::int64_t count_numbered(const TensorMap& inputs, const std::string& name);

}  // namespace zoetrope::model
