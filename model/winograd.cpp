// Weights are transformed once a call: keeping them would take four times the model's memory. Then
// blocks of tiles, each on one thread: transform the input, and for every panel of output channels
// multiply point by point and transform back.
// B clips, T output frames, H height, W width, C channels
#include "model/winograd.h"

#include <algorithm>
#include <memory>
#include <vector>

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>

#include "base/error.h"
#include "model/winograd_kernels.h"

namespace zoetrope::model {
namespace {

using winograd::kPanel;
using winograd::kPoints;
using winograd::kTile;

constexpr std::int64_t kMinChannels = 32;
// Fewer tiles a frame do not pay for the weights' transform. The number of frames does not count,
// so that chunks run as whole clips do.
constexpr std::int64_t kMinTiles = 48;
constexpr std::int64_t kMaxRows = 288;  // of a block; its input stays in cache

std::int64_t tiles_along(std::int64_t pixels) {
  return (pixels + kTile - 1) / kTile;
}

struct Sizes {
  std::int64_t clips, frames, taps, height, width, in, out;
  std::int64_t depth() const { return taps * in; }  // of the products
  std::int64_t frames_in() const { return frames + taps - 1; }
  std::int64_t columns() const { return tiles_along(width); }
  std::int64_t tiles() const { return tiles_along(height) * columns(); }  // of a frame
};

Sizes sizes_of(const Conv& conv, const at::Tensor& x_BTHWC) {
  const std::int64_t taps = conv.weight.dim() == 5 ? conv.weight.size(2) : 1;
  return {x_BTHWC.size(0), x_BTHWC.size(1) - taps + 1, taps, x_BTHWC.size(2), x_BTHWC.size(3),
          x_BTHWC.size(4), conv.weight.size(0)};
}

winograd::Plane plane_of(const at::Tensor& x_BTHWC, std::int64_t clip, std::int64_t frame) {
  winograd::Plane plane;
  plane.is_bf16 = x_BTHWC.scalar_type() == at::kBFloat16;
  plane.height = x_BTHWC.size(2);
  plane.width = x_BTHWC.size(3);
  plane.channels = x_BTHWC.size(4);
  const std::int64_t index = clip * x_BTHWC.size(1) + frame;
  plane.data = static_cast<char*>(x_BTHWC.data_ptr()) +
               index * plane.height * plane.width * plane.channels * x_BTHWC.element_size();
  return plane;
}

// One thread's memory. `input` is [point, tile, frame, channel], so that the frames that an output
// frame sees are one row.
class TileBlock {
 public:
  TileBlock(const Sizes& sizes, std::int64_t max_tiles)
      : s_(sizes),
        input_(new_array(kPoints * max_tiles * s_.frames_in() * s_.in)),
        products_(new_array(kPoints * max_tiles * s_.frames * kPanel)) {}

  // Tiles first .. last - 1 of the frames of a clip; `weights` is transformed.
  void run(const at::Tensor& x, const at::Tensor& y, const float* weights, const float* bias,
           std::int64_t clip, std::int64_t first, std::int64_t last) {
    const std::int64_t tiles = last - first, rows = tiles * s_.frames, depth = s_.depth();
    const std::int64_t tile_stride = s_.frames_in() * s_.in, point_stride = tiles * tile_stride;
    offsets_.clear();
    for (std::int64_t tile = 0; tile < tiles; ++tile) {
      for (std::int64_t t = 0; t < s_.frames; ++t)
        offsets_.push_back(tile * tile_stride + t * s_.in);
      for (std::int64_t f = 0; f < s_.frames_in(); ++f) {
        winograd::transform_input(plane_of(x, clip, f), row_of(first + tile),
                                  column_of(first + tile),
                                  input_.get() + tile * tile_stride + f * s_.in, point_stride);
      }
    }
    for (std::int64_t panel = 0; panel < s_.out; panel += kPanel) {
      for (std::int64_t p = 0; p < kPoints; ++p) {
        winograd::multiply(input_.get() + p * point_stride, offsets_.data(), rows, weights, depth,
                           products_.get() + p * rows * kPanel);
        weights += depth * kPanel;
      }
      for (std::int64_t row = 0; row < rows; ++row) {
        const std::int64_t tile = first + row / s_.frames;
        winograd::transform_output(products_.get() + row * kPanel, rows * kPanel, bias + panel,
                                   plane_of(y, clip, row % s_.frames), panel, row_of(tile),
                                   column_of(tile));
      }
    }
  }

 private:
  static std::unique_ptr<float[]> new_array(std::int64_t count) {
    return std::make_unique_for_overwrite<float[]>(static_cast<std::size_t>(count));
  }
  std::int64_t row_of(std::int64_t tile) const { return tile / s_.columns() * kTile; }
  std::int64_t column_of(std::int64_t tile) const { return tile % s_.columns() * kTile; }

  Sizes s_;
  std::unique_ptr<float[]> input_, products_;
  std::vector<std::int64_t> offsets_;
};

at::Tensor transformed_weights(const Conv& conv, const Sizes& s) {
  const at::Tensor weight = conv.weight.to(at::kFloat).contiguous();
  const std::int64_t panel_size = kPoints * s.depth() * kPanel;
  at::Tensor transformed = at::empty({s.out / kPanel * panel_size}, weight.options());
  const float* from = weight.const_data_ptr<float>();
  float* to = transformed.mutable_data_ptr<float>();
  at::parallel_for(0, s.out / kPanel, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t panel = begin; panel < end; ++panel)
      winograd::transform_weights(from, s.in, s.taps, panel * kPanel, to + panel * panel_size);
  });
  return transformed;
}

}  // namespace

bool winograd_pays(const Conv& conv, const at::Tensor& x_BTHWC) {
  static const bool is_supported = winograd::is_supported();
  const Sizes s = sizes_of(conv, x_BTHWC);
  const at::ScalarType type = x_BTHWC.scalar_type();
  return is_supported && x_BTHWC.device().is_cpu() &&
         (type == at::kFloat || type == at::kBFloat16) && s.in >= kMinChannels &&
         s.in % winograd::kLanes == 0 && s.out % kPanel == 0 && s.tiles() >= kMinTiles;
}

at::Tensor winograd_conv(const Conv& conv, const at::Tensor& x_BTHWC) {
  const Sizes s = sizes_of(conv, x_BTHWC);
  ZOETROPE_CHECK(conv.weight.size(1) == s.in, "a convolution of ", conv.weight.size(1),
                 " channels got ", s.in);
  const at::Tensor x = x_BTHWC.contiguous();
  const at::Tensor y = at::empty({s.clips, s.frames, s.height, s.width, s.out}, x.options());
  const at::Tensor weights = transformed_weights(conv, s);
  const at::Tensor bias = conv.bias.to(at::kFloat).contiguous();
  const std::int64_t blocks = std::max<std::int64_t>(1, s.frames * s.tiles() / kMaxRows);
  const std::int64_t max_tiles = (s.tiles() + blocks - 1) / blocks;
  at::parallel_for(0, s.clips * blocks, 1, [&](std::int64_t begin, std::int64_t end) {
    TileBlock block(s, max_tiles);
    for (std::int64_t i = begin; i < end; ++i) {
      const std::int64_t b = i % blocks;
      block.run(x, y, weights.const_data_ptr<float>(), bias.const_data_ptr<float>(), i / blocks,
                b * s.tiles() / blocks, (b + 1) * s.tiles() / blocks);
    }
  });
  return y;
}

}  // namespace zoetrope::model
