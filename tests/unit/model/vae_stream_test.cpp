// Chunks equal whole clips, tiles come close, and memory does not grow with the length of a clip.
#include "model/vae_stream.h"

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <string>

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>

#include "base/error.h"
#include "base/files.h"
#include "base/random.h"
#include "tests/unit/model/vae_fixture.h"

namespace zoetrope::model {
namespace {

std::vector<std::uint8_t> random_frames(std::int64_t bytes) {
  std::vector<std::uint8_t> frames(static_cast<std::size_t>(bytes));
  Random random(5, Purpose::kTest);
  for (auto& byte : frames) byte = static_cast<std::uint8_t>(random.next_u32());
  return frames;
}

// A smooth picture that moves: sums of waves.
at::Tensor waves(std::int64_t frames, std::int64_t height, std::int64_t width) {
  at::Tensor pixels = at::empty({1, 3, frames, height, width});
  float* value = pixels.mutable_data_ptr<float>();
  for (int c = 0; c < 3; ++c) {
    for (int t = 0; t < frames; ++t) {
      for (int y = 0; y < height; ++y) {
        for (int x = 0; x < width; ++x) {
          *value++ = static_cast<float>(0.5 * std::sin(0.11 * x + 0.07 * y * (c + 1) + 0.3 * t) +
                                        0.4 * std::cos(0.05 * (x - y) + c));
        }
      }
    }
  }
  return pixels;
}

double psnr(const at::Tensor& a, const at::Tensor& b) {
  return 10 * std::log10(4 / (a - b).square().mean().item<double>());
}

std::int64_t memory_kib(const std::string& field) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with(field + ":")) return std::stoll(line.substr(field.size() + 1));
  }
  return 0;
}

class VaeStreamKinds : public testing::TestWithParam<bool> {};
INSTANTIATE_TEST_SUITE_P(Both, VaeStreamKinds, testing::Values(false, true),
                         [](const auto& kind) { return kind.param ? "wan_22" : "wan_21"; });

TEST_P(VaeStreamKinds, AnyChunksEqualTheWholeClip) {
  const at::NoGradGuard no_grad;
  Vae vae = tiny_vae(GetParam());
  const std::int64_t stride = vae.config().space_stride();
  const at::Tensor pixels = random_tensor({2, 3, 25, 2 * stride, stride});
  const at::Tensor mean = vae.encode(pixels).mean, decoded = vae.decode(mean);
  const std::vector<std::vector<std::int64_t>> all_chunks = {
      {1, 1, 1, 1, 1, 1, 1}, {1, 2, 3, 1}, {3, 4}, {2, 1, 1, 3}, {7}};
  for (const auto& chunks : all_chunks) {
    VaeStream stream(vae, {});
    std::vector<at::Tensor> latents, frames;
    std::int64_t frame = 0, latent = 0;
    for (const std::int64_t chunk : chunks) {
      const std::int64_t count = 4 * chunk - (frame == 0 ? 3 : 0);
      latents.push_back(stream.encode(pixels.narrow(2, frame, count)));
      frames.push_back(stream.decode(mean.narrow(2, latent, chunk)));
      EXPECT_EQ(frames.back().size(2), count);
      frame += count;
      latent += chunk;
    }
    EXPECT_LT(largest(at::cat(latents, 2) - mean), 1e-5);
    EXPECT_LT(largest(at::cat(frames, 2) - decoded), 1e-5);
  }
}

TEST_P(VaeStreamKinds, FramesGoThroughInChunksOfTheConfig) {
  const at::NoGradGuard no_grad;
  Vae vae = tiny_vae(GetParam());
  const std::int64_t side = 2 * vae.config().space_stride();
  const auto rgb = random_frames(17 * side * side * 3);
  const at::Tensor whole = vae.encode(pixels_from_rgb(rgb.data(), 17, side, side)).mean;
  std::vector<std::uint8_t> expected(rgb.size());
  rgb_from_pixels(vae.decode(whole), expected.data());
  for (const std::int64_t chunk : {1, 2, 3, 100}) {
    const at::Tensor latents = encode_frames(vae, rgb.data(), 17, side, side, {.chunk = chunk});
    EXPECT_LT(largest(latents - whole), 1e-5);
    std::vector<std::uint8_t> decoded(rgb.size());
    decode_frames(vae, whole, {.chunk = chunk}, decoded.data());
    int most = 0;
    for (std::size_t i = 0; i < decoded.size(); ++i)
      most = std::max(most, std::abs(decoded[i] - expected[i]));
    EXPECT_LE(most, 1);  // where rounding to 8 bits falls the other way
  }
}

