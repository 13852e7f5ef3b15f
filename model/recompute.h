// Activation checkpointing: a part of a model that keeps only its inputs for the backward pass.
#pragma once

#include <functional>
#include <vector>

#include <ATen/core/Tensor.h>

namespace zoetrope::model {

using Segment = std::function<at::Tensor(const std::vector<at::Tensor>& inputs)>;

// segment(inputs), run without a graph; backward runs it again with one and goes through that.
// Gradients reach `inputs` as results and parameters that the segment captures as leaves, once,
// with their hooks. The segment must give the same numbers twice, and what it captures must live
// until backward. `first_on_host`: the first input, if it is on a CUDA device, waits in host
// memory. Error when no input requires a gradient: backward would not come here.
at::Tensor recompute(const Segment& segment, const std::vector<at::Tensor>& inputs,
                     bool first_on_host = false);

}  // namespace zoetrope::model
