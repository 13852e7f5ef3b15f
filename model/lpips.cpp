// VGG16 in five slices, each ending before a pooling layer; features of every pixel are compared as
// directions.
// B clips, T frames, H height, W width, C channels
#include "model/lpips.h"

#include <array>
#include <map>
#include <string>

#include <ATen/TensorOperators.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/max_pool2d.h>
#include <ATen/ops/relu.h>
#include <ATen/ops/tensor.h>

#include "base/error.h"
#include "model/weights.h"

namespace zoetrope::model {
namespace {

// Places of the convolutions in torchvision's list of layers, and how many each slice has.
constexpr std::array<int, 13> kConvPlaces = {0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28};
constexpr std::array<std::size_t, 5> kSliceConvs = {2, 2, 3, 3, 3};
constexpr std::array<float, 3> kShift = {-0.030f, -0.088f, -0.188f};
constexpr std::array<float, 3> kScale = {0.458f, 0.448f, 0.450f};
constexpr std::int64_t kMinSide = 16;  // four poolings
constexpr double kTiny = 1e-10;

at::Tensor take(const std::map<std::string, at::Tensor>& weights, const std::string& name,
                const std::vector<std::int64_t>& shape, const std::filesystem::path& file) {
  const auto found = weights.find(name);
  ZOETROPE_CHECK_CONFIG(found != weights.end(), "LPIPS weights ", file.string(), " have no ", name);
  const at::Tensor tensor = found->second.to(at::kFloat).contiguous();
  ZOETROPE_CHECK_CONFIG(tensor.sizes() == at::IntArrayRef(shape), "LPIPS weights ", file.string(),
                        ": ", name, " is ", tensor.sizes(), ", not ", at::IntArrayRef(shape));
  return tensor;
}

at::Tensor pooled(const at::Tensor& x_BTHWC) {
  const at::Tensor x_FCHW = x_BTHWC.flatten(0, 1).permute({0, 3, 1, 2});
  const at::Tensor y = at::max_pool2d(x_FCHW, {2, 2}).permute({0, 2, 3, 1}).contiguous();
  return y.view({x_BTHWC.size(0), x_BTHWC.size(1), y.size(1), y.size(2), y.size(3)});
}

at::Tensor direction(const at::Tensor& x_BTHWC) {
  const at::Tensor x = x_BTHWC.to(at::kFloat);
  return x / (at::linalg_vector_norm(x, 2, {-1}, true) + kTiny);
}

}  // namespace

Lpips::Lpips(const std::filesystem::path& safetensors_file) {
  const auto weights = load_tensors(safetensors_file);
  std::int64_t in = 3;
  std::size_t next = 0;
  for (std::size_t slice = 0; slice < kSliceConvs.size(); ++slice) {
    for (std::size_t i = 0; i < kSliceConvs[slice]; ++i) {
      const std::string name = concat("features.", kConvPlaces[next++], ".");
      const auto found = weights.find(name + "bias");
      ZOETROPE_CHECK_CONFIG(found != weights.end(), "LPIPS weights ", safetensors_file.string(),
                            " have no ", name, "bias");
      const std::int64_t out = found->second.numel();
      Conv conv;
      conv.weight = take(weights, name + "weight", {out, in, 3, 3}, safetensors_file);
      conv.bias = take(weights, name + "bias", {out}, safetensors_file);
      convs_.push_back(std::move(conv));
      in = out;
    }
    linear_.push_back(
        take(weights, concat("lin", slice, ".model.1.weight"), {1, in, 1, 1}, safetensors_file)
            .flatten());
  }
}

std::vector<at::Tensor> Lpips::features(const at::Tensor& pixels) const {
  const auto options = pixels.options();
  at::Tensor x_BTHWC = pixels.permute({0, 2, 3, 4, 1});
  x_BTHWC =
      ((x_BTHWC - at::tensor(kShift).to(options)) / at::tensor(kScale).to(options)).contiguous();
  std::vector<at::Tensor> slices;
  std::size_t next = 0;
  for (const std::size_t count : kSliceConvs) {
    if (!slices.empty()) x_BTHWC = pooled(x_BTHWC);
    for (std::size_t i = 0; i < count; ++i) x_BTHWC = at::relu(frame_conv(convs_[next++], x_BTHWC));
    slices.push_back(x_BTHWC);
  }
  return slices;
}

at::Tensor Lpips::distance(const at::Tensor& pixels, const at::Tensor& reconstruction,
                           at::ScalarType compute_type) const {
  ZOETROPE_CHECK(pixels.dim() == 5 && pixels.sizes() == reconstruction.sizes() &&
                     pixels.size(3) >= kMinSide && pixels.size(4) >= kMinSide,
                 "LPIPS of ", reconstruction.sizes(), " against ", pixels.sizes(),
                 ": two equal shapes [B, 3, T, H, W] of at least ", kMinSide, "x", kMinSide,
                 " pixels are needed");
  const auto expected = features(pixels.to(compute_type));
  const auto got = features(reconstruction.to(compute_type));
  at::Tensor total;
  for (std::size_t i = 0; i < got.size(); ++i) {
    const at::Tensor error = (direction(got[i]) - direction(expected[i])).square();
    const at::Tensor mean = (error * linear_[i]).sum(-1).mean();
    total = total.defined() ? total + mean : mean;
  }
  return total;
}

}  // namespace zoetrope::model
