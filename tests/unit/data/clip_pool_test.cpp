// Which clip a sample is: each once an epoch, corpora by weight, in constant time.
#include "data/clip_pool.h"

#include <map>
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/random.h"
#include "tests/unit/data/corpus_fixture.h"

namespace zoetrope::data {
namespace {

using ::testing::HasSubstr;
using testing::message_of;

std::int64_t ten(std::int64_t) {
  return 10;
}

TEST(ClipPool, OneCorpusIsItsPermutation) {
  const ClipPool pool({{1000, 5}}, ten);
  for (std::int64_t g : {0, 1, 999, 1000, 123456}) {
    EXPECT_EQ(pool.draw(g, 7), static_cast<std::int64_t>(permute(g % 1000, 1000, 7, g / 1000)));
  }
}

TEST(ClipPool, ManySamplesAreThoseOneByOne) {
  for (const ClipPool& pool : {ClipPool({{7, 1}}, ten), ClipPool({{7, 1}, {1000, 2}}, ten)}) {
    const auto clips = pool.draw(4090, 20, 7);  // over several epochs, and the end of a block
    ASSERT_EQ(clips.size(), 20u);
    for (std::size_t i = 0; i < clips.size(); ++i)
      EXPECT_EQ(clips[i], pool.draw(4090 + static_cast<std::int64_t>(i), 7)) << i;
  }
}

TEST(ClipPool, EveryClipOfEachCorpusComesOnceAnEpochOfIt) {
  // Half and half: 2,048 of every 4,096 samples, two epochs of the first, one of the second.
  const ClipPool pool({{1024, 1}, {2048, 1}}, ten);
  std::map<std::int64_t, int> counts;
  for (std::int64_t g = 0; g < 3 * 4096; ++g) ++counts[pool.draw(g, 3)];
  ASSERT_EQ(counts.size(), 3072u);
  for (const auto& [clip, count] : counts) EXPECT_EQ(count, clip < 1024 ? 6 : 3) << clip;
}

TEST(ClipPool, EveryBlockHoldsTheWeightsAndIsShuffled) {
  const ClipPool pool({{50, 1}, {70, 2}, {90, 4}}, ten);
  std::set<std::vector<int>> orders;
  for (std::int64_t block = 0; block < 5; ++block) {
    std::vector<int> order, counts(3);
    for (std::int64_t g = block * 4096; g < (block + 1) * 4096; ++g) {
      const std::int64_t clip = pool.draw(g, 3);
      order.push_back(clip < 50 ? 0 : clip < 120 ? 1 : 2);
      ++counts[static_cast<std::size_t>(order.back())];
    }
    EXPECT_EQ(counts, (std::vector<int>{585, 1170, 2341}));
    orders.insert(order);
    // Nor does a corpus come in one piece.
    const std::vector<int> head(order.begin(), order.begin() + 100);
    EXPECT_EQ(std::set<int>(head.begin(), head.end()).size(), 3u);
  }
  EXPECT_EQ(orders.size(), 5u);
}

TEST(ClipPool, RefusesEmptyAndWeightlessCorpora) {
  const auto message = [](const std::vector<ClipPool::Part>& parts) {
    return message_of<ConfigError>([&] { ClipPool(parts, ten); });
  };
  EXPECT_THAT(message({{5, 1}, {0, 1}}), HasSubstr("corpus 1 of the mixture has no clips"));
  EXPECT_THAT(message({{5, 0}, {5, 1}}), HasSubstr("has weight 0"));
  EXPECT_THAT(message({{5, 1}, {5, 1e9}}), HasSubstr("the least is 1/16777216"));
}

TEST(ClipPool, SmallSharesAreKeptOverMoreSamples) {
  const ClipPool pool({{5, 1}, {500, 4999}}, ten);  // one in 5,000
  int rare = 0;
  constexpr std::int64_t kBlock = 1 << 17;  // 16 of 5,000 * 16, rounded up to a power of two
  for (std::int64_t g = 0; g < kBlock; ++g) rare += pool.draw(g, 3) < 5;
  EXPECT_EQ(rare, 26);  // 2^17 / 5,000 = 26.2
}

TEST(ClipPool, PartsMayBeListsOfClips) {
  const auto list = [](std::vector<std::uint32_t> clips) {
    return std::make_shared<const std::vector<std::uint32_t>>(std::move(clips));
  };
  const ClipPool pool({{2, 1, list({1, 4})}, {2, 3, list({0, 3})}, {1, 0, list({2})}}, ten);
  EXPECT_EQ(pool.size(), 5);
  std::map<std::int64_t, int> counts;
  for (std::int64_t g = 0; g < 4096; ++g) ++counts[pool.draw(g, 3)];
  EXPECT_EQ(counts, (std::map<std::int64_t, int>{{0, 1536}, {1, 512}, {3, 1536}, {4, 512}}));
}

}  // namespace
}  // namespace zoetrope::data
