// The rotary embedding turns pairs by position, and attention sees differences of positions only.
#include "model/rope.h"

#include <cmath>

#include <ATen/TensorOperators.h>
#include <ATen/ops/einsum.h>
#include <ATen/ops/randn.h>
#include <gtest/gtest.h>

namespace zoetrope::model {
namespace {

TEST(RotaryEmbedding, SplitsPairsAsWan) {
  EXPECT_EQ(RotaryEmbedding::pairs_by_axis(128), (std::array<std::int64_t, 3>{22, 21, 21}));
  EXPECT_EQ(RotaryEmbedding::pairs_by_axis(16), (std::array<std::int64_t, 3>{4, 2, 2}));
}

TEST(RotaryEmbedding, TurnsEachPairByPositionTimesFrequency) {
  RotaryEmbedding rotary(16);
  const Rotation rotation = rotary.rotation({Grid{3, 4, 5}}, at::kCPU);
  const at::Tensor x = at::randn({60, 2, 16}), y = rotate(x, rotation);
  const std::int64_t token = (2 * 4 + 3) * 5 + 1;  // t 2, h 3, w 1
  const double angles[8] = {2,
                            2 * std::pow(1e4, -0.25),
                            2 * std::pow(1e4, -0.5),
                            2 * std::pow(1e4, -0.75),
                            3,
                            3 * std::pow(1e4, -0.5),
                            1,
                            std::pow(1e4, -0.5)};
  for (int pair = 0; pair < 8; ++pair) {
    const float even = x[token][1][2 * pair].item<float>(),
                odd = x[token][1][2 * pair + 1].item<float>();
    const double c = std::cos(angles[pair]), s = std::sin(angles[pair]);
    EXPECT_NEAR(y[token][1][2 * pair].item<float>(), even * c - odd * s, 1e-6);
    EXPECT_NEAR(y[token][1][2 * pair + 1].item<float>(), even * s + odd * c, 1e-6);
  }
}

TEST(RotaryEmbedding, StartsEverySampleAtZero) {
  RotaryEmbedding rotary(24);
  const Rotation both = rotary.rotation({Grid{2, 3, 2}, Grid{1, 2, 5}}, at::kCPU);
  const Rotation second = rotary.rotation({Grid{1, 2, 5}}, at::kCPU);
  EXPECT_TRUE(both.positions_T3.narrow(0, 12, 10).equal(second.positions_T3));
}

TEST(RotaryEmbedding, ATemporalShiftLeavesLogitsUnchanged) {
  RotaryEmbedding rotary(128);
  Rotation rotation = rotary.rotation({Grid{4, 3, 3}}, at::kCPU);
  const at::Tensor q = at::randn({36, 2, 128}), k = at::randn({36, 2, 128});
  const auto logits = [&] {
    return at::einsum("qnh,knh->nqk", {rotate(q, rotation), rotate(k, rotation)});
  };
  const at::Tensor before = logits();
  rotation.positions_T3 = rotation.positions_T3.clone();
  rotation.positions_T3.select(1, 0).add_(17);
  EXPECT_LT((logits() - before).abs().max().item<double>(), 2e-4);
  rotation.positions_T3.select(1, 0)[0].add_(1);  // moving one token alone does change them
  EXPECT_GT((logits() - before).abs().max().item<double>(), 0.1);
}

TEST(RotaryEmbedding, GrowsItsTablesWithTheLongestAxis) {
  RotaryEmbedding rotary(12);
  const Rotation small = rotary.rotation({Grid{1, 1, 4}}, at::kCPU);
  const Rotation large = rotary.rotation({Grid{1, 1, 1500}}, at::kCPU);
  ASSERT_GE(large.tables[2].size(0), 1500);
  EXPECT_TRUE(large.tables[2].narrow(0, 0, 4).equal(small.tables[2].narrow(0, 0, 4)));
  EXPECT_NEAR(large.tables[2][1499][0][0].item<float>(), std::cos(1499.0), 1e-7);
}

}  // namespace
}  // namespace zoetrope::model
