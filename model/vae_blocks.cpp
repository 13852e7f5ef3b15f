// Residual, attention and resampling blocks of the VAE, for whole clips and for chunks.
#include "model/vae_blocks.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/scaled_dot_product_attention.h>

#include "base/error.h"
#include "model/linear.h"
#include "model/vae_norm.h"

namespace zoetrope::model {
namespace {

// B clips, T frames, H height, W width, C channels, F = B T frames, P = H W pixels

at::Tensor new_gamma(const std::vector<std::int64_t>& shape, at::Device device) {
  return at::empty(shape, at::TensorOptions().dtype(at::kFloat).device(device));
}

at::Tensor first_frame(const at::Tensor& x_BTHWC) {
  return x_BTHWC.narrow(1, 0, 1);
}
at::Tensor later_frames(const at::Tensor& x_BTHWC) {
  return x_BTHWC.narrow(1, 1, x_BTHWC.size(1) - 1);
}

bool starts_clip(const VaeHistory* history) {
  return history == nullptr || history->is_first_chunk();
}

// 1 + k frames -> 1 + 2k; later chunks k -> 2k. The channel halves of the convolution are the two
// new frames of each old one; its history starts after frame 0.
at::Tensor double_time(const Conv& conv, const at::Tensor& x_BTHWC, VaeHistory* history) {
  const bool starts = starts_clip(history);
  if (starts && x_BTHWC.size(1) == 1) {
    if (history != nullptr) history->skip();
    return x_BTHWC;
  }
  const at::Tensor later = starts ? later_frames(x_BTHWC) : x_BTHWC;
  at::Tensor padded = with_front_frames(later, kCausalFrames);
  if (history != nullptr) history->carry(padded, kCausalFrames);
  const at::Tensor pairs = time_conv(conv, padded, 1);
  const std::int64_t channels = x_BTHWC.size(4), height = x_BTHWC.size(2), width = x_BTHWC.size(3);
  const at::Tensor doubled =
      pairs.view({x_BTHWC.size(0), later.size(1), height, width, 2, channels})
          .permute({0, 1, 4, 2, 3, 5})
          .reshape({x_BTHWC.size(0), 2 * later.size(1), height, width, channels});
  return starts ? at::cat({first_frame(x_BTHWC), doubled}, 1) : doubled;
}

// 1 + 2k frames -> 1 + k; later chunks 2k -> k, with the last frame before them.
at::Tensor halve_time(const Conv& conv, const at::Tensor& x_BTHWC, VaeHistory* history) {
  const bool starts = starts_clip(history);
  at::Tensor seen = starts ? x_BTHWC : with_front_frames(x_BTHWC, 1);
  if (history != nullptr) history->carry(seen, 1);
  if (seen.size(1) == 1) return seen;
  const at::Tensor halved = time_conv(conv, seen, 2);
  return starts ? at::cat({first_frame(x_BTHWC), halved}, 1) : halved;
}

}  // namespace

ResBlock::ResBlock(std::int64_t in, std::int64_t out, at::Device device)
    : norm1(new_gamma({in, 1, 1, 1}, device)),
      norm2(new_gamma({out, 1, 1, 1}, device)),
      conv1(in, out, {3, 3, 3}, device),
      conv2(out, out, {3, 3, 3}, device) {
  if (in != out) shortcut = Conv(in, out, {1, 1, 1}, device);
}

at::Tensor norm_silu_conv(const Conv& conv, const at::Tensor& gamma, const at::Tensor& x_BTHWC,
                          VaeHistory* history) {
  at::Tensor padded = rms_norm(x_BTHWC, gamma, Activation::kSilu, kCausalFrames);
  if (history != nullptr) history->carry(padded, kCausalFrames);
  return causal_conv(conv, padded);
}

at::Tensor ResBlock::forward(const at::Tensor& x_BTHWC, VaeHistory* history) const {
  at::Tensor h = norm_silu_conv(conv1, norm1, x_BTHWC, history);
  h = norm_silu_conv(conv2, norm2, h, history);
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
  const auto parts_F1PC = qkv.to(product_type(qkv))
                              .view({x_BTHWC.size(0) * x_BTHWC.size(1), 1, -1, 3 * channels})
                              .split(channels, -1);
  const at::Tensor mixed =
      at::scaled_dot_product_attention(parts_F1PC[0], parts_F1PC[1], parts_F1PC[2]);
  return x_BTHWC + pointwise_conv(proj, mixed.to(x_BTHWC.scalar_type()).reshape(x_BTHWC.sizes()));
}

void AttentionBlock::visit_parameters(const std::string& prefix, const ParameterVisitor& visit) {
  visit(prefix + "norm.gamma", norm);
  to_qkv.visit_parameters(prefix + "to_qkv.", visit);
  proj.visit_parameters(prefix + "proj.", visit);
}

MidBlock::MidBlock(std::int64_t width, at::Device device)
    : first(width, width, device), attention(width, device), second(width, width, device) {}

at::Tensor MidBlock::forward(const at::Tensor& x_BTHWC, VaeHistory* history) const {
  return second.forward(attention.forward(first.forward(x_BTHWC, history)), history);
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

at::Tensor Resample::forward(const at::Tensor& x_BTHWC, VaeHistory* history) const {
  if (kind == Kind::kDown) {
    const at::Tensor halved = halving_frame_conv(resample, x_BTHWC);
    return temporal ? halve_time(time, halved, history) : halved;
  }
  const at::Tensor in_time = temporal ? double_time(time, x_BTHWC, history) : x_BTHWC;
  return frame_conv(resample, double_pixels(in_time));
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
                        std::int64_t factor_s, bool starts_clip) {
  const std::int64_t clips = x_BTHWC.size(0), frames = x_BTHWC.size(1), height = x_BTHWC.size(2),
                     width = x_BTHWC.size(3), channels = x_BTHWC.size(4);
  const std::int64_t repeats = out * factor_t * factor_s * factor_s / channels;
  const at::Tensor blocks =
      x_BTHWC.unsqueeze(-1)
          .expand({clips, frames, height, width, channels, repeats})
          .reshape({clips, frames, height, width, out, factor_t, factor_s, factor_s})
          .permute({0, 1, 5, 2, 6, 3, 7, 4})
          .reshape({clips, frames * factor_t, height * factor_s, width * factor_s, out});
  const std::int64_t dropped = starts_clip ? factor_t - 1 : 0;
  return blocks.narrow(1, dropped, blocks.size(1) - dropped);
}

at::Tensor Stage::forward(const at::Tensor& x_BTHWC, VaeHistory* history) const {
  at::Tensor h = x_BTHWC;
  for (const ResBlock& block : resnets) h = block.forward(h, history);
  for (const Resample& part : resample) h = part.forward(h, history);
  if (!has_shortcut) return h;
  const std::int64_t factor_s = resample.empty() ? 1 : 2;
  const std::int64_t factor_t = !resample.empty() && resample[0].temporal ? 2 : 1;
  const bool is_down = kind == Resample::Kind::kDown;
  return h + (is_down
                  ? average_down(x_BTHWC, out_channels, factor_t, factor_s)
                  : duplicate_up(x_BTHWC, out_channels, factor_t, factor_s, starts_clip(history)));
}

void Stage::visit_parameters(const std::string& prefix, const ParameterVisitor& visit) {
  for (std::size_t i = 0; i < resnets.size(); ++i)
    resnets[i].visit_parameters(prefix + resnet_names[i], visit);
  for (Resample& part : resample) part.visit_parameters(prefix + resample_name, visit);
}

}  // namespace zoetrope::model
