// The training step of the video autoencoder: crop, encode, draw, decode, compare.
// B crops of one kind, C latent channels.
#include "train/vae_task.h"

#include <chrono>

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/stack.h>

#include "base/error.h"
#include "model/vae_loss.h"

namespace zoetrope::train {
namespace {

// Statistics of the latents are measured on so many crops of each kind.
constexpr std::int64_t kStatisticsCrops = 32;

Random crop_random(std::int64_t seed, std::int64_t step, std::int64_t sample) {
  return Random(static_cast<std::uint64_t>(seed), Purpose::kCrop, static_cast<std::uint64_t>(step),
                static_cast<std::uint64_t>(sample));
}

}  // namespace

VaeTask::VaeTask(const TrainConfig& config, launch::Mesh& mesh)
    : config_(config),
      rank_(mesh.batch()),
      num_ranks_(mesh.num_batches()),
      vae_(config.vae.model, at::kCPU) {
  for (const launch::Axis axis : {launch::Axis::kSequence, launch::Axis::kTensor}) {
    ZOETROPE_CHECK_CONFIG(mesh.size(axis) == 1, "mesh.", launch::axis_name(axis), " is ",
                          mesh.size(axis), ": task vae can not be shared out so");
  }
  ZOETROPE_CHECK_CONFIG(config.mesh.sharding != "weights",
                        "mesh.sharding is weights: task vae needs all of its weights at once");
  for (const CropConfig& crop : config.vae.crops) {
    ZOETROPE_CHECK_CONFIG(crop.batch % num_ranks_ == 0, "vae.crops: a batch of ", crop.batch,
                          " cannot be shared by ", num_ranks_, " ranks equally");
  }
}

void VaeTask::start(std::int64_t) {
  pool_ = std::make_unique<VideoPool>(config_.vae);
}

std::size_t VaeTask::draw_kind(std::int64_t step) const {
  const auto& crops = config_.vae.crops;
  double total = 0;
  for (const CropConfig& crop : crops) total += crop.weight;
  // Sample -1 never names a crop: its numbers choose the kind.
  double draw = crop_random(config_.seed, step, -1).uniform() * total;
  std::size_t kind = 0;
  while (kind + 1 < crops.size() && draw >= crops[kind].weight) draw -= crops[kind++].weight;
  return kind;
}

LocalStep VaeTask::forward_backward(std::int64_t step, const BeforePass& before_pass) {
  const auto start = std::chrono::steady_clock::now();
  const std::size_t kind = draw_kind(step);
  const CropConfig& crop = config_.vae.crops[kind];
  const std::int64_t share = crop.batch / num_ranks_;
  std::vector<at::Tensor> crops;
  for (std::int64_t i = 0; i < share; ++i) {
    Random random = crop_random(config_.seed, step, rank_ * share + i);
    crops.push_back(pool_->crop(kind, random));
  }
  const at::Tensor pixels = at::stack(crops);
  LocalStep local;
  local.data_wait_s =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();

  const auto compute_type = config_.precision == "bf16" ? at::kBFloat16 : at::kFloat;
  const model::Posterior posterior = vae_.encode(pixels, compute_type);
  const at::Tensor latents = draw_latents(posterior, step, rank_ * share);
  const at::Tensor reconstruction = vae_.decode(latents, false, compute_type);
  const model::VaeLoss loss = model::vae_loss(pixels, reconstruction, posterior, config_.vae.loss);
  before_pass(true);
  (loss.total / num_ranks_).backward();

  local.loss = loss.total.item<double>() / num_ranks_;
  local.parts = {{"l1", loss.l1.item<double>() / num_ranks_},
                 {"mse", loss.mse.item<double>() / num_ranks_},
                 {"gradient", loss.gradient.item<double>() / num_ranks_},
                 {"kl", loss.kl.item<double>() / num_ranks_}};
  local.samples = share;
  local.tokens = pixels.numel() / 3;  // pixels
  return local;
}

// Each crop's noise is its own, whatever the rank that draws it.
at::Tensor VaeTask::draw_latents(const model::Posterior& posterior, std::int64_t step,
                                 std::int64_t first_sample) const {
  std::vector<at::Tensor> latents;
  for (std::int64_t i = 0; i < posterior.mean.size(0); ++i) {
    const Random random(static_cast<std::uint64_t>(config_.seed), Purpose::kLatentNoise,
                        static_cast<std::uint64_t>(step),
                        static_cast<std::uint64_t>(first_sample + i));
    latents.push_back(
        model::sample_posterior({posterior.mean.narrow(0, i, 1), posterior.logvar.narrow(0, i, 1)},
                                random, config_.vae.loss.latent_noise_std));
  }
  return at::cat(latents);
}

void VaeTask::measure_latents(model::Vae& vae) {
  const at::NoGradGuard no_grad;
  at::Tensor sum, squares;
  double count = 0;
  for (std::int64_t i = 0; i < kStatisticsCrops; ++i) {
    for (std::size_t kind = 0; kind < config_.vae.crops.size(); ++kind) {
      Random random = crop_random(config_.seed, 0, i);
      const at::Tensor mean =
          vae.encode(pool_->crop(kind, random).unsqueeze(0)).mean.to(at::kDouble);
      const at::Tensor values_CN = mean[0].flatten(1);
      const at::Tensor s = values_CN.sum(1), q = values_CN.square().sum(1);
      sum = sum.defined() ? sum + s : s;
      squares = squares.defined() ? squares + q : q;
      count += static_cast<double>(values_CN.size(1));
    }
  }
  const at::Tensor mean = sum / count;
  const at::Tensor deviation = (squares / count - mean.square()).clamp_min(1e-12).sqrt();
  const auto to_vector = [](const at::Tensor& t) {
    return std::vector<double>(t.const_data_ptr<double>(), t.const_data_ptr<double>() + t.numel());
  };
  vae.set_latent_statistics(to_vector(mean.contiguous()), to_vector(deviation.contiguous()));
}

model::ModelSnapshot VaeTask::snapshot_model(model::TensorMap weights) {
  model::Vae saved(vae_.config(), at::kCPU);
  saved.visit_parameters(
      "", [&](const std::string& name, at::Tensor& parameter) { parameter = weights.at(name); });
  measure_latents(saved);
  return {model::vae_config_to_json(saved.config()), std::move(weights)};
}

Json VaeTask::model_config() const {
  return model::vae_config_to_json(config_.vae.model);
}

}  // namespace zoetrope::train
