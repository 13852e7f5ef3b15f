// Ranks plan and calibrate alike, each by itself.
#include "data/planner.h"

#include <gtest/gtest.h>

#include "base/random.h"
#include "tests/distributed/world.h"

namespace zoetrope::data {
namespace {

std::vector<std::int64_t> lengths() {
  std::vector<std::int64_t> tokens;
  Random random(3, Purpose::kTest);
  for (int i = 0; i < 5000; ++i) tokens.push_back(random.integer(16, 60000));
  return tokens;
}

TEST(PlannerOnRanks, PlansAreTheSameEverywhere) {
  const auto tokens = lengths();
  PlannerConfig config;
  config.global_batch = 512;
  config.max_sp_degree = 8;
  std::string hashes;
  for (int step = 0; step < 10; ++step) {
    hashes += hash_plan(plan_step(config, step, tokens, 64, starting_calibration(config)));
  }
  for (const std::string& other : world().all_gather(hashes)) EXPECT_EQ(other, hashes);
}

TEST(PlannerOnRanks, CalibrationFindsTheSlowRankAndIsTheSameEverywhere) {
  const CostModel truth{1e-3, 1e-6, 1e-10};
  const double speed = world().rank() == 0 ? 0.5 : 1;
  Calibrator calibrator;
  Calibration record = starting_calibration({});
  Random random(1, Purpose::kTest, 0, static_cast<std::uint64_t>(world().rank()));
  for (int publish = 1; publish <= 8; ++publish) {
    for (int step = 0; step < 20; ++step) {
      PackContents pack;
      double seconds = 0;
      for (int i = 0; i < 4; ++i) {
        const std::int64_t tokens = random.integer(100, 50000);
        pack.add(tokens, 1);
        seconds += truth(tokens) / speed;
      }
      calibrator.measure(pack, seconds);
    }
    record = calibrator.publish(record, 20 * publish, world(), world().rank(), world().size());
    EXPECT_EQ(record.from_step, 20 * publish);
  }
  const std::string mine = calibration_to_json(record).dump();
  for (const std::string& other : world().all_gather(mine)) EXPECT_EQ(other, mine);
  EXPECT_EQ(record.speeds.size(), static_cast<std::size_t>(world().size()));
  for (std::size_t rank = 1; rank < record.speeds.size(); ++rank) {
    EXPECT_NEAR(record.speeds[0] / record.speeds[rank], 0.5, 0.01);
  }
}

TEST(PlannerOnRanks, RanksOfOnePlaceCountAsOne) {
  Calibrator calibrator;
  PackContents pack;
  pack.add(100 * (1 + world().rank()), 1);
  calibrator.measure(pack, 1 + world().rank());
  const Calibration record = calibrator.publish({}, 7, world(), 0, 1);
  EXPECT_EQ(record.speeds, std::vector<double>{1});
  EXPECT_NEAR(record.cost(100), 1, 1e-9);
}

}  // namespace
}  // namespace zoetrope::data
