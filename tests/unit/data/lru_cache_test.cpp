// The cache keeps what was used last and never more than its capacity.
#include "data/lru_cache.h"

#include <gtest/gtest.h>

namespace zoetrope::data {
namespace {

TEST(LruCache, ThrowsOutTheLeastRecentlyUsed) {
  LruCache<int> cache(10);
  cache.insert("a", 1, 4);
  cache.insert("b", 2, 4);
  ASSERT_NE(cache.find("a"), nullptr);
  cache.insert("c", 3, 4);
  EXPECT_EQ(cache.find("b"), nullptr);
  EXPECT_EQ(*cache.find("a"), 1);
  EXPECT_EQ(*cache.find("c"), 3);
  EXPECT_EQ(cache.cost(), 8);
}

TEST(LruCache, DoesNotKeepWhatIsDearerThanAll) {
  LruCache<int> cache(10);
  cache.insert("a", 1, 10);
  cache.insert("big", 2, 11);
  EXPECT_EQ(cache.find("big"), nullptr);
  EXPECT_EQ(*cache.find("a"), 1);
}

}  // namespace
}  // namespace zoetrope::data
