// A slow rank is named once it has been slow three times running.
#include "train/stragglers.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace zoetrope::train {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

// Judges times of four ranks, whatever the world of this test.
class FourRanks : public launch::Communicator {
 public:
  int rank() const override { return 0; }
  int size() const override { return 4; }
  void barrier() override {}
  std::unique_ptr<Communicator> split(int) override { return nullptr; }
  std::vector<std::string> all_gather(const std::string& bytes) override {
    return std::vector<std::string>(4, bytes);
  }
  using Started = std::unique_ptr<launch::Request>;
  Started start_all_reduce(launch::Buffer, launch::Reduction) override { return nullptr; }
  Started start_reduce_scatter(launch::Buffer, launch::Buffer, launch::Counts) override {
    return nullptr;
  }
  Started start_all_gather(launch::Buffer, launch::Buffer, launch::Counts) override {
    return nullptr;
  }
  Started start_all_to_all(launch::Buffer, launch::Counts, launch::Buffer,
                           launch::Counts) override {
    return nullptr;
  }
  Started start_broadcast(launch::Buffer, int) override { return nullptr; }
  Started start_exchange(launch::Buffer, int, launch::Buffer, int) override { return nullptr; }
};

std::vector<RankTimes> times(double third) {
  return {{1, 0.1}, {1.05, 0}, {third, 0}, {0.9, 0.1}};
}

TEST(Stragglers, NamesARankAtItsThirdSlowTimeRunning) {
  FourRanks ranks;
  Stragglers stragglers(10, ranks);
  EXPECT_THAT(stragglers.judge(times(1.5)), IsEmpty());
  EXPECT_THAT(stragglers.judge(times(1.5)), IsEmpty());
  EXPECT_THAT(stragglers.judge(times(1.5)), ElementsAre(2));
  EXPECT_THAT(stragglers.judge(times(1.5)), IsEmpty());  // said; again at the sixth
}

TEST(Stragglers, OneGoodTimeClears) {
  FourRanks ranks;
  Stragglers stragglers(10, ranks);
  stragglers.judge(times(1.5));
  stragglers.judge(times(1.5));
  EXPECT_THAT(stragglers.judge(times(1.2)), IsEmpty());
  EXPECT_THAT(stragglers.judge(times(1.5)), IsEmpty());
}

TEST(Stragglers, WaitingForDataCounts) {
  FourRanks ranks;
  Stragglers stragglers(10, ranks);
  const std::vector<RankTimes> slow_disk = {{1, 0}, {1, 0.6}, {1, 0}, {1, 0}};
  stragglers.judge(slow_disk);
  stragglers.judge(slow_disk);
  EXPECT_THAT(stragglers.judge(slow_disk), ElementsAre(1));
}

}  // namespace
}  // namespace zoetrope::train
