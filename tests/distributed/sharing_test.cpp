// Training on any mesh of ranks, with samples shared by the plan and steps cut into passes, equals
// training on one rank.
#include "data/planner.h"
#include "tests/distributed/small_runs.h"

namespace zoetrope::train {
namespace {

TEST_F(DataParallel, EveryMeshEqualsOneRankOver20Steps) {
  const auto alone_ranks = launch::make_single_rank_communicator();
  const Outcome alone =
      train(tiny_config(folder_, "alone" + std::to_string(world().rank())), *alone_ranks);
  for (const launch::MeshConfig& mesh : meshes(world().size())) {
    TrainConfig config = tiny_config(folder_, name_of(mesh));
    config.mesh = mesh;
    config.optimizer.bucket_mb = kSmallBuckets;
    const Outcome together = train(config, world());
    for (std::size_t i = 0; i < alone.losses.size(); ++i) {
      EXPECT_NEAR(together.losses[i] / alone.losses[i], 1, 1e-5)
          << name_of(mesh) << ", step " << i + 1;
      EXPECT_NEAR(together.norms[i] / alone.norms[i], 1, 1e-4)
          << name_of(mesh) << ", step " << i + 1;
    }
    EXPECT_LT(relative_difference(together.gradients, alone.gradients), 1e-4) << name_of(mesh);
  }
}

TEST_F(DataParallel, GradientsOfTheFirstStepEqualOneRank) {
  const auto alone_ranks = launch::make_single_rank_communicator();
  TrainConfig config = tiny_config(folder_, "alone" + std::to_string(world().rank()));
  config.steps = 1;
  const Outcome alone = train(config, *alone_ranks);
  for (const launch::MeshConfig& mesh : every_mesh(world().size())) {
    config.run.dir = (folder_ / name_of(mesh)).string();
    config.mesh = mesh;
    const Outcome together = train(config, world());
    EXPECT_NEAR(together.losses[0] / alone.losses[0], 1, 1e-5) << name_of(mesh);
    EXPECT_LT(relative_difference(together.gradients, alone.gradients), 1e-5) << name_of(mesh);
  }
}

// Sums of two numbers do not depend on how they are cut; with more ranks MPI may add in another
// order.
TEST_F(DataParallel, SizeOfTheBucketsDoesNotChangeABitOnTwoRanks) {
  if (world().size() > 2) GTEST_SKIP() << "holds for two ranks";
  for (const std::int64_t shard : {1, world().size()}) {
    TrainConfig config = tiny_config(folder_, "whole" + std::to_string(shard));
    config.steps = 5;
    config.mesh.shard = shard;
    const Outcome whole = train(config, world());
    config.run.dir = (folder_ / ("cut" + std::to_string(shard))).string();
    config.optimizer.bucket_mb = kSmallBuckets;
    const Outcome cut = train(config, world());
    EXPECT_EQ(cut.gradients, whole.gradients);
    if (shard == 1) {  // the norm of pieces is added up piece by piece
      EXPECT_EQ(cut.losses, whole.losses);
      EXPECT_EQ(cut.second, whole.second);
    }
  }
}

TEST_F(DataParallel, StateOfTheOptimizerIsSharedOut) {
  TrainConfig config = tiny_config(folder_, "run");
  const auto elements = [&] {
    Trainer trainer(config, world());
    trainer.start("none");
    return trainer.optimizer().state_elements();
  };
  const std::int64_t whole = elements();
  config.mesh.shard = world().size();
  std::vector<std::int64_t> sum = {elements()};
  EXPECT_LE(sum[0], whole / world().size() + 3 * 64);
  world().all_reduce_sum(std::span<std::int64_t>(sum));
  EXPECT_EQ(sum[0], whole);
}

// Weights and gradients that a rank holds at once, in units of the model's size M over N ranks.
TEST_F(DataParallel, MemoryFallsWithWhatIsSharedOut) {
  if (world().size() == 1) GTEST_SKIP() << "one rank shares with none";
  TrainConfig config = tiny_config(folder_, "run");
  config.steps = 2;
  config.dit.model.num_layers = 12;  // a block is little beside the model
  config.mesh.shard = world().size();
  config.optimizer.bucket_mb = 0.02;
  const auto peak = [&](const char* sharding) {
    config.run.dir = (folder_ / sharding).string();
    config.mesh.sharding = sharding;
    Trainer trainer(config, world());
    trainer.start("none");
    for (int step = 1; step <= 2; ++step) trainer.step(step);
    return static_cast<double>(trainer.optimizer().peak_elements()) /
           static_cast<double>(model::count_parameters(config.dit.model));
  };
  const double part = 1.0 / world().size();
  // A block is less than that, and a bucket. Gradients of the block that runs wait for its last
  // one.
  const double block = 1.0 / 10;
  EXPECT_DOUBLE_EQ(peak("optimizer"), 2);
  const double gradients = peak("gradients");
  EXPECT_GE(gradients, 1 + part);
  EXPECT_LT(gradients, 1 + part + 4 * block);
  const double weights = peak("weights");
  EXPECT_GE(weights, 2 * part);
  EXPECT_LT(weights, 2 * part + 7 * block);
}

TEST_F(DataParallel, PlacementDoesNotChangeTheLoss) {
  TrainConfig config = tiny_config(folder_, "by_length");
  const Outcome by_length = train(config, world());
  config.run.dir = (folder_ / "by_square").string();
  config.dit.planner.per_token = 0;
  config.dit.planner.per_token_squared = 1;
  config.dit.planner.rehearse = true;
  const Outcome by_square = train(config, world());
  if (world().size() > 1) {
    EXPECT_NE(by_square.balances, by_length.balances);
  }
  for (std::size_t i = 0; i < by_length.losses.size(); ++i) {
    EXPECT_NEAR(by_square.losses[i] / by_length.losses[i], 1, 1e-5) << "step " << i + 1;
    EXPECT_NEAR(by_square.norms[i] / by_length.norms[i], 1, 1e-4) << "step " << i + 1;
  }
}

TEST_F(DataParallel, ActivationCheckpointingChangesNoBit) {
  for (const launch::MeshConfig& mesh : meshes(world().size())) {
    TrainConfig config = tiny_config(folder_, "kept_" + name_of(mesh));
    config.steps = 3;
    config.mesh = mesh;
    const Outcome kept = train(config, world());
    for (const std::string how : {"full", "selective"}) {
      config.run.dir = (folder_ / (how + "_" + name_of(mesh))).string();
      config.dit.activation_checkpointing = how;
      const Outcome recomputed = train(config, world());
      EXPECT_EQ(recomputed.losses, kept.losses) << how << ", " << name_of(mesh);
      EXPECT_EQ(recomputed.gradients, kept.gradients) << how << ", " << name_of(mesh);
    }
  }
}

// Sums of two numbers have one order: where weights and gradients are kept must not show.
TEST_F(DataParallel, WaysOfShardingGiveTheSameBitsOnTwoRanks) {
  if (world().size() != 2) GTEST_SKIP() << "holds for two ranks";
  for (const char* precision : {"fp32", "bf16"}) {
    TrainConfig config = tiny_config(folder_, std::string(precision) + "_optimizer");
    config.steps = 4;
    config.precision = precision;
    config.mesh.shard = 2;
    config.optimizer.max_grad_norm = 0;  // the norm of other pieces is added up in another order
    const Outcome expected = train(config, world());
    for (const char* sharding : {"gradients", "weights"}) {
      config.run.dir = (folder_ / concat(precision, "_", sharding)).string();
      config.mesh.sharding = sharding;
      const Outcome got = train(config, world());
      EXPECT_EQ(got.losses, expected.losses) << precision << ", " << sharding;
      EXPECT_EQ(got.gradients, expected.gradients) << precision << ", " << sharding;
    }
  }
}

// Samples that the plans of all steps seat on several of `ranks`.
int num_shared(const TrainConfig& config, int ranks) {
  std::vector<std::int64_t> tokens;
  for (int i = 0; i < 24; ++i) {
    const auto [t, h, w] = kSizes[i % kSizes.size()];
    tokens.push_back(t * h * w / 4);
  }
  data::PlannerConfig planner = config.dit.planner;
  planner.global_batch = config.dit.global_batch;
  planner.seed = static_cast<std::uint64_t>(config.seed);
  int shared = 0;
  for (int step = 1; step <= config.steps; ++step) {
    const auto plan =
        data::plan_step(planner, step, tokens, ranks, data::starting_calibration(planner));
    for (const data::PlannedSample& sample : plan.samples) shared += sample.seat.sp_degree > 1;
  }
  return shared;
}

// Costs that grow with the square of the length, so that the longest clips are shared on four
// ranks; on two, none is dearer than a rank's share.
TEST_F(DataParallel, SamplesSharedByThePlanEqualOneRank) {
  const auto alone_ranks = launch::make_single_rank_communicator();
  TrainConfig config = tiny_config(folder_, "alone" + std::to_string(world().rank()));
  config.steps = 5;
  const Outcome alone = train(config, *alone_ranks);
  config.dit.planner.per_token = 0;
  config.dit.planner.per_token_squared = 1;
  config.dit.planner.max_sp_degree = 4;
  EXPECT_EQ(num_shared(config, world().size()) > 0, world().size() > 2);
  for (const launch::MeshConfig& mesh : meshes(world().size())) {
    if (mesh.sequence > 1) continue;
    config.run.dir = (folder_ / ("shared_" + name_of(mesh))).string();
    config.mesh = mesh;
    config.optimizer.bucket_mb = kSmallBuckets;
    const Outcome shared = train(config, world());
    for (std::size_t i = 0; i < alone.losses.size(); ++i) {
      EXPECT_NEAR(shared.losses[i] / alone.losses[i], 1, 1e-5) << name_of(mesh) << ", " << i;
      EXPECT_NEAR(shared.norms[i] / alone.norms[i], 1, 1e-4) << name_of(mesh) << ", " << i;
    }
    EXPECT_LT(relative_difference(shared.gradients, alone.gradients), 1e-4) << name_of(mesh);
    EXPECT_EQ(shared.samples, alone.samples) << name_of(mesh);
    EXPECT_EQ(shared.tokens, alone.tokens) << name_of(mesh);
  }
}

TEST_F(DataParallel, SamplesAreSharedEitherByThePlanOrByTheMesh) {
  if (world().size() == 1) GTEST_SKIP() << "one rank shares with none";
  TrainConfig config = tiny_config(folder_, "shared");
  config.dit.planner.max_sp_degree = 2;
  config.mesh.sequence = 2;
  EXPECT_THROW(Trainer(config, world()), ConfigError);
}

// Passes so short that ranks have several, and some ranks have none of some pass.
TEST_F(DataParallel, SeveralPassesGiveTheGradientsOfOne) {
  const auto alone_ranks = launch::make_single_rank_communicator();
  TrainConfig config = tiny_config(folder_, "alone" + std::to_string(world().rank()));
  config.steps = 3;
  const Outcome alone = train(config, *alone_ranks);
  config.dit.max_tokens_per_pass = 12;
  config.dit.planner.max_sp_degree = 2;
  for (const launch::MeshConfig& mesh : meshes(world().size())) {
    if (mesh.sequence > 1) config.dit.planner.max_sp_degree = 1;
    config.run.dir = (folder_ / ("passes_" + name_of(mesh))).string();
    config.mesh = mesh;
    config.optimizer.bucket_mb = kSmallBuckets;
    const Outcome cut = train(config, world());
    for (std::size_t i = 0; i < alone.losses.size(); ++i) {
      EXPECT_NEAR(cut.losses[i] / alone.losses[i], 1, 1e-5) << name_of(mesh) << ", " << i;
    }
    EXPECT_LT(relative_difference(cut.gradients, alone.gradients), 1e-5) << name_of(mesh);
    EXPECT_EQ(cut.samples, alone.samples) << name_of(mesh);
    EXPECT_EQ(cut.tokens, alone.tokens) << name_of(mesh);
  }
}

}  // namespace
}  // namespace zoetrope::train
