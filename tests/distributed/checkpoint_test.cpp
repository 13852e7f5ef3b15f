// Every rank writes its share of a checkpoint, holds no more than that, and can spoil it for all.
#include <algorithm>

#include <c10/core/Allocator.h>
#include <c10/util/ThreadLocalDebugInfo.h>

#include "model/weights.h"
#include "tests/distributed/small_runs.h"
#include "train/checkpoint.h"

namespace zoetrope::train {
namespace {

// Follows the memory of this thread's tensors.
class MemoryCount : public c10::MemoryReportingInfoBase {
 public:
  void reportMemoryUsage(void*, std::int64_t bytes, size_t, size_t, c10::Device) override {
    now_ += bytes;
    peak_ = std::max(peak_, now_);
  }
  bool memoryProfilingEnabled() const override { return true; }
  std::int64_t now() const { return now_; }
  std::int64_t peak() const { return peak_; }

 private:
  std::int64_t now_ = 0, peak_ = 0;
};

// Bytes of tensors in files of at most `kFileBytes`.
constexpr std::int64_t kFileBytes = 8000;
constexpr double kMegabyte = 1 << 20;

TrainConfig spread_config(const fs::path& folder, const std::string& run) {
  TrainConfig config = tiny_config(folder, run);
  config.optimizer.bucket_mb = kSmallBuckets;
  config.checkpoint.max_file_gb = kFileBytes * 1e-9;
  return config;
}

TEST_F(DataParallel, ARankCopiesItsShareOfACheckpointAndNoMore) {
  const auto all = meshes(world().size());
  for (std::size_t m = 0; m < all.size(); ++m) {
    TrainConfig config = spread_config(folder_, concat("share", m));
    config.mesh = all[m];
    Trainer trainer(config, world());
    trainer.start("none");
    trainer.step(1);
    const auto count = std::make_shared<MemoryCount>();
    {
      const c10::DebugInfoGuard guard(c10::DebugInfoKind::PROFILER_STATE, count);
      trainer.save(1);
    }
    std::int64_t total = 0, largest = 0;
    for (const auto& [name, bytes] : trainer.optimizer().tensor_bytes()) {
      total += 4 * bytes;
      largest = std::max(largest, bytes);
    }
    trainer.finish_saving();
    const std::int64_t share = total / world().size() + kFileBytes;
    const auto batch = std::max(largest, static_cast<std::int64_t>(kSmallBuckets * kMegabyte));
    EXPECT_LE(count->now(), share) << name_of(all[m]);
    EXPECT_LE(count->peak(), share + 3 * batch) << name_of(all[m]);
    EXPECT_TRUE(world().size() < 4 || count->peak() < total / 2);
    std::vector<double> held = {static_cast<double>(count->now())};
    world().all_reduce_sum(std::span<double>(held));
    EXPECT_EQ(held[0], static_cast<double>(total));  // nobody copies what another has
  }
}

TEST_F(DataParallel, FilesOfManyRanksAreThoseOfOne) {
  const auto alone_ranks = launch::make_single_rank_communicator();
  const auto save = [&](launch::Communicator& ranks, const TrainConfig& config,
                        const std::string& from) {
    Trainer trainer(config, ranks);
    trainer.start(from);
    trainer.save(trainer.steps_done());
    trainer.finish_saving();
    return find_checkpoints(config.run.dir).back().folder;
  };
  const fs::path first = save(world(), spread_config(folder_, "many"), "none");
  const fs::path alone =
      save(*alone_ranks, spread_config(folder_, concat("one", world().rank())), first.string());
  const Json files = read_json(first / "manifest.json").at("files");
  EXPECT_GT(files.size(), 20u);
  EXPECT_TRUE(files.contains("model/diffusion_pytorch_model.safetensors.index.json"));
  for (const auto& [name, facts] : read_json(alone / "manifest.json").at("files").items()) {
    if (name.ends_with(".safetensors") || name.ends_with(".index.json")) {
      EXPECT_EQ(files.at(name), facts) << name;
    }
  }
  EXPECT_TRUE(verify_checkpoint(first));
}

// One rank's file cannot be renamed to where it belongs: a folder is there.
TEST_F(DataParallel, ACheckpointThatOneRankCannotWriteIsNone) {
  TrainConfig config = spread_config(folder_, "spoilt");
  config.steps = 3;
  Trainer trainer(config, world());
  trainer.start("none");
  trainer.save(1);
  trainer.finish_saving();
  const fs::path run = config.run.dir;
  if (world().rank() == 0) {
    const Json index =
        read_json(find_checkpoints(run)[0].folder / "optimizer.safetensors.index.json");
    const std::string name = index.at("weight_map").begin()->get<std::string>();
    fs::create_directories(unfinished_folder(run, 2) / name / "in the way");
  }
  world().barrier();
  trainer.save(2);
  EXPECT_THROW(trainer.finish_saving(), Error);
  EXPECT_EQ(find_checkpoints(run).size(), 1u);
  world().barrier();
  trainer.save(3);
  trainer.finish_saving();
  EXPECT_EQ(find_checkpoints(run).back().step, 3);
}

TEST_F(DataParallel, ACheckpointIsPublishedWhileTrainingGoesOn) {
  TrainConfig config = tiny_config(folder_, "published");
  config.steps = 40;
  config.checkpoint.every_steps = 5;
  config.checkpoint.keep_last = 0;
  Trainer trainer(config, world());
  trainer.start("none");
  trainer.run();
  EXPECT_EQ(find_checkpoints(config.run.dir).size(), 8u);
}

}  // namespace
}  // namespace zoetrope::train
