// What the VAE is trained on: reconstruction, sharpness, looks, and a small pull of the posterior
// towards N(0, 1).
#pragma once

#include <ATen/core/Tensor.h>

#include "base/config.h"
#include "base/random.h"
#include "model/lpips.h"
#include "model/vae.h"

namespace zoetrope::model {

struct VaeLossConfig {
  double l1 = 1;
  double mse = 1;
  double gradient = 0.5;
  double wavelet = 0;
  double lpips = 0;
  double kl = 1e-4;
  double latent_noise_std = 0;
  template <class Visitor>
  void visit_fields(Visitor& visit) {
    visit("l1", l1, "weight of the mean absolute error of pixels in -1..1", at_least(0));
    visit("mse", mse, "weight of the mean squared error", at_least(0));
    visit("gradient", gradient,
          "weight of the mean absolute error of differences along x, y and time", at_least(0));
    visit("wavelet", wavelet,
          "weight of the mean absolute error of the Haar coefficients of edges and corners",
          at_least(0));
    visit("lpips", lpips, "weight of the perceptual distance; needs vae.lpips_weights",
          at_least(0));
    visit("kl", kl, "weight of the KL divergence to N(0, 1), in nats a latent number", at_least(0));
    visit("latent_noise_std", latent_noise_std,
          "extra noise on the latents that are decoded, in their batch standard deviations",
          at_least(0));
  }
};

// Scalars. Parts come without their weights, those of weight 0 are undefined; total = sum of
// weight * part, and reconstruction is the total without the divergence.
struct VaeLoss {
  at::Tensor total, reconstruction;
  at::Tensor l1, mse, gradient, wavelet, lpips, kl;
};

// pixels and reconstruction [B, 3, T, H, W]. `gradient` is the sum over x, y and time (where T > 1)
// of the mean absolute error of neighbour differences. `wavelet` is the same over the three detail
// bands of one level of the orthonormal Haar transform of each frame (H and W even). `lpips` needs
// `perceptual`, which runs in `compute_type`. `kl` is the divergence summed over all
// dimensions but the batch, divided by their number: it does not depend on the size of the clips.
VaeLoss vae_loss(const at::Tensor& pixels, const at::Tensor& reconstruction,
                 const Posterior& posterior, const VaeLossConfig& config,
                 const Lpips* perceptual = nullptr, at::ScalarType compute_type = at::kFloat);

// mean + exp(logvar / 2) * noise, plus `latent_noise_std` standard deviations of the mean's
// channels of a second noise. The noise is a function of `random` alone.
at::Tensor sample_posterior(const Posterior& posterior, Random random, double latent_noise_std = 0);

}  // namespace zoetrope::model
