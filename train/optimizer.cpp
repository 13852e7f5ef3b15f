// One fused pass for AdamW and the averaged weights.
#include "train/optimizer.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

#include "base/error.h"

namespace zoetrope::train {
namespace {

// Work is cut at fixed places, so sums do not depend on the number of threads.
constexpr std::int64_t kChunk = 1 << 16;

bool decays(const std::string& name, const at::Tensor& parameter) {
  return parameter.dim() >= 2 && name.find("scale_shift_table") == std::string::npos &&
         name.find("gamma") == std::string::npos;
}

struct AdamStep {
  float beta1, beta2, eps, lr, decay, grad_scale, correct1, correct2, ema_rate;
};

void adam_ema(float* p, const float* g, float* m, float* v, float* ema, std::int64_t n,
              const AdamStep& s) {
  for (std::int64_t i = 0; i < n; ++i) {
    const float grad = g[i] * s.grad_scale;
    m[i] = s.beta1 * m[i] + (1 - s.beta1) * grad;
    v[i] = s.beta2 * v[i] + (1 - s.beta2) * grad * grad;
    const float root = std::sqrt(v[i] * s.correct2) + s.eps;
    p[i] = p[i] * (1 - s.lr * s.decay) - s.lr * (m[i] * s.correct1) / root;
    ema[i] += s.ema_rate * (p[i] - ema[i]);
  }
}

}  // namespace

Optimizer::Optimizer(model::Module& module, const OptimizerConfig& config) : config_(config) {
  std::int64_t total = 0;
  module.visit_parameters("", [&](const std::string& name, at::Tensor& parameter) {
    slots_.push_back(
        {name, total, parameter.numel(), parameter.sizes().vec(), decays(name, parameter)});
    total += parameter.numel();
  });
  parameters_ = at::empty({total}, at::kFloat);
  gradients_ = at::zeros({total}, at::kFloat);
  first_ = at::zeros({total}, at::kFloat);
  second_ = at::zeros({total}, at::kFloat);
  std::size_t index = 0;
  module.visit_parameters("", [&](const std::string& name, at::Tensor& parameter) {
    const Slot& slot = slots_[index++];
    ZOETROPE_CHECK(parameter.scalar_type() == at::kFloat, name, " is not fp32");
    at::Tensor view = parameters_.narrow(0, slot.offset, slot.count).view(slot.shape);
    view.copy_(parameter.detach());
    parameter = view.requires_grad_();
    parameter.mutable_grad() = gradients_.narrow(0, slot.offset, slot.count).view(slot.shape);
  });
  ema_ = parameters_.detach().clone();
}

void Optimizer::zero_gradients() {
  gradients_.zero_();
}

std::span<float> Optimizer::gradients() {
  return {gradients_.data_ptr<float>(), static_cast<std::size_t>(gradients_.numel())};
}

double Optimizer::gradient_norm() const {
  const float* g = gradients_.const_data_ptr<float>();
  const std::int64_t count = gradients_.numel();
  std::vector<double> sums((count + kChunk - 1) / kChunk);
  at::parallel_for(0, static_cast<std::int64_t>(sums.size()), 1, [&](auto first, auto last) {
    for (auto chunk = first; chunk < last; ++chunk) {
      double sum = 0;
      for (auto i = chunk * kChunk; i < std::min(count, (chunk + 1) * kChunk); ++i) {
        sum += static_cast<double>(g[i]) * g[i];
      }
      sums[chunk] = sum;
    }
  });
  double total = 0;
  for (const double sum : sums) total += sum;
  return std::sqrt(total);
}

void Optimizer::update(std::int64_t step, double rate, double grad_scale) {
  const double t = static_cast<double>(step);
  AdamStep s{};
  s.beta1 = static_cast<float>(config_.beta1);
  s.beta2 = static_cast<float>(config_.beta2);
  s.eps = static_cast<float>(config_.eps);
  s.lr = static_cast<float>(rate);
  s.grad_scale = static_cast<float>(grad_scale);
  s.correct1 = static_cast<float>(1 / (1 - std::pow(config_.beta1, t)));
  s.correct2 = static_cast<float>(1 / (1 - std::pow(config_.beta2, t)));
  s.ema_rate = static_cast<float>(1 - std::min(config_.ema_decay, (1 + t) / (10 + t)));
  float* p = parameters_.data_ptr<float>();
  const float* g = gradients_.const_data_ptr<float>();
  float* m = first_.data_ptr<float>();
  float* v = second_.data_ptr<float>();
  float* ema = ema_.data_ptr<float>();
  for (const Slot& slot : slots_) {
    s.decay = slot.decays ? static_cast<float>(config_.weight_decay) : 0;
    at::parallel_for(slot.offset, slot.offset + slot.count, kChunk, [&](auto begin, auto end) {
      adam_ema(p + begin, g + begin, m + begin, v + begin, ema + begin, end - begin, s);
    });
  }
}

void Optimizer::swap_averages() {
  float* p = parameters_.data_ptr<float>();
  std::swap_ranges(p, p + parameters_.numel(), ema_.data_ptr<float>());
}

std::map<std::string, at::Tensor> Optimizer::views(const at::Tensor& flat) const {
  std::map<std::string, at::Tensor> result;
  for (const Slot& slot : slots_) {
    result[slot.name] = flat.detach().narrow(0, slot.offset, slot.count).view(slot.shape);
  }
  return result;
}

double learning_rate(const OptimizerConfig& config, std::int64_t step, std::int64_t total_steps) {
  if (step <= config.warmup_steps) {
    return config.lr * static_cast<double>(step) / static_cast<double>(config.warmup_steps);
  }
  if (config.schedule == "constant") return config.lr;
  const double done = static_cast<double>(step - config.warmup_steps) /
                      std::max<double>(1, static_cast<double>(total_steps - config.warmup_steps));
  const double share = 0.5 * (1 + std::cos(std::numbers::pi * std::min(1.0, done)));
  return config.lr * (config.final_lr_share + (1 - config.final_lr_share) * share);
}

}  // namespace zoetrope::train
