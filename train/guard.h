// What keeps a bad step away from the weights, and bad weights away from the checkpoints.
#pragma once

#include <cstdint>
#include <string>

#include "base/json.h"
#include "launch/mesh.h"
#include "train/optimizer.h"
#include "train/train_config.h"

namespace zoetrope::train {

// Judges each step by its loss and gradient norm, which are the same on every rank, so that all
// ranks decide alike without asking. Numbers that are not finite never pass. A spike is a norm
// whose logarithm lies more than `spike_zscore` deviations above its running mean; the deviation
// counts as at least 0.1, and the first kLearning steps only teach. After kPatience spikes in a
// row the level has changed: the next steps pass and teach.
class StepGuard {
 public:
  static constexpr std::int64_t kLearning = 50;
  static constexpr std::int64_t kPatience = 5;

  explicit StepGuard(const GuardConfig& config) : config_(config) {}
  // Why the step must be left out; empty: apply it.
  std::string judge(double loss, double grad_norm);

  // For checkpoints: a resumed run judges as the unbroken one.
  Json state() const;
  void load_state(const Json& state);

 private:
  void learn(double log_norm);

  GuardConfig config_;
  std::int64_t seen_ = 0, spikes_in_a_row_ = 0;
  double mean_ = 0, variance_ = 0;  // of log(gradient norm), over about the last 100 steps
};

// Ranks that hold the same weights compare hashes of them, of moments and of averages. Error
// naming the ranks (of the world) that differ from the majority and the first tensor that does:
// memory or arithmetic has failed there. Collective.
void check_replicas(const Optimizer& optimizer, launch::Mesh& mesh, std::int64_t step);

}  // namespace zoetrope::train
