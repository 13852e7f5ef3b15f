// Small training runs that tests compare: a corpus, a config, what a run leaves, the meshes to try.
#pragma once

#include <array>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/files.h"
#include "base/random.h"
#include "data/corpus_writer.h"
#include "tests/distributed/world.h"
#include "train/trainer.h"

namespace zoetrope::train {
namespace fs = std::filesystem;

constexpr int kTextWidth = 12;
constexpr int kChannels = 4;
// Latent frames, height and width of the clips; a token is 2 x 2 of a frame.
constexpr std::array<std::array<int, 3>, 5> kSizes = {
    {{1, 4, 4}, {3, 4, 6}, {5, 2, 4}, {2, 6, 2}, {4, 4, 4}}};

inline std::vector<float> draw(std::size_t count, std::uint64_t sample) {
  std::vector<float> values(count);
  Random(7, Purpose::kTest, 0, sample).fill_normal(values);
  return values;
}

// A latent with something to learn: waves that all clips of a size share, and noise.
inline std::vector<float> draw_latent(std::size_t count, std::uint64_t sample) {
  std::vector<float> values = draw(count, sample);
  for (std::size_t k = 0; k < count; ++k) {
    values[k] = 0.4f * values[k] + std::sin(0.7f * static_cast<float>(k));
  }
  return values;
}

// 24 clips of five sizes with captions of many lengths.
inline void write_corpus(const fs::path& folder) {
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
    writer.add(
        clip, {clip.id, kChannels, t, h, w, draw_latent(std::size_t{1} * kChannels * t * h * w, i)},
        {hash_text(clip.source), clip.id});
  }
  writer.publish();
  data::merge_corpus(folder, {0});
}

inline TrainConfig tiny_config(const fs::path& folder, const std::string& run) {
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

inline std::vector<float> flatten(const TensorMap& tensors) {
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

inline Outcome train(const TrainConfig& config, launch::Communicator& ranks) {
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

inline double relative_difference(const std::vector<float>& a, const std::vector<float>& b) {
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
inline std::vector<launch::MeshConfig> every_mesh(int ranks) {
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
inline bool tries_every_mesh() {
  const char* value = std::getenv("ZOETROPE_EVERY_MESH");
  return value != nullptr && std::string(value) == "1";
}

// Each axis alone and with each other, each way to share.
inline std::vector<launch::MeshConfig> meshes(int ranks) {
  if (ranks < 4 || tries_every_mesh()) return every_mesh(ranks);
  return {{1, 1, 1, "optimizer"}, {2, 1, 2, "optimizer"}, {1, 2, 2, "weights"},
          {2, 2, 1, "weights"},   {1, 2, 1, "weights"},   {1, 4, 1, "gradients"}};
}

inline std::string name_of(const launch::MeshConfig& mesh) {
  return concat("sequence", mesh.sequence, "_shard", mesh.shard, "_tensor", mesh.tensor, "_",
                mesh.sharding);
}

}  // namespace zoetrope::train
