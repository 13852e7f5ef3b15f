// The VAE against diffusers' AutoencoderKLWan (chunked, cached) on tiny random models: moments,
// pixels and gradients. golden/make_vae_golden.py wrote the files.
#include "model/vae.h"

#include <gtest/gtest.h>

#include <map>
#include <string>

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>

#include "model/vae_stream.h"
#include "model/weights.h"

namespace zoetrope::model {
namespace {

class VaeParity : public testing::TestWithParam<std::string> {
 protected:
  VaeParity()
      : folder_(std::filesystem::path(ZOETROPE_TEST_FOLDER) / "golden" / GetParam()),
        vae_(load_vae(folder_, at::kCPU)),
        cases_(load_tensors(folder_ / "cases.safetensors")) {}

  const at::Tensor& golden(const std::string& name) const { return cases_.at(name); }

  // Relative to the norm of the expected tensor.
  void expect_close(const at::Tensor& got, const std::string& name, double tolerance) const {
    const at::Tensor& expected = golden(name);
    ASSERT_EQ(got.sizes(), expected.sizes()) << name;
    const double error = (got - expected).norm().item<double>();
    const double norm = expected.norm().item<double>();
    EXPECT_LE(error, tolerance * norm) << name << ": relative error " << error / norm;
  }

  void expect_gradients(const std::string& call, const std::string& input_name,
                        const at::Tensor& input) {
    int num_compared = 0;
    expect_close(input.grad(), call + ".grad." + input_name, 1e-4);
    for (const auto& [name, parameter] : vae_->named_parameters()) {
      const std::string key = call + ".grad." + name;
      EXPECT_EQ(parameter.grad().defined(), cases_.contains(key)) << key;
      if (!parameter.grad().defined() || !cases_.contains(key)) continue;
      expect_close(parameter.grad(), key, 1e-3);
      ++num_compared;
    }
    EXPECT_GT(num_compared, 30);
  }

  std::filesystem::path folder_;
  std::unique_ptr<Vae> vae_;
  std::map<std::string, at::Tensor> cases_;
};

TEST_P(VaeParity, EncodesLikeDiffusers) {
  const at::NoGradGuard no_grad;
  for (const std::string frames : {"1", "5", "9"}) {
    const Posterior posterior = vae_->encode(golden("pixels." + frames));
    expect_close(posterior.mean, "latent_mean." + frames, 1e-5);
    expect_close(posterior.logvar, "latent_logvar." + frames, 1e-5);
  }
}

TEST_P(VaeParity, DecodesLikeDiffusers) {
  const at::NoGradGuard no_grad;
  for (const std::string frames : {"1", "5", "9"}) {
    expect_close(vae_->decode(golden("latent." + frames)), "decoded." + frames, 1e-5);
  }
}

TEST_P(VaeParity, ChunksEqualDiffusers) {
  VaeStream stream(*vae_, {});
  const at::Tensor &pixels = golden("pixels.9"), &latent = golden("latent.9");
  std::vector<at::Tensor> means, frames;
  for (std::int64_t i = 0; i < 3; ++i) {  // one latent frame at a time
    means.push_back(stream.encode(pixels.narrow(2, i == 0 ? 0 : 4 * i - 3, i == 0 ? 1 : 4)));
    frames.push_back(stream.decode(latent.narrow(2, i, 1)));
  }
  expect_close(at::cat(means, 2), "latent_mean.9", 1e-5);
  expect_close(at::cat(frames, 2), "decoded.9", 1e-5);
}

TEST_P(VaeParity, EncoderGradientsEqualDiffusers) {
  vae_->set_requires_grad(true);
  const at::Tensor pixels = golden("pixels.5").clone().set_requires_grad(true);
  const Posterior posterior = vae_->encode(pixels);
  const at::Tensor total = (posterior.mean * golden("encode.cotangent_mean")).sum() +
                           (posterior.logvar * golden("encode.cotangent_logvar")).sum();
  total.backward();
  expect_gradients("encode", "pixels", pixels);
}

TEST_P(VaeParity, DecoderGradientsEqualDiffusers) {
  vae_->set_requires_grad(true);
  const at::Tensor latent = golden("latent.5").clone().set_requires_grad(true);
  (vae_->decode(latent) * golden("decode.cotangent")).sum().backward();
  expect_gradients("decode", "latent", latent);
}

TEST_P(VaeParity, StaysCloseInBf16) {
  const at::NoGradGuard no_grad;
  vae_->to(at::kCPU, at::kBFloat16);
  expect_close(vae_->encode(golden("pixels.9")).mean, "latent_mean.9", 0.05);
  expect_close(vae_->decode(golden("latent.9")), "decoded.9", 0.05);
}

INSTANTIATE_TEST_SUITE_P(BothKinds, VaeParity, testing::Values("vae_tiny_21", "vae_tiny_22"),
                         [](const auto& kind) { return kind.param; });

}  // namespace
}  // namespace zoetrope::model
