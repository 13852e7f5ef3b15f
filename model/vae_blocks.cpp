// Residual, attention and resampling blocks of the VAE in whole-sequence form.
#include "model/vae_blocks.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/scaled_dot_product_attention.h>

#include "base/error.h"
#include "model/vae_norm.h"

namespace zoetrope::model {
namespace {

// B clips, T frames, H height, W width, C channels, F = B T frames, P = H W pixels

constexpr std::int64_t kCausalFrames = 2;  // zero frames before a kernel of 3 in time

at::Tensor new_gamma(const std::vector<std::int64_t>& shape, at::Device device) {
  return at::empty(shape, at::TensorOptions().dtype(at::kFloat).device(device));
}

at::Tensor first_frame(const at::Tensor& x_BTHWC) {
  return x_BTHWC.narrow(1, 0, 1);
}
at::Tensor later_frames(const at::Tensor& x_BTHWC) {
  return x_BTHWC.narrow(1, 1, x_BTHWC.size(1) - 1);
}

// 1 + k frames -> 1 + 2k. The channel halves of the convolution are the two new frames of each old
// one; its history starts after frame 0.
at::Tensor double_time(const Conv& conv, const at::Tensor& x_BTHWC) {
  if (x_BTHWC.size(1) == 1) return x_BTHWC;
  const at::Tensor later = later_frames(x_BTHWC);
  const at::Tensor pairs = time_conv(conv, with_front_frames(later, kCausalFrames), 1);
  const std::int64_t channels = x_BTHWC.size(4), height = x_BTHWC.size(2), width = x_BTHWC.size(3);
  const at::Tensor doubled =
      pairs.view({x_BTHWC.size(0), later.size(1), height, width, 2, channels})
          .permute({0, 1, 4, 2, 3, 5})
          .reshape({x_BTHWC.size(0), 2 * later.size(1), height, width, channels});
  return at::cat({first_frame(x_BTHWC), doubled}, 1);
}

// 1 + 2k frames -> 1 + k.
at::Tensor halve_time(const Conv& conv, const at::Tensor& x_BTHWC) {
  if (x_BTHWC.size(1) == 1) return x_BTHWC;
  return at::cat({first_frame(x_BTHWC), time_conv(conv, x_BTHWC, 2)}, 1);
}

}  // namespace

ResBlock::ResBlock(std::int64_t in, std::int64_t out, at::Device device)
    : norm1(new_gamma({in, 1, 1, 1}, device)),
      norm2(new_gamma({out, 1, 1, 1}, device)),
      conv1(in, out, {3, 3, 3}, device),
      conv2(out, out, {3, 3, 3}, device) {
  if (in != out) shortcut = Conv(in, out, {1, 1, 1}, device);
}

at::Tensor ResBlock::forward(const at::Tensor& x_BTHWC) const {
  at::Tensor h = causal_conv(conv1, rms_norm(x_BTHWC, norm1, Activation::kSilu, kCausalFrames));
  h = causal_conv(conv2, rms_norm(h, norm2, Activation::kSilu, kCausalFrames));
  return h + (shortcut.defined() ? pointwise_conv(shortcut, x_BTHWC) : x_BTHWC);
}

void ResBlock::visit_parameters(const std::string& prefix, const ParameterVisitor& visit) {
  visit(prefix + "norm1.gamma", norm1);
  conv1.visit_parameters(prefix + "conv1.", visit);
  visit(prefix + "norm2.gamma", norm2);
  conv2.visit_parameters(prefix + "conv2.", visit);
  if (shortcut.defined()) shortcut.visit_parameters(prefix + "conv_shortcut.", visit);
}

AttentionBlock::AttentionBlock(std::int64_t width, at::Device device)
    : norm(new_gamma({width, 1, 1}, device)),
      to_qkv(width, 3 * width, {1, 1}, device),
      proj(width, width, {1, 1}, device) {}

at::Tensor AttentionBlock::forward(const at::Tensor& x_BTHWC) const {
  const std::int64_t channels = x_BTHWC.size(4);
  const at::Tensor qkv = pointwise_conv(to_qkv, rms_norm(x_BTHWC, norm, Activation::kNone));
  const auto parts_F1PC =
      qkv.view({x_BTHWC.size(0) * x_BTHWC.size(1), 1, -1, 3 * channels}).split(channels, -1);
  const at::Tensor mixed =
      at::scaled_dot_product_attention(parts_F1PC[0], parts_F1PC[1], parts_F1PC[2]);
  return x_BTHWC + pointwise_conv(proj, mixed.reshape(x_BTHWC.sizes()));
}

void AttentionBlock::visit_parameters(const std::string& prefix, const ParameterVisitor& visit) {
  visit(prefix + "norm.gamma", norm);
  to_qkv.visit_parameters(prefix + "to_qkv.", visit);
  proj.visit_parameters(prefix + "proj.", visit);
}

MidBlock::MidBlock(std::int64_t width, at::Device device)
    : first(width, width, device), attention(width, device), second(width, width, device) {}

at::Tensor MidBlock::forward(const at::Tensor& x_BTHWC) const {
  return second.forward(attention.forward(first.forward(x_BTHWC)));
}

void MidBlock::visit_parameters(const std::string& prefix, const ParameterVisitor& visit) {
  attention.visit_parameters(prefix + "attentions.0.", visit);
  first.visit_parameters(prefix + "resnets.0.", visit);
  second.visit_parameters(prefix + "resnets.1.", visit);
}

Resample::Resample(Kind its_kind, bool is_temporal, std::int64_t in, std::int64_t out,
                   at::Device device)
    : kind(its_kind), temporal(is_temporal), resample(in, out, {3, 3}, device) {
  if (temporal) time = Conv(in, kind == Kind::kUp ? 2 * in : in, {3, 1, 1}, device);
}

at::Tensor Resample::forward(const at::Tensor& x_BTHWC) const {
  if (kind == Kind::kDown) {
    const at::Tensor halved = halving_frame_conv(resample, x_BTHWC);
    return temporal ? halve_time(time, halved) : halved;
  }
  return frame_conv(resample, double_pixels(temporal ? double_time(time, x_BTHWC) : x_BTHWC));
}

void Resample::visit_parameters(const std::string& prefix, const ParameterVisitor& visit) {
  resample.visit_parameters(prefix + "resample.1.", visit);
  if (temporal) time.visit_parameters(prefix + "time_conv.", visit);
}

at::Tensor average_down(const at::Tensor& x_BTHWC, std::int64_t out, std::int64_t factor_t,
                        std::int64_t factor_s) {
  const std::int64_t front = (factor_t - x_BTHWC.size(1) % factor_t) % factor_t;
  const at::Tensor x = front > 0 ? with_front_frames(x_BTHWC, front) : x_BTHWC;
  const std::int64_t clips = x.size(0), frames = x.size(1) / factor_t,
                     height = x.size(2) / factor_s, width = x.size(3) / factor_s,
                     channels = x.size(4);
  if (factor_t * factor_s == 1 && out == channels) return x;
  const std::int64_t group = channels * factor_t * factor_s * factor_s / out;
  return x.view({clips, frames, factor_t, height, factor_s, width, factor_s, channels})
      .permute({0, 1, 3, 5, 7, 2, 4, 6})
      .reshape({clips, frames, height, width, out, group})
      .mean(-1);
}

at::Tensor duplicate_up(const at::Tensor& x_BTHWC, std::int64_t out, std::int64_t factor_t,
                        std::int64_t factor_s) {
  const std::int64_t clips = x_BTHWC.size(0), frames = x_BTHWC.size(1), height = x_BTHWC.size(2),
                     width = x_BTHWC.size(3), channels = x_BTHWC.size(4);
  const std::int64_t repeats = out * factor_t * factor_s * factor_s / channels;
  const at::Tensor blocks =
      x_BTHWC.unsqueeze(-1)
          .expand({clips, frames, height, width, channels, repeats})
          .reshape({clips, frames, height, width, out, factor_t, factor_s, factor_s})
          .permute({0, 1, 5, 2, 6, 3, 7, 4})
          .reshape({clips, frames * factor_t, height * factor_s, width * factor_s, out});
  // The first frame comes from one latent frame alone: it is not doubled.
  return blocks.narrow(1, factor_t - 1, blocks.size(1) - (factor_t - 1));
}

at::Tensor Stage::forward(const at::Tensor& x_BTHWC) const {
  at::Tensor h = x_BTHWC;
  for (const ResBlock& block : resnets) h = block.forward(h);
  for (const Resample& part : resample) h = part.forward(h);
  if (!has_shortcut) return h;
  const std::int64_t factor_s = resample.empty() ? 1 : 2;
  const std::int64_t factor_t = !resample.empty() && resample[0].temporal ? 2 : 1;
  const bool is_down = kind == Resample::Kind::kDown;
  return h + (is_down ? average_down(x_BTHWC, out_channels, factor_t, factor_s)
                      : duplicate_up(x_BTHWC, out_channels, factor_t, factor_s));
}

void Stage::visit_parameters(const std::string& prefix, const ParameterVisitor& visit) {
  for (std::size_t i = 0; i < resnets.size(); ++i)
    resnets[i].visit_parameters(prefix + resnet_names[i], visit);
  for (Resample& part : resample) part.visit_parameters(prefix + resample_name, visit);
}

}  // namespace zoetrope::model
