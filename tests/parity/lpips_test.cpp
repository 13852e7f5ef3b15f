// LPIPS against a torch reference on random weights. golden/make_lpips_golden.py wrote the files.
#include "model/lpips.h"

#include <gtest/gtest.h>

#include <filesystem>

#include <ATen/TensorOperators.h>

#include "base/error.h"
#include "model/weights.h"

namespace zoetrope::model {
namespace {

const std::filesystem::path kFolder =
    std::filesystem::path(ZOETROPE_TEST_FOLDER) / "golden" / "lpips";

double relative(const at::Tensor& got, const at::Tensor& expected) {
  return ((got - expected).norm() / expected.norm()).item<double>();
}

TEST(LpipsParity, DistanceAndGradientEqualTheReference) {
  const Lpips lpips(kFolder / "vgg_tiny.safetensors");
  const auto golden = load_tensors(kFolder / "case.safetensors");
  const at::Tensor reconstruction = golden.at("reconstruction").clone().requires_grad_();
  const at::Tensor distance = lpips.distance(golden.at("pixels"), reconstruction, at::kFloat);
  distance.backward();
  EXPECT_LT(relative(distance.detach(), golden.at("distance")[0]), 1e-5);
  EXPECT_LT(relative(reconstruction.grad(), golden.at("gradient")), 1e-4);
  const at::Tensor coarse =
      lpips.distance(golden.at("pixels"), golden.at("reconstruction"), at::kBFloat16);
  EXPECT_LT(relative(coarse, golden.at("distance")[0]), 0.05);
  EXPECT_EQ(lpips.distance(golden.at("pixels"), golden.at("pixels"), at::kFloat).item<double>(), 0);
}

TEST(LpipsParity, RefusesFilesAndPicturesThatDoNotFit) {
  EXPECT_THROW(Lpips(kFolder / "case.safetensors"), ConfigError);
  const Lpips lpips(kFolder / "vgg_tiny.safetensors");
  const at::Tensor pixels = load_tensors(kFolder / "case.safetensors").at("pixels");
  EXPECT_THROW(lpips.distance(pixels, pixels.narrow(2, 0, 1), at::kFloat), Error);
  const at::Tensor narrow = pixels.narrow(4, 0, 8);
  EXPECT_THROW(lpips.distance(narrow, narrow, at::kFloat), Error);
}

}  // namespace
}  // namespace zoetrope::model
