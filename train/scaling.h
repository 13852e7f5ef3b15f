// Scaling laws from finished runs: how the held-out loss falls with compute, and which model size a
// budget of compute asks for.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace zoetrope::train {

// One run: its model's size, and the held-out loss after so much compute.
struct LossCurve {
  std::string name;
  double parameters = 0;
  std::vector<double> flops, loss;  // flops rise
};
// From RUN/config.yaml and metrics.jsonl (validation lines; compute is the sum of tflops *
// step_time_s). DataError when the run has no held-out losses.
LossCurve read_loss_curve(const std::filesystem::path& run_folder);

// Loss where a run has spent `flops`, by straight lines in log-log; NaN outside its curve.
double loss_at(const LossCurve& curve, double flops);

// y = offset + scale x^-exponent, by least squares in log y. `offset` is at least 0.
struct PowerLaw {
  double offset = 0, scale = 0, exponent = 0;
  double at(double x) const;
};
// Needs 3 points with different x and positive y (DataError).
PowerLaw fit_power_law(const std::vector<double>& x, const std::vector<double>& y);

// The lowest point of a parabola in log(parameters) through the losses that runs of three to five
// sizes, those about the best, have at `flops`.
struct IsoFlop {
  double flops = 0, parameters = 0, loss = 0;
};
struct ScalingFit {
  PowerLaw frontier;            // the lowest loss of any run, over compute
  std::vector<IsoFlop> minima;  // of the budgets where there is one between the sizes
  double size_exponent = 0;     // parameters ~ flops^this; NaN with fewer than 2 minima
};
// `num_budgets` (3 or more) levels of compute, equidistant in its logarithm, from the least to the
// most of any run.
ScalingFit fit_scaling(const std::vector<LossCurve>& curves, int num_budgets);

}  // namespace zoetrope::train
