// What the VAE is trained on: reconstruction, sharpness and a small pull of the posterior towards
// N(0, 1).
#pragma once

#include <ATen/core/Tensor.h>

#include "base/config.h"
#include "base/random.h"
#include "model/vae.h"

namespace zoetrope::model {

struct VaeLossConfig {
  double l1 = 1;
  double mse = 1;
  double gradient = 0.5;
  double kl = 1e-4;
  double latent_noise_std = 0;
  template <class Visitor>
  void visit_fields(Visitor& visit) {
    visit("l1", l1, "weight of the mean absolute error of pixels in -1..1", at_least(0));
    visit("mse", mse, "weight of the mean squared error", at_least(0));
    visit("gradient", gradient,
          "weight of the mean absolute error of differences along x, y and time", at_least(0));
    visit("kl", kl, "weight of the KL divergence to N(0, 1), in nats a latent number", at_least(0));
    visit("latent_noise_std", latent_noise_std,
          "extra noise on the latents that are decoded, in their batch standard deviations",
          at_least(0));
  }
};

// Scalars, each without its weight; total = sum of weight * part.
struct VaeLoss {
  at::Tensor total, l1, mse, gradient, kl;
};

// pixels and reconstruction [B, 3, T, H, W]. `gradient` is the sum over x, y and time (where T > 1)
// of the mean absolute error of neighbour differences. `kl` is the divergence summed over all
// dimensions but the batch, divided by their number: it does not depend on the size of the clips.
VaeLoss vae_loss(const at::Tensor& pixels, const at::Tensor& reconstruction,
                 const Posterior& posterior, const VaeLossConfig& config);

// mean + exp(logvar / 2) * noise, plus `latent_noise_std` standard deviations of the mean's
// channels of a second noise. The noise is a function of `random` alone.
at::Tensor sample_posterior(const Posterior& posterior, Random random, double latent_noise_std = 0);

// Peak signal-to-noise ratio in dB of each clip [B], on 8-bit frames: both are rounded to 0..255
// first. Equal clips give infinity.
at::Tensor psnr(const at::Tensor& pixels, const at::Tensor& reconstruction);

}  // namespace zoetrope::model
