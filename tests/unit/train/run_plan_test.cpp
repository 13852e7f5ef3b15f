// A run's plan: its numbers, and what it refuses.
#include "train/run_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/config.h"
#include "base/error.h"
#include "base/files.h"
#include "launch/communicator.h"
#include "model/dit.h"
#include "train/optimizer.h"

namespace zoetrope::train {
namespace {

using testing::HasSubstr;

TrainConfig shipped(const std::string& name, const std::vector<std::string>& sets = {}) {
  std::vector<std::string> all = sets;
  all.push_back("dit.corpus=''");
  return load_config<TrainConfig>(shipped_folder("configs") / (name + ".yaml"), all);
}

TEST(RunPlan, CountsTheBytesThatTheOptimizerHolds) {
  const auto config = shipped("dit_tiny");
  const MemoryPlan plan = plan_run(config, 1).memory;
  model::Dit dit(config.dit.model, at::kCPU);
  dit.init_weights(1);
  const auto one = launch::make_single_rank_communicator();
  launch::Mesh mesh({}, *one);
  const Optimizer optimizer(dit, config.optimizer, Sharding::kOptimizer, mesh);
  EXPECT_EQ(plan.weights, 4 * dit.num_parameters());
  EXPECT_EQ(plan.gradients, 4 * dit.num_parameters());
  EXPECT_EQ(plan.weights + plan.gradients, 4 * optimizer.peak_elements());
  EXPECT_EQ(plan.state, 4 * optimizer.state_elements());
}

TEST(RunPlan, SharesStateAndTokens) {
  const auto alone = plan_run(shipped("dit_xl", {"mesh.shard=1"}), 8).memory;
  const auto shared = plan_run(shipped("dit_xl", {"mesh.shard=8"}), 8).memory;
  EXPECT_EQ(shared.state, alone.state / 8);
  EXPECT_EQ(shared.weights, alone.weights);
  const auto split = plan_run(shipped("dit_xl", {"mesh.sequence=8"}), 64).memory;
  const auto whole = plan_run(shipped("dit_xl"), 8).memory;
  EXPECT_LT(split.activations, whole.activations / 4);
  const auto cut = plan_run(shipped("dit_xl", {"mesh.tensor=3"}), 24).memory;
  EXPECT_LT(cut.weights, whole.weights / 2);
  const auto sharded =
      plan_run(shipped("dit_xl", {"mesh.shard=8", "mesh.sharding=weights"}), 8).memory;
  EXPECT_LT(sharded.weights, whole.weights / 3);
  EXPECT_LT(sharded.gradients, whole.gradients / 3);
}

TEST(RunPlan, RefusesWhatCannotFitAndSaysWhatToChange) {
  const auto small = shipped("wan_14b", {"hardware.memory_gb=16"});
  try {
    check_fits(plan_run(small, 64), small);
    FAIL() << "14 billion parameters in 16 GiB";
  } catch (const ConfigError& error) {
    EXPECT_THAT(error.what(), HasSubstr("16.00 GiB"));
    EXPECT_THAT(error.what(), HasSubstr("dit.activation_checkpointing=full"));
  }
  const auto unsharded = shipped("dit_xl", {"hardware.memory_gb=65", "dit.global_batch=64",
                                            "dit.activation_checkpointing=full"});
  const auto plan = plan_run(unsharded, 64);
  const std::int64_t needed = plan.memory.total();
  auto tight = unsharded;
  tight.hardware.memory_gb =
      (static_cast<double>(needed) - static_cast<double>(plan.memory.state) / 4) / (1 << 30);
  try {
    check_fits(plan_run(tight, 64), tight);
    FAIL() << "it does not fit";
  } catch (const ConfigError& error) {
    EXPECT_THAT(error.what(), HasSubstr("mesh.shard=2 mesh.sharding=optimizer fits"));
  }
  tight.mesh.shard = 2;
  EXPECT_NO_THROW(check_fits(plan_run(tight, 64), tight));
}

TEST(RunPlan, StepTimeFollowsThePeak) {
  const auto plan = plan_run(shipped("wan_1_3b", {"hardware.peak_tflops=500"}), 64);
  ASSERT_TRUE(plan.step_time_s.has_value());
  EXPECT_NEAR(*plan.step_time_s, plan.flops / (500e12 * 64), 1e-9);
  EXPECT_FALSE(plan_run(shipped("wan_1_3b"), 64).step_time_s.has_value());
}

}  // namespace
}  // namespace zoetrope::train
