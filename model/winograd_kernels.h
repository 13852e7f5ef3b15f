// Inner loops of Winograd's convolution F(4x4, 3x3) (arXiv:1509.09308): 16 output pixels from 36
// products instead of 144. fp32 maths in AVX-512; no torch, no threads.
#pragma once

#include <cstdint>

namespace zoetrope::model::winograd {

constexpr std::int64_t kTile = 4;     // output pixels along a side of a tile
constexpr std::int64_t kInput = 6;    // input pixels along it
constexpr std::int64_t kPoints = 36;  // numbers of a transformed tile
constexpr std::int64_t kLanes = 16;   // input channels come in multiples of this
constexpr std::int64_t kPanel = 32;   // and output channels of this

bool is_supported();  // by this processor

// One frame of activations [height, width, channels], fp32 or bf16.
struct Plane {
  void* data = nullptr;
  bool is_bf16 = false;
  std::int64_t height = 0, width = 0, channels = 0;
};

// The tile whose outputs start at (y, x): its input, zero outside the frame, transformed to `to`;
// point p of channel c lands at to[p * point_stride + c].
void transform_input(const Plane& from, std::int64_t y, std::int64_t x, float* to,
                     std::int64_t point_stride);

// Weights of kPanel output channels from `first` on: w [out, in, taps, 3, 3] -> to [kPoints,
// taps * in, kPanel].
void transform_weights(const float* w, std::int64_t in, std::int64_t taps, std::int64_t first,
                       float* to);

// c [rows, kPanel] = a b, with b [depth, kPanel] and row r of a starting at a + offsets[r].
void multiply(const float* a, const std::int64_t* offsets, std::int64_t rows, const float* b,
              std::int64_t depth, float* c);

// The reverse of transform_input for kPanel channels from `first` on: point p of the products is at
// products[p * point_stride], `bias` belongs to those channels; pixels outside the frame are
// dropped.
void transform_output(const float* products, std::int64_t point_stride, const float* bias,
                      const Plane& to, std::int64_t first, std::int64_t y, std::int64_t x);

}  // namespace zoetrope::model::winograd
