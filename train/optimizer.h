// AdamW with averaged weights over this rank's pieces of the weights (train/weight_buckets.h): each
// piece is contiguous, so clipping and the update are each one pass over memory.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "launch/mesh.h"
#include "model/module.h"
#include "train/train_config.h"
#include "train/weight_buckets.h"

namespace zoetrope::train {

class Optimizer {
 public:
  // Takes over the memory of the module's parameters (fp32, of one device) as `mesh` shares it out.
  // Module and mesh outlive this. Collective, as all that says so: every rank of the mesh calls it.
  Optimizer(model::Module& module, const OptimizerConfig& config, Sharding sharding,
            launch::Mesh& mesh);

  // Sets every weight, and the averages to the same. Collective.
  void fill_weights(const model::ParameterVisitor& fill);

  // Before a step: gradients are zero. Before each of its backward passes: gradients are summed
  // over ranks once they are complete, over all of them with the `last`.
  void begin_gradients() { buckets_.begin(); }
  void begin_pass(bool last) { buckets_.begin_pass(last); }
  // After the last pass: the sums are there. Collective.
  void finish_gradients() { buckets_.finish(); }
  // Euclidean norm over all gradients, in a fixed order of additions: the same bits for any thread
  // count, and on every rank. Collective.
  double gradient_norm() const;
  // Names of the parameters of which this rank holds a summed gradient that is not finite.
  std::vector<std::string> nonfinite_gradients() const;
  // AdamW (arXiv:1711.05101) with gradients scaled by grad_scale, then the average
  //   ema += (1 - d) (p - ema), d = min(ema_decay, (1 + step) / (10 + step)).
  // `step` counts from 1. Collective.
  void update(std::int64_t step, double learning_rate, double grad_scale);

  // Exchanges the module's weights with the averages; twice restores both. Collective.
  void swap_averages();

  // Global tensors by parameter name, on the ranks that own them. Collective.
  TensorMap weights(const OwnerOf& owner_of = every_rank) const {
    return buckets_.globals().gather(buckets_.weights(), owner_of);
  }
  TensorMap gradients(const OwnerOf& owner_of = every_rank) const {
    return buckets_.globals().gather(buckets_.gradients(), owner_of);
  }
  TensorMap averages(const OwnerOf& owner_of = every_rank) const {
    return buckets_.globals().gather(averages_, owner_of);
  }
  TensorMap first_moments(const OwnerOf& owner_of = every_rank) const {
    return buckets_.globals().gather(first_, owner_of);
  }
  TensorMap second_moments(const OwnerOf& owner_of = every_rank) const {
    return buckets_.globals().gather(second_, owner_of);
  }
  // Bytes of each of them, by parameter name.
  std::map<std::string, std::int64_t> tensor_bytes() const { return buckets_.globals().bytes(); }
  // Set averages and moments: `fill` writes this rank's part of the global tensor.
  void fill_averages(const model::ParameterVisitor& fill) { buckets_.fill(fill, averages_); }
  void fill_first_moments(const model::ParameterVisitor& fill) { buckets_.fill(fill, first_); }
  void fill_second_moments(const model::ParameterVisitor& fill) { buckets_.fill(fill, second_); }
  // What this rank holds, hashed by parameter: weights, moments, average. Of the parameters that
  // the tensor axis cuts, or of the others.
  struct TensorHash {
    std::string name, hash;
  };
  std::vector<TensorHash> hashes(bool is_cut) const;
  // fp32 numbers that this rank keeps beside weights and gradients: moments and averages.
  std::int64_t state_elements() const { return 3 * buckets_.num_owned(); }
  // The most fp32 numbers of weights and gradients that it has held at once.
  std::int64_t peak_elements() const { return buckets_.peak_elements(); }

 private:
  static int every_rank(const std::string&) { return kEveryRank; }

  OptimizerConfig config_;
  launch::Mesh& mesh_;
  WeightBuckets buckets_;
  std::vector<at::Tensor> first_, second_, averages_;  // by bucket: this rank's piece
};

// lr of `step` (from 1): linear warm-up, then constant or cosine to final_lr_share * lr at
// `total_steps`.
double learning_rate(const OptimizerConfig& config, std::int64_t step, std::int64_t total_steps);

}  // namespace zoetrope::train
