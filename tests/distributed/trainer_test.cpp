// Checkpoints move between meshes, and runs go on from them as if nothing had been.
#include "train/trainer.h"

#include "model/device.h"
#include "tests/distributed/small_runs.h"

namespace zoetrope::train {
namespace {

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
      trainer.finish_saving();
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
      trainer.finish_saving();
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
    trainer.finish_saving();
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
    trainer.finish_saving();
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

// The share of images is the draw's, whatever the corpus has (5 of 24).
TEST_F(DataParallel, DrawDecidesWhatAStepTrainsOn) {
  for (const double share : {0.0, 1.0}) {
    TrainConfig config = tiny_config(folder_, concat("images", share));
    config.dit.draw.image_share = share;
    Trainer trainer(config, world());
    trainer.start("none");
    for (int step = 1; step <= 3; ++step) {
      const StepMetrics metrics = trainer.step(step);
      EXPECT_EQ(metrics.parts.contains("loss_image"), share == 1);
      EXPECT_EQ(metrics.parts.contains("loss_video"), share == 0);
    }
  }
}

// Losses in fp32 as on CPUs, on every mesh; and its checkpoints go on there.
TEST_F(DataParallel, OnCudaDevicesItLearnsAsOnCpus) {
  const auto* plugin = model::cuda_plugin();
  if (plugin == nullptr || plugin->device_count() < world().size())
    GTEST_SKIP() << "no CUDA plugin, or not a device for each rank";
  const at::Device device = model::select_device("cuda", world().rank());
  const auto on_device = model::device_communicator(world(), device);
  const auto steps_from = [](Trainer& trainer, int first, int last) {
    std::vector<double> losses;
    for (int step = first; step <= last; ++step) losses.push_back(trainer.step(step).loss);
    return losses;
  };
  for (const launch::MeshConfig& mesh : meshes(world().size())) {
    TrainConfig config = tiny_config(folder_, concat("cpu_", name_of(mesh)));
    config.mesh = mesh;
    config.optimizer.bucket_mb = kSmallBuckets;
    Trainer cpu(config, world());
    cpu.start("none");
    const auto wanted = steps_from(cpu, 1, 10);

    config.run.dir = (folder_ / concat("cuda_", name_of(mesh))).string();
    Trainer cuda(config, *on_device, device);
    cuda.start("none");
    const auto got = steps_from(cuda, 1, 5);
    cuda.save(5);
    cuda.finish_saving();
    config.run.dir = (folder_ / concat("back_", name_of(mesh))).string();
    Trainer back(config, world());
    back.start((folder_ / concat("cuda_", name_of(mesh)) / "checkpoints/step_00000005").string());
    const auto later = steps_from(back, 6, 10);
    for (std::size_t i = 0; i < 5; ++i) {
      EXPECT_NEAR(got[i] / wanted[i], 1, 1e-4) << name_of(mesh) << " step " << i + 1;
      EXPECT_NEAR(later[i] / wanted[i + 5], 1, 1e-3) << name_of(mesh) << " step " << i + 6;
    }
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
