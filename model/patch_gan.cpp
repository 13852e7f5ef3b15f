// Strided convolutions with LeakyReLU and group norms.
// B clips, T frames, H height, W width, C channels
#include "model/patch_gan.h"

#include <algorithm>
#include <map>

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/conv3d.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/group_norm.h>
#include <ATen/ops/leaky_relu.h>
#include <ATen/ops/relu.h>

#include "base/error.h"
#include "base/random.h"

namespace zoetrope::model {
namespace {

constexpr double kSlope = 0.2;
constexpr std::int64_t kGroups = 4;
constexpr std::int64_t kMaxWidening = 8;
constexpr double kInitDeviation = 0.02;  // DCGAN's
constexpr double kNormFloor = 1e-4, kMaxWeight = 1e4;
const std::vector<std::int64_t> kKernel = {3, 3, 3};

}  // namespace

PatchGan::PatchGan(const PatchGanConfig& config) {
  ZOETROPE_CHECK_CONFIG(config.width % kGroups == 0, "a discriminator of width ", config.width,
                        ": it must be a multiple of ", kGroups);
  const auto options = at::TensorOptions().dtype(at::kFloat);
  layers_.push_back({Conv(3, config.width, kKernel, at::kCPU), {}, {}, 2, 2});
  std::int64_t in = config.width;
  for (std::int64_t i = 0; i < config.layers; ++i) {
    const std::int64_t out = std::min(2 * in, kMaxWidening * config.width);
    layers_.push_back({Conv(in, out, kKernel, at::kCPU), at::empty({out}, options),
                       at::empty({out}, options), i == 0 ? 2 : 1, 2});
    in = out;
  }
  layers_.push_back({Conv(in, 1, kKernel, at::kCPU), {}, {}, 1, 1});
}

ParameterVisitor PatchGan::initial_weights(std::uint64_t seed) {
  std::map<std::string, std::uint64_t> places;
  for (const auto& [name, parameter] : named_parameters()) places.emplace(name, places.size());
  return [seed, places](const std::string& name, at::Tensor& parameter) {
    Random random(seed, Purpose::kInit, 1, places.at(name));  // step 1: the VAE draws from step 0
    if (name.ends_with("scale")) {
      parameter.fill_(1);
    } else if (name.ends_with("shift") || name.ends_with("bias")) {
      parameter.zero_();
    } else {
      std::vector<float> values(static_cast<std::size_t>(parameter.numel()));
      random.fill_normal(values);
      parameter.copy_(at::from_blob(values.data(), parameter.sizes(), at::kFloat))
          .mul_(kInitDeviation);
    }
  };
}

void PatchGan::init_weights(std::uint64_t seed) {
  const at::NoGradGuard no_grad;
  visit_parameters("", initial_weights(seed));
}

at::Tensor PatchGan::forward(const at::Tensor& pixels, at::ScalarType compute_type) const {
  ZOETROPE_CHECK(pixels.dim() == 5 && pixels.size(1) == 3,
                 "the discriminator judges pixels [B, 3, T, H, W], not ", pixels.sizes());
  at::Tensor x_BCTHW = pixels.to(compute_type).contiguous(at::MemoryFormat::ChannelsLast3d);
  for (const Layer& layer : layers_) {
    const std::int64_t space = layer.space_stride;
    x_BCTHW =
        at::conv3d(x_BCTHW, layer.conv.weight.to(compute_type), layer.conv.bias.to(compute_type),
                   {layer.time_stride, space, space}, {1, 1, 1});
    if (layer.scale.defined()) {
      x_BCTHW = at::group_norm(x_BCTHW, kGroups, layer.scale.to(compute_type),
                               layer.shift.to(compute_type));
    }
    if (&layer != &layers_.back()) x_BCTHW = at::leaky_relu(x_BCTHW, kSlope);
  }
  return x_BCTHW.select(1, 0).to(at::kFloat);
}

void PatchGan::visit_parameters(const std::string& prefix, const ParameterVisitor& visit) {
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    const std::string name = concat(prefix, "layers.", i, ".");
    layers_[i].conv.visit_parameters(name + "conv.", visit);
    if (!layers_[i].scale.defined()) continue;
    visit(name + "norm.scale", layers_[i].scale);
    visit(name + "norm.shift", layers_[i].shift);
  }
}

at::Tensor discriminator_loss(const at::Tensor& real_logits, const at::Tensor& fake_logits) {
  return at::relu(1 - real_logits).mean() + at::relu(1 + fake_logits).mean();
}

double adaptive_weight(double reconstruction_norm, double adversarial_norm) {
  return std::clamp(reconstruction_norm / (adversarial_norm + kNormFloor), 0.0, kMaxWeight);
}

}  // namespace zoetrope::model
