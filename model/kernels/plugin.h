// What libzoetrope_cuda.so gives to a program that was linked without CUDA: fused passes and
// collectives over device memory. The program opens it (model/device.h); LibTorch's CUDA half comes
// along with it and registers itself.
#pragma once

#include <cstdint>
#include <memory>

#include "launch/communicator.h"
#include "model/kernels/fused.h"

namespace zoetrope::model::kernels {

// Raised with every change of what follows: plugin and program must be of one build.
constexpr int kPluginVersion = 2;
constexpr const char* kPluginEntry = "zoetrope_cuda_plugin";

struct CudaPlugin {
  int version;
  int (*device_count)();       // 0 without a driver
  Stream (*current_stream)();  // LibTorch's, of the calling thread on its current device
  std::int64_t (*device_bytes)(int device);  // all of its memory
  // NCCL between the ranks of `base`, each with `device`, and `base` itself for what is in host
  // memory. `base` outlives the result. Collective.
  std::unique_ptr<launch::Communicator> (*make_communicator)(launch::Communicator& base,
                                                             int device);
  decltype(&kernels::layer_norm) layer_norm;
  decltype(&kernels::layer_norm_backward) layer_norm_backward;
  decltype(&kernels::gated_residual) gated_residual;
  decltype(&kernels::gated_residual_backward) gated_residual_backward;
  decltype(&kernels::rms_norm_rotate) rms_norm_rotate;
  decltype(&kernels::rms_norm_rotate_backward) rms_norm_rotate_backward;
  decltype(&kernels::bias_gelu) bias_gelu;
  decltype(&kernels::bias_gelu_backward) bias_gelu_backward;
  decltype(&kernels::sum_runs) sum_runs;
  decltype(&kernels::adam_ema) adam_ema;
};

}  // namespace zoetrope::model::kernels
