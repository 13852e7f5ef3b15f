// The element-wise passes of a transformer block on packed tokens, each one autograd node that
// reads its input once: LayerNorm with modulation, gated residual, RMSNorm with rotation.
// Statistics and sums in fp32.
//
// On a CPU in fp32 or bf16 they are fused loops, on a CUDA device kernels (norms_cuda.h); in fp64
// the same maths from plain operations. Results do not depend on the number of threads. T tokens, D
// width, U modulation rows, R runs
#pragma once

#include <cstdint>

#include <ATen/core/Tensor.h>

#include "model/parallel/token_plan.h"
#include "model/rope.h"

namespace zoetrope::model {

constexpr std::int64_t kRunTokens = 64;  // of a run, at most

// Which modulation row each token uses: runs of neighbouring tokens with one row.
struct ModulationRows {
  at::Tensor
      runs_R3;  // int64 on the CPU: row, first token, one past the last; at most kRunTokens each
  at::Tensor row_of_token_T;  // int64 on the input's device, only when the plain operations need it
  at::Tensor device_runs_R3;  // runs_R3 on a CUDA device
};

ModulationRows modulation_rows(const DitInput& input);
// Those of the tokens in `places`, one place after another.
ModulationRows narrow(const ModulationRows& rows, const std::vector<Part>& places);
ModulationRows one_row(std::int64_t tokens);  // all tokens use row 0
// With all that a CUDA device needs beside the input; on a CPU as they are.
ModulationRows rows_on(ModulationRows rows, at::Device device);

// LayerNorm(x) * multiplier[row] + shift[row], cast to `out_type`. x [T, D] fp32; multiplier, shift
// [U, D].
at::Tensor modulated_layer_norm(const at::Tensor& x_TD, const at::Tensor& multiplier_UD,
                                const at::Tensor& shift_UD, const ModulationRows& rows, double eps,
                                at::ScalarType out_type);

// residual + gate[row] * update in the residual's dtype.
at::Tensor gated_residual(const at::Tensor& residual_TD, const at::Tensor& update_TD,
                          const at::Tensor& gate_UD, const ModulationRows& rows);

// residual + update in the residual's dtype.
at::Tensor residual_sum(const at::Tensor& residual_TD, const at::Tensor& update_TD);

// RMSNorm over all D channels times weight (skipped when undefined), then the rotation of each head
// (skipped when null). In x's dtype, computed in fp32.
at::Tensor rms_norm_rotate(const at::Tensor& x_TD, const at::Tensor& weight_D,
                           const Rotation* rotation, std::int64_t heads, double eps);

}  // namespace zoetrope::model
