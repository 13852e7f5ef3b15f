// Weights that are whole only while a part of the model runs (FSDP, arXiv:2304.11277): the model
// says when a unit of its parameters is needed, the owner of the memory brings and drops them.
#pragma once

#include <cstdint>

#include <ATen/core/Tensor.h>

namespace zoetrope::model {

class WeightGate {
 public:
  virtual ~WeightGate() = default;
  // The unit's weights are whole when this returns. `backward`: the units below it are next.
  virtual void fetch(std::int64_t unit, bool backward) = 0;
  // The forward pass is through with them. After the backward pass the owner drops them itself,
  // once every gradient has come.
  virtual void release(std::int64_t unit) = 0;
};

// The end of a unit, for its output x: releases in the forward pass, fetches in the backward pass
// before the unit's own. A null gate does nothing.
at::Tensor close_gate(const at::Tensor& x, WeightGate* gate, std::int64_t unit);

}  // namespace zoetrope::model
