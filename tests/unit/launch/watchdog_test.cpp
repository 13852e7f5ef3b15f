// What a stuck job says: who is missing, and from what.
#include "launch/watchdog.h"

#include <filesystem>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/json.h"

namespace zoetrope::launch {
namespace {

using testing::HasSubstr;
using testing::Not;

Heartbeat rank_in(int rank, const std::string& operation, std::int64_t sequence, std::int64_t bytes,
                  bool done) {
  Heartbeat h;
  h.rank = rank;
  h.host = "node" + std::to_string(rank);
  h.pid = 100 + rank;
  h.step = 7;
  h.phase = "step";
  h.last = {{"world", sequence, operation, bytes, 7, done}};
  h.sequences = {{"world", sequence}};
  return h;
}

TEST(Watchdog, NamesTheRankWithoutALifeSign) {
  const std::string text =
      diagnose({rank_in(0, "all_reduce", 5, 8, false), rank_in(1, "all_reduce", 4, 8, true),
                rank_in(2, "all_reduce", 5, 8, false)},
               {1});
  EXPECT_THAT(text, HasSubstr("rank 1 (node1, pid 101) gives no sign of life"));
  EXPECT_THAT(text, Not(HasSubstr("rank 0")));
}

TEST(Watchdog, NamesTheRankThatHasNotJoined) {
  const std::string text =
      diagnose({rank_in(0, "all_reduce", 5, 8, false), rank_in(1, "all_reduce", 5, 8, false),
                rank_in(2, "all_reduce", 4, 8, true)},
               {});
  EXPECT_THAT(text, HasSubstr("rank 2 (node2, pid 102) has not joined all_reduce #5 of world, 8 "
                              "bytes, step 7"));
  EXPECT_THAT(text, HasSubstr("in no collective"));
  EXPECT_THAT(text, Not(HasSubstr("rank 1")));
}

TEST(Watchdog, TellsDifferentCollectivesApart) {
  const std::string by_name =
      diagnose({rank_in(0, "all_reduce", 5, 8, false), rank_in(1, "barrier", 5, 0, false)}, {});
  EXPECT_THAT(by_name, HasSubstr("different collectives"));
  EXPECT_THAT(by_name, HasSubstr("barrier #5"));
  const std::string by_size =
      diagnose({rank_in(0, "all_reduce", 5, 8, false), rank_in(1, "all_reduce", 5, 80, false)}, {});
  EXPECT_THAT(by_size, HasSubstr("different collectives"));
}

TEST(Watchdog, RankOutsideTheGroupIsNotMissed) {
  Heartbeat outside = rank_in(2, "all_reduce", 9, 8, true);
  outside.sequences = {{"world/0:1", 9}};
  outside.last[0].group = "world/0:1";
  const std::string text = diagnose(
      {rank_in(0, "all_reduce", 5, 8, false), rank_in(1, "all_reduce", 4, 8, true), outside}, {});
  EXPECT_THAT(text, HasSubstr("rank 1"));
  EXPECT_THAT(text, Not(HasSubstr("rank 2")));
}

TEST(Watchdog, HeartbeatSurvivesItsFile) {
  const Heartbeat before = rank_in(3, "all_gather", 12, 1 << 20, false);
  const Heartbeat after = heartbeat_from_json(to_json(before));
  EXPECT_EQ(to_json(after), to_json(before));
  ASSERT_NE(after.waiting_in(), nullptr);
  EXPECT_EQ(after.waiting_in()->sequence, 12);
}

TEST(Watchdog, WritesItsHeartbeatAndTakesItAway) {
  const auto folder = std::filesystem::temp_directory_path() / "zoetrope_watchdog_test";
  std::filesystem::remove_all(folder);
  {
    WatchdogConfig config;
    config.silent_s = 0.3;
    Watchdog watchdog(config, folder, 0, 1);
    watchdog.enter(Phase::kStep, 3);
    const auto file = folder / "rank_0.json";
    for (int i = 0; i < 500; ++i) {
      if (std::filesystem::exists(file) && read_json(file).at("step") == 3) break;
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    EXPECT_EQ(heartbeat_from_json(read_json(file)).step, 3);
  }
  EXPECT_TRUE(std::filesystem::is_empty(folder));
  std::filesystem::remove_all(folder);
}

TEST(FlightRecorder, CountsCallsOfEachGroupAndKeepsTheNewest) {
  const auto world = record_collectives(make_single_rank_communicator());
  const auto part = world->split(3);
  for (int i = 0; i < 100; ++i) part->barrier();
  const auto request = world->start_all_reduce({}, Reduction::kSum);
  const auto last = FlightRecorder::instance().last(2);
  ASSERT_EQ(last.size(), 2u);
  EXPECT_EQ(last[0].group, "world/0:3");
  EXPECT_EQ(last[0].sequence, 100);
  EXPECT_TRUE(last[0].done);
  EXPECT_EQ(last[1].operation, "all_reduce");
  EXPECT_FALSE(last[1].done);
  request->wait();
  EXPECT_TRUE(FlightRecorder::instance().last(1)[0].done);
}

}  // namespace
}  // namespace zoetrope::launch
