// Rotary tables and positions. One table an axis stays in a cache line's reach; a table a token
// would be a tenth of the residual stream. T tokens, N heads, H head width, P pairs
#include "model/rope.h"

#include <algorithm>
#include <cmath>

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/stack.h>

namespace zoetrope::model {
namespace {

constexpr double kTheta = 10000;
constexpr std::int64_t kFirstTable = 128;

at::Tensor build_table(std::int64_t positions, std::int64_t pairs) {
  at::Tensor table = at::empty({positions, pairs, 2}, at::kFloat);
  float* out = table.mutable_data_ptr<float>();
  for (std::int64_t position = 0; position < positions; ++position) {
    for (std::int64_t pair = 0; pair < pairs; ++pair) {
      const double frequency =
          1 / std::pow(kTheta, static_cast<double>(pair) / static_cast<double>(pairs));
      const double angle = static_cast<double>(position) * frequency;
      *out++ = static_cast<float>(std::cos(angle));
      *out++ = static_cast<float>(std::sin(angle));
    }
  }
  return table;
}

at::Tensor token_positions(const std::vector<Grid>& grids) {
  std::int64_t tokens = 0;
  for (const Grid& grid : grids) tokens += grid.tokens();
  at::Tensor positions_T3 = at::empty({tokens, 3}, at::kInt);
  std::int32_t* out = positions_T3.mutable_data_ptr<std::int32_t>();
  for (const Grid& grid : grids) {
    for (std::int64_t t = 0; t < grid.t; ++t) {
      for (std::int64_t h = 0; h < grid.h; ++h) {
        for (std::int64_t w = 0; w < grid.w; ++w) {
          for (const std::int64_t place : {t, h, w}) *out++ = static_cast<std::int32_t>(place);
        }
      }
    }
  }
  return positions_T3;
}

}  // namespace

std::array<std::int64_t, 3> RotaryEmbedding::pairs_by_axis(std::int64_t head_dim) {
  const std::int64_t side = head_dim / 6;
  return {head_dim / 2 - 2 * side, side, side};
}

Rotation RotaryEmbedding::rotation(const std::vector<Grid>& grids, at::Device device) {
  std::array<std::int64_t, 3> longest{};
  for (const Grid& grid : grids) {
    longest = {std::max(longest[0], grid.t), std::max(longest[1], grid.h),
               std::max(longest[2], grid.w)};
  }
  Rotation rotation;
  for (int axis = 0; axis < 3; ++axis) {
    at::Tensor& table = tables_[axis];
    if (!table.defined() || table.size(0) < longest[axis] || table.device() != device) {
      table = build_table(std::max(kFirstTable, 2 * longest[axis]), pairs_[axis]).to(device);
    }
    rotation.tables[axis] = table;
  }
  rotation.positions_T3 = token_positions(grids).to(device);
  return rotation;
}

at::Tensor rotate(const at::Tensor& x_TNH, const Rotation& rotation) {
  std::vector<at::Tensor> angles;
  for (int axis = 0; axis < 3; ++axis) {
    angles.push_back(rotation.tables[axis].index_select(0, rotation.positions_T3.select(1, axis)));
  }
  const at::Tensor angles_TP2 = at::cat(angles, 1).to(x_TNH.scalar_type());
  const at::Tensor cos_T1P = angles_TP2.select(2, 0).unsqueeze(1),
                   sin_T1P = angles_TP2.select(2, 1).unsqueeze(1);
  const at::Tensor pairs = x_TNH.unflatten(2, {-1, 2});
  const at::Tensor even = pairs.select(3, 0), odd = pairs.select(3, 1);
  return at::stack({even * cos_T1P - odd * sin_T1P, even * sin_T1P + odd * cos_T1P}, 3).flatten(2);
}

}  // namespace zoetrope::model
