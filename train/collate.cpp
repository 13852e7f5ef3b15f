// Packs samples one after another; no padding.
// T tokens, K values a token, C channels.
#include "train/collate.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/full.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include "base/error.h"
#include "base/random.h"

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

}  // namespace

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

PackedBatch collate(const std::vector<data::LoadedSample>& samples, std::int64_t step,
                    const CollateConfig& config) {
  ZOETROPE_CHECK(!samples.empty(), "step ", step, " gives this rank no sample");
  PackedBatch batch;
  std::vector<at::Tensor> patches, targets, weights, texts;
  std::vector<float> timesteps;
  for (const data::LoadedSample& sample : samples) {
    const auto key = static_cast<std::uint64_t>(sample.plan.global_index);
    const auto at_step = static_cast<std::uint64_t>(step);
    Random timestep(config.seed, Purpose::kTimestep, at_step, key);
    const double sigma = model::draw_sigma(config.flow, timestep);
    const at::Tensor x0 = latent_tensor(sample.latent);
    const at::Tensor noise = noise_like(x0, Random(config.seed, Purpose::kNoise, at_step, key));

    model::Grid grid;
    patches.push_back(model::patchify(x0 * (1 - sigma) + noise * sigma, config.patch, &grid));
    targets.push_back(to_head_order(model::patchify(noise - x0, config.patch, &grid), x0.size(0)));
    const double values =
        static_cast<double>(config.global_batch) * static_cast<double>(x0.numel());
    weights.push_back(at::full({grid.tokens(), 1}, 1 / values, at::kFloat));
    timesteps.push_back(static_cast<float>(1000 * sigma));
    batch.input.row_of_segment.push_back(static_cast<std::int64_t>(batch.input.grids.size()));
    batch.input.grids.push_back(grid);
    texts.push_back(at::from_blob(const_cast<float*>(sample.text.values.data()),
                                  {sample.text.length, sample.text.width}, at::kFloat));
    batch.input.text_lengths.push_back(sample.text.length);
  }
  batch.input.patches_TK = at::cat(patches);
  batch.input.timesteps_U = at::tensor(timesteps);
  batch.input.text_LE = at::cat(texts);
  batch.target_TK = at::cat(targets);
  batch.weight_T1 = at::cat(weights);
  return batch;
}

}  // namespace zoetrope::train
