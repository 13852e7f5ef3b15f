// Least squares for scaling laws: IsoFLOP parabolas (arXiv:2203.15556) and power laws with an
// offset.
#include "train/scaling.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <map>
#include <utility>

#include "base/error.h"
#include "base/json.h"
#include "train/train_config.h"

namespace zoetrope::train {
namespace {

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
constexpr int kOffsetSteps = 400;

struct Line {
  double intercept = 0, slope = 0;
};

Line fit_line(const std::vector<double>& x, const std::vector<double>& y,
              const std::vector<double>& weights) {
  double w = 0, wx = 0, wy = 0, wxx = 0, wxy = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    w += weights[i];
    wx += weights[i] * x[i];
    wy += weights[i] * y[i];
  }
  const double mean_x = wx / w, mean_y = wy / w;
  for (std::size_t i = 0; i < x.size(); ++i) {
    wxx += weights[i] * (x[i] - mean_x) * (x[i] - mean_x);
    wxy += weights[i] * (x[i] - mean_x) * (y[i] - mean_y);
  }
  const double slope = wxx > 0 ? wxy / wxx : 0;
  return {mean_y - slope * mean_x, slope};
}

std::vector<double> logs(const std::vector<double>& values) {
  std::vector<double> result;
  for (const double value : values) result.push_back(std::log(value));
  return result;
}

// The best law with this offset. An error of log(y - offset) counts ((y - offset) / y)^2: as one of
// log y.
PowerLaw fit_above(double offset, const std::vector<double>& log_x, const std::vector<double>& y) {
  std::vector<double> above, weights;
  for (const double value : y) {
    above.push_back(std::log(value - offset));
    weights.push_back(std::pow((value - offset) / value, 2));
  }
  const Line line = fit_line(log_x, above, weights);
  return {offset, std::exp(line.intercept), -line.slope};
}

double squared_error(const PowerLaw& law, const std::vector<double>& x,
                     const std::vector<double>& y) {
  double sum = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    sum += std::pow(std::log(law.at(x[i]) / y[i]), 2);
  }
  return std::isfinite(sum) ? sum : std::numeric_limits<double>::infinity();
}

// The lowest point of the parabola through (x, y); x is NaN when it has none between the x.
std::array<double, 2> parabola_minimum(const std::vector<double>& x, const std::vector<double>& y) {
  const double center = (x.front() + x.back()) / 2;
  // Normal equations of y = a + b u + c u^2 with u = x - center, by Cramer's rule.
  double s[5] = {}, t[3] = {};
  for (std::size_t i = 0; i < x.size(); ++i) {
    double power = 1;
    for (int k = 0; k < 5; ++k, power *= x[i] - center) {
      s[k] += power;
      if (k < 3) t[k] += power * y[i];
    }
  }
  const auto det = [](double a, double b, double c, double d, double e, double f, double g,
                      double h, double i) {
    return a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g);
  };
  const double d = det(s[0], s[1], s[2], s[1], s[2], s[3], s[2], s[3], s[4]);
  const double a = det(t[0], s[1], s[2], t[1], s[2], s[3], t[2], s[3], s[4]) / d;
  const double b = det(s[0], t[0], s[2], s[1], t[1], s[3], s[2], t[2], s[4]) / d;
  const double c = det(s[0], s[1], t[0], s[1], s[2], t[1], s[2], s[3], t[2]) / d;
  const double u = -b / (2 * c);
  const bool inside = c > 0 && center + u > x.front() && center + u < x.back();
  return {inside ? center + u : kNone, a + b * u + c * u * u};
}

// From the least to the most compute of any run.
std::vector<double> budgets_of(const std::vector<LossCurve>& curves, int num_budgets) {
  double low = std::log(curves[0].flops.front()), high = low;
  for (const LossCurve& curve : curves) {
    low = std::min(low, std::log(curve.flops.front()));
    high = std::max(high, std::log(curve.flops.back()));
  }
  std::vector<double> budgets;
  for (int i = 0; i < num_budgets; ++i) {
    budgets.push_back(std::exp(low + (high - low) * i / (num_budgets - 1)));
  }
  return budgets;
}

// Sizes beside the best one, so many on each side, where the loss still looks like a parabola.
constexpr std::size_t kNeighbours = 2;

IsoFlop isoflop(double flops, const std::map<double, double>& loss_by_log_size) {
  const std::vector<std::pair<double, double>> points(loss_by_log_size.begin(),
                                                      loss_by_log_size.end());
  const auto best = static_cast<std::size_t>(
      std::min_element(points.begin(), points.end(),
                       [](const auto& a, const auto& b) { return a.second < b.second; }) -
      points.begin());
  std::vector<double> sizes, losses;
  for (std::size_t i = best - std::min(best, kNeighbours);
       i <= std::min(best + kNeighbours, points.size() - 1); ++i) {
    sizes.push_back(points[i].first);
    losses.push_back(points[i].second);
  }
  if (sizes.size() < 3) return {flops, kNone, kNone};
  const auto [size, loss] = parabola_minimum(sizes, losses);
  return {flops, std::exp(size), loss};
}

}  // namespace

