// What a run trains on: one corpus or several, stored or encoded as needed, whole or damaged.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <ATen/core/grad_mode.h>

#include "base/error.h"
#include "base/safetensors.h"
#include "data/corpus_writer.h"
#include "data/video_writer.h"
#include "tests/unit/data/corpus_fixture.h"
#include "train/clip_encoder.h"
#include "train/dit_task.h"

namespace zoetrope::train {
namespace {

using data::testing::message_of;
using data::testing::some_clips;
using data::testing::TempFolder;
using ::testing::AllOf;
using ::testing::HasSubstr;
namespace fs = std::filesystem;

TrainConfig config_for(const fs::path& corpus) {
  TrainConfig config;
  config.dit.corpus = corpus.string();
  config.dit.global_batch = 6;
  config.dit.caption_dropout = 0;
  auto& model = config.dit.model;
  model.num_attention_heads = 1;
  model.attention_head_dim = 12;
  model.num_layers = 1;
  model.ffn_dim = 16;
  model.freq_dim = 8;
  model.in_channels = model.out_channels = 2;
  model.patch_size = {1, 2, 5};
  model.text_dim = 6;
  return config;
}

// Losses of the first steps.
std::vector<double> losses(const TrainConfig& config, int steps = 4) {
  const auto alone = launch::make_single_rank_communicator();
  launch::Mesh mesh(config.mesh, *alone);
  DitTask task(config, mesh);
  task.module().visit_parameters("", task.initial_weights(1));
  task.module().set_requires_grad(true);
  // The output layer starts at zero, where every sample of equal noise has the same loss.
  for (const auto& [name, tensor] : task.module().named_parameters()) {
    if (name.find("proj_out") != std::string::npos) tensor.data().fill_(0.1);
  }
  task.start(0);
  std::vector<double> result;
  for (int step = 0; step < steps; ++step)
    result.push_back(task.forward_backward(step, [](bool) {}).loss);
  return result;
}

TEST(DitCorpora, WeightsChangeWhatIsTrainedOnAndOneOfTheTwoKeysIsGiven) {
  const TempFolder folder;
  data::testing::write_corpus(folder / "a", some_clips(9));
  auto others = some_clips(9);
  for (auto& clip : others) clip.id = "other_" + clip.id;
  data::testing::write_corpus(folder / "b", others);
  TrainConfig config = config_for(folder / "a");
  const auto alone = losses(config);
  config.dit.corpora = {{(folder / "a").string(), 1}, {(folder / "b").string(), 1}};
  EXPECT_THAT(message_of<ConfigError>([&] { losses(config); }), HasSubstr("are both set"));
  config.dit.corpus.clear();
  const auto even = losses(config);
  EXPECT_NE(even, alone);
  config.dit.corpora[1].weight = 3;
  EXPECT_NE(losses(config), even);
  config.dit.corpora.pop_back();
  EXPECT_EQ(losses(config), alone);
  config.dit.corpora.clear();
  EXPECT_THAT(message_of<ConfigError>([&] { losses(config); }), HasSubstr("dit.corpus is not set"));
}

TEST(DitCorpora, ChannelsOfTheModelAreThoseOfTheLatents) {
  const TempFolder folder;
  data::testing::write_corpus(folder / "a", some_clips(9));
  TrainConfig config = config_for(folder / "a");
  config.dit.model.in_channels = 4;
  EXPECT_THAT(
      message_of<ConfigError>([&] { losses(config); }),
      HasSubstr("2 latent channels, dit.model.in_channels is 4 and dit.model.out_channels 2"));
  config.dit.model.in_channels = 2;
  config.dit.model.out_channels = 4;
  EXPECT_THAT(
      message_of<ConfigError>([&] { losses(config); }),
      HasSubstr("2 latent channels, dit.model.in_channels is 2 and dit.model.out_channels 4"));
}

TEST(DitCorpora, ADamagedClipStopsTheRunOrIsReplaced) {
  const TempFolder folder;
  data::testing::write_corpus(folder / "a", some_clips(9));
  const data::ClipRecord clip = data::Corpus(folder / "a").clip(4);
  data::testing::overwrite_byte(folder / "a" / "latents" / clip.shard,
                                data::testing::place_of(clip) + 3);
  TrainConfig config = config_for(folder / "a");
  EXPECT_THAT(message_of<DataError>([&] { losses(config); }), HasSubstr(clip.id));
  config.dit.bad_records = "replace";
  EXPECT_EQ(losses(config).size(), 4u);
}

TEST(DitCorpora, ADamagedClipStopsValidationOrIsLeftOut) {
  const TempFolder folder;
  data::testing::write_corpus(folder / "a", some_clips(40));
  TrainConfig config = config_for(folder / "a");
  config.validation.every_steps = 1;
  config.validation.samples = 3;
  const auto held_out_loss = [&] {
    const auto alone = launch::make_single_rank_communicator();
    launch::Mesh mesh(config.mesh, *alone);
    DitTask task(config, mesh);
    const at::NoGradGuard no_grad;
    task.module().visit_parameters("", task.initial_weights(1));
    return task.validate();
  };
  const auto whole = held_out_loss();
  const auto clips = data::CorpusMix({{folder / "a"}}, {}, {}, 3).held_out();
  ASSERT_EQ(clips.size(), 3u);
  const auto damage = [&](const data::ClipRecord& clip) {
    data::testing::overwrite_byte(folder / "a" / "latents" / clip.shard,
                                  data::testing::place_of(clip) + 3);
  };
  damage(clips[1].clip);
  EXPECT_THAT(message_of<DataError>(held_out_loss), HasSubstr(clips[1].clip.id));
  config.dit.bad_records = "replace";
  const auto without = held_out_loss();
  EXPECT_EQ(without.size(), whole.size());
  EXPECT_NE(without, whole);
  damage(clips[0].clip);
  damage(clips[2].clip);
  EXPECT_THAT(message_of<DataError>(held_out_loss), HasSubstr("none of the 3 held-out clips"));
}

TEST(DitCorpora, ShardsAreCopiedToTheCacheFolderWithinItsRoom) {
  const TempFolder folder;
  data::testing::write_corpus(folder / "a", some_clips(9));
  TrainConfig config = config_for(folder / "a");
  const auto without = losses(config);
  config.dit.cache_folder = (folder / "node").string();
  EXPECT_EQ(losses(config), without);
  EXPECT_GT(std::distance(fs::directory_iterator(folder / "node"), fs::directory_iterator()), 2);
  config.dit.cache_mb = 0;
  EXPECT_THAT(message_of<ConfigError>([&] { losses(config); }), HasSubstr("may hold 0 bytes"));
}

// A clip in a file, and the corpora that encode_dataset makes of it.
class OnlineClips : public ::testing::Test {
 protected:
  OnlineClips() {
    fs::create_directories(folder_ / "media");
    data::Frames frames;
    frames.num_frames = 9;
    frames.height = 32;
    frames.width = 48;
    frames.fps = 16;
    for (std::size_t i = 0; i < 9 * frames.frame_bytes(); ++i) {
      frames.rgb.push_back(static_cast<std::uint8_t>(i * i / 64 % 251));
    }
    write_mp4(folder_ / "media" / "clip.mp4", frames, {});
    header_ = data::testing::make_header();
    const fs::path vae = find_weights("vae_small");
    header_["vae"] = {{"name", "vae_small"}, {"hash", hash_file(find_safetensors(vae).front())}};
    header_["transform"] = {{"size_multiple", 16}, {"frames_multiple", 4}};
    vae_ = model::load_vae(vae, at::kCPU);
  }

