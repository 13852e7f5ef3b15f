// Checkpoints in the background: order, failures, what is kept.
#include "train/checkpoint_writer.h"

#include <future>
#include <thread>

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
  using Files = std::vector<std::string>;
  static Files write(const fs::path& folder) {
    write_file_atomically(folder / "weights", "1");
    return {"weights"};
  }
  static Files fail(const fs::path& folder) {
    write(folder);
    throw Error("no space left on device");
  }
  static void save(CheckpointWriter& writer, std::int64_t step,
                   const CheckpointWriter::WriteFiles& files) {
    ASSERT_TRUE(writer.begin(step, 1));
    writer.write(files);
  }
  std::vector<std::int64_t> steps() const {
    std::vector<std::int64_t> found;
    for (const auto& checkpoint : find_checkpoints(run_)) found.push_back(checkpoint.step);
    return found;
  }
  fs::path run_;
  CheckpointConfig config_;
  std::unique_ptr<launch::Communicator> alone_ = launch::make_single_rank_communicator();
};

TEST_F(BackgroundCheckpoints, TrainingGoesOnWhileOneIsWritten) {
  CheckpointWriter writer(run_, "dit", config_, *alone_);
  std::promise<void> let_it_end;
  std::shared_future<void> end(let_it_end.get_future());
  save(writer, 1, [end](const fs::path& folder) {
    end.wait();
    return write(folder);
  });
  EXPECT_TRUE(writer.is_writing());
  EXPECT_TRUE(steps().empty());  // we are here, it is not
  let_it_end.set_value();
  writer.finish();
  EXPECT_FALSE(writer.is_writing());
  EXPECT_THAT(steps(), testing::ElementsAre(1));
}

TEST_F(BackgroundCheckpoints, NoneIsPublishedBeforeAllRanksHaveMet) {
  CheckpointWriter writer(run_, "dit", config_, *alone_);
  save(writer, 1, write);
  while (writer.is_writing()) std::this_thread::yield();
  EXPECT_TRUE(steps().empty());
  writer.publish();
  writer.finish();
  EXPECT_THAT(steps(), testing::ElementsAre(1));
}

TEST_F(BackgroundCheckpoints, InTheForegroundItIsThereAtOnce) {
  config_.background = false;
  CheckpointWriter writer(run_, "dit", config_, *alone_);
  save(writer, 1, write);
  EXPECT_THAT(steps(), testing::ElementsAre(1));
}

TEST_F(BackgroundCheckpoints, FailureKeepsTheOldOnesAndTheRunUntilTheLimit) {
  config_.max_failures = 2;
  CheckpointWriter writer(run_, "dit", config_, *alone_);
  save(writer, 1, write);
  save(writer, 2, fail);
  save(writer, 3, write);  // forgives the failure before it
  save(writer, 4, fail);
  EXPECT_NO_THROW(save(writer, 5, fail));
  EXPECT_THROW(writer.begin(6, 1), Error);
  EXPECT_THAT(steps(), testing::ElementsAre(1, 3));
  for (const auto& entry : fs::directory_iterator(run_ / "checkpoints"))
    EXPECT_NE(entry.path().extension(), ".tmp") << entry.path();
}

TEST_F(BackgroundCheckpoints, LastOneThatFailedIsNotPassedOver) {
  CheckpointWriter writer(run_, "dit", config_, *alone_);
  save(writer, 1, fail);
  EXPECT_THROW(writer.finish(), Error);
}

TEST_F(BackgroundCheckpoints, DoesNotBeginWithoutRoom) {
  const std::int64_t too_much = std::int64_t{1} << 60;
  EXPECT_THROW(check_room(run_, too_much), Error);
  CheckpointWriter writer(run_, "dit", config_, *alone_);
  EXPECT_FALSE(writer.begin(1, too_much));
  EXPECT_THROW(writer.finish(), Error);
}

TEST_F(BackgroundCheckpoints, KeepsTheNewestAndEveryTenth) {
  config_.keep_last = 2;
  config_.keep_every = 10;
  CheckpointWriter writer(run_, "dit", config_, *alone_);
  for (const std::int64_t step : {5, 10, 15, 20, 25, 30, 35}) save(writer, step, write);
  writer.finish();
  EXPECT_THAT(steps(), testing::ElementsAre(10, 20, 30, 35));
}

}  // namespace
}  // namespace zoetrope::train
