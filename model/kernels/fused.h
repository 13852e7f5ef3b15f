// Fused passes on a CUDA device. No torch: plain pointers to device memory, packed rows, the
// caller's stream. What they compute is in row_math.h; sums over tokens are partial rows, one a run
// of at most 64 tokens, added up in order: same bits every time. T tokens, D width (even, at most
// 6,144 where a sum over tokens is made), R runs, U modulation rows
#pragma once

#include <cstdint>

#include "model/kernels/row_math.h"

namespace zoetrope::model::kernels {

enum class Element { kFloat, kBFloat16 };
using Stream = void*;  // a cudaStream_t
constexpr std::int64_t kMaxSummedWidth = 6144;

struct LayerNorm {
  std::int64_t tokens, width;
  const float* x;                    // [T, D]
  const float* multiplier;           // [U, D]
  const std::int64_t* row_of_token;  // [T]
  float* statistics;                 // [T, 2]: mean, 1 / standard deviation
  Element type;                      // of y and its gradient
};
// y [T, D] = LayerNorm(x) multiplier[row] + shift[row]
void layer_norm(const LayerNorm& a, const float* shift, float eps, void* y, Stream stream);
// Of the runs [R, 3] (row, first token, one past the last): partial sums [R, D] of the gradients of
// multiplier and shift.
void layer_norm_backward(const LayerNorm& a, const std::int64_t* runs, std::int64_t num_runs,
                         const void* g, float* d_x, float* d_multiplier, float* d_shift,
                         Stream stream);

struct GatedResidual {
  std::int64_t tokens, width;
  const void* update;  // [T, D]
  Element type;        // of the update
  const float* gate;   // [U, D]
};
// y [T, D] = residual + gate[row] update, fp32
void gated_residual(const GatedResidual& a, const float* residual, const std::int64_t* row_of_token,
                    float* y, Stream stream);
void gated_residual_backward(const GatedResidual& a, const std::int64_t* runs,
                             std::int64_t num_runs, const float* g, void* d_update, float* d_gate,
                             Stream stream);

struct RmsNormRotate {
  std::int64_t tokens, width;
  const void* x;
  Element type;  // of x, y and their gradients
  const float* weight;
  Turn turn;
  float* rstd;  // [T]
};
void rms_norm_rotate(const RmsNormRotate& a, float eps, void* y, Stream stream);
// d_weight: partial sums [ceil(T / 64), D].
void rms_norm_rotate_backward(const RmsNormRotate& a, const void* g, void* d_x, float* d_weight,
                              Stream stream);

struct BiasGelu {
  std::int64_t tokens, width;
  const void* x;
  Element type;
  const float* bias;
};
void bias_gelu(const BiasGelu& a, void* y, Stream stream);
// d_bias: partial sums [ceil(T / 64), D]; any width.
void bias_gelu_backward(const BiasGelu& a, const void* g, void* d_x, float* d_bias, Stream stream);

// total [U, D] = sums of the partial rows [R, D] of each modulation row, in the order of the runs;
// without runs all partial rows belong to row 0.
void sum_runs(const float* partial, const std::int64_t* runs, std::int64_t num_runs,
              std::int64_t width, std::int64_t num_rows, float* total, Stream stream);

// AdamW, average and the bf16 copy of the weights (left out when null): one pass over n elements.
void adam_ema(const AdamStep& step, std::int64_t n, float* p, const float* g, float* m, float* v,
              float* ema, BFloat16* copy, Stream stream);

}  // namespace zoetrope::model::kernels
