// The packed training batch: what is noised, what is asked for, what it weighs.
#include "train/collate.h"

#include <algorithm>
#include <numeric>

#include <ATen/TensorOperators.h>
#include <ATen/ops/abs.h>
#include <ATen/ops/allclose.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include "model/dit.h"

namespace zoetrope::train {
namespace {

data::LoadedSample sample(std::int64_t global_index, int frames, int height, int width) {
  data::LoadedSample s;
  s.plan.global_index = global_index;
  s.latent = {"id", 2, frames, height, width, {}};
  s.latent.values.resize(std::size_t{2} * frames * height * width);
  std::iota(s.latent.values.begin(), s.latent.values.end(), static_cast<float>(global_index));
  s.text = {"t", 3, 4, std::vector<float>(12, static_cast<float>(global_index))};
  return s;
}

CollateConfig config() {
  CollateConfig c;
  c.seed = 5;
  c.global_batch = 4;
  c.patch = {1, 2, 2};
  return c;
}

TEST(Collate, PacksMixedSizesWithoutPadding) {
  const PackedBatch batch = collate({sample(0, 1, 4, 4), sample(1, 3, 2, 6)}, 9, config());
  EXPECT_EQ(batch.input.patches_TK.size(0), 4 + 9);
  EXPECT_EQ(batch.input.patches_TK.size(1), 2 * 4);
  EXPECT_EQ(batch.input.text_LE.size(0), 6);
  EXPECT_EQ(batch.input.text_lengths, (std::vector<std::int64_t>{3, 3}));
  EXPECT_EQ(batch.input.row_of_segment, (std::vector<std::int64_t>{0, 1}));
}

TEST(Collate, WeightsMakeEachSampleCountOnceInTheGlobalMean) {
  const PackedBatch batch = collate({sample(0, 1, 4, 4), sample(1, 3, 2, 6)}, 9, config());
  // A constant error of 1 on every value: two of four samples are here.
  EXPECT_NEAR((batch.weight_T1.sum() * 8).item<double>(), 2.0 / 4, 1e-6);
}

TEST(Collate, SampleIsTheSameInAnyCompany) {
  const PackedBatch alone = collate({sample(1, 3, 2, 6)}, 9, config());
  const PackedBatch packed = collate({sample(0, 1, 4, 4), sample(1, 3, 2, 6)}, 9, config());
  EXPECT_TRUE(at::equal(alone.input.patches_TK, packed.input.patches_TK.narrow(0, 4, 9)));
  EXPECT_TRUE(at::equal(alone.target_TK, packed.target_TK.narrow(0, 4, 9)));
  const PackedBatch later = collate({sample(1, 3, 2, 6)}, 10, config());
  EXPECT_FALSE(at::equal(alone.target_TK, later.target_TK));
}

CollateConfig masked(double ConditionConfig::*kind) {
  CollateConfig c = config();
  c.conditions.*kind = 1;
  return c;
}

TEST(Collate, GivenFramesAreCleanAtTimestepZeroAndWeighNothing) {
  const data::LoadedSample s = sample(1, 3, 2, 6);
  const PackedBatch plain = collate({s}, 9, config());
  const PackedBatch batch = collate({s}, 9, masked(&ConditionConfig::first));
  EXPECT_EQ(batch.input.row_of_segment, (std::vector<std::int64_t>{-1}));
  const auto timesteps = batch.input.timesteps_U.index_select(0, batch.input.row_of_token_T);
  EXPECT_EQ(timesteps.narrow(0, 0, 3).abs().max().item<float>(), 0);
  EXPECT_GT(timesteps.narrow(0, 3, 6).min().item<float>(), 0);
  EXPECT_EQ(batch.weight_T1.narrow(0, 0, 3).abs().max().item<float>(), 0);
  at::Tensor latent = at::empty({2, 3, 2, 6});
  std::copy(s.latent.values.begin(), s.latent.values.end(), latent.data_ptr<float>());
  const at::Tensor clean_TK = model::patchify(latent, {1, 2, 2}, nullptr);
  EXPECT_TRUE(at::equal(batch.input.patches_TK.narrow(0, 0, 3), clean_TK.narrow(0, 0, 3)));
  // The rest is noised as without a mask.
  EXPECT_TRUE(
      at::equal(batch.input.patches_TK.narrow(0, 3, 6), plain.input.patches_TK.narrow(0, 3, 6)));
  EXPECT_TRUE(at::equal(batch.target_TK, plain.target_TK));
}

TEST(Collate, MaskedSampleCountsOnceInTheGlobalMean) {
  for (const auto kind : {&ConditionConfig::first, &ConditionConfig::frames,
                          &ConditionConfig::region, &ConditionConfig::join}) {
    const PackedBatch batch =
        collate({sample(0, 1, 4, 4), sample(1, 5, 4, 6), sample(2, 4, 4, 4)}, 9, masked(kind));
    EXPECT_NEAR((batch.weight_T1.sum() * 8).item<double>(), 3.0 / 4, 1e-6);
  }
}

TEST(Collate, MaskThatGivesNothingIsThePlainPathBitForBit) {
  const data::LoadedSample s = sample(1, 3, 2, 6);
  const model::Objective objective(config().flow);
  const auto packed = [&](const at::Tensor& clean_T) {
    return pack({{&s.latent, &s.text, 0.4, Random(1, Purpose::kNoise), 0.5, clean_T}}, {1, 2, 2},
                objective);
  };
  const PackedBatch plain = packed({}), masked = packed(at::zeros({9}, at::kBool));
  EXPECT_TRUE(at::equal(plain.input.patches_TK, masked.input.patches_TK));
  EXPECT_TRUE(at::equal(plain.weight_T1, masked.weight_T1));
  model::DitConfig shape;
  shape.num_attention_heads = 2;
  shape.attention_head_dim = 12;
  shape.in_channels = shape.out_channels = 2;
  shape.text_dim = 4;
  shape.freq_dim = 16;
  shape.ffn_dim = 32;
  shape.num_layers = 2;
  model::Dit dit(shape, at::kCPU);
  dit.init_weights(1);
  dit.visit_parameters("", [](const std::string&, at::Tensor& parameter) {
    at::manual_seed(parameter.numel());
    parameter.add_(at::randn(parameter.sizes()) * 0.1);
  });
  EXPECT_TRUE(at::equal(dit.forward(plain.input), dit.forward(masked.input)));
}

TEST(Collate, ObjectiveDecidesTargetAndWeight) {
  const data::LoadedSample s = sample(2, 3, 4, 6);
  CollateConfig x0 = config();
  x0.flow = model::FlowConfig::flow_preset("clean_patches");
  x0.flow.loss_on = "v";
  const PackedBatch velocity = collate({s}, 1, config()), clean = collate({s}, 1, x0);
  const double sigma = clean.sigmas[0];
  EXPECT_EQ(sigma, velocity.sigmas[0]);
  const double factor = 1 / std::max(sigma, 0.05);
  EXPECT_TRUE(at::allclose(clean.weight_T1, velocity.weight_T1 * (factor * factor), 1e-6, 0));
  const at::Tensor latent = model::unpatchify(clean.target_TK, clean.input.grids[0], {1, 2, 2}, 2);
  EXPECT_TRUE(std::equal(s.latent.values.begin(), s.latent.values.end(),
                         latent.contiguous().data_ptr<float>()));
}

TEST(Collate, NoisedMinusSigmaTimesVelocityIsTheCleanLatent) {
  const data::LoadedSample s = sample(2, 3, 4, 6);
  const PackedBatch batch = collate({s}, 1, config());
  const double sigma = batch.input.timesteps_U[0].item<double>() / 1000;
  const model::Grid grid = batch.input.grids[0];
  const at::Tensor velocity = model::unpatchify(batch.target_TK, grid, {1, 2, 2}, 2);
  model::Grid again;
  const at::Tensor noised_TK = batch.input.patches_TK;
  const at::Tensor clean_TK = noised_TK - model::patchify(velocity, {1, 2, 2}, &again) * sigma;
  at::Tensor latent = velocity.clone();
  std::copy(s.latent.values.begin(), s.latent.values.end(), latent.data_ptr<float>());
  EXPECT_TRUE(at::allclose(clean_TK, model::patchify(latent, {1, 2, 2}, &again), 1e-5, 1e-4));
}

}  // namespace
}  // namespace zoetrope::train