double PowerLaw::at(double x) const {
  return offset + scale * std::pow(x, -exponent);
}

LossCurve read_loss_curve(const std::filesystem::path& run_folder) {
  const auto config = load_config<TrainConfig>(run_folder / "config.yaml");
  LossCurve curve;
  curve.name = run_folder.filename().string();
  curve.parameters = static_cast<double>(model::count_parameters(config.dit.model));
  double flops = 0;
  for_each_json_line(run_folder / "metrics.jsonl", [&](const Json& line, int) {
    if (line.contains("tflops")) {
      flops += line.at("tflops").get<double>() * line.at("step_time_s").get<double>() * 1e12;
    }
    if (!line.contains("val_loss") || !line.at("val_loss").is_number()) return;
    curve.flops.push_back(flops);
    curve.loss.push_back(line.at("val_loss").get<double>());
  });
  ZOETROPE_CHECK_DATA(
      !curve.loss.empty(), run_folder.string(),
      " has no held-out losses in metrics.jsonl: train with validation.every_steps");
  return curve;
}

double loss_at(const LossCurve& curve, double flops) {
  const auto& x = curve.flops;
  constexpr double kSlack = 1e-9;  // ends are in, whatever the rounding of a logarithm
  if (x.empty() || flops < x.front() * (1 - kSlack) || flops > x.back() * (1 + kSlack))
    return kNone;
  const auto above = std::lower_bound(x.begin(), x.end(), flops);
  if (above == x.begin()) return curve.loss.front();
  if (above == x.end()) return curve.loss.back();
  const auto i = static_cast<std::size_t>(above - x.begin());
  const double share = std::log(flops / x[i - 1]) / std::log(x[i] / x[i - 1]);
  return curve.loss[i - 1] * std::pow(curve.loss[i] / curve.loss[i - 1], share);
}

PowerLaw fit_power_law(const std::vector<double>& x, const std::vector<double>& y) {
  ZOETROPE_CHECK_DATA(x.size() == y.size() && x.size() >= 3, "a power law needs 3 points, not ",
                      x.size());
  ZOETROPE_CHECK_DATA(
      *std::min_element(x.begin(), x.end()) > 0 && *std::min_element(y.begin(), y.end()) > 0,
      "a power law needs positive points");
  const std::vector<double> log_x = logs(x);
  const double lowest = *std::min_element(y.begin(), y.end());
  // The error has one valley over the offset in practice: a coarse search, then finer ones in it.
  double low = 0, high = lowest * (1 - 1e-6), best = 0;
  for (int round = 0; round < 3; ++round) {
    double least = std::numeric_limits<double>::infinity();
    const double step = (high - low) / kOffsetSteps;
    for (int i = 0; i <= kOffsetSteps; ++i) {
      const double offset = low + step * i;
      const double error = squared_error(fit_above(offset, log_x, y), x, y);
      if (error < least) {
        least = error;
        best = offset;
      }
    }
    low = std::max(0.0, best - step);
    high = std::min(lowest * (1 - 1e-6), best + step);
  }
  return fit_above(best, log_x, y);
}

ScalingFit fit_scaling(const std::vector<LossCurve>& curves, int num_budgets) {
  ZOETROPE_CHECK_CONFIG(!curves.empty(), "no runs to fit");
  ScalingFit fit;
  std::vector<double> flops, best;
  for (const double budget : budgets_of(curves, num_budgets)) {
    std::map<double, double> loss_by_log_size;  // of runs of one size the better
    double lowest = std::numeric_limits<double>::infinity();
    for (const LossCurve& curve : curves) {
      const double loss = loss_at(curve, budget);
      if (!std::isfinite(loss)) continue;
      lowest = std::min(lowest, loss);
      const auto [known, is_new] = loss_by_log_size.emplace(std::log(curve.parameters), loss);
      if (!is_new) known->second = std::min(known->second, loss);
    }
    if (loss_by_log_size.empty()) continue;
    flops.push_back(budget);
    best.push_back(lowest);
    const IsoFlop minimum = isoflop(budget, loss_by_log_size);
    if (std::isfinite(minimum.parameters)) fit.minima.push_back(minimum);
  }
  fit.frontier = fit_power_law(flops, best);
  fit.size_exponent = kNone;
  if (fit.minima.size() < 2) return fit;
  std::vector<double> log_flops, log_sizes;
  for (const IsoFlop& minimum : fit.minima) {
    log_flops.push_back(std::log(minimum.flops));
    log_sizes.push_back(std::log(minimum.parameters));
  }
  fit.size_exponent =
      fit_line(log_flops, log_sizes, std::vector<double>(log_flops.size(), 1)).slope;
  return fit;
}

}  // namespace zoetrope::train
