// Collectives over the real ranks of the job.
#include "launch/communicator.h"

#include <cstring>
#include <numeric>

#include <gtest/gtest.h>

#include "tests/distributed/world.h"

namespace zoetrope::launch {
namespace {

TEST(Communicator, SumsAndMaximaCoverAllRanks) {
  auto& ranks = world();
  std::vector<float> floats(1000);
  std::iota(floats.begin(), floats.end(), static_cast<float>(ranks.rank()));
  ranks.all_reduce_sum(std::span<float>(floats));
  const int n = ranks.size();
  for (int i = 0; i < 1000; ++i) EXPECT_EQ(floats[i], static_cast<float>(n * i + n * (n - 1) / 2));
  std::vector<std::int64_t> integers = {std::int64_t{1} << 40};
  ranks.all_reduce_sum(std::span<std::int64_t>(integers));
  EXPECT_EQ(integers[0], n * (std::int64_t{1} << 40));
  std::vector<double> doubles = {static_cast<double>(ranks.rank()), -1.5};
  ranks.all_reduce_max(doubles);
  EXPECT_EQ(doubles, (std::vector<double>{n - 1.0, -1.5}));
}

TEST(Communicator, SumHasTheSameBitsOnEveryRank) {
  auto& ranks = world();
  std::vector<float> values(4096);
  for (std::size_t i = 0; i < values.size(); ++i) {
    values[i] = 1.0f / static_cast<float>(1 + i * 7 + static_cast<std::size_t>(ranks.rank()) * 13);
  }
  ranks.all_reduce_sum(std::span<float>(values));
  std::string bytes(values.size() * sizeof(float), '\0');
  std::memcpy(bytes.data(), values.data(), bytes.size());
  for (const std::string& other : ranks.all_gather(bytes)) EXPECT_EQ(other, bytes);
}

TEST(Communicator, BroadcastAndGatherKeepBytesAndOrder) {
  auto& ranks = world();
  const int last = ranks.size() - 1;
  std::vector<std::byte> bytes(17, std::byte{static_cast<unsigned char>(ranks.rank())});
  ranks.broadcast(bytes, last);
  for (const std::byte b : bytes) EXPECT_EQ(static_cast<int>(b), last);
  const auto all = ranks.all_gather(std::string(static_cast<std::size_t>(ranks.rank()), 'x'));
  EXPECT_EQ(all.size(), static_cast<std::size_t>(ranks.size()));
  for (std::size_t r = 0; r < all.size(); ++r) EXPECT_EQ(all[r].size(), r);
}

TEST(Communicator, SplitMakesGroupsByColour) {
  auto& ranks = world();
  const auto group = ranks.split(ranks.rank() % 2);
  EXPECT_EQ(group->size(), (ranks.size() + 1 - ranks.rank() % 2) / 2);
  EXPECT_EQ(group->rank(), ranks.rank() / 2);
  std::vector<double> sum = {static_cast<double>(ranks.rank())};
  group->all_reduce_sum(std::span<double>(sum));
  double expected = 0;
  for (int r = ranks.rank() % 2; r < ranks.size(); r += 2) expected += r;
  EXPECT_EQ(sum[0], expected);
}

TEST(Communicator, StartedReductionsFinishInOrder) {
  auto& ranks = world();
  std::vector<float> first(100, 1), second(100, 2);
  const auto a = ranks.start_all_reduce_sum(first);
  const auto b = ranks.start_all_reduce_sum(second);
  a->wait();
  b->wait();
  EXPECT_EQ(first[99], static_cast<float>(ranks.size()));
  EXPECT_EQ(second[0], static_cast<float>(2 * ranks.size()));
}

}  // namespace
}  // namespace zoetrope::launch
