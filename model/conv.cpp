// Activations travel as [B, T, H, W, C]; torch's convolutions see them as permuted views, which are
// its channels-last formats, so nothing is copied on the way in or out.
#include "model/conv.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/conv2d.h>
#include <ATen/ops/conv3d.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/mkldnn_convolution.h>
#include <ATen/ops/upsample_nearest2d.h>

#include "model/linear.h"
#include "model/winograd.h"

namespace zoetrope::model {
namespace {

// B clips, T frames, H height, W width, C channels, F = B T frames of all clips

at::Tensor for_products(const at::Tensor& x) {
  return x.to(product_type(x));
}
at::Tensor weight_like(const Conv& conv, const at::Tensor& x) {
  return conv.weight.to(x.scalar_type());
}
at::Tensor bias_like(const Conv& conv, const at::Tensor& x) {
  return conv.bias.to(x.scalar_type());
}

// LibTorch keeps a single fp32 clip of up to 20,480 = B C T H numbers away from oneDNN: 15 times
// slower.
bool is_kept_from_onednn(const at::Tensor& x_BCTHW) {
  return x_BCTHW.device().is_cpu() && x_BCTHW.scalar_type() == at::kFloat && x_BCTHW.size(0) == 1 &&
         x_BCTHW.size(1) * x_BCTHW.size(2) * x_BCTHW.size(3) <= 20480;
}

bool is_for_inference(const at::Tensor& x) {
  return !at::GradMode::is_enabled() && !x.requires_grad();
}

at::Tensor frames_as_images(const at::Tensor& x_BTHWC) {
  return x_BTHWC.reshape({-1, x_BTHWC.size(2), x_BTHWC.size(3), x_BTHWC.size(4)})
      .permute({0, 3, 1, 2});
}

at::Tensor images_as_frames(const at::Tensor& x_FCHW, std::int64_t clips) {
  return x_FCHW.permute({0, 2, 3, 1})
      .contiguous()
      .view({clips, x_FCHW.size(0) / clips, x_FCHW.size(2), x_FCHW.size(3), x_FCHW.size(1)});
}

}  // namespace

Conv::Conv(std::int64_t in, std::int64_t out, const std::vector<std::int64_t>& kernel,
           at::Device device) {
  const auto options = at::TensorOptions().dtype(at::kFloat).device(device);
  std::vector<std::int64_t> shape = {out, in};
  shape.insert(shape.end(), kernel.begin(), kernel.end());
  weight = at::empty(shape, options);
  bias = at::empty({out}, options);
}

void Conv::visit_parameters(const std::string& prefix, const ParameterVisitor& visit) {
  visit(prefix + "weight", weight);
  visit(prefix + "bias", bias);
}

at::Tensor causal_conv(const Conv& conv, const at::Tensor& padded_BTHWC) {
  if (is_for_inference(padded_BTHWC) && winograd_pays(conv, padded_BTHWC))
    return winograd_conv(conv, padded_BTHWC);
  const at::Tensor x_BCTHW = for_products(padded_BTHWC).permute({0, 4, 1, 2, 3});
  const at::Tensor weight = weight_like(conv, x_BCTHW), bias = bias_like(conv, x_BCTHW);
  at::Tensor y_BCTHW;
  if (!is_kept_from_onednn(x_BCTHW)) {
    y_BCTHW = at::conv3d(x_BCTHW, weight, bias, {1, 1, 1}, {0, 1, 1});
  } else if (at::GradMode::is_enabled() && (x_BCTHW.requires_grad() || weight.requires_grad())) {
    // The backward picks its kernel by the same rule, so the clip goes in twice: still 7 times
    // faster.
    y_BCTHW =
        at::conv3d(at::cat({x_BCTHW, x_BCTHW}), weight, bias, {1, 1, 1}, {0, 1, 1}).narrow(0, 0, 1);
  } else {
    y_BCTHW = at::mkldnn_convolution(x_BCTHW, weight, bias, {0, 1, 1}, {1, 1, 1}, {1, 1, 1}, 1);
  }
  return y_BCTHW.permute({0, 2, 3, 4, 1}).to(padded_BTHWC.scalar_type()).contiguous();
}

at::Tensor with_front_frames(const at::Tensor& x_BTHWC, std::int64_t frames) {
  return at::constant_pad_nd(x_BTHWC, {0, 0, 0, 0, 0, 0, frames, 0});
}

at::Tensor pointwise_conv(const Conv& conv, const at::Tensor& x_BTHWC) {
  return linear(x_BTHWC, conv.weight.view({conv.weight.size(0), conv.weight.size(1)}), conv.bias);
}

at::Tensor time_conv(const Conv& conv, const at::Tensor& x_BTHWC, std::int64_t stride) {
  const std::int64_t clips = x_BTHWC.size(0), height = x_BTHWC.size(2), width = x_BTHWC.size(3);
  // As an image of T rows and H W columns: oneDNN's 2-D kernels.
  const at::Tensor x_BCTP = for_products(x_BTHWC)
                                .reshape({clips, x_BTHWC.size(1), height * width, x_BTHWC.size(4)})
                                .permute({0, 3, 1, 2});
  const at::Tensor weight =
      weight_like(conv, x_BCTP).view({conv.weight.size(0), conv.weight.size(1), 3, 1});
  const at::Tensor y_BCTP = at::conv2d(x_BCTP, weight, bias_like(conv, x_BCTP), {stride, 1});
  return y_BCTP.permute({0, 2, 3, 1})
      .to(x_BTHWC.scalar_type())
      .contiguous()
      .view({clips, y_BCTP.size(2), height, width, y_BCTP.size(1)});
}

at::Tensor frame_conv(const Conv& conv, const at::Tensor& x_BTHWC) {
  if (is_for_inference(x_BTHWC) && winograd_pays(conv, x_BTHWC))
    return winograd_conv(conv, x_BTHWC);
  const at::Tensor x_FCHW = frames_as_images(for_products(x_BTHWC));
  const at::Tensor y_FCHW =
      at::conv2d(x_FCHW, weight_like(conv, x_FCHW), bias_like(conv, x_FCHW), {1, 1}, {1, 1});
  return images_as_frames(y_FCHW.to(x_BTHWC.scalar_type()), x_BTHWC.size(0));
}

at::Tensor halving_frame_conv(const Conv& conv, const at::Tensor& x_BTHWC) {
  const at::Tensor padded_BTHWC = at::constant_pad_nd(x_BTHWC, {0, 0, 0, 1, 0, 1});
  const at::Tensor x_FCHW = frames_as_images(for_products(padded_BTHWC));
  const at::Tensor y_FCHW =
      at::conv2d(x_FCHW, weight_like(conv, x_FCHW), bias_like(conv, x_FCHW), {2, 2});
  return images_as_frames(y_FCHW.to(x_BTHWC.scalar_type()), x_BTHWC.size(0));
}

at::Tensor double_pixels(const at::Tensor& x_BTHWC) {
  const at::Tensor y_FCHW =
      at::upsample_nearest2d(frames_as_images(x_BTHWC), {2 * x_BTHWC.size(2), 2 * x_BTHWC.size(3)});
  return images_as_frames(y_FCHW, x_BTHWC.size(0));
}

}  // namespace zoetrope::model
