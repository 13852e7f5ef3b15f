// Checkpoints in the background: order, failures, what is kept.
#include "train/checkpoint_writer.h"

#include <atomic>
#include <future>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/files.h"
#include "train/checkpoint.h"

namespace zoetrope::train {
namespace {
namespace fs = std::filesystem;

class BackgroundCheckpoints : public testing::Test {
 protected:
  void SetUp() override {
    run_ = fs::temp_directory_path() /
           concat("zoetrope_writer_test_",
                  testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::remove_all(run_);
    fs::create_directories(run_);
  }
  void TearDown() override { fs::remove_all(run_); }
  static void write(const fs::path& folder) { write_file_atomically(folder / "weights", "1"); }
  static void fail(const fs::path& folder) {
    write(folder);
    throw Error("no space left on device");
  }
  std::vector<std::int64_t> steps() const {
    std::vector<std::int64_t> found;
    for (const auto& checkpoint : find_checkpoints(run_)) found.push_back(checkpoint.step);
    return found;
  }
  fs::path run_;
  CheckpointConfig config_;
};

TEST_F(BackgroundCheckpoints, TrainingGoesOnWhileOneIsWritten) {
  CheckpointWriter writer(run_, "dit", config_);
  std::promise<void> let_it_end;
  std::shared_future<void> end(let_it_end.get_future());
  writer.submit(1, 1, [end](const fs::path& folder) {
    end.wait();
    write(folder);
  });
  EXPECT_TRUE(steps().empty());  // we are here, it is not
  let_it_end.set_value();
  writer.finish();
  EXPECT_THAT(steps(), testing::ElementsAre(1));
}

TEST_F(BackgroundCheckpoints, InTheForegroundItIsThereWhenSubmitReturns) {
  config_.background = false;
  CheckpointWriter writer(run_, "dit", config_);
  writer.submit(1, 1, write);
  EXPECT_THAT(steps(), testing::ElementsAre(1));
}

TEST_F(BackgroundCheckpoints, FailureKeepsTheOldOnesAndTheRunUntilTheLimit) {
  config_.max_failures = 2;
  CheckpointWriter writer(run_, "dit", config_);
  writer.submit(1, 1, write);
  writer.submit(2, 1, fail);
  writer.submit(3, 1, write);  // forgives the failure before it
  writer.submit(4, 1, fail);
  EXPECT_NO_THROW(writer.submit(5, 1, fail));
  EXPECT_THROW(writer.submit(6, 1, write), Error);
  EXPECT_THAT(steps(), testing::ElementsAre(1, 3));
  for (const auto& entry : fs::directory_iterator(run_ / "checkpoints"))
    EXPECT_NE(entry.path().extension(), ".tmp") << entry.path();
}

TEST_F(BackgroundCheckpoints, LastOneThatFailedIsNotPassedOver) {
  CheckpointWriter writer(run_, "dit", config_);
  writer.submit(1, 1, fail);
  EXPECT_THROW(writer.finish(), Error);
}

TEST_F(BackgroundCheckpoints, RefusesToBeginWithoutRoom) {
  const std::int64_t too_much = std::int64_t{1} << 60;
  EXPECT_THROW(check_room(run_, too_much), Error);
  CheckpointWriter writer(run_, "dit", config_);
  std::atomic<bool> was_called = false;
  writer.submit(1, too_much, [&](const fs::path&) { was_called = true; });
  EXPECT_THROW(writer.finish(), Error);
  EXPECT_FALSE(was_called);
}

TEST_F(BackgroundCheckpoints, KeepsTheNewestAndEveryTenth) {
  config_.keep_last = 2;
  config_.keep_every = 10;
  CheckpointWriter writer(run_, "dit", config_);
  for (const std::int64_t step : {5, 10, 15, 20, 25, 30, 35}) writer.submit(step, 1, write);
  writer.finish();
  EXPECT_THAT(steps(), testing::ElementsAre(10, 20, 30, 35));
}

}  // namespace
}  // namespace zoetrope::train
