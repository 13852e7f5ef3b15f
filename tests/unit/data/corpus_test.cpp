// Reading a corpus: what was written is there, and what is damaged or absent is named.
#include "data/corpus.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/data/corpus_fixture.h"

namespace zoetrope::data {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using testing::message_of;
using testing::some_clips;
using testing::TempFolder;
namespace fs = std::filesystem;

CorpusOptions impatient() {
  CorpusOptions options;
  options.wait_s = 0;
  return options;
}

TEST(Corpus, GivesBackClipsLatentsAndTexts) {
  const TempFolder folder;
  const auto clips = some_clips(11);
  testing::write_corpus(folder / "c", clips);
  const Corpus corpus(folder / "c", impatient());
  EXPECT_EQ(corpus.header().at("vae").at("hash"), "aaaa");
  EXPECT_EQ(corpus.header().at("format"), kCorpusFormat);
  ASSERT_EQ(corpus.clips().size(), 11u);
  for (std::size_t i = 0; i < clips.size(); ++i) {
    const ClipRecord& clip = corpus.clips()[i];
    EXPECT_EQ(clip.id, clips[i].id);
    EXPECT_EQ(clip.captions, clips[i].captions);
    LatentRecord expected = testing::make_latent(clip.id);
    for (float& value : expected.values) value = round_to_half(value);
    EXPECT_EQ(corpus.latent(clip).values, expected.values);
    for (int repeat = 0; repeat < 2; ++repeat) {  // from the shard, then from memory
      for (std::size_t k = 0; k < clip.captions.size(); ++k) {
        EXPECT_EQ(corpus.text(clip.text_ids[k]).values,
                  testing::make_text(clip.captions[k]).values);
      }
    }
  }
  EXPECT_EQ(corpus.text("").id, hash_text(""));
  EXPECT_EQ(corpus.text("").length, 1);
}

TEST(Corpus, WorksWithOneOpenShardAndNoTextCache) {
  const TempFolder folder;
  testing::write_corpus(folder / "c", some_clips(11));
  CorpusOptions options = impatient();
  options.max_open_shards = 1;
  options.text_cache_bytes = 0;
  const Corpus corpus(folder / "c", options);
  for (const ClipRecord& clip : corpus.clips()) {
    EXPECT_EQ(corpus.latent(clip).id, clip.id);
    EXPECT_EQ(corpus.text(clip.text_ids[1]).id, clip.text_ids[1]);
  }
}

TEST(Corpus, FolderWithoutOneIsTheUsersMistake) {
  const TempFolder folder;
  fs::create_directories(folder / "c");
  EXPECT_THAT(message_of<ConfigError>([&] { Corpus corpus(folder / "c"); }),
              HasSubstr("no corpus.json"));
  CorpusWriter writer(folder / "c", testing::make_header(), 0, 1, 1000);
  EXPECT_THAT(message_of<ConfigError>([&] { Corpus corpus(folder / "c", impatient()); }),
              HasSubstr("manifest.jsonl is missing"));
}

TEST(Corpus, WithoutNullTextSaysSo) {
  const TempFolder folder;
  CorpusWriter writer(folder / "c", testing::make_header(), 0, 1, 1000);
  testing::write_clip(writer, testing::make_clip("a", {"red"}));
  writer.finish_rank();
  merge_corpus(folder / "c", 1, 0);
  const Corpus corpus(folder / "c", impatient());
  EXPECT_THAT(message_of<DataError>([&] { corpus.text(""); }), HasSubstr("empty caption"));
  EXPECT_THAT(message_of<DataError>([&] { corpus.text("abc"); }), HasSubstr("no text state abc"));
}

TEST(Corpus, BadShardsStopItOrAreLeftOut) {
  const TempFolder folder;
  testing::write_corpus(folder / "c", some_clips(11));
  const std::string shard = Corpus(folder / "c", impatient()).clips()[5].shard;
  const fs::path path = folder / "c" / "latents" / shard;
  fs::resize_file(path, fs::file_size(path) - 1);
  EXPECT_THAT(message_of<DataError>([&] { Corpus corpus(folder / "c", impatient()); }),
              AllOf(HasSubstr(shard), HasSubstr("bytes, expected"), HasSubstr("clip1005")));
  CorpusOptions options = impatient();
  options.skip_bad_shards = true;
  const Corpus rest(folder / "c", options);
  EXPECT_LT(rest.clips().size(), 11u);
  EXPECT_GT(rest.clips().size(), 0u);
  for (const ClipRecord& clip : rest.clips()) EXPECT_EQ(rest.latent(clip).id, clip.id);
  fs::remove(path);
  EXPECT_THAT(message_of<DataError>([&] { Corpus corpus(folder / "c", impatient()); }),
              AllOf(HasSubstr(shard), HasSubstr("is missing")));
}

TEST(Corpus, HashesFindAFlippedByteAnywhere) {
  const TempFolder folder;
  testing::write_corpus(folder / "c", some_clips(5));
  EXPECT_TRUE(find_bad_shards(folder / "c", true, 0).empty());
  const std::string file = read_shard_list(folder / "c").front().file;
  testing::overwrite_byte(folder / "c" / file, fs::file_size(folder / "c" / file) / 2);
  EXPECT_TRUE(find_bad_shards(folder / "c", false, 0).empty());
  const auto bad = find_bad_shards(folder / "c", true, 0);
  ASSERT_EQ(bad.size(), 1u);
  EXPECT_EQ(bad[0].file, file);
  EXPECT_FALSE(bad[0].lost_ids.empty());
}

TEST(Corpus, ManifestThatDisagreesWithTheLatentIsNoticed) {
  const TempFolder folder;
  testing::write_corpus(folder / "c", some_clips(2));
  const Corpus corpus(folder / "c", impatient());
  ClipRecord clip = corpus.clips()[0];
  clip.latent_width += 1;
  EXPECT_THAT(message_of<DataError>([&] { corpus.latent(clip); }),
              HasSubstr("the manifest says 2x3x4x6"));
}

}  // namespace
}  // namespace zoetrope::data
