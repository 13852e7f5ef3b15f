// Which device a program computes on. CUDA is a plugin beside the program (model/kernels): one set
// of programs runs anywhere.
#pragma once

#include <memory>
#include <string>

#include <c10/core/Device.h>

#include "launch/communicator.h"
#include "model/kernels/plugin.h"

namespace zoetrope::model {

// The plugin beside this program (or in the folder above), opened at the first call; null when it
// was not built. Error when it cannot be opened or is of another build. A program that may use CUDA
// calls this, or select_device, before any other use of torch: torch remembers a "no CUDA".
const kernels::CudaPlugin* cuda_plugin();

// --device: "cpu"; "cuda" (this rank's device among those of its host; ConfigError that says what
// is missing); "auto": a CUDA device where plugin and device are there, else the CPU. A CUDA device
// becomes the calling thread's own.
at::Device select_device(const std::string& name, int local_rank);

// Between the ranks of `world`, which outlives the result, for tensors on `device` and for host
// memory; null for the CPU, where `world` itself is that. Collective.
std::unique_ptr<launch::Communicator> device_communicator(launch::Communicator& world,
                                                          at::Device device);

}  // namespace zoetrope::model
