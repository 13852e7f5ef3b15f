// The VAE with every loss term and its discriminator: any number of ranks equals one, a resumed run
// is bit-equal, and each knob of the loss does something.
#include <cmath>
#include <cstdlib>

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/files.h"
#include "data/shapes.h"
#include "data/video_writer.h"
#include "tests/distributed/world.h"
#include "train/trainer.h"

namespace zoetrope::train {
namespace {
namespace fs = std::filesystem;

constexpr int kFirstGanStep = 3;

class VaeTraining : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = world().all_gather(world().rank() == 0 ? make_folder() : std::string())[0];
    if (world().rank() == 0) write_videos();
    world().barrier();
  }
  void TearDown() override {
    world().barrier();
    if (world().rank() == 0) fs::remove_all(folder_);
  }
  static std::string make_folder() {
    std::string name = (fs::temp_directory_path() / "zoetrope_vae_XXXXXX").string();
    EXPECT_NE(mkdtemp(name.data()), nullptr);
    return name;
  }
  void write_videos() const {
    fs::create_directories(folder_ / "videos");
    const data::ShapesOptions options{.frames = 9, .height = 32, .width = 32};
    for (int i = 0; i < 3; ++i) {
      const auto scene = data::make_scene(1, "train", i, options);
      data::write_mp4(folder_ / "videos" / (std::to_string(i) + ".mp4"), data::draw_scene(scene),
                      {});
    }
  }

  TrainConfig make_config(const std::string& run) const {
    TrainConfig config;
    config.task = "vae";
    config.run.dir = (folder_ / run).string();
    config.steps = 6;
    config.seed = 3;
    config.optimizer.lr = 1e-3;
    config.optimizer.warmup_steps = 2;
    config.checkpoint.every_steps = 100;
    VaeTaskConfig& vae = config.vae;
    vae.videos = {(folder_ / "videos").string()};
    vae.crops = {{.frames = 5, .height = 16, .width = 16, .batch = 4, .weight = 0.5},
                 {.frames = 1, .height = 24, .width = 16, .batch = 8, .weight = 0.5}};
    vae.model.base_dim = 8;
    vae.model.z_dim = 3;
    vae.model.dim_mult = {1, 2, 2};
    vae.model.num_res_blocks = 1;
    vae.model.temporal_downsample = {true, true};
    vae.model.is_residual = true;
    vae.model.patch_size = 2;
    vae.loss.wavelet = 0.5;
    vae.loss.lpips = 0.1;
    vae.lpips_weights =
        (fs::path(ZOETROPE_TEST_FOLDER) / "golden/lpips/vgg_tiny.safetensors").string();
    vae.gan.weight = 0.5;
    vae.gan.start_step = kFirstGanStep;
    vae.gan.model = {.width = 8, .layers = 2};
    vae.gan.optimizer.lr = 1e-3;
    vae.gan.optimizer.warmup_steps = 1;
    return config;
  }

  static std::vector<StepMetrics> train(const TrainConfig& config, launch::Communicator& ranks) {
    Trainer trainer(config, ranks);
    trainer.start("none");
    std::vector<StepMetrics> steps;
    for (int step = 1; step <= config.steps; ++step) steps.push_back(trainer.step(step));
    return steps;
  }
  // The last figures of a run that `change` made different.
  template <class Change>
  std::map<std::string, double> parts_with(const std::string& run, const Change& change) const {
    TrainConfig changed = make_config(run);
    changed.steps = kFirstGanStep + 1;
    change(changed.vae);
    return train(changed, world()).back().parts;
  }

  fs::path folder_;
};

// Sums of other orders round differently, and AdamW's first steps, which follow signs, magnify it:
// compared up to the step after the discriminator's first, its terms up to that one.
TEST_F(VaeTraining, AnyNumberOfRanksEqualsOne) {
  const auto alone_ranks = launch::make_single_rank_communicator();
  const auto alone = train(make_config("alone" + std::to_string(world().rank())), *alone_ranks);
  for (std::int64_t shard = 1; shard <= world().size(); shard *= 2) {
    TrainConfig together = make_config("shard" + std::to_string(shard));
    together.mesh.shard = shard;
    together.optimizer.bucket_mb = together.vae.gan.optimizer.bucket_mb = 0.002;
    const auto steps = train(together, world());
    for (int i = 0; i <= kFirstGanStep; ++i) {
      EXPECT_NEAR(steps[i].loss / alone[i].loss, 1, 1e-4) << "step " << i + 1;
      EXPECT_NEAR(steps[i].grad_norm / alone[i].grad_norm, 1, 1e-3) << "step " << i + 1;
      EXPECT_EQ(steps[i].parts.size(), alone[i].parts.size());
      if (i == kFirstGanStep) continue;
      for (const auto& [name, value] : alone[i].parts) {
        EXPECT_NEAR(steps[i].parts.at(name), value, 1e-3 * (std::abs(value) + 0.01))
            << name << ", step " << i + 1;
      }
    }
  }
}