TEST_P(VaeStreamKinds, Bf16ChunksStayCloseToFp32) {
  Vae vae = tiny_vae(GetParam());
  const std::int64_t stride = vae.config().space_stride();
  const at::Tensor pixels = random_tensor({1, 3, 9, 2 * stride, stride}).clamp(-1, 1);
  const auto run = [&](at::ScalarType type) {
    VaeStream stream(vae, {.compute_type = type});
    const at::Tensor first = stream.encode(pixels.narrow(2, 0, 1));
    return at::cat({first, stream.encode(pixels.narrow(2, 1, 8))}, 2);
  };
  const at::Tensor exact = run(at::kFloat), coarse = run(at::kBFloat16);
  EXPECT_LT(largest(exact - coarse), 0.1 * largest(exact));
  EXPECT_GT(largest(exact - coarse), 0);
}

TEST(VaeStream, LongClipsTakeNoMoreMemoryThanShortOnes) {
  Vae vae = tiny_vae(true);
  VaeStream stream(vae, {});
  const at::Tensor first = random_tensor({1, 3, 1, 128, 128}),
                   later = random_tensor({1, 3, 4, 128, 128});
  std::int64_t frames = 0, peak_of_short = 0;
  for (int chunk = 0; chunk <= 240; ++chunk) {
    frames += stream.decode(stream.encode(chunk == 0 ? first : later)).size(2);
    if (chunk == 10) peak_of_short = memory_kib("VmHWM");
  }
  EXPECT_EQ(frames, 961);
  // One activation of the whole clip would be 60 MiB, and several live at once.
  EXPECT_LT(memory_kib("VmHWM") - peak_of_short, 16 << 10);
  ASSERT_GT(peak_of_short, 0);
}

TEST(VaeStream, TilesOfTheShippedVaeComeClose) {
  const auto vae = load_vae(find_weights("vae_small"), at::kCPU);
  const at::Tensor pixels = waves(9, 96, 160);
  const VaeRunConfig in_tiles{.tile = 64, .tile_overlap = 32};
  VaeStream whole(*vae, {}), tiled(*vae, in_tiles), chunked(*vae, in_tiles);
  const at::Tensor mean = whole.encode(pixels);
  const at::Tensor tiled_mean = tiled.encode(pixels);
  EXPECT_GT(largest(tiled_mean - mean), 1e-4);  // the tiles are there
  const at::Tensor decoded = whole.decode(mean);
  EXPECT_GE(psnr(tiled.decode(mean), decoded), 40);
  VaeStream again(*vae, {});
  EXPECT_GE(psnr(again.decode(tiled_mean), decoded), 40);
  // Each tile has a history of its own.
  const at::Tensor in_chunks =
      at::cat({chunked.encode(pixels.narrow(2, 0, 1)), chunked.encode(pixels.narrow(2, 1, 8))}, 2);
  EXPECT_LT(largest(in_chunks - tiled_mean), 1e-4);
}

TEST(VaeStream, BlendingMovesResultsFromOneTileToTheNextWithoutASeam) {
  const auto vae = load_vae(find_weights("vae_small"), at::kCPU);
  const at::Tensor latents = VaeStream(*vae, {}).encode(waves(1, 64, 192));
  const auto seam = [&](std::int64_t overlap) {  // the largest step along x that waves do not have
    const at::Tensor exact = VaeStream(*vae, {}).decode(latents);
    const at::Tensor error =
        VaeStream(*vae, {.tile = 64, .tile_overlap = overlap}).decode(latents) - exact;
    return largest(error.narrow(4, 1, 191) - error.narrow(4, 0, 191));
  };
  EXPECT_LT(seam(32), 0.7 * seam(0));
}

TEST(VaeStream, RefusesTilesThatDoNotFit) {
  Vae vae = tiny_vae(true);
  EXPECT_THROW(VaeStream(vae, {.tile = 60}), ConfigError);
  EXPECT_THROW(VaeStream(vae, {.tile = 64, .tile_overlap = 4}), ConfigError);
  EXPECT_THROW(VaeStream(vae, {.tile = 64, .tile_overlap = 64}), ConfigError);
  EXPECT_THROW(VaeStream(vae, {.chunk = 0}), ConfigError);
  VaeStream stream(vae, {});
  EXPECT_THROW(stream.encode(random_tensor({1, 3, 4, 8, 8})), ConfigError);
  VaeStream second(vae, {});
  second.encode(random_tensor({1, 3, 1, 8, 8}));
  EXPECT_THROW(second.encode(random_tensor({1, 3, 5, 8, 8})), ConfigError);
}

}  // namespace
}  // namespace zoetrope::model
