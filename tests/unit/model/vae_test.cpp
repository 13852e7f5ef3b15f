// The VAE's promises that need no reference: causality, sizes, statistics, files, frames.
#include "model/vae.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <map>

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>

#include "base/error.h"
#include "base/random.h"
#include "tests/unit/model/vae_fixture.h"

namespace zoetrope::model {
namespace {

VaeConfig wan_22_config() {
  VaeConfig config;
  config.base_dim = 160;
  config.decoder_base_dim = 256;
  config.z_dim = 48;
  config.is_residual = true;
  config.patch_size = 2;
  return config;
}

std::size_t num_tensors(Vae& vae) {
  return vae.named_parameters().size();
}

class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "vae_test_XXXXXX").string();
    path_ = mkdtemp(pattern.data());
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

class VaeKinds : public testing::TestWithParam<bool> {};
INSTANTIATE_TEST_SUITE_P(Both, VaeKinds, testing::Values(false, true),
                         [](const auto& kind) { return kind.param ? "wan_22" : "wan_21"; });

TEST(Vae, HasThePublishedParameterCounts) {
  Vae wan_21(VaeConfig{}, at::kMeta);
  EXPECT_EQ(wan_21.num_parameters(), 126892531);
  EXPECT_EQ(num_tensors(wan_21), 194u);
  Vae wan_22(wan_22_config(), at::kMeta);
  EXPECT_NEAR(static_cast<double>(wan_22.num_parameters()), 704.7e6, 0.05e6);
  EXPECT_EQ(wan_22.config().space_stride(), 16);
  EXPECT_EQ(wan_22.config().time_stride(), 4);
}

TEST_P(VaeKinds, MapsFramesAndPixelsByItsStrides) {
  const at::NoGradGuard no_grad;
  Vae vae = tiny_vae(GetParam());
  const std::int64_t stride = vae.config().space_stride();
  for (const std::int64_t frames : {1, 5, 9, 17}) {
    const Posterior posterior = vae.encode(random_tensor({2, 3, frames, 2 * stride, 3 * stride}));
    const std::vector<std::int64_t> latent = {2, 3, 1 + (frames - 1) / 4, 2, 3};
    EXPECT_EQ(posterior.mean.sizes(), at::IntArrayRef(latent));
    EXPECT_EQ(posterior.logvar.sizes(), at::IntArrayRef(latent));
    const std::vector<std::int64_t> pixels = {2, 3, frames, 2 * stride, 3 * stride};
    EXPECT_EQ(vae.decode(posterior.mean).sizes(), at::IntArrayRef(pixels));
  }
}

TEST_P(VaeKinds, NeverLooksAhead) {
  const at::NoGradGuard no_grad;
  Vae vae = tiny_vae(GetParam());
  const std::int64_t stride = vae.config().space_stride();
  const at::Tensor pixels = random_tensor({1, 3, 9, stride, 2 * stride});
  at::Tensor edited = pixels.clone();
  edited.narrow(2, 5, 4).neg_();  // frames 5.. belong to latent frame 2
  const at::Tensor before = vae.encode(pixels).mean, after = vae.encode(edited).mean;
  EXPECT_LT(largest((before - after).narrow(2, 0, 2)), 1e-6);
  EXPECT_GT(largest((before - after).narrow(2, 2, 1)), 1e-3);

  at::Tensor edited_latent = before.clone();
  edited_latent.narrow(2, 2, 1).neg_();
  const at::Tensor difference = vae.decode(before, false) - vae.decode(edited_latent, false);
  EXPECT_LT(largest(difference.narrow(2, 0, 5)), 1e-6);
  EXPECT_GT(largest(difference.narrow(2, 5, 4)), 1e-3);
}

TEST_P(VaeKinds, ShorterClipsArePrefixesInLatentSpace) {
  const at::NoGradGuard no_grad;
  Vae vae = tiny_vae(GetParam());
  const std::int64_t stride = vae.config().space_stride();
  const at::Tensor pixels = random_tensor({1, 3, 9, stride, stride});
  const at::Tensor whole = vae.encode(pixels).mean;
  for (const std::int64_t frames : {1, 5}) {
    const at::Tensor part = vae.encode(pixels.narrow(2, 0, frames)).mean;
    EXPECT_LT(largest(part - whole.narrow(2, 0, part.size(2))), 1e-5);
  }
}

TEST_P(VaeKinds, TrainsInBf16LikeInFp32) {
  Vae vae = tiny_vae(GetParam());
  vae.set_requires_grad(true);
  const std::int64_t stride = vae.config().space_stride();
  const at::Tensor pixels = random_tensor({1, 3, 5, 2 * stride, 2 * stride}).clamp(-1, 1);
  std::map<at::ScalarType, at::Tensor> decoded, gradient;
  for (const at::ScalarType type : {at::kFloat, at::kBFloat16}) {
    decoded[type] = vae.decode(vae.encode(pixels, type).mean, false, type);
    EXPECT_EQ(decoded[type].scalar_type(), at::kFloat);
    decoded[type].square().mean().backward();
    at::Tensor& bias = vae.named_parameters().back().second;
    gradient[type] = bias.grad().clone();
    EXPECT_EQ(gradient[type].scalar_type(), at::kFloat);
    for (const auto& named : vae.named_parameters())
      at::Tensor(named.second).mutable_grad().reset();
  }
  const auto relative = [](const std::map<at::ScalarType, at::Tensor>& of) {
    return ((of.at(at::kBFloat16) - of.at(at::kFloat)).norm() / of.at(at::kFloat).norm())
        .item<double>();
  };
  EXPECT_LT(relative(decoded), 0.1);
  EXPECT_LT(relative(gradient), 0.1);
}

TEST_P(VaeKinds, InitialWeightsDependOnTheSeedAlone) {
  Vae first = tiny_vae(GetParam()), second = tiny_vae(GetParam()),
      third(tiny_config(GetParam()), at::kCPU);
  third.init_weights(2);
  const auto a = first.named_parameters(), b = second.named_parameters(),
             c = third.named_parameters();
  bool any_differs = false;
  for (std::size_t i = 0; i < a.size(); ++i) {
    EXPECT_TRUE(a[i].second.equal(b[i].second)) << a[i].first;
    any_differs = any_differs || !a[i].second.equal(c[i].second);
  }
  EXPECT_TRUE(any_differs);
}

TEST_P(VaeKinds, SavesAndLoadsExactly) {
  const at::NoGradGuard no_grad;
  Vae vae = tiny_vae(GetParam());
  vae.set_latent_statistics({0.5, -1, 2}, {1, 2, 0.25});
  const TemporaryFolder folder;
  save_vae(vae, folder.path(), at::kFloat);
  const std::unique_ptr<Vae> loaded = load_vae(folder.path(), at::kCPU);
  EXPECT_EQ(vae_config_to_json(loaded->config()), vae_config_to_json(vae.config()));
  const at::Tensor latent = random_tensor({1, 3, 2, 2, 1});
  EXPECT_TRUE(vae.decode(latent).equal(loaded->decode(latent)));
  EXPECT_TRUE(vae.normalise(latent).equal(loaded->normalise(latent)));
}

TEST(Vae, RefusesSizesItCannotEncodeWithTheNumbers) {
  Vae vae = tiny_vae(true);
  const auto message = [&](const std::vector<std::int64_t>& shape) -> std::string {
    try {
      vae.encode(random_tensor(shape));
    } catch (const ConfigError& error) {
      return error.what();
    }
    return "accepted";
  };
  EXPECT_EQ(message({1, 3, 6, 16, 16}),
            "a clip of 6 frames does not fit the VAE: the count must be 1 + a multiple of 4");
  EXPECT_EQ(message({1, 3, 5, 16, 20}),
            "a clip of 20x16 pixels does not fit the VAE: width and height must be multiples of 8");
  EXPECT_EQ(message({1, 4, 5, 16, 16}),
            "the VAE encodes pixels [B, 3, T, H, W], not [1, 4, 5, 16, 16]");
  EXPECT_THROW(vae.decode(random_tensor({1, 4, 1, 2, 2})), ConfigError);
}

TEST(Vae, NormalisingIsUndoneByDenormalising) {
  Vae vae = tiny_vae(false);
  const at::Tensor latent = random_tensor({2, 3, 2, 2, 2});
  EXPECT_TRUE(vae.normalise(latent).equal(latent));
  vae.set_latent_statistics({0.5, -1, 2}, {1, 2, 0.25});
  const at::Tensor normalised = vae.normalise(latent);
  const float expected = (latent[1][2][0][1][0].item<float>() - 2) / 0.25f;
  EXPECT_FLOAT_EQ(normalised[1][2][0][1][0].item<float>(), expected);
  EXPECT_LT(largest(vae.denormalise(normalised) - latent), 1e-6);
  EXPECT_THROW(vae.set_latent_statistics({1, 2}, {1, 1}), ConfigError);
  EXPECT_THROW(vae.set_latent_statistics({1, 2, 3}, {1, 0, 1}), ConfigError);
}

TEST(Vae, FramesSurviveThePixelRange) {
  std::vector<std::uint8_t> frames(2 * 8 * 16 * 3);
  for (std::size_t i = 0; i < frames.size(); ++i) frames[i] = static_cast<std::uint8_t>(i);
  const at::Tensor pixels = pixels_from_rgb(frames.data(), 2, 8, 16);
  EXPECT_EQ(pixels.sizes(), at::IntArrayRef({1, 3, 2, 8, 16}));
  EXPECT_EQ(pixels.min().item<float>(), -1.0f);
  EXPECT_EQ(pixels.max().item<float>(), 1.0f);
  std::vector<std::uint8_t> back(frames.size());
  rgb_from_pixels(pixels, back.data());
  EXPECT_EQ(back, frames);
  rgb_from_pixels(pixels * 3, back.data());  // out of range: clamped, not wrapped
  EXPECT_EQ(back[0], 0);
  EXPECT_EQ(back[255], 255);
}

TEST(HeadBypass, OfZerosChangesNothingAndComesBackFromFiles) {
  const at::NoGradGuard no_grad;
  VaeConfig config = tiny_config(true);
  Vae plain(config, at::kCPU);
  plain.init_weights(1);
  config.head_bypass = true;
  Vae with_bypass(config, at::kCPU);
  EXPECT_EQ(num_tensors(with_bypass), num_tensors(plain) + 4);
  std::map<std::string, at::Tensor> weights;
  for (const auto& [name, tensor] : plain.named_parameters()) weights[name] = tensor;
  with_bypass.visit_parameters("", [&](const std::string& name, at::Tensor& parameter) {
    if (weights.contains(name)) {
      parameter.copy_(weights.at(name));
    } else {
      EXPECT_NE(name.find("bypass."), std::string::npos) << name;
      parameter.zero_();
    }
  });
  const at::Tensor pixels = random_tensor({1, 3, 5, 16, 32});
  const at::Tensor mean = plain.encode(pixels).mean;
  EXPECT_EQ(largest(with_bypass.encode(pixels).mean - mean), 0);
  EXPECT_EQ(largest(with_bypass.decode(mean) - plain.decode(mean)), 0);

  with_bypass.init_weights(2);
  EXPECT_GT(largest(with_bypass.encode(pixels).mean - mean), 0);
  EXPECT_EQ(vae_config_from_json(vae_config_to_json(config)).head_bypass, true);
  EXPECT_FALSE(vae_config_to_json(tiny_config(true)).contains("head_bypass"));
}

}  // namespace
}  // namespace zoetrope::model
