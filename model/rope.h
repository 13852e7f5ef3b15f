// Rotary position embedding of Wan 2.1: adjacent channels are pairs; a head's pairs are split
// between time, height and width. Tables per axis, in fp64 rounded once to fp32.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include <ATen/core/Tensor.h>

#include "model/packed.h"

namespace zoetrope::model {

// How a batch's tokens rotate. P pairs of channels a head.
struct Rotation {
  at::Tensor positions_T3;           // int32: each token's place along time, height, width
  std::array<at::Tensor, 3> tables;  // one an axis, [positions, pairs of that axis, 2]: cos, sin
};

class RotaryEmbedding {
 public:
  // Pairs along (time, height, width): (22, 21, 21) for heads of 128 channels.
  static std::array<std::int64_t, 3> pairs_by_axis(std::int64_t head_dim);

  explicit RotaryEmbedding(std::int64_t head_dim) : pairs_(pairs_by_axis(head_dim)) {}
  // Tokens of all grids one after another, each grid from position 0. Tables are kept between calls
  // and grow to the longest axis seen.
  Rotation rotation(const std::vector<Grid>& grids, at::Device device);

 private:
  std::array<std::int64_t, 3> pairs_;
  std::array<at::Tensor, 3> tables_;
};

// The rotation as plain tensor operations, in x's dtype: x [T, heads, head_dim].
at::Tensor rotate(const at::Tensor& x_TNH, const Rotation& rotation);

}  // namespace zoetrope::model
