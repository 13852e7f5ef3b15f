// Tensor parallelism with scattered tokens (Megatron, arXiv:1909.08053 and 2205.05198): inside
// attention and MLP each rank has some heads and channels of all joint tokens; outside, all
// channels of its own tokens. The model keeps its modules: their weights are parts of the global
// ones, and these functions stand where regions begin and end.
//
// Parameters cut among the ranks have whole gradients. Those of all others are this rank's part:
// the sum over the tensor group is the whole.
#pragma once

#include <string>

#include <ATen/core/Tensor.h>

#include "model/dit_config.h"
#include "model/module.h"
#include "model/parallel/token_plan.h"
#include "model/rope.h"

namespace zoetrope::model {

// A rank's place in its tensor group.
struct TensorPlace {
  int rank = 0, size = 1;
};

// Which part of the DiT's global parameter `name` a rank holds: rows of to_q, to_k, to_v and their
// norms and columns of to_out by whole heads, rows of the first and columns of the second linear of
// the MLP. Heads and channels may divide unevenly. ConfigError when a rank would get no head or no
// channel.
ParameterPart dit_parameter_part(const std::string& name, const DitConfig& config,
                                 const TensorPlace& place);

// Where a region begins: own tokens [t, D] -> joint tokens [T, D]. Differentiable; collective.
at::Tensor gather_tokens(const at::Tensor& x_tD, const TokenPlan& plan);

// Where it ends: the linear over all ranks' channels, joint tokens [T, this rank's channels] -> own
// tokens [t, D]. `layer` holds these channels' columns and the whole bias.
at::Tensor scatter_linear(const Linear& layer, const at::Tensor& x_TK, const TokenPlan& plan);

// rms_norm_rotate over the channels of all ranks: x [T, d] are this rank's of `width`.
at::Tensor shared_rms_norm_rotate(const at::Tensor& x_Td, const at::Tensor& weight_d,
                                  const Rotation* rotation, std::int64_t heads, std::int64_t width,
                                  double eps, const TokenPlan& plan);

}  // namespace zoetrope::model
