// Weights to start training a VAE from: the averaging and duplicating shortcuts lead, everything
// that is added to them (residual branches, resampling convolutions, heads beside a bypass) starts
// small, and the posterior starts narrow.
//
// Each tensor has its own random stream, keyed by its place in the list of parameters.
#include <cmath>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include <ATen/core/grad_mode.h>
#include <ATen/ops/from_blob.h>

#include "base/random.h"
#include "model/vae.h"

namespace zoetrope::model {
namespace {

constexpr double kGain = 1.7;        // uniform in +-kGain / sqrt(fan in): about variance 1 / fan in
constexpr double kAddedGain = 0.1;   // of what is added to a stream
constexpr double kHeadGain = 0.3;    // of a head that has a bypass beside it
constexpr double kStartLogvar = -6;  // posterior deviation .05

bool contains(std::string_view name, std::string_view part) {
  return name.find(part) != std::string_view::npos;
}

double gain(const std::string& name, bool head_bypass) {
  if (contains(name, ".conv2.") || contains(name, ".proj.") || contains(name, ".resample.")) {
    return kGain * kAddedGain;
  }
  if (head_bypass && contains(name, "coder.conv_out.")) return kGain * kHeadGain;
  return kGain;
}

void fill_uniform(at::Tensor& parameter, double bound, Random random) {
  std::vector<float> values(static_cast<std::size_t>(parameter.numel()));
  for (float& value : values) value = static_cast<float>(random.uniform(-bound, bound));
  parameter.copy_(
      at::from_blob(values.data(), parameter.sizes(), at::TensorOptions().dtype(at::kFloat)));
}

}  // namespace

ParameterVisitor Vae::initial_weights(std::uint64_t seed) {
  std::map<std::string, std::uint64_t> places;
  for (const auto& [name, parameter] : named_parameters()) places.emplace(name, places.size());
  return [this, seed, places](const std::string& name, at::Tensor& parameter) {
    const Random random(seed, Purpose::kInit, 0, places.at(name));
    const bool is_bias = name.ends_with(".bias");
    if (name.ends_with(".gamma")) {
      parameter.fill_(1);
    } else if (is_bias) {
      parameter.fill_(0);
    } else {
      const double fan_in = static_cast<double>(parameter.numel() / parameter.size(0));
      fill_uniform(parameter, gain(name, config_.head_bypass) / std::sqrt(fan_in), random);
    }
    if (name.starts_with("quant_conv.")) {
      const std::int64_t half = parameter.size(0) / 2;  // means first, then log-variances
      parameter.narrow(0, half, half).fill_(is_bias ? kStartLogvar : 0.0);
    }
  };
}

void Vae::init_weights(std::uint64_t seed) {
  const at::NoGradGuard no_grad;
  visit_parameters("", initial_weights(seed));
}

}  // namespace zoetrope::model
