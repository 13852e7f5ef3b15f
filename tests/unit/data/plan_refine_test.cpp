// Refinement: the latest finish falls, never rises, within the room of each rank.
#include "data/plan_refine.h"

#include <algorithm>
#include <cmath>

#include <gtest/gtest.h>

#include "base/random.h"

namespace zoetrope::data {
namespace {

TEST(Refinement, NeverWorsensAndKeepsTheRoom) {
  Random random(6, Purpose::kTest);
  for (int round = 0; round < 200; ++round) {
    const int ranks = static_cast<int>(random.integer(1, 9));
    std::vector<std::int64_t> tokens;
    std::vector<double> costs;
    for (auto count = random.integer(1, 60); count > 0; --count) {
      tokens.push_back(static_cast<std::int64_t>(3000 * std::exp(1.2 * random.normal())) + 1);
    }
    std::sort(tokens.rbegin(), tokens.rend());
    for (const std::int64_t length : tokens) {
      const auto s = static_cast<double>(length);
      costs.push_back(1e-6 * s + 1e-10 * s * s);
    }
    std::vector<double> speeds;
    for (int rank = 0; rank < ranks; ++rank) speeds.push_back(random.uniform(0.8, 1.2));
    Load load{costs, tokens, speeds, std::vector<double>(speeds.size()),
              std::vector<std::int64_t>(speeds.size(), 50'000)};
    std::vector<Seat> seats;
    for (std::size_t i = 0; i < tokens.size(); ++i) {
      const auto rank = static_cast<std::size_t>(random.integer(0, ranks - 1));
      seats.push_back({static_cast<int>(rank), 1});
      load.finish[rank] += costs[i] / speeds[rank];
      load.room[rank] = std::max<std::int64_t>(load.room[rank] - tokens[i], 0);
    }
    const auto worst = [&] { return *std::max_element(load.finish.begin(), load.finish.end()); };
    const double before = worst();
    refine_seats(seats, load);
    EXPECT_LE(worst(), before);
    std::vector<double> finish(speeds.size());
    for (std::size_t i = 0; i < tokens.size(); ++i) {
      const auto rank = static_cast<std::size_t>(seats[i].first_rank);
      finish[rank] += costs[i] / speeds[rank];
    }
    for (std::size_t rank = 0; rank < finish.size(); ++rank) {
      EXPECT_NEAR(finish[rank], load.finish[rank], 1e-9);
      EXPECT_GE(load.room[rank], 0);
    }
  }
}

TEST(Refinement, FindsTheSwapThatLevels) {
  const std::vector<double> costs = {5, 4, 3, 2};
  const std::vector<std::int64_t> tokens = {5, 4, 3, 2};
  const std::vector<double> speeds = {1, 1};
  std::vector<Seat> seats = {{0, 1}, {0, 1}, {1, 1}, {1, 1}};
  Load load{costs, tokens, speeds, {9, 5}, {0, 2}};
  refine_seats(seats, load);
  EXPECT_EQ(load.finish, (std::vector<double>{7, 7}));
  EXPECT_EQ(load.room, (std::vector<std::int64_t>{2, 0}));
}

}  // namespace
}  // namespace zoetrope::data
