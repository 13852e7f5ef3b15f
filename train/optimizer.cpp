// One fused pass for AdamW and the averaged weights.
#include "train/optimizer.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <optional>
#include <span>

#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros_like.h>

#include "base/error.h"
#include "base/files.h"
#include "model/device.h"

namespace zoetrope::train {
namespace {

using model::kernels::adam_element;
using model::kernels::AdamStep;

// Work is cut at fixed places, so sums do not depend on the number of threads.
constexpr std::int64_t kChunk = 1 << 16;

void adam_ema(float* p, const float* g, float* m, float* v, float* ema, std::int64_t n,
              const AdamStep& s) {
  for (std::int64_t i = 0; i < n; ++i) p[i] = adam_element(s, p[i], g[i], m[i], v[i], ema[i]);
}

std::string hash_floats(const at::Tensor& values, std::int64_t begin, std::int64_t count) {
  const at::Tensor here = values.narrow(0, begin, count).cpu();
  return hash_bytes(
      std::as_bytes(std::span(here.const_data_ptr<float>(), static_cast<std::size_t>(count))));
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

// Of each range of a piece.
std::vector<double> sums_of_squares(const WeightBuckets::Piece& piece) {
  std::vector<double> sums;
  if (!piece.gradients.is_cuda()) {
    const float* g = piece.gradients.const_data_ptr<float>();
    for (const auto& range : piece.ranges)
      sums.push_back(sum_of_squares(g + range.begin, range.count));
    return sums;
  }
  std::vector<at::Tensor> norms;  // read together: reading waits for the device
  for (const auto& range : piece.ranges) {
    norms.push_back(at::linalg_vector_norm(piece.gradients.narrow(0, range.begin, range.count), 2,
                                           std::nullopt, false, at::kDouble));
  }
  if (norms.empty()) return sums;
  const at::Tensor squares = at::stack(norms).square().cpu();
  sums.assign(squares.const_data_ptr<double>(), squares.const_data_ptr<double>() + squares.numel());
  return sums;
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

Optimizer::Optimizer(model::Module& module, const OptimizerConfig& config, Sharding sharding,
                     launch::Mesh& mesh)
    : config_(config),
      mesh_(mesh),
      buckets_(module, static_cast<std::int64_t>(config.bucket_mb * (1 << 20) / sizeof(float)),
               sharding, mesh) {
  for (const WeightBuckets::Piece& piece : buckets_.pieces()) {
    first_.push_back(at::zeros_like(piece.weights));
    second_.push_back(at::zeros_like(piece.weights));
    averages_.push_back(piece.weights.clone());
  }
}

void Optimizer::fill_weights(const model::ParameterVisitor& fill) {
  buckets_.fill_weights(fill);
  for (std::size_t b = 0; b < averages_.size(); ++b) {
    averages_[b].copy_(buckets_.pieces()[b].weights);
  }
}

double Optimizer::gradient_norm() const {
  std::vector<double> total = {0};
  for (const WeightBuckets::Piece& piece : buckets_.pieces()) {
    if (!piece.is_cut && mesh_.index(launch::Axis::kTensor) > 0) continue;  // counted by rank 0
    for (const double sum : sums_of_squares(piece)) total[0] += sum;
  }
  mesh_.weights().all_reduce_sum(std::span<double>(total));
  return std::sqrt(total[0]);
}

std::vector<std::string> Optimizer::nonfinite_gradients() const {
  std::vector<std::string> names;
  for (const WeightBuckets::Piece& piece : buckets_.pieces()) {
    const std::vector<double> sums = sums_of_squares(piece);
    for (std::size_t r = 0; r < sums.size(); ++r) {
      if (!std::isfinite(sums[r])) names.push_back(piece.ranges[r].name);
    }
  }
  return names;
}

std::vector<Optimizer::TensorHash> Optimizer::hashes(bool is_cut) const {
  std::vector<TensorHash> result;
  for (std::size_t b = 0; b < first_.size(); ++b) {
    const WeightBuckets::Piece& piece = buckets_.pieces()[b];
    if (piece.is_cut != is_cut) continue;
    for (const WeightBuckets::Range& range : piece.ranges) {
      const auto add = [&](const char* what, const at::Tensor& values) {
        result.push_back({what + range.name, hash_floats(values, range.begin, range.count)});
      };
      add("", piece.weights);
      add("the first moment of ", first_[b]);
      add("the second moment of ", second_[b]);
      add("the average of ", averages_[b]);
    }
  }
  return result;
}

void Optimizer::update(std::int64_t step, double rate, double grad_scale) {
  AdamStep s = adam_step(config_, step, rate, grad_scale);
  for (std::size_t b = 0; b < first_.size(); ++b) {
    const WeightBuckets::Piece& piece = buckets_.pieces()[b];
    float* p = piece.weights.data_ptr<float>();
    const float* g = piece.gradients.const_data_ptr<float>();
    float* m = first_[b].data_ptr<float>();
    float* v = second_[b].data_ptr<float>();
    float* ema = averages_[b].data_ptr<float>();
    for (const WeightBuckets::Range& range : piece.ranges) {
      s.decay = range.decays ? static_cast<float>(config_.weight_decay) : 0;
      if (piece.weights.is_cuda()) {
        const model::kernels::CudaPlugin& plugin = *model::cuda_plugin();
        const std::int64_t from = range.begin;
        plugin.adam_ema(s, range.count, p + from, g + from, m + from, v + from, ema + from, nullptr,
                        plugin.current_stream());
        continue;
      }
      at::parallel_for(range.begin, range.begin + range.count, kChunk, [&](auto from, auto to) {
        adam_ema(p + from, g + from, m + from, v + from, ema + from, to - from, s);
      });
    }
  }
  buckets_.publish();
}

void Optimizer::swap_averages() {
  const at::NoGradGuard no_grad;
  for (std::size_t b = 0; b < averages_.size(); ++b) {
    const at::Tensor& weights = buckets_.pieces()[b].weights;
    const at::Tensor kept = weights.clone();
    weights.copy_(averages_[b]);
    averages_[b].copy_(kept);
  }
  buckets_.publish();
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
