// A training job in trouble: signals, stopped ranks, failing disks; and what it says beforehand.
#include <cstdlib>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/files.h"
#include "base/json.h"
#include "tests/integration/program.h"

namespace zoetrope {
namespace {
namespace fs = std::filesystem;
using testing::HasSubstr;

class Operations : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    std::string name = (fs::temp_directory_path() / "zoetrope_operations_XXXXXX").string();
    folder_ = mkdtemp(name.data());
    const auto made =
        run_program("make_shapes --count 6 --output " + at("shapes") +
                    " && encode_dataset --input " + at("shapes") + " --output " + at("corpus"));
    ASSERT_EQ(made.exit_code, 0) << made.err;
  }
  static void TearDownTestSuite() { fs::remove_all(folder_); }
  static std::string at(const std::string& name) { return (fs::path(folder_) / name).string(); }

  static std::string train(const std::string& run, const std::string& more) {
    return concat(
        "train --config dit_tiny.yaml --set dit.global_batch=4 --set dit.model.num_layers=1 --set "
        "dit.model.num_attention_heads=2 --set dit.model.attention_head_dim=16 --set "
        "dit.model.ffn_dim=64 --set precision=fp32 --set log_every_steps=1 --set dit.corpus=",
        at("corpus"), " --set run.dir=", at(run), " ", more);
  }
  // Shell words that wait until `run` has done `step`.
  static std::string after_step(const std::string& run, int step) {
    return concat("while ! grep -qs '\"step\":", step, ",' ", at(run + "/metrics.jsonl"),
                  "; do sleep 0.02; done; ");
  }
  static std::string weights(const std::string& run, const std::string& step) {
    return hash_file(
        at(run + "/checkpoints/step_" + step + "/model/diffusion_pytorch_model.safetensors"));
  }
  static inline std::string folder_;
};

constexpr const char* kForever = "--set steps=1000000 --set checkpoint.every_steps=1000000 ";

TEST_F(Operations, SignalFinishesTheStepSavesAndEndsWithZero) {
  for (const char* signal : {"USR1", "TERM"}) {
    const std::string run = std::string("signalled_") + signal;
    const auto stopped = run_program(train(run, kForever) + " & job=$!; " + after_step(run, 3) +
                                     "kill -" + signal + " $job; wait $job");
    ASSERT_EQ(stopped.exit_code, 0) << stopped.err;
    const auto step = read_json(at(run + "/stopped.json")).at("step").get<int>();
    EXPECT_GE(step, 3);
    // It goes on from there, and the mark is gone.
    const auto on = run_program(train(run, concat("--set steps=", step + 2)));
    ASSERT_EQ(on.exit_code, 0) << on.err;
    EXPECT_THAT(on.err, HasSubstr(concat("resumed after step ", step)));
    EXPECT_FALSE(fs::exists(at(run + "/stopped.json")));
  }
}

TEST_F(Operations, MpirunPassesTheSignalOnAndAllRanksStopAtOneStep) {
  const auto stopped =
      run_program("mpirun -np 2 " + train("signalled_ranks", kForever) + " & job=$!; " +
                  after_step("signalled_ranks", 3) + "kill -USR1 $job; wait $job");
  ASSERT_EQ(stopped.exit_code, 0) << stopped.err;
  EXPECT_TRUE(fs::exists(at("signalled_ranks/stopped.json")));
}

TEST_F(Operations, SecondSignalLeavesAtOnce) {
  // A rank that waits for a stopped one cannot finish its step: the first signal is not enough.
  const auto left = run_program(
      "mpirun -np 2 " + train("left", kForever) + " & job=$!; " + after_step("left", 3) +
      "pid() { sed 's/.*\"pid\":\\([0-9]*\\).*/\\1/' " + at("left/heartbeats") +
      "/rank_$1.json; }; " +
      "kill -STOP $(pid 1); kill -USR1 $(pid 0); sleep 3.1; kill -TERM $(pid 0); wait $job");
  EXPECT_EQ(left.exit_code, 128 + 15) << left.err;
  EXPECT_FALSE(fs::exists(at("left/stopped.json")));
}

TEST_F(Operations, StoppedRankIsNamedAndTheJobEndsWith75) {
  const auto stuck = run_program("mpirun -np 2 " + train("stuck", kForever) +
                                 " --set watchdog.silent_s=2 & job=$!; " + after_step("stuck", 3) +
                                 "kill -STOP $(sed 's/.*\"pid\":\\([0-9]*\\).*/\\1/' " +
                                 at("stuck/heartbeats/rank_1.json") + "); wait $job");
  EXPECT_EQ(stuck.exit_code, 75) << stuck.err;
  EXPECT_THAT(stuck.err, testing::ContainsRegex("rank 1 \\(.*\\) gives no sign of life"));
  EXPECT_THAT(stuck.err, HasSubstr("waits here"));  // the ring of collectives
  EXPECT_THAT(stuck.err, HasSubstr("libmpi.so"));   // and a stack that waits in MPI
}

TEST_F(Operations, RanksInDifferentCollectivesAreToldApartAndEndWith75) {
  const auto stuck = run_program(concat("mpirun -np 2 ", ZOETROPE_PROGRAM_FOLDER,
                                        "/tests/mismatched_ranks ", at("heartbeats")));
  EXPECT_EQ(stuck.exit_code, 75) << stuck.err;
  EXPECT_THAT(stuck.err, HasSubstr("different collectives"));
  EXPECT_THAT(stuck.err, HasSubstr("all_reduce #2 of world, 800 bytes, step 2"));
  EXPECT_THAT(stuck.err, HasSubstr("barrier #2 of world"));
}

