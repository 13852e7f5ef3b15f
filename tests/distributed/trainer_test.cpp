// Training on any mesh of ranks equals training on one rank.
#include "train/trainer.h"

#include <array>
#include <cmath>
#include <cstdlib>

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/files.h"
#include "base/random.h"
#include "data/corpus_writer.h"
#include "tests/distributed/world.h"

namespace zoetrope::train {
namespace {
namespace fs = std::filesystem;

constexpr int kTextWidth = 12;
constexpr int kChannels = 4;
// Latent frames, height and width of the clips; a token is 2 x 2 of a frame.
constexpr std::array<std::array<int, 3>, 5> kSizes = {
    {{1, 4, 4}, {3, 4, 6}, {5, 2, 4}, {2, 6, 2}, {4, 4, 4}}};

std::vector<float> draw(std::size_t count, std::uint64_t sample) {
  std::vector<float> values(count);
  Random(7, Purpose::kTest, 0, sample).fill_normal(values);
  return values;
}

// 24 clips of five sizes with captions of many lengths.
void write_corpus(const fs::path& folder) {
  const data::CorpusJob job(folder, Json{{"vae", {{"name", "v"}, {"hash", "0"}}},
                                         {"text_encoder", {{"name", "t"}, {"hash", "0"}}},
                                         {"latent_channels", kChannels}});
  data::PartWriter writer(folder, 0);
  writer.add_text({hash_text(""), 2, kTextWidth, draw(2 * kTextWidth, 999)});
  for (int i = 0; i < 24; ++i) {
    const auto [t, h, w] = kSizes[i % kSizes.size()];
    data::ClipRecord clip;
    clip.id = hash_text("clip " + std::to_string(i));
    clip.source = "clip" + std::to_string(i) + ".mp4";
    clip.content_hash = clip.id;
    clip.fps = t == 1 ? 0 : 16;
    clip.end_s = t == 1 ? 0 : (t - 1) * 4 / 16.0;
    clip.frames = 1 + 4 * (t - 1);
    clip.height = 8 * h;
    clip.width = 8 * w;
    clip.latent_channels = kChannels;
    clip.latent_frames = t;
    clip.latent_height = h;
    clip.latent_width = w;
    clip.captions = {"caption " + std::to_string(i)};
    clip.text_ids = {hash_text(clip.captions[0])};
    writer.add_text(
        {clip.text_ids[0], 3 + i % 5, kTextWidth, draw((3 + i % 5) * kTextWidth, 100 + i)});
    writer.add(clip, {clip.id, kChannels, t, h, w, draw(std::size_t{1} * kChannels * t * h * w, i)},
               {hash_text(clip.source), clip.id});
  }
  writer.publish();
  data::merge_corpus(folder, {0});
}

TrainConfig tiny_config(const fs::path& folder, const std::string& run) {
  TrainConfig config;
  config.run.dir = (folder / run).string();
  config.steps = 20;
  config.seed = 3;
  config.optimizer.lr = 3e-3;
  config.optimizer.warmup_steps = 2;
  config.checkpoint.every_steps = 100;
  config.dit.corpus = (folder / "corpus").string();
  config.dit.global_batch = 8;
  auto& model = config.dit.model;
  model.num_attention_heads = 4;
  model.attention_head_dim = 6;
  model.num_layers = 2;
  model.ffn_dim = 32;
  model.freq_dim = 16;
  model.in_channels = model.out_channels = kChannels;
  model.text_dim = kTextWidth;
  return config;
}

std::vector<float> flatten(const Optimizer::TensorMap& tensors) {
  std::vector<float> values;
  for (const auto& [name, tensor] : tensors) {
    values.insert(values.end(), tensor.const_data_ptr<float>(),
                  tensor.const_data_ptr<float>() + tensor.numel());
  }
  return values;
}

struct Outcome {
  std::vector<double> losses, norms, balances;
  std::vector<std::int64_t> samples, tokens;
  std::vector<float> gradients, second;  // of the last step
};

Outcome train(const TrainConfig& config, launch::Communicator& ranks) {
  Trainer trainer(config, ranks);
  trainer.start("none");
  Outcome run;
  for (int step = 1; step <= config.steps; ++step) {
    const StepMetrics metrics = trainer.step(step);
    run.losses.push_back(metrics.loss);
    run.norms.push_back(metrics.grad_norm);
    run.balances.push_back(metrics.balance);
    run.samples.push_back(metrics.samples);
    run.tokens.push_back(metrics.tokens);
  }
  run.gradients = flatten(trainer.optimizer().gradients());
  run.second = flatten(trainer.optimizer().second_moments());
  return run;
}

double relative_difference(const std::vector<float>& a, const std::vector<float>& b) {
  double difference = 0, norm = 0;
  for (std::size_t i = 0; i < b.size(); ++i) {
    difference += std::pow(a[i] - b[i], 2);
    norm += std::pow(b[i], 2);
  }
  return std::sqrt(difference / norm);
}

class DataParallel : public testing::Test {
 protected:
  void SetUp() override {
    const auto shared = world().all_gather(world().rank() == 0 ? make_folder() : std::string());
    folder_ = shared[0];
    if (world().rank() == 0) write_corpus(folder_ / "corpus");
    world().barrier();
  }
  void TearDown() override {
    world().barrier();
    if (world().rank() == 0) fs::remove_all(folder_);
  }
  static std::string make_folder() {
    std::string name = (fs::temp_directory_path() / "zoetrope_distributed_XXXXXX").string();
    EXPECT_NE(mkdtemp(name.data()), nullptr);
    return name;
  }
  fs::path folder_;
};

// Buckets so small that every model of the tests has many.
constexpr double kSmallBuckets = 0.002;

// Every mesh of `ranks`, the data axis takes the rest; shard groups in the three ways to share.
std::vector<launch::MeshConfig> every_mesh(int ranks) {
  std::vector<launch::MeshConfig> all;
  for (std::int64_t tensor = 1; tensor <= ranks; tensor *= 2) {
    for (std::int64_t sequence = 1; sequence * tensor <= ranks; sequence *= 2) {
      for (std::int64_t shard = 1; shard * sequence * tensor <= ranks; shard *= 2) {
        for (const char* sharding : {"optimizer", "gradients", "weights"}) {
          if (shard > 1 || sharding == std::string("optimizer"))
            all.push_back({sequence, shard, tensor, sharding});
        }
      }
    }
  }
  return all;
}

// ZOETROPE_EVERY_MESH=1: all tests on every mesh, and between every two.
bool tries_every_mesh() {
  const char* value = std::getenv("ZOETROPE_EVERY_MESH");
  return value != nullptr && std::string(value) == "1";
}

// Each axis alone and with each other, each way to share.
std::vector<launch::MeshConfig> meshes(int ranks) {
  if (ranks < 4 || tries_every_mesh()) return every_mesh(ranks);
  return {{1, 1, 1, "optimizer"}, {2, 1, 2, "optimizer"}, {1, 2, 2, "weights"},
          {2, 2, 1, "weights"},   {1, 2, 1, "weights"},   {1, 4, 1, "gradients"}};
}

std::string name_of(const launch::MeshConfig& mesh) {
  return concat("sequence", mesh.sequence, "_shard", mesh.shard, "_tensor", mesh.tensor, "_",
                mesh.sharding);
}

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

// What a checkpoint holds does not depend on the mesh that wrote it, nor on the one that reads it.
TEST_F(DataParallel, CheckpointMovesBetweenAnyTwoMeshesExactly) {
  const auto alone_ranks = launch::make_single_rank_communicator();
  const auto all = meshes(world().size());
  const char* files[] = {"model/diffusion_pytorch_model.safetensors",
                         "ema/diffusion_pytorch_model.safetensors", "optimizer.safetensors"};
  const auto all_hashes = [&](const fs::path& checkpoint) {
    std::string hashes;
    for (const char* file : files) hashes += hash_file(checkpoint / file);
    return hashes;
  };
  for (std::size_t from = 0; from < all.size(); ++from) {
    TrainConfig config = tiny_config(folder_, concat("from", from));
    config.steps = 4;
    config.mesh = all[from];
    config.optimizer.bucket_mb = kSmallBuckets;
    {
      Trainer trainer(config, world());
      trainer.start("none");
      for (int step = 1; step <= 3; ++step) trainer.step(step);
      trainer.save(3);
    }
    const fs::path checkpoint = fs::path(config.run.dir) / "checkpoints/step_00000003";
    const std::string hashes = all_hashes(checkpoint);
    const auto move = [&](launch::Communicator& ranks, const launch::MeshConfig& to,
                          const std::string& run) {
      config.run.dir = (folder_ / run).string();
      config.mesh = to;
      Trainer trainer(config, ranks);
      trainer.start(checkpoint.string());
      trainer.save(3);
      EXPECT_EQ(all_hashes(fs::path(config.run.dir) / "checkpoints/step_00000003"), hashes)
          << name_of(all[from]) << " to " << name_of(to);
      return trainer.step(4).loss;
    };
    const double alone = move(*alone_ranks, {}, concat("alone", world().rank(), "_from", from));
    for (std::size_t to = 0; to < all.size(); ++to) {
      if (!tries_every_mesh() && to != (from + 1) % all.size()) continue;
      EXPECT_NEAR(move(world(), all[to], concat("from", from, "_to", to)) / alone, 1, 1e-6)
          << name_of(all[from]) << " to " << name_of(all[to]);
    }
  }
}

TEST_F(DataParallel, ResumedRunIsBitEqualToTheUnbrokenOne) {
  TrainConfig config = tiny_config(folder_, "unbroken");
  config.checkpoint.every_steps = 5;
  const auto weights = [&](const TrainConfig& c) {
    Trainer trainer(c, world());
    trainer.start("auto");
    trainer.run();
    return std::pair(flatten(trainer.optimizer().gradients()),
                     flatten(trainer.optimizer().second_moments()));
  };
  const auto unbroken = weights(config);
  config.run.dir = (folder_ / "broken").string();
  {
    TrainConfig stopped = config;  // leaves after step 12: the last checkpoint is of step 10
    Trainer trainer(stopped, world());
    trainer.start("auto");
    for (int step = 1; step <= 12; ++step) {
      trainer.step(step);
      if (step % 5 == 0) trainer.save(step);
    }
  }
  EXPECT_EQ(weights(config), unbroken);
}

// Measured times differ from run to run, so the unbroken run is its own reference: it goes on from
// its checkpoint of step 10 a second time, with one record in force and one that waits.
TEST_F(DataParallel, ResumeWithCalibrationIsBitEqual) {
  TrainConfig config = tiny_config(folder_, "calibrated");
  config.steps = 14;
  config.checkpoint.every_steps = 10;
  config.checkpoint.keep_last = 0;
  config.dit.planner.calibrate_every = 5;
  config.dit.prefetch_steps = 1;
  const auto steps_from = [&](Trainer& trainer, int first, int last) {
    std::vector<double> figures;
    for (int step = first; step <= last; ++step) {
      const StepMetrics metrics = trainer.step(step);
      figures.insert(figures.end(), {metrics.loss, metrics.grad_norm, metrics.balance});
      if (step == 10) trainer.save(step);
    }
    const auto gradients = flatten(trainer.optimizer().gradients());
    figures.insert(figures.end(), gradients.begin(), gradients.end());
    return figures;
  };
  std::vector<double> unbroken;
  {
    Trainer trainer(config, world());
    trainer.start("none");
    steps_from(trainer, 1, 10);
    unbroken = steps_from(trainer, 11, 14);
  }
  const fs::path checkpoint = fs::path(config.run.dir) / "checkpoints/step_00000010";
  const Json records = read_json(checkpoint / "state.json").at("task").at("calibrations");
  EXPECT_EQ(records.size(), 2u);
  for (const Json& record : records) {
    const auto calibration = data::calibration_from_json(record, "state.json");
    EXPECT_EQ(calibration.speeds.size(), static_cast<std::size_t>(world().size()));
    EXPECT_NE(calibration.cost, data::starting_calibration({}).cost);
  }
  config.run.dir = (folder_ / "again").string();
  Trainer trainer(config, world());
  trainer.start(checkpoint.string());
  EXPECT_EQ(steps_from(trainer, 11, 14), unbroken);
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

// Costs that grow with the square of the length, so that the longest clips are shared.
TEST_F(DataParallel, SamplesSharedByThePlanEqualOneRank) {
  const auto alone_ranks = launch::make_single_rank_communicator();
  TrainConfig config = tiny_config(folder_, "alone" + std::to_string(world().rank()));
  config.steps = 5;
  const Outcome alone = train(config, *alone_ranks);
  config.dit.planner.per_token = 0;
  config.dit.planner.per_token_squared = 1;
  config.dit.planner.max_sp_degree = 4;
  EXPECT_EQ(num_shared(config, world().size()) > 0, world().size() > 1);
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

TEST_F(DataParallel, CheckpointOfAnotherModelIsRefusedByName) {
  TrainConfig config = tiny_config(folder_, "run");
  config.steps = 1;
  {
    Trainer trainer(config, world());
    trainer.start("none");
    trainer.run();
  }
  config.dit.model.ffn_dim = 48;
  config.steps = 2;
  Trainer trainer(config, world());
  try {
    trainer.start("auto");
    ADD_FAILURE() << "accepted";
  } catch (const ConfigError& error) {
    EXPECT_NE(std::string(error.what()).find("ffn_dim is 32 there and 48 here"), std::string::npos)
        << error.what();
  }
}

}  // namespace
}  // namespace zoetrope::train
