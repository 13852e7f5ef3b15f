// The index says what the manifest says, notices another manifest, and believes no damaged file.
#include "data/corpus_index.h"

#include <chrono>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "data/planner.h"
#include "tests/unit/data/corpus_fixture.h"

namespace zoetrope::data {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using testing::message_of;
using testing::some_clips;
using testing::TempFolder;
namespace fs = std::filesystem;

std::string copy_of(std::size_t count) {
  std::string id(32, '0');
  for (std::size_t i = 31; count > 0; count /= 10, --i) id[i] = static_cast<char>('0' + count % 10);
  return id;
}

// Memory that this process shares with nobody and cannot give back.
std::int64_t private_bytes() {
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;) {
    if (word != "RssAnon:") continue;
    std::int64_t kilobytes = 0;
    status >> kilobytes;
    return kilobytes * 1024;
  }
  return 0;
}

TEST(CorpusIndex, GivesLinesShapesAndTexts) {
  const TempFolder folder;
  std::vector<ClipRecord> clips = some_clips(7);
  testing::write_corpus(folder / "c", clips);
  const CorpusIndex index(folder / "c");
  const auto manifest = read_manifest(folder / "c");
  const auto texts = read_text_index(folder / "c");
  ASSERT_EQ(index.totals().clips, 7);
  ASSERT_EQ(index.totals().texts, static_cast<std::int64_t>(texts.size()));
  for (std::int64_t i = 0; i < 7; ++i) {
    const ClipRecord& expected = manifest[static_cast<std::size_t>(i)];
    EXPECT_EQ(to_json(index.clip(i)), to_json(expected));
    EXPECT_EQ(index.shape(i), expected.latent_shape());
  }
  for (const TextEntry& text : texts) {
    EXPECT_EQ(index.text(text.id)->shard_offset, text.shard_offset);
  }
  EXPECT_FALSE(index.text(hash_text("never seen")).has_value());
  EXPECT_FALSE(index.text("short").has_value());
  EXPECT_EQ(index.totals().latent_channels, 2);
  EXPECT_EQ(index.totals().positions, 7 * 3 * 4 * 5);
  EXPECT_EQ(index.totals().max_positions, 3 * 4 * 5);
  EXPECT_EQ(index.totals().common_divisors, (std::array<std::int64_t, 3>{3, 4, 5}));
}

TEST(CorpusIndex, IsMadeAnewForAnotherManifest) {
  const TempFolder folder;
  testing::write_corpus(folder / "c", some_clips(7));
  auto clips = read_manifest(folder / "c");
  clips.resize(4);
  write_manifest(folder / "c", clips);  // younger and shorter
  EXPECT_EQ(CorpusIndex(folder / "c").totals().clips, 4);
  // The same size, but younger.
  clips[2].source = "clip9999.mp4";
  write_manifest(folder / "c", clips);
  fs::last_write_time(folder / "c" / "manifest.jsonl",
                      fs::last_write_time(folder / "c" / "index.bin") + std::chrono::seconds(1));
  fs::resize_file(folder / "c" / "index.bin", 5);
  EXPECT_EQ(CorpusIndex(folder / "c").clip(2).source, "clip9999.mp4");
  fs::remove(folder / "c" / "index.bin");
  EXPECT_EQ(CorpusIndex(folder / "c").totals().clips, 4);
}

TEST(CorpusIndex, DamageIsRepairedOrNamed) {
  const TempFolder folder;
  testing::write_corpus(folder / "c", some_clips(5));
  const fs::path path = folder / "c" / "index.bin";
  const std::string whole = read_file(path);
  const auto manifest = read_manifest(folder / "c");
  for (std::size_t at = 0; at < whole.size(); ++at) {
    std::string bytes = whole;
    bytes[at] = static_cast<char>(bytes[at] ^ 0x40);
    write_file_atomically(path, bytes);
    try {
      const CorpusIndex index(folder / "c");
      for (std::int64_t i = 0; i < 5; ++i) {
        EXPECT_EQ(to_json(index.clip(i)), to_json(manifest[static_cast<std::size_t>(i)])) << at;
      }
      EXPECT_LT(index.totals().texts, 1000);
    } catch (const DataError& error) {
      EXPECT_THAT(error.what(), AllOf(HasSubstr("manifest.jsonl"), HasSubstr(".jsonl"))) << at;
    }
  }
}

TEST(CorpusIndex, RefusesWhatItCannotStandFor) {
  const TempFolder folder;
  testing::write_corpus(folder / "c", some_clips(3));
  auto clips = read_manifest(folder / "c");
  const auto message = [&](const auto& change) {
    auto changed = clips;
    change(changed);
    write_manifest(folder / "c", changed);
    return message_of<DataError>([&] { build_index(folder / "c"); });
  };
  EXPECT_THAT(message([](auto& c) { std::swap(c[0], c[1]); }),
              AllOf(HasSubstr("manifest.jsonl:2"), HasSubstr("does not follow")));
  EXPECT_THAT(message([](auto& c) { c[2].latent_channels = 3; }),
              AllOf(HasSubstr("manifest.jsonl:3"), HasSubstr("3 latent channels")));
  EXPECT_THAT(message([](auto& c) { c[1].latent_width = 70000; }), HasSubstr("sides up to 65535"));
  EXPECT_FALSE(fs::exists(folder / "c" / "index.bin.tmp"));
}

// A small version of bench/corpus_index: a million clips, of which a step reads what it draws.
TEST(CorpusIndex, PlanningKeepsNothingPerClip) {
  const TempFolder folder;
  constexpr std::int64_t kClips = 1'000'000;
  constexpr std::uint64_t kLine = 700;
  fs::create_directories(folder / "c");
  for (const char* name : {"manifest.jsonl", "texts.jsonl"}) {
    write_file_atomically(folder / "c" / name, "");
  }
  fs::resize_file(folder / "c" / "manifest.jsonl", kClips * kLine);
  {
    IndexWriter writer(folder / "c" / "index.bin");
    for (std::int64_t i = 0; i < kClips; ++i) {
      writer.add_clip(static_cast<std::uint64_t>(i) * kLine,
                      {16, static_cast<int>(1 + i % 21), 30, static_cast<int>(2 + i % 50)}, "here");
    }
    for (std::size_t i = 1; i < 100; ++i) writer.add_text(i, copy_of(i), "here");
    writer.finish(kClips * kLine, 0);
  }
  EXPECT_LE(fs::file_size(folder / "c" / "index.bin"), kClips * 16 + 99 * 24 + 128);
  const std::int64_t before = private_bytes();
  const CorpusIndex index(folder / "c");
  const ClipPool pool({{kClips, 1}}, [&](std::int64_t clip) {
    const LatentShape latent = index.shape(clip);
    return std::int64_t{1} * latent.frames * latent.height * latent.width;
  });
  PlannerConfig config;
  config.global_batch = 64;
  const StepPlan plan = plan_step(config, 123456, pool, 8, starting_calibration(config));
  EXPECT_EQ(plan.samples.size(), 64u);
  EXPECT_LT(private_bytes() - before, 4 << 20);
  for (const PlannedSample& sample : plan.samples) {
    EXPECT_EQ(index.shape(sample.clip).frames, 1 + sample.clip % 21);
  }
}

}  // namespace
}  // namespace zoetrope::data
