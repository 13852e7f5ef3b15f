// One fused pass for AdamW and the averaged weights.
#include "train/optimizer.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <span>

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

// Pieces of the flat buffer that touch are one range.
std::vector<FlatRange> join(const std::vector<FlatRange>& pieces) {
  std::vector<FlatRange> ranges;
  for (const FlatRange& piece : pieces) {
    if (!ranges.empty() && ranges.back().end() == piece.begin) {
      ranges.back().count += piece.count;
    } else {
      ranges.push_back(piece);
    }
  }
  return ranges;
}

double sum_of_squares(const float* g, std::int64_t count) {
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
  return total;
}

AdamStep adam_step(const OptimizerConfig& config, std::int64_t step, double rate,
                   double grad_scale) {
  const double t = static_cast<double>(step);
  AdamStep s{};
  s.beta1 = static_cast<float>(config.beta1);
  s.beta2 = static_cast<float>(config.beta2);
  s.eps = static_cast<float>(config.eps);
  s.lr = static_cast<float>(rate);
  s.grad_scale = static_cast<float>(grad_scale);
  s.correct1 = static_cast<float>(1 / (1 - std::pow(config.beta1, t)));
  s.correct2 = static_cast<float>(1 / (1 - std::pow(config.beta2, t)));
  s.ema_rate = static_cast<float>(1 - std::min(config.ema_decay, (1 + t) / (10 + t)));
  return s;
}

}  // namespace

Optimizer::Optimizer(model::Module& module, const OptimizerConfig& config,
                     launch::Communicator& shard, launch::Communicator& replicas)
    : config_(config), shard_(shard) {
  std::int64_t total = 0;
  module.visit_parameters("", [&](const std::string& name, at::Tensor& parameter) {
    slots_.push_back(
        {name, {total, parameter.numel()}, parameter.sizes().vec(), decays(name, parameter)});
    total += parameter.numel();
  });
  parameters_ = at::empty({total}, at::kFloat);
  gradients_ = at::zeros({total}, at::kFloat);
  std::vector<at::Tensor> leaves;
  std::vector<FlatRange> places;
  module.visit_parameters("", [&](const std::string& name, at::Tensor& parameter) {
    const Slot& slot = slots_[places.size()];
    ZOETROPE_CHECK(parameter.scalar_type() == at::kFloat, name, " is not fp32");
    at::Tensor view = parameters_.narrow(0, slot.place.begin, slot.place.count).view(slot.shape);
    view.copy_(parameter.detach());
    parameter = view.requires_grad_();
    parameter.mutable_grad() =
        gradients_.narrow(0, slot.place.begin, slot.place.count).view(slot.shape);
    leaves.push_back(parameter);
    places.push_back(slot.place);
  });
  const auto bucket_elements = static_cast<std::int64_t>(config.bucket_mb * (1 << 20) / 4);
  buckets_ = std::make_unique<GradientBuckets>(std::move(leaves), std::move(places), gradients_,
                                               bucket_elements, shard, replicas);
  std::int64_t own = 0;
  for (const FlatRange& piece : buckets_->pieces()) own += piece.count;
  first_ = at::zeros({own}, at::kFloat);
  second_ = at::zeros({own}, at::kFloat);
  ema_ = at::empty({own}, at::kFloat);
  float* ema = ema_.data_ptr<float>();
  for (const FlatRange& piece : buckets_->pieces()) {
    ema = std::copy_n(parameters_.const_data_ptr<float>() + piece.begin, piece.count, ema);
  }
}

void Optimizer::begin_gradients() {
  gradients_.zero_();
  buckets_->begin();
}

void Optimizer::finish_gradients() {
  buckets_->finish();
}

double Optimizer::gradient_norm() const {
  std::vector<double> total = {0};
  for (const FlatRange& range : join(buckets_->pieces())) {
    total[0] += sum_of_squares(gradients_.const_data_ptr<float>() + range.begin, range.count);
  }
  shard_.all_reduce_sum(std::span<double>(total));
  return std::sqrt(total[0]);
}

void Optimizer::update(std::int64_t step, double rate, double grad_scale) {
  AdamStep s = adam_step(config_, step, rate, grad_scale);
  float* p = parameters_.data_ptr<float>();
  const float* g = gradients_.const_data_ptr<float>();
  float* m = first_.data_ptr<float>();
  float* v = second_.data_ptr<float>();
  float* ema = ema_.data_ptr<float>();
  auto slot = slots_.begin();
  std::int64_t done = 0;
  for (const FlatRange& piece : buckets_->pieces()) {
    const std::int64_t shift = piece.begin - done;  // flat place - place among this rank's pieces
    done += piece.count;
    for (std::int64_t begin = piece.begin; begin < piece.end();) {
      while (slot->place.end() <= begin) ++slot;
      const std::int64_t end = std::min(piece.end(), slot->place.end());
      s.decay = slot->decays ? static_cast<float>(config_.weight_decay) : 0;
      at::parallel_for(begin, end, kChunk, [&](auto from, auto to) {
        adam_ema(p + from, g + from, m + from - shift, v + from - shift, ema + from - shift,
                 to - from, s);
      });
      begin = end;
    }
  }
  buckets_->all_gather(parameters_);
}

void Optimizer::swap_averages() {
  float* p = parameters_.data_ptr<float>();
  float* ema = ema_.data_ptr<float>();
  for (const FlatRange& piece : buckets_->pieces()) {
    std::swap_ranges(p + piece.begin, p + piece.end(), ema);
    ema += piece.count;
  }
  buckets_->all_gather(parameters_);
}

at::Tensor Optimizer::spread(const at::Tensor& pieces) const {
  at::Tensor flat = at::empty({parameters_.numel()}, at::kFloat);
  const float* from = pieces.const_data_ptr<float>();
  for (const FlatRange& piece : buckets_->pieces()) {
    std::copy_n(from, piece.count, flat.data_ptr<float>() + piece.begin);
    from += piece.count;
  }
  return flat;
}

void Optimizer::load_moments(const TensorMap& first, const TensorMap& second) {
  collect(first, first_);
  collect(second, second_);
}

void Optimizer::collect(const TensorMap& tensors, at::Tensor& pieces) const {
  const at::Tensor flat = at::empty({parameters_.numel()}, at::kFloat);
  for (const Slot& slot : slots_) {
    const auto found = tensors.find(slot.name);
    ZOETROPE_CHECK_CONFIG(found != tensors.end(), "the checkpoint has no moments of ", slot.name);
    ZOETROPE_CHECK_CONFIG(found->second.sizes() == at::IntArrayRef(slot.shape), "the moments of ",
                          slot.name, " have another shape in the checkpoint");
    flat.narrow(0, slot.place.begin, slot.place.count).view(slot.shape).copy_(found->second);
  }
  float* to = pieces.data_ptr<float>();
  for (const FlatRange& piece : buckets_->pieces()) {
    to = std::copy_n(flat.const_data_ptr<float>() + piece.begin, piece.count, to);
  }
}

Optimizer::TensorMap Optimizer::gather(const at::Tensor& flat) const {
  const at::Tensor whole = flat.detach().clone();
  buckets_->all_gather(whole);
  TensorMap result;
  for (const Slot& slot : slots_) {
    result[slot.name] = whole.narrow(0, slot.place.begin, slot.place.count).view(slot.shape);
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
