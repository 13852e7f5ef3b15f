// Communicator over NCCL on device memory and over another one on the host's: the NCCL that
// LibTorch's CUDA half loads.
#pragma once

#include <memory>

#include "launch/communicator.h"

namespace zoetrope::model::kernels {

// Between the ranks of `base`, one device each. Operations run on a stream of their own: each
// starts after the work on the caller's current stream, and wait() orders it before what is put
// there next; the host does not wait. Barrier and host memory go through `base`, which outlives the
// result. Collective. Error with NCCL's words when it fails.
std::unique_ptr<launch::Communicator> make_nccl_communicator(launch::Communicator& base,
                                                             int device);

}  // namespace zoetrope::model::kernels
