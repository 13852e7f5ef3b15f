// Bins by load: those without room wait until an item fits.
#include "data/least_loaded.h"

#include <gtest/gtest.h>

namespace zoetrope::data {
namespace {

TEST(LeastLoadedBins, SetsBinsWithoutRoomAsideUntilAnItemFits) {
  LeastLoadedBins bins({0, 1, 2}, {10, 30, 20});
  EXPECT_EQ(bins.top(31), -1);
  EXPECT_EQ(bins.top(25), 1);
  bins.fill_top(5, 25);  // room 5
  EXPECT_EQ(bins.top(18), 2);
  bins.fill_top(2.5, 18);  // room 2
  EXPECT_EQ(bins.top(10), 0);
  bins.fill_top(9, 4);  // room 6
  EXPECT_EQ(bins.top(7), -1);
  EXPECT_EQ(bins.top(5), 1);
  EXPECT_EQ(bins.top(2), 2);
}

}  // namespace
}  // namespace zoetrope::data
