// Checkpoints are whole or not there.
#include "train/checkpoint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "base/error.h"
#include "base/files.h"
#include "tests/unit/base/fixtures.h"

namespace zoetrope::train {
namespace {
namespace fs = std::filesystem;
using testing::HasSubstr;

class Checkpoints : public testing::Test {
 protected:
  void SetUp() override {
    run_ = fs::temp_directory_path() /
           ("zoetrope_checkpoint_test_" +
            std::string(testing::UnitTest::GetInstance()->current_test_info()->name()));
    fs::remove_all(run_);
  }
  void TearDown() override { fs::remove_all(run_); }

  fs::path publish(std::int64_t step) {
    const fs::path folder = unfinished_folder(run_, step);
    fs::create_directories(folder / "model");
    write_file_atomically(folder / "model" / "weights", "step " + std::to_string(step));
    write_file_atomically(folder / "state.json", "{}");
    return publish_checkpoint(run_, step, "dit",
                              seal_files(folder, {"model/weights", "state.json"}));
  }
  fs::path run_;
};

TEST_F(Checkpoints, AreFoundInOrderOfSteps) {
  publish(200);
  publish(1000);
  publish(30);
  const auto found = find_checkpoints(run_);
  ASSERT_EQ(found.size(), 3u);
  EXPECT_EQ(found[0].step, 30);
  EXPECT_EQ(found[2].step, 1000);
  EXPECT_EQ(resolve_checkpoint(run_), found[2].folder);
  EXPECT_EQ(resolve_checkpoint(found[0].folder), found[0].folder);
}

TEST_F(Checkpoints, UnfinishedOneLeavesTheOldOnes) {
  publish(1);
  fs::create_directories(unfinished_folder(run_, 2) / "model");
  ASSERT_EQ(find_checkpoints(run_).size(), 1u);
  EXPECT_EQ(find_checkpoints(run_)[0].step, 1);
  remove_unfinished(run_);
  EXPECT_FALSE(fs::exists(unfinished_folder(run_, 2)));
}

TEST_F(Checkpoints, TruncatedOrMissingFilesAreLeftOut) {
  publish(1);
  fs::resize_file(publish(2) / "model" / "weights", 3);
  fs::remove(publish(3) / "state.json");
  fs::remove(publish(4) / "manifest.json");
  const auto found = find_checkpoints(run_);
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].step, 1);
}

TEST_F(Checkpoints, FlippedByteIsFoundByVerify) {
  const auto folder = publish(1);
  EXPECT_TRUE(verify_checkpoint(folder));
  std::fstream file(folder / "model" / "weights", std::ios::in | std::ios::out);
  file.put('S');
  file.close();
  EXPECT_FALSE(verify_checkpoint(folder));
}

TEST_F(Checkpoints, PruningKeepsTheNewest) {
  for (int step = 1; step <= 5; ++step) publish(step);
  prune_checkpoints(run_, 2, 0);
  const auto found = find_checkpoints(run_);
  ASSERT_EQ(found.size(), 2u);
  EXPECT_EQ(found[0].step, 4);
  EXPECT_EQ(found[1].step, 5);
}

TEST_F(Checkpoints, WeightsAreThoseOfTheNewestOrOfAFolderOrOfAPipeline) {
  publish(1);
  const fs::path newest = publish(2);
  EXPECT_EQ(resolve_weights(run_.string(), "transformer"), newest / "ema");
  EXPECT_EQ(resolve_weights(newest.string(), "transformer", "model"), newest / "model");
  const fs::path pipeline = run_ / "pipeline";
  fs::create_directories(pipeline / "vae");
  EXPECT_THAT(message_of<ConfigError>([&] { resolve_weights(pipeline.string(), "vae"); }),
              HasSubstr("no vae/config.json"));
  write_json(pipeline / "vae" / "config.json", {{"z_dim", 4}});
  EXPECT_EQ(resolve_weights(pipeline.string(), "vae"), pipeline / "vae");
  EXPECT_EQ(resolve_weights((pipeline / "vae").string(), "vae"), pipeline / "vae");
}

TEST_F(Checkpoints, WhatWeightsWereTrainedWithStandsBesideThem) {
  const fs::path weights = run_ / "weights", model = publish(1) / "model";
  fs::create_directories(weights);
  EXPECT_EQ(context_of(weights), Json::object());
  write_json(model.parent_path() / "state.json", {{"context", {{"fps", 8}}}});
  EXPECT_EQ(context_of(model).at("fps"), 8);
  write_json(weights / "context.json", {{"fps", 24}});
  EXPECT_EQ(context_of(weights).at("fps"), 24);
}

TEST_F(Checkpoints, NothingToResolveIsTheUsersMistake) {
  fs::create_directories(run_);
  EXPECT_THROW(resolve_checkpoint(run_), ConfigError);
}

}  // namespace
}  // namespace zoetrope::train
