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
  ranks.broadcast(std::span<std::byte>(bytes), last);
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
  const auto a = ranks.start_all_reduce(std::span<float>(first), Reduction::kSum);
  const auto b = ranks.start_all_reduce(std::span<float>(second), Reduction::kSum);
  a->wait();
  b->wait();
  EXPECT_EQ(first[99], static_cast<float>(ranks.size()));
  EXPECT_EQ(second[0], static_cast<float>(2 * ranks.size()));
}

// Part r has r + 1 elements.
std::vector<std::size_t> uneven_counts(int size) {
  std::vector<std::size_t> counts(size);
  std::iota(counts.begin(), counts.end(), std::size_t{1});
  return counts;
}

TEST(Communicator, ReduceScatterAndAllGatherOfUnevenPartsAreAnAllReduce) {
  auto& ranks = world();
  const auto counts = uneven_counts(ranks.size());
  const std::size_t total = std::accumulate(counts.begin(), counts.end(), std::size_t{0});
  const std::size_t begin = std::size_t(ranks.rank()) * (ranks.rank() + 1) / 2;
  for (const bool in_place : {false, true}) {
    std::vector<float> all(total), apart(counts[ranks.rank()]), gathered(total, -1);
    for (std::size_t i = 0; i < total; ++i) all[i] = static_cast<float>(i * (ranks.rank() + 1));
    std::span<float> mine = in_place ? std::span(all).subspan(begin, apart.size()) : apart;
    ranks.reduce_scatter(std::span<float>(all), mine, counts);
    ranks.all_gather(mine, std::span<float>(gathered), counts);
    const int n = ranks.size();
    for (std::size_t i = 0; i < total; ++i) {
      EXPECT_EQ(gathered[i], static_cast<float>(i) * static_cast<float>(n * (n + 1) / 2)) << i;
    }
  }
}

TEST(Communicator, AllToAllSendsPartsOfAnyLength) {
  auto& ranks = world();
  // Rank a sends b + 1 values 10 a + b to rank b.
  const auto send_counts = uneven_counts(ranks.size());
  const std::vector<std::size_t> receive_counts(ranks.size(), ranks.rank() + 1);
  std::vector<std::int64_t> send, receive(ranks.size() * (ranks.rank() + 1)), expected;
  for (int r = 0; r < ranks.size(); ++r) {
    send.insert(send.end(), send_counts[r], 10 * ranks.rank() + r);
    expected.insert(expected.end(), receive_counts[r], 10 * r + ranks.rank());
  }
  ranks.all_to_all(std::span<std::int64_t>(send), send_counts, std::span<std::int64_t>(receive),
                   receive_counts);
  EXPECT_EQ(receive, expected);
}

TEST(Communicator, ExchangeTurnsTheRing) {
  auto& ranks = world();
  const int n = ranks.size(), rank = ranks.rank();
  std::vector<double> mine = {double(rank)}, theirs = {-1};
  ranks.exchange(std::span<double>(mine), (rank + 1) % n, std::span<double>(theirs),
                 (rank + n - 1) % n);
  EXPECT_EQ(theirs[0], (rank + n - 1) % n);
}

TEST(Communicator, SumsBf16RoundingEachAdditionToEven) {
  auto& ranks = world();
  // 256 + 1 lies half way between 256 and 258: to even, 256. 1 is 0x3f80, 256 is 0x4380.
  std::vector<std::uint16_t> values = {std::uint16_t(ranks.rank() == 0 ? 0x4380 : 0x3f80), 0x3f80};
  ranks.all_reduce({values.data(), 2, Element::kBFloat16}, Reduction::kSum);
  if (ranks.size() == 2) {
    EXPECT_EQ(values[0], 0x4380);
  }
  const std::vector<std::uint16_t> powers = {0, 0x3f80, 0x4000, 0x4040, 0x4080};  // 0 to 4
  EXPECT_EQ(values[1], powers[ranks.size()]);
  ranks.all_reduce({values.data(), 2, Element::kBFloat16}, Reduction::kMax);
  EXPECT_EQ(values[1], powers[ranks.size()]);
}

}  // namespace
}  // namespace zoetrope::launch