TEST_F(Operations, SupervisorGoesOnAfterACrashToTheSameWeights) {
  const std::string settings = "--set steps=12 --set checkpoint.every_steps=3 ";
  const auto unbroken = run_program("mpirun -np 2 " + train("unbroken", settings));
  ASSERT_EQ(unbroken.exit_code, 0) << unbroken.err;
  const auto supervised = run_program(
      concat("export SUPERVISE_PAUSE_S=0; ", ZOETROPE_TEST_FOLDER, "/../launch/supervise ",
             at("supervised"), " mpirun -np 2 ", train("supervised", settings), " & job=$!; ",
             after_step("supervised", 5), "kill -9 $(sed 's/.*\"pid\":\\([0-9]*\\).*/\\1/' ",
             at("supervised/heartbeats/rank_1.json"), "); wait $job"));
  ASSERT_EQ(supervised.exit_code, 0) << supervised.err;
  EXPECT_THAT(supervised.err, HasSubstr("supervise: exit code 137, going on from"));
  EXPECT_EQ(weights("supervised", "00000012"), weights("unbroken", "00000012"));
}

TEST_F(Operations, DiskThatFailsEndsTheRunAfterSoManyCheckpointsAndKeepsTheLastGoodOne) {
  const std::string settings = "--set steps=30 --set checkpoint.every_steps=5 ";
  const auto whole = run_program(train("whole", settings));
  ASSERT_EQ(whole.exit_code, 0) << whole.err;
  const auto begun = run_program(train("failing", settings + "--set steps=5"));
  ASSERT_EQ(begun.exit_code, 0) << begun.err;
  // From now on no file may grow beyond 16 kB: weights cannot be written.
  const auto failed = run_program("trap '' XFSZ; ulimit -f 32; " +
                                  train("failing", settings + "--set checkpoint.max_failures=3"));
  EXPECT_EQ(failed.exit_code, 1) << failed.err;
  EXPECT_THAT(failed.err, HasSubstr("CHECKPOINT OF STEP 10 FAILED, 1 of 3"));
  EXPECT_THAT(failed.err, HasSubstr("CHECKPOINT OF STEP 20 FAILED, 3 of 3"));
  EXPECT_TRUE(fs::exists(at("failing/checkpoints/step_00000005/manifest.json")));
  const auto resumed = run_program(train("failing", settings));
  ASSERT_EQ(resumed.exit_code, 0) << resumed.err;
  EXPECT_EQ(weights("failing", "00000030"), weights("whole", "00000030"));
}

TEST_F(Operations, LargeWeightsAreSpreadAndLoadAgain) {
  const std::string spread = "--set checkpoint.every_steps=2 --set checkpoint.max_file_gb=0.00005 ";
  ASSERT_EQ(run_program(train("spread", spread + "--set steps=2")).exit_code, 0);
  EXPECT_TRUE(
      fs::exists(at("spread/checkpoints/step_00000002/model/"
                    "diffusion_pytorch_model.safetensors.index.json")));
  ASSERT_EQ(run_program(train("spread", "--set steps=4 --set checkpoint.every_steps=2")).exit_code,
            0);
  ASSERT_EQ(
      run_program(train("unspread", "--set steps=4 --set checkpoint.every_steps=2")).exit_code, 0);
  EXPECT_EQ(weights("spread", "00000004"), weights("unspread", "00000004"));
}

TEST_F(Operations, SecondJobInOneRunFolderIsRefused) {
  const auto second =
      run_program(train("shared", kForever) + " & job=$!; " + after_step("shared", 2) +
                  train("shared", "") + "; code=$?; kill -USR1 $job; wait $job; exit $code");
  EXPECT_EQ(second.exit_code, 2) << second.err;
  EXPECT_THAT(second.err, HasSubstr("another train"));
}

TEST_F(Operations, TracesTheChosenSteps) {
  const auto traced = run_program(train("traced", "--set steps=4 --set profile.steps='[2, 3]'"));
  ASSERT_EQ(traced.exit_code, 0) << traced.err;
  const Json trace = read_json(at("traced/profile/steps_2_3.json"));
  bool has_products = false;
  for (const Json& event : trace.at("traceEvents"))
    has_products = has_products || event.value("name", "") == "aten::bmm" ||
                   event.value("name", "") == "aten::mm";
  EXPECT_TRUE(has_products);
  EXPECT_EQ(run_program(train("untraced", "--set profile.steps='[3, 2]'")).exit_code, 2);
}

TEST_F(Operations, DryRunTellsMemoryAndRefusesWhatCannotFit) {
  const auto told = run_program(train("none", "--dry-run"));
  EXPECT_EQ(told.exit_code, 0) << told.err;
  EXPECT_THAT(told.out, HasSubstr(": 6 clips"));
  EXPECT_FALSE(fs::exists(at("none")));
  const auto refused =
      run_program("train --config wan_14b.yaml --set hardware.memory_gb=80 --dry-run --ranks 64");
  EXPECT_EQ(refused.exit_code, 2);
  EXPECT_THAT(refused.out, HasSubstr("parameters: 14288491584"));
  EXPECT_THAT(refused.err, HasSubstr("80.00 GiB"));
  EXPECT_EQ(run_program(train("none", "--ranks 4")).exit_code, 2);  // only for plans
  // The run itself does not begin either.
  EXPECT_EQ(run_program(train("none", "--set hardware.memory_gb=0.01")).exit_code, 2);
  EXPECT_FALSE(fs::exists(at("none")));
}

}  // namespace
}  // namespace zoetrope
