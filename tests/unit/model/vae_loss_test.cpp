// Loss terms against numbers worked out by hand.
#include "model/vae_loss.h"

#include <gtest/gtest.h>

#include <cmath>

#include <ATen/TensorOperators.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>

#include "base/error.h"

namespace zoetrope::model {
namespace {

const std::vector<std::int64_t> kPixels = {2, 3, 5, 8, 8};
const std::vector<std::int64_t> kLatent = {2, 4, 2, 1, 1};

double value(const at::Tensor& x) {
  return x.item<double>();
}

Posterior standard_posterior() {
  return {at::zeros(kLatent), at::zeros(kLatent)};
}

TEST(VaeLoss, WeighsItsParts) {
  VaeLossConfig config{.l1 = 2, .mse = 3, .gradient = 5, .kl = 7};
  at::Tensor reconstruction = at::full(kPixels, 0.5);
  reconstruction.narrow(2, 1, 4).fill_(-0.5);  // a jump of 1 after the first of 5 frames
  const Posterior posterior = {at::full(kLatent, 2.0), at::full(kLatent, std::log(4.0))};
  const VaeLoss loss = vae_loss(at::zeros(kPixels), reconstruction, posterior, config);
  EXPECT_NEAR(value(loss.l1), 0.5, 1e-6);
  EXPECT_NEAR(value(loss.mse), 0.25, 1e-6);
  EXPECT_NEAR(value(loss.gradient), 0.25, 1e-6);
  const double kl = 0.5 * (4 + 4 - 1 - std::log(4.0));
  EXPECT_NEAR(value(loss.kl), kl, 1e-5);
  EXPECT_NEAR(value(loss.total), 2 * 0.5 + 3 * 0.25 + 5 * 0.25 + 7 * kl, 1e-4);
}

TEST(VaeLoss, IsZeroForAPerfectStandardModel) {
  const at::Tensor pixels = at::full(kPixels, 0.3);
  EXPECT_EQ(value(vae_loss(pixels, pixels, standard_posterior(), {}).total), 0.0);
  EXPECT_THROW(vae_loss(pixels, pixels.narrow(2, 0, 1), standard_posterior(), {}), Error);
}

TEST(VaeLoss, GradientTermSkipsTimeOfImages) {
  const at::Tensor image = at::zeros({1, 3, 1, 8, 8});
  EXPECT_EQ(value(vae_loss(image, image + 0.1, standard_posterior(), {}).gradient), 0.0);
}

TEST(VaeLoss, WaveletTermSeesEdgesAndNotFlatErrors) {
  const VaeLossConfig config{.l1 = 0, .mse = 0, .gradient = 0, .wavelet = 3, .kl = 0};
  const at::Tensor pixels = at::zeros({1, 3, 2, 4, 6});
  const auto wavelet = [&](const at::Tensor& reconstruction) {
    const VaeLoss loss = vae_loss(pixels, reconstruction, standard_posterior(), config);
    EXPECT_NEAR(value(loss.total), 3 * value(loss.wavelet), 1e-6);
    EXPECT_FALSE(loss.l1.defined() || loss.kl.defined());
    return value(loss.wavelet);
  };
  EXPECT_NEAR(wavelet(pixels + 0.7), 0, 1e-6);
  at::Tensor columns = pixels.clone();  // 1 -1 1 -1: a detail of 2 along x in every block
  for (int x = 0; x < 6; ++x) columns.select(4, x).fill_(x % 2 == 0 ? 1 : -1);
  EXPECT_NEAR(wavelet(columns), 2, 1e-6);
  at::Tensor board = columns.clone();
  board.select(3, 1).neg_();
  board.select(3, 3).neg_();
  EXPECT_NEAR(wavelet(board), 2, 1e-6);
  at::Tensor corner =
      pixels.clone();  // one pixel of 2 in one of 6 blocks: 1 in each of three bands
  corner.select(3, 0).select(3, 0).fill_(2);
  EXPECT_NEAR(wavelet(corner), 3.0 / 6, 1e-6);
  EXPECT_THROW(
      vae_loss(pixels.narrow(3, 0, 3), pixels.narrow(3, 0, 3), standard_posterior(), config),
      Error);
}

TEST(VaeLoss, PerceptualTermNeedsItsNetwork) {
  const at::Tensor pixels = at::full(kPixels, 0.3);
  EXPECT_THROW(vae_loss(pixels, pixels, standard_posterior(), {.lpips = 1}), Error);
}

TEST(VaeLoss, SamplesAroundTheMeanByTheKeyAlone) {
  const Posterior posterior = {at::full({4, 8, 5, 8, 8}, 3.0),
                               at::full({4, 8, 5, 8, 8}, std::log(0.25))};
  const at::Tensor z = sample_posterior(posterior, Random(1, Purpose::kLatentNoise, 2));
  EXPECT_TRUE(z.equal(sample_posterior(posterior, Random(1, Purpose::kLatentNoise, 2))));
  EXPECT_FALSE(z.equal(sample_posterior(posterior, Random(1, Purpose::kLatentNoise, 3))));
  EXPECT_NEAR(value(z.mean()), 3, 0.02);
  EXPECT_NEAR(value(z.std()), 0.5, 0.02);
}

TEST(VaeLoss, LatentNoiseIsMeasuredInTheMeansOwnSpread) {
  at::Tensor mean = at::zeros({4, 2, 5, 8, 8});
  mean.narrow(0, 0, 2).fill_(10);
  const Posterior posterior = {mean, at::full(mean.sizes(), -30.0)};
  const at::Tensor z = sample_posterior(posterior, Random(1, Purpose::kLatentNoise), 0.1);
  EXPECT_NEAR(value((z - mean).std()), 0.5, 0.03);  // the spread of 0 and 10 is 5
}

}  // namespace
}  // namespace zoetrope::model
