// Flow matching (rectified flow): x_s = (1 - s) x0 + s noise, v = noise - x0 (arXiv:2209.03003).
#pragma once

#include <cstdint>
#include <string>

#include <ATen/core/Tensor.h>

#include "base/random.h"
#include "model/flow_config.h"

namespace zoetrope::model {

// What a model gives for x_s. With x_s and s > 0, s < 1 each determines the others.
enum class Prediction { kVelocity, kNoise, kSample };
Prediction prediction_of(const std::string& target);  // "v", "eps", "x0"; ConfigError otherwise

// The same prediction in other terms, exact up to rounding; in the dtype of its inputs. To x0 and v
// from noise divides by 1 - s, to noise and v from x0 by s.
at::Tensor convert_prediction(const at::Tensor& output, Prediction from, Prediction to,
                              const at::Tensor& x_s, double sigma);

double shift_sigma(double sigma, double shift);

// A FlowConfig made ready.
class Objective {
 public:
  explicit Objective(const FlowConfig& config);

  // The noise level of one training sample in (0, 1): drawn, then shifted for a latent of so many
  // frames of `area` positions (sqrt(m / n) of arXiv:2403.03206, over frames, too).
  double draw_sigma(Random& random, std::int64_t frames, std::int64_t area) const;
  // What the model should give.
  at::Tensor target(const at::Tensor& x0, const at::Tensor& noise) const;
  // What the squared error of the model's output counts at `sigma`: the weighting, times the factor
  // between errors of the output and of what `loss_on` names. That factor stops growing where s or
  // 1 - s falls below 0.05 (arXiv:2511.13720).
  double loss_weight(double sigma) const;
  Prediction prediction() const { return prediction_; }

 private:
  FlowConfig config_;
  Prediction prediction_, loss_on_;
  double bell_least_ = 0, bell_mean_ = 1;
};

}  // namespace zoetrope::model
