// One block of threads a row (forward) or a run of rows (backward, where a block keeps its sums
// over tokens in shared memory). Bounded by memory traffic: each pass reads and writes a row once,
// what it reads twice comes from cache.
#include <cuda_runtime.h>

#include <stdexcept>
#include <string>

#include "model/kernels/fused.h"

namespace zoetrope::model::kernels {
namespace {

constexpr int kThreads = 256;
constexpr int kWarp = 32;
constexpr std::int64_t kRunTokens = 64;

// The lanes of a row: all threads of the block. `sum` is the same on each, in a fixed order.
struct BlockLanes {
  float* scratch;  // kThreads / kWarp floats in shared memory
  __device__ std::int64_t first() const { return threadIdx.x; }
  __device__ std::int64_t step() const { return kThreads; }
  __device__ float sum(float x) const {
    for (int offset = kWarp / 2; offset > 0; offset /= 2)
      x += __shfl_xor_sync(0xffffffffu, x, offset);
    __syncthreads();  // the sum before is read
    if (threadIdx.x % kWarp == 0) scratch[threadIdx.x / kWarp] = x;
    __syncthreads();
    float total = 0;
    for (int warp = 0; warp < kThreads / kWarp; ++warp) total += scratch[warp];
    return total;
  }
};

__device__ BlockLanes block_lanes() {
  __shared__ float scratch[kThreads / kWarp];
  return {scratch};
}

// Each thread clears, adds to and writes its own pairs: no barrier is needed.
__device__ void clear(const BlockLanes& lanes, float* sums, std::int64_t width) {
  for (std::int64_t i = lanes.first(); i < width / 2; i += lanes.step()) store(sums, i, {0, 0});
}
__device__ void copy(const BlockLanes& lanes, const float* sums, std::int64_t width, float* to) {
  for (std::int64_t i = lanes.first(); i < width / 2; i += lanes.step())
    store(to, i, load(sums, i));
}

template <class Out>
__global__ void layer_norm_kernel(LayerNorm a, const float* shift, float eps, Out* y) {
  const std::int64_t t = blockIdx.x, row = a.row_of_token[t] * a.width;
  layer_norm_row(block_lanes(), a.width, eps, a.x + t * a.width, a.multiplier + row, shift + row,
                 y + t * a.width, a.statistics + 2 * t);
}

template <class In>
__global__ void layer_norm_backward_kernel(LayerNorm a, const std::int64_t* runs, const In* g,
                                           float* d_x, float* d_multiplier, float* d_shift) {
  extern __shared__ float sums[];
  const BlockLanes lanes = block_lanes();
  clear(lanes, sums, 2 * a.width);
  // The two halves of `sums` are cleared by other threads than those that add to them.
  __syncthreads();
  const std::int64_t* run = runs + 3 * blockIdx.x;
  for (std::int64_t t = run[1]; t < run[2]; ++t) {
    layer_norm_row_backward(lanes, a.width, g + t * a.width, a.x + t * a.width,
                            a.statistics + 2 * t, a.multiplier + run[0] * a.width,
                            d_x + t * a.width, sums, sums + a.width);
  }
  copy(lanes, sums, a.width, d_multiplier + blockIdx.x * a.width);
  copy(lanes, sums + a.width, a.width, d_shift + blockIdx.x * a.width);
}

template <class T>
__global__ void gated_residual_kernel(GatedResidual a, const float* residual,
                                      const std::int64_t* row_of_token, float* y) {
  const std::int64_t t = blockIdx.x, place = t * a.width;
  gated_residual_row(block_lanes(), a.width, residual + place,
                     static_cast<const T*>(a.update) + place, a.gate + row_of_token[t] * a.width,
                     y + place);
}

template <class T>
__global__ void gated_residual_backward_kernel(GatedResidual a, const std::int64_t* runs,
                                               const float* g, T* d_update, float* d_gate) {
  extern __shared__ float sums[];
  const BlockLanes lanes = block_lanes();
  clear(lanes, sums, a.width);
  const std::int64_t* run = runs + 3 * blockIdx.x;
  for (std::int64_t t = run[1]; t < run[2]; ++t) {
    gated_residual_row_backward(lanes, a.width, g + t * a.width,
                                static_cast<const T*>(a.update) + t * a.width,
                                a.gate + run[0] * a.width, d_update + t * a.width, sums);
  }
  copy(lanes, sums, a.width, d_gate + blockIdx.x * a.width);
}

template <class T>
__global__ void rms_norm_rotate_kernel(RmsNormRotate a, float eps, T* y) {
  const std::int64_t t = blockIdx.x, place = t * a.width;
  rms_norm_rotate_row(block_lanes(), a.width, eps, static_cast<const T*>(a.x) + place, a.weight,
                      a.turn, t, y + place, a.rstd + t);
}

template <class T>
__global__ void rms_norm_rotate_backward_kernel(RmsNormRotate a, const T* g, T* d_x,
                                                float* d_weight) {
  extern __shared__ float sums[];
  const BlockLanes lanes = block_lanes();
  clear(lanes, sums, a.width);
  const std::int64_t begin = blockIdx.x * kRunTokens;
  for (std::int64_t t = begin; t < min(begin + kRunTokens, a.tokens); ++t) {
    rms_norm_rotate_row_backward(lanes, a.width, g + t * a.width,
                                 static_cast<const T*>(a.x) + t * a.width, a.rstd[t], a.weight,
                                 a.turn, t, d_x + t * a.width, sums);
  }
  copy(lanes, sums, a.width, d_weight + blockIdx.x * a.width);
}

template <class T>
__global__ void bias_gelu_kernel(BiasGelu a, T* y) {
  const std::int64_t place = static_cast<std::int64_t>(blockIdx.x) * a.width;
  bias_gelu_row(block_lanes(), a.width, static_cast<const T*>(a.x) + place, a.bias, y + place);
}

// A block has one slice of 2 kThreads channels of a run, so any width fits: its sums are registers
// in the shape of a row of their own.
template <class T>
__global__ void bias_gelu_backward_kernel(BiasGelu a, const T* g, T* d_x, float* d_bias) {
  __shared__ float sums[2 * kThreads];
  const BlockLanes lanes = block_lanes();
  const std::int64_t column = static_cast<std::int64_t>(blockIdx.y) * 2 * kThreads;
  const std::int64_t width = min(static_cast<std::int64_t>(2 * kThreads), a.width - column);
  clear(lanes, sums, width);
  const std::int64_t begin = blockIdx.x * kRunTokens;
  for (std::int64_t t = begin; t < min(begin + kRunTokens, a.tokens); ++t) {
    const std::int64_t place = t * a.width + column;
    bias_gelu_row_backward(lanes, width, g + place, static_cast<const T*>(a.x) + place,
                           a.bias + column, d_x + place, sums);
  }
  copy(lanes, sums, width, d_bias + blockIdx.x * a.width + column);
}

__global__ void sum_runs_kernel(const float* partial, const std::int64_t* runs,
                                std::int64_t num_runs, std::int64_t width, float* total) {
  const std::int64_t column = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (column >= width) return;
  float sum = 0;
  for (std::int64_t r = 0; r < num_runs; ++r) {
    if (runs == nullptr || runs[3 * r] == blockIdx.y) sum += partial[r * width + column];
  }
  total[blockIdx.y * width + column] = sum;
}

__global__ void adam_ema_kernel(AdamStep step, std::int64_t n, float* p, const float* g, float* m,
                                float* v, float* ema, BFloat16* copy) {
  const std::int64_t stride = static_cast<std::int64_t>(gridDim.x) * kThreads;
  for (std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x; i < n;
       i += stride) {
    p[i] = adam_element(step, p[i], g[i], m[i], v[i], ema[i]);
    if (copy != nullptr) copy[i].bits = narrow(p[i]);
  }
}

void check_launch(const char* what) {
  const cudaError_t error = cudaGetLastError();
  if (error != cudaSuccess)
    throw std::runtime_error(std::string(what) + ": " + cudaGetErrorString(error));
}

void check_width(std::int64_t width, const char* what) {
  if (width % 2 != 0 || width > kMaxSummedWidth) {
    throw std::runtime_error(std::string(what) + ": width " + std::to_string(width) +
                             " is odd or over " + std::to_string(kMaxSummedWidth));
  }
}

cudaStream_t on(Stream stream) {
  return static_cast<cudaStream_t>(stream);
}

unsigned blocks(std::int64_t count) {
  return static_cast<unsigned>(count);
}

std::int64_t num_chunks(std::int64_t tokens) {
  return (tokens + kRunTokens - 1) / kRunTokens;
}

}  // namespace

void layer_norm(const LayerNorm& a, const float* shift, float eps, void* y, Stream stream) {
  check_width(a.width, "layer_norm");
  if (a.tokens == 0) return;
  if (a.type == Element::kFloat) {
    layer_norm_kernel<<<blocks(a.tokens), kThreads, 0, on(stream)>>>(a, shift, eps,
                                                                     static_cast<float*>(y));
  } else {
    layer_norm_kernel<<<blocks(a.tokens), kThreads, 0, on(stream)>>>(a, shift, eps,
                                                                     static_cast<BFloat16*>(y));
  }
  check_launch("layer_norm");
}

void layer_norm_backward(const LayerNorm& a, const std::int64_t* runs, std::int64_t num_runs,
                         const void* g, float* d_x, float* d_multiplier, float* d_shift,
                         Stream stream) {
  check_width(a.width, "layer_norm_backward");
  if (num_runs == 0) return;
  const std::size_t shared = 2 * sizeof(float) * a.width;
  if (a.type == Element::kFloat) {
    layer_norm_backward_kernel<<<blocks(num_runs), kThreads, shared, on(stream)>>>(
        a, runs, static_cast<const float*>(g), d_x, d_multiplier, d_shift);
  } else {
    layer_norm_backward_kernel<<<blocks(num_runs), kThreads, shared, on(stream)>>>(
        a, runs, static_cast<const BFloat16*>(g), d_x, d_multiplier, d_shift);
  }
  check_launch("layer_norm_backward");
}

void gated_residual(const GatedResidual& a, const float* residual, const std::int64_t* row_of_token,
                    float* y, Stream stream) {
  check_width(a.width, "gated_residual");
  if (a.tokens == 0) return;
  const auto kernel =
      a.type == Element::kFloat ? gated_residual_kernel<float> : gated_residual_kernel<BFloat16>;
  kernel<<<blocks(a.tokens), kThreads, 0, on(stream)>>>(a, residual, row_of_token, y);
  check_launch("gated_residual");
}

void gated_residual_backward(const GatedResidual& a, const std::int64_t* runs,
                             std::int64_t num_runs, const float* g, void* d_update, float* d_gate,
                             Stream stream) {
  check_width(a.width, "gated_residual_backward");
  if (num_runs == 0) return;
  const std::size_t shared = sizeof(float) * a.width;
  if (a.type == Element::kFloat) {
    gated_residual_backward_kernel<<<blocks(num_runs), kThreads, shared, on(stream)>>>(
        a, runs, g, static_cast<float*>(d_update), d_gate);
  } else {
    gated_residual_backward_kernel<<<blocks(num_runs), kThreads, shared, on(stream)>>>(
        a, runs, g, static_cast<BFloat16*>(d_update), d_gate);
  }
  check_launch("gated_residual_backward");
}

void rms_norm_rotate(const RmsNormRotate& a, float eps, void* y, Stream stream) {
  check_width(a.width, "rms_norm_rotate");
  if (a.tokens == 0) return;
  if (a.type == Element::kFloat) {
    rms_norm_rotate_kernel<<<blocks(a.tokens), kThreads, 0, on(stream)>>>(a, eps,
                                                                          static_cast<float*>(y));
  } else {
    rms_norm_rotate_kernel<<<blocks(a.tokens), kThreads, 0, on(stream)>>>(
        a, eps, static_cast<BFloat16*>(y));
  }
  check_launch("rms_norm_rotate");
}

void rms_norm_rotate_backward(const RmsNormRotate& a, const void* g, void* d_x, float* d_weight,
                              Stream stream) {
  check_width(a.width, "rms_norm_rotate_backward");
  if (a.tokens == 0) return;
  const std::size_t shared = sizeof(float) * a.width;
  const unsigned chunks = blocks(num_chunks(a.tokens));
  if (a.type == Element::kFloat) {
    rms_norm_rotate_backward_kernel<<<chunks, kThreads, shared, on(stream)>>>(
        a, static_cast<const float*>(g), static_cast<float*>(d_x), d_weight);
  } else {
    rms_norm_rotate_backward_kernel<<<chunks, kThreads, shared, on(stream)>>>(
        a, static_cast<const BFloat16*>(g), static_cast<BFloat16*>(d_x), d_weight);
  }
  check_launch("rms_norm_rotate_backward");
}

void bias_gelu(const BiasGelu& a, void* y, Stream stream) {
  if (a.tokens == 0) return;
  if (a.type == Element::kFloat) {
    bias_gelu_kernel<<<blocks(a.tokens), kThreads, 0, on(stream)>>>(a, static_cast<float*>(y));
  } else {
    bias_gelu_kernel<<<blocks(a.tokens), kThreads, 0, on(stream)>>>(a, static_cast<BFloat16*>(y));
  }
  check_launch("bias_gelu");
}

void bias_gelu_backward(const BiasGelu& a, const void* g, void* d_x, float* d_bias, Stream stream) {
  if (a.tokens == 0) return;
  const dim3 grid(blocks(num_chunks(a.tokens)),
                  blocks((a.width + 2 * kThreads - 1) / (2 * kThreads)));
  if (a.type == Element::kFloat) {
    bias_gelu_backward_kernel<<<grid, kThreads, 0, on(stream)>>>(a, static_cast<const float*>(g),
                                                                 static_cast<float*>(d_x), d_bias);
  } else {
    bias_gelu_backward_kernel<<<grid, kThreads, 0, on(stream)>>>(
        a, static_cast<const BFloat16*>(g), static_cast<BFloat16*>(d_x), d_bias);
  }
  check_launch("bias_gelu_backward");
}

void sum_runs(const float* partial, const std::int64_t* runs, std::int64_t num_runs,
              std::int64_t width, std::int64_t num_rows, float* total, Stream stream) {
  if (num_rows == 0) return;
  const dim3 grid(blocks((width + kThreads - 1) / kThreads), blocks(num_rows));
  sum_runs_kernel<<<grid, kThreads, 0, on(stream)>>>(partial, runs, num_runs, width, total);
  check_launch("sum_runs");
}

void adam_ema(const AdamStep& step, std::int64_t n, float* p, const float* g, float* m, float* v,
              float* ema, BFloat16* copy, Stream stream) {
  if (n == 0) return;
  constexpr std::int64_t kMaxBlocks = 4096;
  const std::int64_t wanted = (n + kThreads - 1) / kThreads;
  adam_ema_kernel<<<blocks(wanted < kMaxBlocks ? wanted : kMaxBlocks), kThreads, 0, on(stream)>>>(
      step, n, p, g, m, v, ema, copy);
  check_launch("adam_ema");
}

}  // namespace zoetrope::model::kernels