  data::ClipRecord record() {
    data::VideoReader reader;
    const auto decoded = reader.read(
        {.path = folder_ / "media" / "clip.mp4", .size_multiple = 16, .frames_multiple = 4});
    frames_ = std::get<data::Frames>(decoded);
    data::ClipRecord clip;
    clip.id = "clip";
    clip.source = "clip.mp4";
    clip.content_hash = hash_file(folder_ / "media" / "clip.mp4");
    clip.start_s = frames_.pts_s.front();
    clip.end_s = frames_.pts_s.back();
    clip.fps = frames_.fps;
    clip.frames = frames_.num_frames;
    clip.height = frames_.height;
    clip.width = frames_.width;
    const auto latent = encode_clip(*vae_, frames_, clip.id);
    clip.latent_channels = latent->channels;
    clip.latent_frames = latent->frames;
    clip.latent_height = latent->height;
    clip.latent_width = latent->width;
    return clip;
  }

  void write_corpus(const std::string& name, bool online) {
    const data::CorpusJob job(folder_ / name, header_);
    data::PartWriter writer(folder_ / name, 0);
    writer.add_text(data::testing::make_text(""));
    const data::ClipRecord clip = record();
    if (online) {
      writer.add_unstored(clip, {"i", "k"});
    } else {
      writer.add(clip, *encode_clip(*vae_, frames_, clip.id), {"i", "k"});
    }
    writer.publish();
    data::merge_corpus(folder_ / name, {0}, 0);
  }

  TempFolder folder_;
  Json header_;
  std::unique_ptr<model::Vae> vae_;
  data::Frames frames_;
};

TEST_F(OnlineClips, LatentsAndLossesAreThoseOfTheStoredOnes) {
  write_corpus("stored", false);
  write_corpus("online", true);
  const data::Corpus stored(folder_ / "stored"), online(folder_ / "online");
  EXPECT_FALSE(online.clip(0).is_stored());
  OnlineEncoder encode(folder_ / "online", "", folder_ / "media");
  EXPECT_EQ(encode(online.clip(0)).values, stored.latent(stored.clip(0)).values);

  TrainConfig config = config_for(folder_ / "stored");
  config.dit.model.in_channels = config.dit.model.out_channels =
      static_cast<std::int64_t>(vae_->config().z_dim);
  config.dit.model.patch_size = {1, 2, 2};
  const auto expected = losses(config, 2);
  config.dit.corpus = (folder_ / "online").string();
  EXPECT_THAT(message_of<DataError>([&] { losses(config, 2); }), HasSubstr("is not there"));
  config.dit.media_root = (folder_ / "media").string();
  EXPECT_EQ(losses(config, 2), expected);
  config.dit.vae = "no_such_vae";
  EXPECT_THAT(message_of<ConfigError>([&] { losses(config, 2); }), HasSubstr("no_such_vae"));
}

TEST_F(OnlineClips, AChangedSourceOrVaeIsNoticed) {
  write_corpus("online", true);
  const data::ClipRecord clip = data::Corpus(folder_ / "online").clip(0);
  data::testing::overwrite_byte(folder_ / "media" / "clip.mp4", 500);
  OnlineEncoder encode(folder_ / "online", "", folder_ / "media");
  EXPECT_THAT(message_of<DataError>([&] { encode(clip); }), HasSubstr("is not the file"));
  header_["vae"]["hash"] = "0";
  header_["format"] = data::kCorpusFormat;
  write_json(folder_ / "online" / "corpus.json", header_);
  OnlineEncoder other(folder_ / "online", "", folder_ / "media");
  EXPECT_THAT(message_of<ConfigError>([&] { other(clip); }), HasSubstr("was made for the VAE"));
}

}  // namespace
}  // namespace zoetrope::train
