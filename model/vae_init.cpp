// Weights to start training a VAE from. Every convolution keeps the variance of its input: uniform with gain
// 1.7 / sqrt(fan in), about variance 1 / fan in; branches that are added to a stream start small.
//
// Each tensor has its own random stream, keyed by its place in the list of parameters.
#include <cmath>
#include <string>
#include <string_view>
#include <vector>

#include <ATen/core/grad_mode.h>
#include <ATen/ops/from_blob.h>

#include "base/random.h"
#include "model/vae.h"

namespace zoetrope::model {
namespace {

constexpr double kGain = 1.7;
constexpr double kBranchGain = 0.3;

bool is_branch_output(std::string_view name) {
  return name.find(".conv2.") != std::string_view::npos || name.find(".proj.") != std::string_view::npos;
}

double init_bound(const std::string& name, const at::Tensor& weight) {
  const double fan_in = static_cast<double>(weight.numel() / weight.size(0));
  return kGain / std::sqrt(fan_in) * (is_branch_output(name) ? kBranchGain : 1.0);
}

void fill_uniform(at::Tensor& parameter, double bound, Random random) {
  std::vector<float> values(static_cast<std::size_t>(parameter.numel()));
  for (float& value : values) value = static_cast<float>(random.uniform(-bound, bound));
  parameter.copy_(at::from_blob(values.data(), parameter.sizes(), at::TensorOptions().dtype(at::kFloat)));
}

}  // namespace

void Vae::init_weights(std::uint64_t seed) {
  const at::NoGradGuard no_grad;
  std::uint64_t place = 0;
  visit_parameters("", [&](const std::string& name, at::Tensor& parameter) {
    const Random random(seed, Purpose::kInit, 0, place++);
    if (name.ends_with(".gamma")) {
      parameter.fill_(1);
    } else if (name.ends_with(".bias")) {
      parameter.fill_(0);
    } else {
      fill_uniform(parameter, init_bound(name, parameter), random);
    }
  });
}

}  // namespace zoetrope::model
