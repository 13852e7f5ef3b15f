// AdamW with averaged weights over one flat fp32 buffer: every parameter and gradient is a view of
// it, so that reduction, clipping and the update are each one pass over contiguous memory.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "model/module.h"
#include "train/train_config.h"

namespace zoetrope::train {

class Optimizer {
 public:
  // Moves the module's parameters (fp32, CPU) into the flat buffer and gives them gradients there.
  Optimizer(model::Module& module, const OptimizerConfig& config);

  void zero_gradients();
  std::span<float> gradients();
  // Euclidean norm over all gradients, in a fixed order of additions: the same bits for any thread
  // count.
  double gradient_norm() const;
  // AdamW (arXiv:1711.05101) with gradients scaled by grad_scale, then the average
  //   ema += (1 - d) (p - ema), d = min(ema_decay, (1 + step) / (10 + step)).
  // `step` counts from 1.
  void update(std::int64_t step, double learning_rate, double grad_scale);

  // Exchanges the module's weights with the averages; twice restores both.
  void swap_averages();
  // Views by parameter name, for checkpoints.
  std::map<std::string, at::Tensor> first_moments() const { return views(first_); }
  std::map<std::string, at::Tensor> second_moments() const { return views(second_); }

 private:
  struct Slot {
    std::string name;
    std::int64_t offset = 0, count = 0;
    std::vector<std::int64_t> shape;
    bool decays = false;  // matrices and kernels; not biases, norms and modulation tables
  };
  std::map<std::string, at::Tensor> views(const at::Tensor& flat) const;

  OptimizerConfig config_;
  std::vector<Slot> slots_;
  at::Tensor parameters_, gradients_, first_, second_, ema_;
};

// lr of `step` (from 1): linear warm-up, then constant or cosine to final_lr_share * lr at
// `total_steps`.
double learning_rate(const OptimizerConfig& config, std::int64_t step, std::int64_t total_steps);

}  // namespace zoetrope::train
