// Data-parallel training equals training on one rank.
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

std::vector<float> draw(std::size_t count, std::uint64_t sample) {
  std::vector<float> values(count);
  Random(7, Purpose::kTest, 0, sample).fill_normal(values);
  return values;
}

// 24 clips of five sizes with captions of many lengths.
void write_corpus(const fs::path& folder) {
  const std::vector<std::array<int, 3>> sizes = {
      {1, 4, 4}, {3, 4, 6}, {5, 2, 4}, {2, 6, 2}, {4, 4, 4}};
  data::CorpusWriter writer(folder,
                            Json{{"vae", {{"name", "v"}, {"hash", "0"}}},
                                 {"text_encoder", {{"name", "t"}, {"hash", "0"}}},
                                 {"latent_channels", kChannels}},
                            0, 1, 1 << 20);
  writer.add_text({hash_text(""), 2, kTextWidth, draw(2 * kTextWidth, 999)});
  for (int i = 0; i < 24; ++i) {
    const auto [t, h, w] = sizes[i % sizes.size()];
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
    writer.add(clip,
               {clip.id, kChannels, t, h, w, draw(std::size_t{1} * kChannels * t * h * w, i)});
  }
  writer.finish_rank();
  data::merge_corpus(folder, 1);
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
  model.num_attention_heads = 2;
  model.attention_head_dim = 12;
  model.num_layers = 2;
  model.ffn_dim = 32;
  model.freq_dim = 16;
  model.in_channels = model.out_channels = kChannels;
  model.text_dim = kTextWidth;
  return config;
}

struct Outcome {
  std::vector<double> losses, norms, balances;
  std::vector<float> gradients;  // of the last step
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
  }
  const auto gradients = trainer.optimizer().gradients();
  run.gradients.assign(gradients.begin(), gradients.end());
  return run;
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

TEST_F(DataParallel, LossesAndGradientsEqualOneRankOver20Steps) {
  const Outcome together = train(tiny_config(folder_, "together"), world());
  const auto alone_ranks = launch::make_single_rank_communicator();
  const Outcome alone =
      train(tiny_config(folder_, "alone" + std::to_string(world().rank())), *alone_ranks);
  for (std::size_t i = 0; i < alone.losses.size(); ++i) {
    EXPECT_NEAR(together.losses[i] / alone.losses[i], 1, 1e-5) << "step " << i + 1;
    EXPECT_NEAR(together.norms[i] / alone.norms[i], 1, 1e-4) << "step " << i + 1;
  }
  double difference = 0, norm = 0;
  for (std::size_t i = 0; i < alone.gradients.size(); ++i) {
    difference += std::pow(together.gradients[i] - alone.gradients[i], 2);
    norm += std::pow(alone.gradients[i], 2);
  }
  EXPECT_LT(std::sqrt(difference / norm), 1e-4);
}

TEST_F(DataParallel, ResumedRunIsBitEqualToTheUnbrokenOne) {
  TrainConfig config = tiny_config(folder_, "unbroken");
  config.checkpoint.every_steps = 5;
  const auto weights = [&](const TrainConfig& c) {
    Trainer trainer(c, world());
    trainer.start("auto");
    trainer.run();
    const auto gradients = trainer.optimizer().gradients();
    std::vector<float> state(gradients.begin(), gradients.end());
    for (const auto& [name, moment] : trainer.optimizer().second_moments()) {
      state.insert(state.end(), moment.const_data_ptr<float>(),
                   moment.const_data_ptr<float>() + moment.numel());
    }
    return state;
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
    const auto gradients = trainer.optimizer().gradients();
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

TEST_F(DataParallel, SharedSamplesAreRefused) {
  TrainConfig config = tiny_config(folder_, "shared");
  config.dit.planner.max_sp_degree = 2;
  EXPECT_THROW(Trainer(config, world()), ConfigError);
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
