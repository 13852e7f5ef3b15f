// Cutting parameters into buckets.
#include "train/gradient_buckets.h"

#include <gtest/gtest.h>

namespace zoetrope::train {
namespace {

std::vector<std::int64_t> counts(const std::vector<FlatRange>& buckets) {
  std::vector<std::int64_t> result;
  for (const FlatRange& bucket : buckets) result.push_back(bucket.count);
  return result;
}

TEST(Buckets, HoldNeighboursUpToTheSizeAndOversizedParametersAlone) {
  const std::vector<FlatRange> parameters = {{0, 3}, {3, 4}, {7, 20}, {27, 1}, {28, 9}};
  EXPECT_EQ(counts(cut_into_buckets(parameters, 10)), (std::vector<std::int64_t>{7, 20, 10}));
  EXPECT_EQ(counts(cut_into_buckets(parameters, 0)), (std::vector<std::int64_t>{3, 4, 20, 1, 9}));
  EXPECT_EQ(counts(cut_into_buckets(parameters, 1000)), (std::vector<std::int64_t>{37}));
  EXPECT_EQ(cut_into_buckets(parameters, 10)[2].begin, 27);
}

}  // namespace
}  // namespace zoetrope::train
