// Noise levels, targets and weights of flow matching.
#include "model/flow.h"

#include <algorithm>
#include <cmath>

#include <ATen/TensorOperators.h>

#include "base/error.h"

namespace zoetrope::model {
namespace {

// Levels of 0 or 1 would be the bare sample or the bare noise, which logit-normal never draws.
constexpr double kMargin = 1e-6;
constexpr double kLeastDivisor = 0.05;
// DiffSynth scales the bell over so many equidistant levels, shifted.
constexpr int kBellLevels = 1000;

double bell(double sigma) {
  return std::exp(-2 * (sigma - 0.5) * (sigma - 0.5));
}

// Error of v, given an error of 1 in `of`.
double velocity_error(Prediction of, double sigma) {
  if (of == Prediction::kVelocity) return 1;
  return 1 / std::max(kLeastDivisor, of == Prediction::kSample ? sigma : 1 - sigma);
}

struct FlowPrinter {
  Json json;
  template <class T>
  void operator()(const char* name, T& field, const char*, const Allowed& = {}) {
    json[name] = field;
  }
};

}  // namespace

FlowConfig FlowConfig::flow_preset(const std::string& name) {
  FlowConfig config;
  config.preset = name;
  if (name == "uniform_flow") config.timesteps = "uniform";
  if (name == "stable_diffusion_3") {  // 3 at 1024 x 1024 pixels: 128 x 128 latent positions
    config.shift_base_area = 128.0 * 128 / 9;
  }
  if (name == "open_sora") {  // version 1.2: 1 for a still of 512 x 512 pixels
    config.shift_base_area = 64 * 64;
    config.shift_base_frames = 1;
  }
  if (name == "diffsynth") {
    config.timesteps = "uniform";
    config.shift = 5;
    config.weighting = "bell";
  }
  if (name == "dfm") {
    config.timesteps = "mixed";
    config.shift = 3;
    config.weighting = "one_plus_shift";
  }
  if (name == "clean_patches") config.target = "x0";
  return config;
}

Json flow_config_to_json(const FlowConfig& config) {
  FlowConfig copy = config;
  FlowPrinter printer;
  copy.visit_fields(printer);
  return printer.json;
}

Prediction prediction_of(const std::string& target) {
  if (target == "v") return Prediction::kVelocity;
  if (target == "eps") return Prediction::kNoise;
  ZOETROPE_CHECK_CONFIG(target == "x0", "a model gives v, eps or x0, not ", target);
  return Prediction::kSample;
}

at::Tensor convert_prediction(const at::Tensor& output, Prediction from, Prediction to,
                              const at::Tensor& x_s, double sigma) {
  if (from == to) return output;
  if (from == Prediction::kVelocity) {
    return to == Prediction::kSample ? x_s - output * sigma : x_s + output * (1 - sigma);
  }
  if (from == Prediction::kSample) {
    return (to == Prediction::kVelocity ? x_s - output : x_s - output * (1 - sigma)) / sigma;
  }
  return (to == Prediction::kVelocity ? output - x_s : x_s - output * sigma) / (1 - sigma);
}

double shift_sigma(double sigma, double shift) {
  return shift * sigma / (1 + (shift - 1) * sigma);
}

Objective::Objective(const FlowConfig& config)
    : config_(config),
      prediction_(prediction_of(config.target)),
      loss_on_(config.loss_on == "target" ? prediction_ : prediction_of(config.loss_on)) {
  if (config.weighting != "bell") return;
  double sum = 0;
  bell_least_ = 1;
  for (int i = 1; i <= kBellLevels; ++i) {
    const double value = bell(shift_sigma(static_cast<double>(i) / kBellLevels, config.shift));
    bell_least_ = std::min(bell_least_, value);
    sum += value;
  }
  bell_mean_ = sum / kBellLevels - bell_least_;
}

double Objective::draw_sigma(Random& random, std::int64_t frames, std::int64_t area) const {
  const bool uniform = config_.timesteps == "uniform" ||
                       (config_.timesteps == "mixed" && random.uniform() < config_.uniform_share);
  const double sigma =
      uniform ? random.uniform()
              : 1 / (1 + std::exp(-(config_.logit_mean + config_.logit_std * random.normal())));
  double shift = config_.shift;
  if (config_.shift_base_area > 0)
    shift *= std::sqrt(static_cast<double>(area) / config_.shift_base_area);
  if (config_.shift_base_frames > 0)
    shift *= std::sqrt(static_cast<double>(frames) / config_.shift_base_frames);
  return std::clamp(shift_sigma(sigma, shift), kMargin, 1 - kMargin);
}

at::Tensor Objective::target(const at::Tensor& x0, const at::Tensor& noise) const {
  if (prediction_ == Prediction::kVelocity) return noise - x0;
  return prediction_ == Prediction::kNoise ? noise : x0;
}

double Objective::loss_weight(double sigma) const {
  const double ratio = velocity_error(prediction_, sigma) / velocity_error(loss_on_, sigma);
  double weight = 1;
  if (config_.weighting == "bell") weight = std::max(0.0, bell(sigma) - bell_least_) / bell_mean_;
  if (config_.weighting == "one_plus_shift") weight = 1 + config_.shift * sigma;
  return weight * ratio * ratio;
}

}  // namespace zoetrope::model
