// The parts that encoder and decoder are made of. Activations are [B, T, H, W, C]: all frames of a
// clip at once or, with a `history`, its next chunk.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "model/conv.h"
#include "model/module.h"
#include "model/vae_history.h"

namespace zoetrope::model {

constexpr std::int64_t kCausalFrames = 2;  // frames before a kernel of 3 in time: zeros or history

// conv(SiLU(norm(x))), causal: T frames -> T.
at::Tensor norm_silu_conv(const Conv& conv, const at::Tensor& gamma, const at::Tensor& x_BTHWC,
                          VaeHistory* history);

struct ResBlock {
  at::Tensor norm1, norm2;      // gammas [C, 1, 1, 1]
  Conv conv1, conv2, shortcut;  // shortcut only where the width changes
  ResBlock(std::int64_t in, std::int64_t out, at::Device device);
  at::Tensor forward(const at::Tensor& x_BTHWC, VaeHistory* history = nullptr) const;
  void visit_parameters(const std::string& prefix, const ParameterVisitor& visit);
};

// Self-attention inside each frame, one head.
struct AttentionBlock {
  at::Tensor norm;  // gamma [C, 1, 1]
  Conv to_qkv, proj;
  AttentionBlock(std::int64_t width, at::Device device);
  at::Tensor forward(const at::Tensor& x_BTHWC) const;
  void visit_parameters(const std::string& prefix, const ParameterVisitor& visit);
};

struct MidBlock {
  ResBlock first;
  AttentionBlock attention;
  ResBlock second;
  MidBlock(std::int64_t width, at::Device device);
  at::Tensor forward(const at::Tensor& x_BTHWC, VaeHistory* history = nullptr) const;
  void visit_parameters(const std::string& prefix, const ParameterVisitor& visit);
};

// Halves or doubles height and width and, if `temporal`, time: 1 + 2k frames <-> 1 + k. The first
// frame is never mixed with the others in time.
struct Resample {
  enum class Kind { kDown, kUp };
  Kind kind;
  bool temporal;
  Conv resample, time;
  Resample(Kind kind, bool temporal, std::int64_t in, std::int64_t out, at::Device device);
  at::Tensor forward(const at::Tensor& x_BTHWC, VaeHistory* history = nullptr) const;
  void visit_parameters(const std::string& prefix, const ParameterVisitor& visit);
};

// Wan 2.2's shortcuts without parameters. Channels of a pixel block are read in the order (C, t, y,
// x). The first frame of a clip comes from one latent frame alone: with `starts_clip` it is not
// doubled.
at::Tensor average_down(const at::Tensor& x_BTHWC, std::int64_t out, std::int64_t factor_t,
                        std::int64_t factor_s);
at::Tensor duplicate_up(const at::Tensor& x_BTHWC, std::int64_t out, std::int64_t factor_t,
                        std::int64_t factor_s, bool starts_clip);

// Residual blocks, then maybe a Resample, with a shortcut around all of them where `is_residual`.
struct Stage {
  std::vector<ResBlock> resnets;
  std::vector<Resample> resample;         // none or one
  std::vector<std::string> resnet_names;  // "down_blocks.0." ...
  std::string resample_name;
  Resample::Kind kind;
  bool has_shortcut = false;
  std::int64_t out_channels = 0;
  at::Tensor forward(const at::Tensor& x_BTHWC, VaeHistory* history = nullptr) const;
  void visit_parameters(const std::string& prefix, const ParameterVisitor& visit);
};

}  // namespace zoetrope::model
