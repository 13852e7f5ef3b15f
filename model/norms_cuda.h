// The fused passes of norms.h on a CUDA device, through the plugin's kernels, forward and backward.
// fp32 or bf16, even widths; the caller keeps to that.
#pragma once

#include "model/norms.h"

namespace zoetrope::model {

bool can_use_cuda_kernels(const at::Tensor& x_TD);

at::Tensor cuda_layer_norm(const at::Tensor& x_TD, const at::Tensor& multiplier_UD,
                           const at::Tensor& shift_UD, const ModulationRows& rows, double eps,
                           at::ScalarType out_type);
at::Tensor cuda_gated_residual(const at::Tensor& residual_TD, const at::Tensor& update_TD,
                               const at::Tensor& gate_UD, const ModulationRows& rows);
at::Tensor cuda_rms_norm_rotate(const at::Tensor& x_TD, const at::Tensor& weight_D,
                                const Rotation* rotation, double eps);
// gelu(x + bias) by tanh; bias fp32.
at::Tensor cuda_bias_gelu(const at::Tensor& x_TD, const at::Tensor& bias_D);

}  // namespace zoetrope::model
