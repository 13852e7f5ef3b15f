// The packed training batch: what is noised, what is asked for, what it weighs.
#include "train/collate.h"

#include <numeric>

#include <ATen/TensorOperators.h>
#include <ATen/ops/abs.h>
#include <ATen/ops/allclose.h>
#include <ATen/ops/equal.h>
#include <gtest/gtest.h>

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
