// Philox against its authors' vectors, and the promises of streams and permutations.
#include "base/random.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <map>
#include <set>
#include <tuple>
#include <vector>

#include "base/error.h"

namespace zoetrope {
namespace {

using Words4 = std::array<std::uint32_t, 4>;

// kat_vectors of Random123, philox4x32 with 10 rounds.
TEST(Philox, GivesThePublishedVectors) {
  EXPECT_EQ(philox4x32({0, 0, 0, 0}, {0, 0}),
            (Words4{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox4x32({0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, {0xffffffff, 0xffffffff}),
            (Words4{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (Words4{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(Random, GivesTheSameNumbersEverywhere) {
  Random random(1234, Purpose::kNoise, 56, 78);
  // From a second implementation; a change of these numbers changes every run.
  for (std::uint32_t word : {0xa7ff6fffu, 0x31289c59u, 0xa2ccec74u, 0x4a15b832u}) {
    EXPECT_EQ(random.next_u32(), word);
  }
}

TEST(Random, RepeatsForTheSameStream) {
  Random a(7, Purpose::kInit, 3, 9), b(7, Purpose::kInit, 3, 9);
  for (int i = 0; i < 1000; ++i) ASSERT_EQ(a.next_u64(), b.next_u64());
}

TEST(Random, CopyContinuesLikeTheOriginal) {
  Random a(7, Purpose::kInit);
  a.normal();
  a.next_u32();
  Random b = a;
  for (int i = 0; i < 9; ++i) ASSERT_EQ(a.normal(), b.normal());
}

TEST(Random, EveryPartOfTheStreamNameMatters) {
  std::set<std::uint64_t> first;
  int streams = 0;
  for (std::uint64_t seed : {0ull, 1ull, 1ull << 32}) {
    for (Purpose purpose : {Purpose::kInit, Purpose::kNoise}) {
      for (std::uint64_t step : {0ull, 1ull, 1ull << 32}) {
        for (std::uint64_t sample : {0ull, 1ull, 1ull << 32}) {
          first.insert(Random(seed, purpose, step, sample).next_u64());
          ++streams;
        }
      }
    }
  }
  EXPECT_EQ(first.size(), static_cast<std::size_t>(streams));
}

TEST(Random, UniformHasTheMomentsOfAUniform) {
  Random random(1, Purpose::kTest);
  const int n = 200000;
  double sum = 0, squares = 0;
  for (int i = 0; i < n; ++i) {
    double u = random.uniform();
    ASSERT_GE(u, 0.0);
    ASSERT_LT(u, 1.0);
    sum += u;
    squares += u * u;
  }
  EXPECT_NEAR(sum / n, 0.5, 5 * std::sqrt(1.0 / 12 / n));
  EXPECT_NEAR(squares / n, 1.0 / 3, 5 * std::sqrt(4.0 / 45 / n));
}

TEST(Random, UniformStaysBelowTheUpperBound) {
  Random random(1, Purpose::kTest);
  double high = std::nextafter(1.0, 2.0);  // two representable values: rounding would reach `high`
  for (int i = 0; i < 100; ++i) ASSERT_EQ(random.uniform(1.0, high), 1.0);
  EXPECT_THROW(random.uniform(1.0, 1.0), Error);
}

TEST(Random, IntegerIsEvenOverItsClosedRange) {
  Random random(2, Purpose::kTest);
  const int n = 70000;
  std::map<std::int64_t, int> counts;
  for (int i = 0; i < n; ++i) ++counts[random.integer(-3, 3)];
  ASSERT_EQ(counts.size(), 7u);
  for (const auto& [value, count] : counts) {
    EXPECT_NEAR(count, n / 7.0, 5 * std::sqrt(n / 7.0)) << value;
  }
}

TEST(Random, IntegerTakesExtremeRanges) {
  constexpr auto kMin = std::numeric_limits<std::int64_t>::min();
  constexpr auto kMax = std::numeric_limits<std::int64_t>::max();
  Random random(2, Purpose::kTest);
  bool negative = false, positive = false;
  for (int i = 0; i < 64; ++i) {
    std::int64_t value = random.integer(kMin, kMax);
    negative |= value < 0;
    positive |= value > 0;
    ASSERT_GE(random.integer(0, kMax), 0);
  }
  EXPECT_TRUE(negative && positive);
  EXPECT_EQ(random.integer(kMax, kMax), kMax);
  EXPECT_THROW(random.integer(1, 0), Error);
}

struct Moments {
  double mean = 0, variance = 0, kurtosis = 0;
};

template <class Values>
Moments moments_of(const Values& values) {
  Moments m;
  double n = static_cast<double>(values.size()), fourth = 0;
  for (double v : values) m.mean += v / n;
  for (double v : values) m.variance += (v - m.mean) * (v - m.mean) / n;
  for (double v : values) fourth += std::pow(v - m.mean, 4) / n;
  m.kurtosis = fourth / (m.variance * m.variance);
  return m;
}

void expect_normal(const Moments& m, double n) {
  EXPECT_NEAR(m.mean, 0, 5 / std::sqrt(n));
  EXPECT_NEAR(m.variance, 1, 5 * std::sqrt(2 / n));
  EXPECT_NEAR(m.kurtosis, 3, 5 * std::sqrt(24 / n));
}

TEST(Random, NormalHasTheMomentsOfANormal) {
  Random random(3, Purpose::kTest);
  std::vector<double> values(200000);
  for (double& value : values) value = random.normal();
  expect_normal(moments_of(values), 200000);
}

TEST(Random, FillNormalHasTheMomentsOfANormal) {
  Random random(3, Purpose::kTest);
  std::vector<float> values(200001);
  random.fill_normal(values);
  expect_normal(moments_of(values), 200001);
}

TEST(Random, FillNormalOfAPrefixIsThePrefix) {
  std::vector<float> small(10), large(1000);
  Random(5, Purpose::kNoise).fill_normal(small);
  Random(5, Purpose::kNoise).fill_normal(large);
  EXPECT_TRUE(std::equal(small.begin(), small.end(), large.begin()));
}

TEST(Permute, IsABijectionForEverySize) {
  for (std::uint64_t size = 1; size <= 2000; ++size) {
    std::vector<bool> seen(size);
    for (std::uint64_t i = 0; i < size; ++i) {
      std::uint64_t position = permute(i, size, 11, size % 3);
      ASSERT_LT(position, size);
      ASSERT_FALSE(seen[position]) << "size " << size;
      seen[position] = true;
    }
  }
}

TEST(Permute, IsABijectionOnAWindowOfAHugeRange) {
  for (std::uint64_t size : {(1ull << 40) + 7, ~0ull}) {
    std::set<std::uint64_t> seen;
    for (std::uint64_t i = 0; i < 1000; ++i) {
      std::uint64_t position = permute(size - 1 - i, size, 1, 2);
      ASSERT_LT(position, size);
      ASSERT_TRUE(seen.insert(position).second);
    }
  }
}

TEST(Permute, ChangesWithSeedAndEpoch) {
  auto order = [](std::uint64_t seed, std::uint64_t epoch) {
    std::vector<std::uint64_t> positions;
    for (std::uint64_t i = 0; i < 100; ++i) positions.push_back(permute(i, 100, seed, epoch));
    return positions;
  };
  EXPECT_EQ(order(1, 1), order(1, 1));
  EXPECT_NE(order(1, 1), order(2, 1));
  EXPECT_NE(order(1, 1), order(1, 2));
  EXPECT_NE(order(1, 1), order(1, 1 + (1ull << 32)));
}

TEST(Permute, SendsEachIndexEverywhereEquallyOften) {
  const int epochs = 8000;
  for (std::uint64_t size : {3ull, 5ull, 16ull, 20ull}) {
    for (std::uint64_t index : {std::uint64_t{0}, size - 1}) {
      std::vector<int> counts(size);
      for (int epoch = 0; epoch < epochs; ++epoch) {
        ++counts[permute(index, size, 42, static_cast<std::uint64_t>(epoch))];
      }
      double expected = epochs / static_cast<double>(size);
      for (int count : counts) EXPECT_NEAR(count, expected, 5 * std::sqrt(expected)) << size;
    }
  }
}

TEST(Permute, ManyAtOnceAreThoseOneByOne) {
  for (const std::uint64_t size : {1ull, 2ull, 37ull, 4096ull, 1'000'003ull}) {
    for (const std::uint64_t count : {0ull, 1ull, 7ull, 8ull, 29ull}) {
      std::vector<std::uint64_t> positions, expected;
      for (std::uint64_t i = 0; i < count; ++i) {
        positions.push_back((3 * i + size / 2) % size);
        expected.push_back(permute(positions.back(), size, 5, 9));
      }
      permute(positions, size, 5, 9);
      EXPECT_EQ(positions, expected) << count << " of " << size;
    }
  }
  // Orders of runs that go on must not change.
  EXPECT_EQ(permute(0, 1000, 1, 0), 215);
  EXPECT_EQ(permute(999, 1000, 1, 0), 233);
  EXPECT_EQ(permute(123'456, 3'000'000, 7, 2), 498271);
}

TEST(Permute, RefusesAnIndexOutside) {
  EXPECT_THROW(permute(5, 5, 0, 0), Error);
  EXPECT_THROW(permute(0, 0, 0, 0), Error);
  std::vector<std::uint64_t> indices = {3, 5};
  EXPECT_THROW(permute(indices, 5, 0, 0), Error);
}

}  // namespace
}  // namespace zoetrope
