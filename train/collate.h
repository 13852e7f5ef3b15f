// Loaded samples -> the packed, noised batch that the DiT sees, with its targets and loss weights.
#pragma once

#include <cstdint>
#include <vector>

#include <ATen/core/Tensor.h>

#include "base/random.h"
#include "data/loader.h"
#include "model/dit_config.h"
#include "model/flow.h"
#include "model/packed.h"
#include "train/condition_mask.h"

namespace zoetrope::train {

struct PackedBatch {
  model::DitInput input;
  at::Tensor target_TK;  // what the model should give, in the order of the head: (pt, ph, pw, c)
  at::Tensor weight_T1;  // of the squared errors: the loss is their weighted sum
  std::vector<double> sigmas;  // of each segment
  PackedBatch on(at::Device device) const;
};

// One latent to be noised. Clean patches have timestep 0 and no loss; the others share `weight`
// evenly.
struct NoisedSample {
  const data::LatentRecord* latent = nullptr;
  const data::TextRecord* text = nullptr;
  double sigma = 0;
  Random noise;
  double weight = 1;
  at::Tensor clean_T;  // bool; undefined or all false: all is noised
};
PackedBatch pack(const std::vector<NoisedSample>& samples, const std::vector<std::int64_t>& patch,
                 const model::Objective& objective);

struct CollateConfig {
  std::uint64_t seed = 0;
  std::int64_t global_batch = 1;
  std::vector<std::int64_t> patch;
  model::FlowConfig flow;
  ConditionConfig conditions;
};

// The loss is a mean over the global batch, in which each sample counts once, whatever its size and
// mask. Noise, noise level and mask of a sample are functions of (seed, step, global index): the
// same whatever the rank, the packing or the restart.
PackedBatch collate(const std::vector<data::LoadedSample>& samples, std::int64_t step,
                    const CollateConfig& config);

// So many tokens of zeros that weigh nothing: what a rank without samples runs.
PackedBatch idle_batch(const model::DitConfig& dit, std::int64_t tokens);

}  // namespace zoetrope::train
