// Packs samples one after another; no padding.
// T tokens, K values a token, C channels.
#include "train/collate.h"

#include <utility>

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/full.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>

#include "base/error.h"

namespace zoetrope::train {
namespace {

at::Tensor latent_tensor(const data::LatentRecord& latent) {
  return at::from_blob(const_cast<float*>(latent.values.data()),
                       {latent.channels, latent.frames, latent.height, latent.width}, at::kFloat);
}

at::Tensor noise_like(const at::Tensor& latent, Random random) {
  at::Tensor noise = at::empty(latent.sizes(), at::kFloat);
  random.fill_normal({noise.data_ptr<float>(), static_cast<std::size_t>(noise.numel())});
  return noise;
}

// Patch order (c, pt, ph, pw) -> the head's (pt, ph, pw, c).
at::Tensor to_head_order(const at::Tensor& patches_TK, std::int64_t channels) {
  const std::int64_t tokens = patches_TK.size(0);
  return patches_TK.view({tokens, channels, -1}).transpose(1, 2).reshape({tokens, -1});
}

// A sample's patches, targets and weights, and the modulation row of each of its tokens.
struct Packer {
  const std::vector<std::int64_t>& patch;
  const model::Objective& objective;
  PackedBatch batch;
  std::vector<at::Tensor> patches, targets, weights, texts, rows;
  std::vector<float> timesteps;
  bool any_clean = false;

  void add(const NoisedSample& sample) {
    const at::Tensor x0 = latent_tensor(*sample.latent);
    const at::Tensor noise = noise_like(x0, sample.noise);
    model::Grid grid;
    at::Tensor noised_TK =
        model::patchify(x0 * (1 - sample.sigma) + noise * sample.sigma, patch, &grid);
    const double weight = sample.weight * objective.loss_weight(sample.sigma);
    const auto row = static_cast<std::int64_t>(timesteps.size());
    timesteps.push_back(static_cast<float>(1000 * sample.sigma));
    at::Tensor weight_T1, row_T = at::full({grid.tokens()}, row, at::kLong);
    const bool masked = sample.clean_T.defined() && sample.clean_T.any().item<bool>();
    if (masked) {
      any_clean = true;
      timesteps.push_back(0);
      const at::Tensor clean_T1 = sample.clean_T.unsqueeze(1);
      noised_TK = at::where(clean_T1, model::patchify(x0, patch, &grid), noised_TK);
      row_T = row_T + sample.clean_T.to(at::kLong);
      const at::Tensor noisy_T1 = clean_T1.logical_not().to(at::kFloat);
      const double values = noisy_T1.sum().item<double>() * noised_TK.size(1);
      weight_T1 = noisy_T1 * (weight / values);
    } else {
      weight_T1 =
          at::full({grid.tokens(), 1}, weight / static_cast<double>(x0.numel()), at::kFloat);
    }
    patches.push_back(noised_TK);
    targets.push_back(
        to_head_order(model::patchify(objective.target(x0, noise), patch, &grid), x0.size(0)));
    weights.push_back(weight_T1);
    rows.push_back(row_T);
    batch.sigmas.push_back(sample.sigma);
    batch.input.row_of_segment.push_back(masked ? -1 : row);
    batch.input.grids.push_back(grid);
    texts.push_back(at::from_blob(const_cast<float*>(sample.text->values.data()),
                                  {sample.text->length, sample.text->width}, at::kFloat));
    batch.input.text_lengths.push_back(sample.text->length);
  }

  PackedBatch finish() {
    batch.input.patches_TK = at::cat(patches);
    batch.input.timesteps_U = at::tensor(timesteps);
    if (any_clean) batch.input.row_of_token_T = at::cat(rows);
    batch.input.text_LE = at::cat(texts);
    batch.target_TK = at::cat(targets);
    batch.weight_T1 = at::cat(weights);
    return std::move(batch);
  }
};

}  // namespace

PackedBatch PackedBatch::on(at::Device device) const {
  PackedBatch batch = *this;
  for (at::Tensor* tensor : {&batch.input.patches_TK, &batch.input.timesteps_U,
                             &batch.input.text_LE, &batch.target_TK, &batch.weight_T1}) {
    *tensor = tensor->to(device);
  }
  return batch;
}

PackedBatch idle_batch(const model::DitConfig& dit, std::int64_t tokens) {
  PackedBatch batch;
  batch.input.grids = {{1, 1, tokens}};
  batch.input.patches_TK = at::zeros({tokens, dit.in_channels * dit.patch_volume()}, at::kFloat);
  batch.input.timesteps_U = at::zeros({1}, at::kFloat);
  batch.input.row_of_segment = {0};
  batch.input.text_LE = at::zeros({1, dit.text_dim}, at::kFloat);
  batch.input.text_lengths = {1};
  batch.target_TK = at::zeros({tokens, dit.out_channels * dit.patch_volume()}, at::kFloat);
  batch.weight_T1 = at::zeros({tokens, 1}, at::kFloat);
  return batch;
}

PackedBatch pack(const std::vector<NoisedSample>& samples, const std::vector<std::int64_t>& patch,
                 const model::Objective& objective) {
  Packer packer{patch, objective, {}, {}, {}, {}, {}, {}, {}, false};
  for (const NoisedSample& sample : samples) packer.add(sample);
  return packer.finish();
}

PackedBatch collate(const std::vector<data::LoadedSample>& samples, std::int64_t step,
                    const CollateConfig& config) {
  ZOETROPE_CHECK(!samples.empty(), "step ", step, " gives this rank no sample");
  const model::Objective objective(config.flow);
  std::vector<NoisedSample> noised;
  for (const data::LoadedSample& sample : samples) {
    const auto stream = [&](Purpose purpose) {
      return Random(config.seed, purpose, static_cast<std::uint64_t>(step),
                    static_cast<std::uint64_t>(sample.plan.global_index));
    };
    const data::LatentRecord& latent = sample.latent;
    const model::Grid grid{latent.frames / config.patch[0], latent.height / config.patch[1],
                           latent.width / config.patch[2]};
    Random timestep = stream(Purpose::kTimestep);
    noised.push_back(
        {&latent, &sample.text,
         objective.draw_sigma(timestep, latent.frames, std::int64_t{latent.height} * latent.width),
         stream(Purpose::kNoise), 1.0 / static_cast<double>(config.global_batch),
         draw_condition(config.conditions, grid, stream(Purpose::kCondition)).clean_T});
  }
  return pack(noised, config.patch, objective);
}

}  // namespace zoetrope::train
