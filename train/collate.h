// Loaded samples -> the packed, noised batch that the DiT sees, with its targets and loss weights.
#pragma once

#include <cstdint>
#include <vector>

#include <ATen/core/Tensor.h>

#include "data/loader.h"
#include "model/dit_config.h"
#include "model/flow.h"
#include "model/packed.h"

namespace zoetrope::train {

struct PackedBatch {
  model::DitInput input;
  at::Tensor target_TK;  // velocity, in the order of the head: (pt, ph, pw, c)
  at::Tensor
      weight_T1;  // 1 / (global batch * values of the token's segment): the loss is a weighted sum
};

struct CollateConfig {
  std::uint64_t seed = 0;
  std::int64_t global_batch = 1;
  std::vector<std::int64_t> patch;
  model::FlowConfig flow;
};

// Noise and noise level of a sample are functions of (seed, step, global index): the same whatever
// the rank, the packing or the restart.
PackedBatch collate(const std::vector<data::LoadedSample>& samples, std::int64_t step,
                    const CollateConfig& config);

// So many tokens of zeros that weigh nothing: what a rank without samples runs.
PackedBatch idle_batch(const model::DitConfig& dit, std::int64_t tokens);

}  // namespace zoetrope::train
