// Noise levels of sampling: the two grids in use for Wan weights.
#include <string>
#include <vector>

#include "base/error.h"
#include "model/flow.h"
#include "model/sampler.h"

namespace zoetrope::model {
namespace {

constexpr double kWanFirst = 0.999;
constexpr double kDiffusersLast = 0.001;
// diffusers moves a first level of 1 down by this, so that log(1 - s) stays finite.
constexpr double kFirstMargin = 1e-6;

}  // namespace

std::vector<double> sigma_schedule(int steps, double shift, const std::string& grid) {
  ZOETROPE_CHECK_CONFIG(steps >= 1, "sampling needs at least 1 step, not ", steps);
  ZOETROPE_CHECK_CONFIG(shift > 0, "the shift of noise levels must be positive, not ", shift);
  ZOETROPE_CHECK_CONFIG(grid == "diffusers" || grid == "wan",
                        "noise levels are \"diffusers\" or \"wan\", not \"", grid, "\"");
  const bool is_wan = grid == "wan";
  const double first = is_wan ? kWanFirst : 1, last = is_wan ? 0 : kDiffusersLast;
  std::vector<double> sigmas;
  for (int i = 0; i < steps; ++i)
    sigmas.push_back(shift_sigma(first + (last - first) * i / steps, shift));
  if (sigmas[0] > 1 - kFirstMargin) sigmas[0] -= kFirstMargin;
  sigmas.push_back(0);
  return sigmas;
}

}  // namespace zoetrope::model
