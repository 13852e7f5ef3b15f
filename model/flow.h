// Flow matching (rectified flow): x_s = (1 - s) x0 + s noise, target v = noise - x0
// (arXiv:2209.03003).
#pragma once

#include <cstdint>

#include <ATen/core/Tensor.h>

#include "base/config.h"
#include "base/random.h"

namespace zoetrope::model {

struct FlowConfig {
  std::string timesteps = "logit_normal";  // or "uniform"
  double logit_mean = 0;
  double logit_std = 1;
  double shift = 1;  // s' = shift s / (1 + (shift - 1) s)
  template <class Visitor>
  void visit_fields(Visitor& visit) {
    visit("timesteps", timesteps, "distribution of training noise levels",
          one_of({"logit_normal", "uniform"}));
    visit("logit_mean", logit_mean, "mean of logit(s) for logit_normal");
    visit("logit_std", logit_std, "standard deviation of logit(s)", at_least(1e-6));
    visit("shift", shift, "moves noise levels towards 1: s' = shift s / (1 + (shift - 1) s)",
          at_least(1e-3));
  }
};

double shift_sigma(double sigma, double shift);
// The noise level of one training sample in (0, 1).
double draw_sigma(const FlowConfig& config, Random& random);

}  // namespace zoetrope::model
