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

// A 2 x 2 block a b / c d has the details (a + b - c - d) / 2, (a - b + c - d) / 2 and
// (a - b - c + d) / 2.
at::Tensor wavelet_error(const at::Tensor& error_BCTHW) {
  const std::int64_t height = error_BCTHW.size(3), width = error_BCTHW.size(4);
  ZOETROPE_CHECK(height % 2 == 0 && width % 2 == 0, "wavelets of frames of ", width, "x", height,
                 " pixels: sides must be even");
  const at::Tensor blocks = error_BCTHW.flatten(0, 2).unflatten(1, {height / 2, 2});
  const at::Tensor sums = blocks.select(2, 0) + blocks.select(2, 1);
  const at::Tensor differences = blocks.select(2, 0) - blocks.select(2, 1);
  const auto along_x = [&](const at::Tensor& rows) { return rows.unflatten(-1, {width / 2, 2}); };
  const at::Tensor s = along_x(sums), d = along_x(differences);
  const at::Tensor across = s.select(-1, 0) - s.select(-1, 1);
  const at::Tensor down = d.select(-1, 0) + d.select(-1, 1);
  const at::Tensor corners = d.select(-1, 0) - d.select(-1, 1);
  return (across.abs().mean() + down.abs().mean() + corners.abs().mean()) * 0.5;
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

}  // namespace

VaeLoss vae_loss(const at::Tensor& pixels, const at::Tensor& reconstruction,
                 const Posterior& posterior, const VaeLossConfig& config, const Lpips* perceptual,
                 at::ScalarType compute_type) {
  ZOETROPE_CHECK(pixels.dim() == 5 && pixels.sizes() == reconstruction.sizes(), "the VAE made ",
                 reconstruction.sizes(), " of pixels ", pixels.sizes());
  const at::Tensor error_BCTHW = reconstruction.to(at::kFloat) - pixels.to(at::kFloat);
  VaeLoss loss;
  loss.reconstruction = at::zeros({}, error_BCTHW.options());
  const auto add = [](at::Tensor& sum, double weight, at::Tensor& part, const auto& compute) {
    if (weight == 0) return;
    part = compute();
    sum = sum + part * weight;
  };
  at::Tensor& sum = loss.reconstruction;
  add(sum, config.l1, loss.l1, [&] { return error_BCTHW.abs().mean(); });
  add(sum, config.mse, loss.mse, [&] { return error_BCTHW.square().mean(); });
  add(sum, config.gradient, loss.gradient, [&] { return gradient_error(error_BCTHW); });
  add(sum, config.wavelet, loss.wavelet, [&] { return wavelet_error(error_BCTHW); });
  add(sum, config.lpips, loss.lpips, [&] {
    ZOETROPE_CHECK(perceptual != nullptr, "the perceptual loss has no network");
    return perceptual->distance(pixels, reconstruction, compute_type);
  });
  loss.total = sum;
  add(loss.total, config.kl, loss.kl, [&] { return divergence(posterior); });
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

}  // namespace zoetrope::model
