// The training step of the video autoencoder: crop, encode, draw, decode, compare.
// B crops of one kind, C latent channels.
#include "train/vae_task.h"

#include <chrono>
#include <span>

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/stack.h>
#include <torch/csrc/autograd/autograd.h>

#include "base/error.h"

namespace zoetrope::train {
namespace {

// Statistics of the latents are measured on so many crops of each kind.
constexpr std::int64_t kStatisticsCrops = 32;

Random crop_random(std::int64_t seed, std::int64_t step, std::int64_t sample) {
  return Random(static_cast<std::uint64_t>(seed), Purpose::kCrop, static_cast<std::uint64_t>(step),
                static_cast<std::uint64_t>(sample));
}

// The terms of the loss under the names of metrics; those of weight 0 are undefined.
std::vector<std::pair<std::string, at::Tensor>> named_parts(const model::VaeLoss& loss) {
  return {{"l1", loss.l1},           {"mse", loss.mse},     {"gradient", loss.gradient},
          {"wavelet", loss.wavelet}, {"lpips", loss.lpips}, {"kl", loss.kl}};
}

at::ScalarType compute_type_of(const TrainConfig& config) {
  return config.precision == "bf16" ? at::kBFloat16 : at::kFloat;
}

}  // namespace

VaeTask::VaeTask(const TrainConfig& config, launch::Mesh& mesh)
    : config_(config),
      rank_(mesh.batch()),
      num_ranks_(mesh.num_batches()),
      world_(mesh.world()),
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
  const model::VaeLossConfig& loss = config.vae.loss;
  ZOETROPE_CHECK_CONFIG(loss.l1 + loss.mse + loss.gradient + loss.wavelet + loss.lpips > 0,
                        "vae.loss: every weight of the reconstruction is 0");
  if (loss.lpips > 0) {
    ZOETROPE_CHECK_CONFIG(!config.vae.lpips_weights.empty(), "vae.loss.lpips is ", loss.lpips,
                          ", but vae.lpips_weights names no file");
    perceptual_ = std::make_unique<model::Lpips>(config.vae.lpips_weights);
  }
  if (config.vae.gan.weight > 0)
    discriminator_ = std::make_unique<model::PatchGan>(config.vae.gan.model);
}

void VaeTask::start(std::int64_t) {
  pool_ = std::make_unique<VideoPool>(config_.vae);
}

std::optional<Opponent> VaeTask::opponent() {
  if (!discriminator_) return std::nullopt;
  const GanConfig& gan = config_.vae.gan;
  return Opponent{discriminator_.get(), gan.optimizer, gan.start_step,
                  discriminator_->initial_weights(static_cast<std::uint64_t>(config_.seed))};
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

  const at::ScalarType type = compute_type_of(config_);
  const model::Posterior posterior = vae_.encode(pixels, type);
  const at::Tensor latents = draw_latents(posterior, step, rank_ * share);
  const at::Tensor reconstruction = vae_.decode(latents, false, type);
  const model::VaeLoss loss =
      model::vae_loss(pixels, reconstruction, posterior, config_.vae.loss, perceptual_.get(), type);
  local.loss = loss.total.item<double>() / num_ranks_;
  for (const auto& [name, part] : named_parts(loss)) {
    if (part.defined()) local.parts[name] = part.item<double>() / num_ranks_;
  }
  at::Tensor total = loss.total;
  if (discriminator_ && step >= config_.vae.gan.start_step) {
    total = total + adversarial_term(loss, reconstruction, local);
    real_ = pixels;
    fake_ = reconstruction.detach();
  }
  before_pass(true);
  (total / num_ranks_).backward();
  local.samples = share;
  local.tokens = pixels.numel() / 3;  // pixels
  return local;
}

at::Tensor VaeTask::adversarial_term(const model::VaeLoss& loss, const at::Tensor& reconstruction,
                                     LocalStep& local) {
  const at::Tensor seen = reconstruction.detach().requires_grad_();
  const at::Tensor adversarial = -discriminator_->forward(seen, compute_type_of(config_)).mean();
  const at::Tensor cotangent = torch::autograd::grad({adversarial}, {seen})[0];
  const at::Tensor term = (reconstruction * cotangent).sum();
  const auto norm_at_last_weight = [&](const at::Tensor& scalar) {
    at::Tensor gradient =
        torch::autograd::grad({scalar / num_ranks_}, {vae_.last_weight()}, {}, true)[0]
            .to(at::kFloat)
            .contiguous();
    world_.all_reduce_sum(std::span<float>(gradient.mutable_data_ptr<float>(),
                                           static_cast<std::size_t>(gradient.numel())));
    return gradient.norm().item<double>();
  };
  const double reconstruction_norm = norm_at_last_weight(loss.reconstruction);
  const double adversarial_norm = norm_at_last_weight(term);
  const double weight =
      config_.vae.gan.weight * model::adaptive_weight(reconstruction_norm, adversarial_norm);
  local.parts["gan"] = adversarial.item<double>() / num_ranks_;
  local.parts["gan_weight"] = weight / num_ranks_;
  local.loss += weight * local.parts["gan"];
  return term * weight;
}

void VaeTask::opponent_forward_backward(LocalStep& local, const BeforePass& before_pass) {
  const at::ScalarType type = compute_type_of(config_);
  const at::Tensor loss = model::discriminator_loss(discriminator_->forward(real_, type),
                                                    discriminator_->forward(fake_, type));
  before_pass(true);
  (loss / num_ranks_).backward();
  local.parts["discriminator"] = loss.item<double>() / num_ranks_;
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

Json VaeTask::stored_config(const std::function<model::TensorMap()>& gather) {
  const model::TensorMap weights = gather();
  if (rank_ > 0) return {};
  model::Vae measured(vae_.config(), at::kCPU);
  measured.visit_parameters(
      "", [&](const std::string& name, at::Tensor& parameter) { parameter = weights.at(name); });
  measure_latents(measured);
  return model::vae_config_to_json(measured.config());
}

Json VaeTask::model_config() const {
  return model::vae_config_to_json(config_.vae.model);
}

}  // namespace zoetrope::train
