// The plugin's one exported symbol: a table of its functions.
#include "model/kernels/plugin.h"

#include <cuda_runtime_api.h>

#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAFunctions.h>
#include <c10/cuda/CUDAStream.h>

#include "model/kernels/nccl_communicator.h"

namespace zoetrope::model::kernels {
namespace {

int device_count() {
  return c10::cuda::device_count();
}

Stream current_stream() {
  return c10::cuda::getCurrentCUDAStream().stream();
}

std::int64_t device_bytes(int device) {
  cudaDeviceProp properties{};
  C10_CUDA_CHECK(cudaGetDeviceProperties(&properties, device));
  return static_cast<std::int64_t>(properties.totalGlobalMem);
}

constexpr CudaPlugin kPlugin = {
    kPluginVersion,
    device_count,
    current_stream,
    device_bytes,
    make_nccl_communicator,
    layer_norm,
    layer_norm_backward,
    gated_residual,
    gated_residual_backward,
    rms_norm_rotate,
    rms_norm_rotate_backward,
    bias_gelu,
    bias_gelu_backward,
    sum_runs,
    adam_ema,
};

}  // namespace
}  // namespace zoetrope::model::kernels

extern "C" __attribute__((visibility("default"))) const zoetrope::model::kernels::CudaPlugin*
zoetrope_cuda_plugin() {
  return &zoetrope::model::kernels::kPlugin;
}
