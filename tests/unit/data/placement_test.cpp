// The placement: caps and groups respected, one order on all ranks, level loads, hard inputs.
#include "data/placement.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/random.h"

namespace zoetrope::data {
namespace {

const Calibration kCosts{0, {0, 1.13e-6, 8.6e-11}, {}};

// 30 % images; clips of lognormal length at three sizes, up to 231 K tokens.
std::vector<std::int64_t> mixed_lengths(int count, std::uint64_t seed) {
  Random random(seed, Purpose::kTest);
  std::vector<std::int64_t> tokens;
  for (int i = 0; i < count; ++i) {
    const std::int64_t area = std::array<std::int64_t, 3>{256, 1590, 3600}[random.next_u32() % 3];
    const bool image = random.uniform() < 0.3;
    const double frames = image ? 1 : std::min(64.0, 20 * std::exp(0.55 * random.normal()));
    tokens.push_back(area * static_cast<std::int64_t>(std::max(1.0, frames)));
  }
  return tokens;
}

std::vector<double> costs_of(const std::vector<std::int64_t>& tokens) {
  std::vector<double> costs;
  for (const std::int64_t length : tokens) costs.push_back(kCosts.cost(length));
  return costs;
}

void expect_sound(const Placement& placement, const std::vector<std::int64_t>& tokens,
                  const RankLayout& mesh, const PlacementLimits& limits) {
  ASSERT_EQ(placement.seats.size(), tokens.size());
  std::vector<std::int32_t> sorted = placement.order;
  std::sort(sorted.begin(), sorted.end());
  for (std::size_t i = 0; i < sorted.size(); ++i) ASSERT_EQ(sorted[i], static_cast<int>(i));
  std::vector<std::int64_t> of_rank(static_cast<std::size_t>(mesh.num_ranks));
  int degree_before = mesh.max_sp_degree;
  std::int64_t length_before = *std::max_element(tokens.begin(), tokens.end());
  for (const std::int32_t i : placement.order) {
    const auto [first, degree] = placement.seats[static_cast<std::size_t>(i)];
    const std::int64_t length = tokens[static_cast<std::size_t>(i)];
    EXPECT_LE(degree, degree_before);  // shared samples first, in one order
    EXPECT_LE(length, length_before);  // equal lengths adjacent
    EXPECT_EQ(degree & (degree - 1), 0);
    ASSERT_LE(first + degree, mesh.num_ranks);
    if (degree <= mesh.ranks_per_node) {
      EXPECT_EQ(first % mesh.ranks_per_node % degree, 0);
      EXPECT_EQ(first / mesh.ranks_per_node, (first + degree - 1) / mesh.ranks_per_node);
    } else {
      EXPECT_EQ(first % degree, 0);
    }
    for (int rank = first; rank < first + degree; ++rank) {
      of_rank[static_cast<std::size_t>(rank)] += (length + degree - 1) / degree;
    }
    degree_before = degree;
    length_before = length;
  }
  if (limits.max_tokens_per_rank == 0) return;
  for (const std::int64_t sum : of_rank) EXPECT_LE(sum, limits.max_tokens_per_rank);
}

TEST(Placement, IsSoundOnManyMeshes) {
  for (const auto& [ranks, per_node] :
       {std::pair{1, 8}, {2, 8}, {6, 6}, {13, 4}, {24, 6}, {64, 8}}) {
    for (const int degree : {1, 2, 8, 16}) {
      for (const int per_rank : {1, 4, 16}) {
        const auto tokens = mixed_lengths(ranks * per_rank, 5);
        const RankLayout mesh{ranks, per_node, degree};
        expect_sound(place_samples(tokens, mesh, {}, kCosts), tokens, mesh, {});
      }
    }
  }
}

TEST(Placement, IsThePureFunctionOfItsArguments) {
  const auto tokens = mixed_lengths(640, 2);
  const RankLayout mesh{32, 8, 8};
  const auto a = place_samples(tokens, mesh, {}, kCosts);
  const auto b = place_samples(tokens, mesh, {}, kCosts);
  EXPECT_EQ(a.seats, b.seats);
  EXPECT_EQ(a.order, b.order);
}

TEST(Placement, BalanceOf64RanksIsNearlyPerfectAndWhatRunningGives) {
  const RankLayout mesh{64, 8, 64};
  for (std::uint64_t seed = 0; seed < 5; ++seed) {
    const auto tokens = mixed_lengths(64 * 32, seed);
    const Placement placement = place_samples(tokens, mesh, {}, kCosts);
    expect_sound(placement, tokens, mesh, {});
    const auto costs = costs_of(tokens);
    const Timeline times = run_seats(placement, costs, {}, 64, PlacementLimits{}.sp_overhead);
    EXPECT_EQ(placement.balance, times.balance);
    EXPECT_GT(times.balance, 0.999);
    const double ideal = std::accumulate(costs.begin(), costs.end(), 0.0) / 64;
    EXPECT_GT(ideal / times.makespan, 0.995);
  }
}

TEST(Placement, SharingTurnsAHopelessStepIntoALevelOne) {
  auto tokens = mixed_lengths(64, 1);
  tokens[10] = 400'000;  // dearer than the rest together
  const auto balance = [&](int max_sp_degree) {
    return place_samples(tokens, {16, 8, max_sp_degree}, {}, kCosts).balance;
  };
  EXPECT_LT(balance(1), 0.3);
  EXPECT_GT(balance(16), 0.95);
}

TEST(Placement, OverheadOfSharingMakesItRarer) {
  const auto tokens = mixed_lengths(256, 3);
  const auto num_shared = [&](double overhead) {
    const auto placement = place_samples(tokens, {64, 8, 8}, {overhead, 0}, kCosts);
    std::int64_t ranks = 0;
    for (const Seat& seat : placement.seats) ranks += seat.sp_degree;
    return ranks;
  };
  EXPECT_LT(num_shared(0.5), num_shared(0));
}

TEST(Placement, TokenCapIsKept) {
  const auto tokens = mixed_lengths(16 * 12, 9);
  const std::int64_t total = std::accumulate(tokens.begin(), tokens.end(), std::int64_t{0});
  const RankLayout mesh{16, 8, 8};
  for (const double slack : {1.05, 1.2, 2.0}) {
    const PlacementLimits limits{
        0.03, static_cast<std::int64_t>(static_cast<double>(total) / 16 * slack)};
    expect_sound(place_samples(tokens, mesh, limits, kCosts), tokens, mesh, limits);
  }
  EXPECT_THROW(place_samples(tokens, mesh, {0.03, total / 16 - 1}, kCosts), ConfigError);
  // What fits no rank alone is shared.
  const std::vector<std::int64_t> one = {1000};
  const auto placement = place_samples(one, {4, 4, 4}, {0.03, 250}, kCosts);
  EXPECT_EQ(placement.seats[0], (Seat{0, 4}));
  EXPECT_THROW(place_samples(one, {4, 4, 2}, {0.03, 250}, kCosts), ConfigError);
}

TEST(Placement, FasterRanksGetMore) {
  const auto tokens = mixed_lengths(400, 4);
  Calibration calibration = kCosts;
  calibration.speeds = {1.5, 0.5, 1, 1};
  const auto placement = place_samples(tokens, {4, 4, 1}, {}, calibration);
  const auto costs = costs_of(tokens);
  EXPECT_GT(run_seats(placement, costs, calibration.speeds, 4, 0).balance, 0.999);
  EXPECT_LT(run_seats(placement, costs, {}, 4, 0).balance, 0.7);
}

TEST(Placement, HardInputs) {
  const RankLayout mesh{8, 8, 8};
  const std::vector<std::int64_t> one = {500'000}, few = {9, 9, 9}, equal(80, 4096);
  EXPECT_EQ(place_samples(one, mesh, {0, 0}, kCosts).seats[0], (Seat{0, 8}));
  expect_sound(place_samples(few, mesh, {}, kCosts), few, mesh, {});
  const auto dealt = place_samples(equal, mesh, {}, kCosts);
  EXPECT_DOUBLE_EQ(dealt.balance, 1);
  for (int i = 0; i < 80; ++i) {
    EXPECT_EQ(dealt.seats[static_cast<std::size_t>(i)], (Seat{i % 8, 1}));
  }
  Calibration zero = kCosts;
  zero.speeds = {1, 1, 1, 0, 1, 1, 1, 1};
  EXPECT_THROW(place_samples(equal, mesh, {}, zero), ConfigError);
  zero.speeds.pop_back();
  EXPECT_THROW(place_samples(equal, mesh, {}, zero), ConfigError);
  EXPECT_THROW(place_samples(equal, {8, 8, 0}, {}, kCosts), ConfigError);
  EXPECT_THROW(place_samples(equal, {0, 8, 1}, {}, kCosts), Error);
}

// 8 of 6 ranks a node cannot stay inside one: ranks wait for each other, and run_seats counts it.
TEST(Placement, RunningCountsWaitingForAGroup) {
  Placement placement;
  placement.seats = {{0, 2}, {1, 2}, {0, 1}};
  placement.order = {0, 1, 2};
  const std::vector<double> costs = {4, 6, 1};
  const Timeline times = run_seats(placement, costs, std::vector<double>{1, 1, 0.5}, 3, 0);
  EXPECT_EQ(times.finish, (std::vector<double>{3, 8, 8}));
  EXPECT_EQ(times.busy, (std::vector<double>{3, 5, 6}));
  EXPECT_DOUBLE_EQ(times.balance, 14.0 / 3 / 8);
}

}  // namespace
}  // namespace zoetrope::data
