// Patches are a reordering of the latent, nothing else.
#include "model/packed.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include "base/error.h"

namespace zoetrope::model {
namespace {

const std::vector<std::int64_t> kPatch = {1, 2, 2};

TEST(Patchify, OrdersTokensByTimeHeightWidthAndValuesByChannelFirst) {
  Grid grid;
  const at::Tensor latent = at::arange(2 * 1 * 4 * 6, at::kFloat).view({2, 1, 4, 6});
  const at::Tensor patches = patchify(latent, kPatch, &grid);
  EXPECT_EQ(grid.t, 1);
  EXPECT_EQ(grid.h, 2);
  EXPECT_EQ(grid.w, 3);
  // Token 4 is row 1, column 1: rows 2-3, columns 2-3 of channel 0, then of channel 1.
  const at::Tensor wanted = at::zeros({8}, at::kFloat);
  const float values[] = {14, 15, 20, 21, 38, 39, 44, 45};
  for (int i = 0; i < 8; ++i) wanted[i] = values[i];
  EXPECT_TRUE(at::equal(patches[4], wanted));
}

TEST(Patchify, IsUndoneBitForBitByUnpatchifyInTheHeadsOrder) {
  for (const auto& patch :
       {std::vector<std::int64_t>{1, 2, 2}, std::vector<std::int64_t>{2, 1, 3}}) {
    Grid grid;
    const at::Tensor latent = at::randn({5, 4, 4, 6});
    const at::Tensor patches = patchify(latent, patch, &grid);
    const std::int64_t volume = patch[0] * patch[1] * patch[2];
    const at::Tensor head_order = patches.view({-1, 5, volume}).transpose(1, 2).flatten(1);
    EXPECT_TRUE(at::equal(unpatchify(head_order, grid, patch, 5), latent));
  }
}

TEST(Patchify, RefusesOddSizesWithTheNumbers) {
  try {
    patchify(at::zeros({4, 3, 7, 8}), kPatch, nullptr);
    FAIL() << "accepted height 7";
  } catch (const ConfigError& error) {
    EXPECT_STREQ(
        error.what(),
        "a latent of 3x7x8 (frames x height x width) is not a multiple of the patch 1x2x2");
  }
}

TEST(Unpatchify, RefusesTokensThatDoNotFillTheGrid) {
  EXPECT_THROW(unpatchify(at::zeros({11, 16}), Grid{1, 3, 4}, kPatch, 4), Error);
}

}  // namespace
}  // namespace zoetrope::model
