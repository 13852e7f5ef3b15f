// Loss terms in fp32, differentiable in reconstruction and posterior.
#include "model/vae_loss.h"

#include <span>

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

#include "base/error.h"

namespace zoetrope::model {
namespace {

at::Tensor difference(const at::Tensor& x, std::int64_t dim) {
  const std::int64_t last = x.size(dim) - 1;
  return x.narrow(dim, 1, last) - x.narrow(dim, 0, last);
}

// Differences are linear: that of the error is the error of the differences.
at::Tensor gradient_error(const at::Tensor& error_BCTHW) {
  at::Tensor total = at::zeros({}, error_BCTHW.options());
  for (const std::int64_t dim : {2, 3, 4}) {
    if (error_BCTHW.size(dim) > 1) total = total + difference(error_BCTHW, dim).abs().mean();
  }
  return total;
}

at::Tensor divergence(const Posterior& posterior) {
  return (posterior.mean.square() + posterior.logvar.exp() - 1 - posterior.logvar).mean() * 0.5;
}

at::Tensor noise_like(const at::Tensor& x, Random& random) {
  at::Tensor noise = at::empty(x.sizes(), at::TensorOptions().dtype(at::kFloat));
  random.fill_normal(
      std::span<float>(noise.mutable_data_ptr<float>(), static_cast<std::size_t>(noise.numel())));
  return noise.to(x.device(), x.scalar_type());
}

at::Tensor to_8_bit(const at::Tensor& pixels) {
  return pixels.detach().to(at::kDouble).add(1).mul(127.5).round().clamp(0, 255);
}

}  // namespace

VaeLoss vae_loss(const at::Tensor& pixels, const at::Tensor& reconstruction,
                 const Posterior& posterior, const VaeLossConfig& config) {
  ZOETROPE_CHECK(pixels.dim() == 5 && pixels.sizes() == reconstruction.sizes(), "the VAE made ",
                 reconstruction.sizes(), " of pixels ", pixels.sizes());
  const at::Tensor error_BCTHW = reconstruction.to(at::kFloat) - pixels.to(at::kFloat);
  VaeLoss loss;
  loss.l1 = error_BCTHW.abs().mean();
  loss.mse = error_BCTHW.square().mean();
  loss.gradient = gradient_error(error_BCTHW);
  loss.kl = divergence(posterior);
  loss.total = loss.l1 * config.l1 + loss.mse * config.mse + loss.gradient * config.gradient +
               loss.kl * config.kl;
  return loss;
}

at::Tensor sample_posterior(const Posterior& posterior, Random random, double latent_noise_std) {
  const at::Tensor& mean = posterior.mean;
  at::Tensor z = mean + (posterior.logvar * 0.5).exp() * noise_like(mean, random);
  if (latent_noise_std > 0) {
    const at::Tensor spread = mean.detach().std({0, 2, 3, 4}, false, true);
    z = z + spread * latent_noise_std * noise_like(mean, random);
  }
  return z;
}

at::Tensor psnr(const at::Tensor& pixels, const at::Tensor& reconstruction) {
  ZOETROPE_CHECK(pixels.dim() == 5 && pixels.sizes() == reconstruction.sizes(), "PSNR of ",
                 reconstruction.sizes(), " against ", pixels.sizes());
  const at::Tensor mse_B =
      (to_8_bit(pixels) - to_8_bit(reconstruction)).square().mean({1, 2, 3, 4});
  return (mse_B.reciprocal() * (255.0 * 255.0)).log10() * 10;
}

}  // namespace zoetrope::model
