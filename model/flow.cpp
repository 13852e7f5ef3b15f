// Noise levels of flow matching.
#include "model/flow.h"

#include <algorithm>
#include <cmath>

namespace zoetrope::model {
namespace {

// Levels of 0 or 1 would be the bare sample or the bare noise, which logit-normal never draws.
constexpr double kMargin = 1e-6;

}  // namespace

double shift_sigma(double sigma, double shift) {
  return shift * sigma / (1 + (shift - 1) * sigma);
}

double draw_sigma(const FlowConfig& config, Random& random) {
  double sigma = 0;
  if (config.timesteps == "uniform") {
    sigma = random.uniform();
  } else {
    sigma = 1 / (1 + std::exp(-(config.logit_mean + config.logit_std * random.normal())));
  }
  return std::clamp(shift_sigma(sigma, config.shift), kMargin, 1 - kMargin);
}

}  // namespace zoetrope::model