TEST_F(VaeTraining, ResumedRunWithADiscriminatorIsBitEqual) {
  const auto files_of = [&](const TrainConfig& c) {
    Trainer trainer(c, world());
    trainer.start("auto");
    trainer.run();
    std::vector<std::string> hashes;
    for (const char* file :
         {"model/diffusion_pytorch_model.safetensors", "ema/diffusion_pytorch_model.safetensors",
          "optimizer.safetensors", "opponent.safetensors"}) {
      world().barrier();
      hashes.push_back(hash_file(fs::path(c.run.dir) / "checkpoints/step_00000006" / file));
    }
    return hashes;
  };
  TrainConfig unbroken = make_config("unbroken");
  unbroken.checkpoint.every_steps = 2;
  const auto expected = files_of(unbroken);
  TrainConfig broken = make_config("broken");
  broken.checkpoint.every_steps = 2;
  {
    Trainer trainer(broken, world());
    trainer.start("none");
    for (int step = 1; step <= 5; ++step) {  // the last checkpoint is of step 4
      trainer.step(step);
      if (step % 2 == 0) trainer.save(step);
    }
    trainer.finish_saving();
  }
  EXPECT_EQ(files_of(broken), expected);
}

TEST_F(VaeTraining, ResumeWithoutTheDiscriminatorOfTheCheckpointIsRefused) {
  TrainConfig plain = make_config("plain");
  plain.vae.gan.weight = 0;
  {
    Trainer trainer(plain, world());
    trainer.start("none");
    for (int step = 1; step <= kFirstGanStep; ++step) trainer.step(step);
    trainer.save(kFirstGanStep);
    trainer.finish_saving();
  }
  plain.vae.gan.weight = 0.5;
  {
    Trainer trainer(plain, world());
    EXPECT_THROW(trainer.start("auto"), ConfigError);
  }
  world().barrier();
  plain.vae.gan.start_step = kFirstGanStep + 1;  // begins later: nothing to resume
  Trainer trainer(plain, world());
  trainer.start("auto");
  EXPECT_TRUE(trainer.step(kFirstGanStep + 1).parts.contains("discriminator"));
}

TEST_F(VaeTraining, EveryTermOfTheLossIsOptional) {
  const auto all = parts_with("all", [](VaeTaskConfig&) {});
  for (const char* name :
       {"l1", "mse", "gradient", "wavelet", "lpips", "kl", "gan", "gan_weight", "discriminator"}) {
    EXPECT_TRUE(all.contains(name) && std::isfinite(all.at(name))) << name;
  }
  const auto none = parts_with("none", [](VaeTaskConfig& vae) {
    vae.loss = {.l1 = 1, .mse = 0, .gradient = 0, .wavelet = 0, .lpips = 0, .kl = 0};
    vae.lpips_weights.clear();
    vae.gan.weight = 0;
  });
  EXPECT_EQ(none.size(), 1u);
  EXPECT_TRUE(none.contains("l1"));
}

TEST_F(VaeTraining, KnobsOfTheDiscriminatorChangeTheRun) {
  const auto base = parts_with("base", [](VaeTaskConfig&) {});
  const auto late = parts_with("late", [](VaeTaskConfig& vae) { vae.gan.start_step = 100; });
  EXPECT_FALSE(late.contains("gan") || late.contains("discriminator"));
  const auto heavy = parts_with("heavy", [](VaeTaskConfig& vae) { vae.gan.weight = 5; });
  EXPECT_GT(heavy.at("gan_weight"), 3 * base.at("gan_weight"));
  EXPECT_NE(heavy.at("l1"), base.at("l1"));
  const auto still = parts_with("still", [](VaeTaskConfig& vae) { vae.gan.optimizer.lr = 0; });
  EXPECT_NE(still.at("discriminator"), base.at("discriminator"));
  const auto wide = parts_with("wide", [](VaeTaskConfig& vae) { vae.gan.model.width = 16; });
  EXPECT_NE(wide.at("discriminator"), base.at("discriminator"));
  TrainConfig missing = make_config("missing");
  missing.vae.lpips_weights.clear();
  EXPECT_THROW(Trainer(missing, world()), ConfigError);
}

}  // namespace
}  // namespace zoetrope::train
