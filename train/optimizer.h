// AdamW with averaged weights over one flat fp32 buffer: every parameter and gradient is a view of
// it, so that reduction, clipping and the update are each one pass over contiguous memory.
// Moments and averages exist once in a shard group: each rank holds and updates its pieces, then
// the updated weights are gathered (ZeRO-1, arXiv:1910.02054).
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "launch/communicator.h"
#include "model/module.h"
#include "train/gradient_buckets.h"
#include "train/train_config.h"

namespace zoetrope::train {

class Optimizer {
 public:
  // Moves the module's parameters (fp32, CPU) into the flat buffer and gives them gradients there.
  // Ranks of `shard` share out the state, ranks of `replicas` repeat it; both outlive this. Calls
  // marked "collective" must be made by all ranks of both groups.
  Optimizer(model::Module& module, const OptimizerConfig& config, launch::Communicator& shard,
            launch::Communicator& replicas);

  // Before a backward pass: gradients are zero, and each is summed over ranks once it is complete.
  void begin_gradients();
  // After it: the sums are there. Collective.
  void finish_gradients();
  // Euclidean norm over all gradients, in a fixed order of additions: the same bits for any thread
  // count, and on every rank. Collective.
  double gradient_norm() const;
  // AdamW (arXiv:1711.05101) with gradients scaled by grad_scale, then the average
  //   ema += (1 - d) (p - ema), d = min(ema_decay, (1 + step) / (10 + step)).
  // `step` counts from 1. Collective.
  void update(std::int64_t step, double learning_rate, double grad_scale);

  // Exchanges the module's weights with the averages; twice restores both. Collective.
  void swap_averages();

  // Global tensors by parameter name, whole on every rank: copies. Collective.
  using TensorMap = std::map<std::string, at::Tensor>;
  TensorMap gradients() const { return gather(gradients_); }
  TensorMap first_moments() const { return gather(spread(first_)); }
  TensorMap second_moments() const { return gather(spread(second_)); }
  // Takes this rank's pieces of global tensors.
  void load_moments(const TensorMap& first, const TensorMap& second);
  // fp32 numbers that this rank keeps beside weights and gradients: moments and averages.
  std::int64_t state_elements() const { return 3 * first_.numel(); }

 private:
  struct Slot {
    std::string name;
    FlatRange place;
    std::vector<std::int64_t> shape;
    bool decays = false;  // matrices and kernels; not biases, norms and modulation tables
  };
  at::Tensor spread(
      const at::Tensor& pieces) const;  // own pieces in a buffer laid out as the weights
  void collect(const TensorMap& tensors, at::Tensor& pieces) const;
  TensorMap gather(const at::Tensor& flat) const;

  OptimizerConfig config_;
  launch::Communicator& shard_;
  std::vector<Slot> slots_;
  at::Tensor parameters_, gradients_;  // whole
  at::Tensor first_, second_, ema_;    // this rank's pieces, one after another
  std::unique_ptr<GradientBuckets> buckets_;
};

// lr of `step` (from 1): linear warm-up, then constant or cosine to final_lr_share * lr at
// `total_steps`.
double learning_rate(const OptimizerConfig& config, std::int64_t step, std::int64_t total_steps);

}  // namespace zoetrope::train
