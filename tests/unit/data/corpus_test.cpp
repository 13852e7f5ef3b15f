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
  ASSERT_EQ(corpus.totals().clips, 11);
  for (std::size_t i = 0; i < clips.size(); ++i) {
    const ClipRecord clip = corpus.clip(static_cast<std::int64_t>(i));
    EXPECT_EQ(corpus.shape(static_cast<std::int64_t>(i)), (LatentShape{2, 3, 4, 5}));
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
  for (std::int64_t i = 0; i < corpus.totals().clips; ++i) {
    const ClipRecord clip = corpus.clip(i);
    EXPECT_EQ(corpus.latent(clip).values.size(), 2u * 3 * 4 * 5);
    EXPECT_EQ(corpus.text(clip.text_ids[1]).id, clip.text_ids[1]);
  }
}

TEST(Corpus, FolderWithoutOneIsTheUsersMistake) {
  const TempFolder folder;
  fs::create_directories(folder / "c");
  EXPECT_THAT(message_of<ConfigError>([&] { Corpus corpus(folder / "c"); }),
              HasSubstr("no corpus.json"));
  const CorpusJob job(folder / "c", testing::make_header());
  EXPECT_THAT(message_of<ConfigError>([&] { Corpus corpus(folder / "c", impatient()); }),
              HasSubstr("manifest.jsonl is missing"));
}

TEST(Corpus, WithoutNullTextSaysSo) {
  const TempFolder folder;
  const CorpusJob job(folder / "c", testing::make_header());
  PartWriter writer(folder / "c", 0);
  writer.add(testing::make_clip("a", {}), testing::make_latent("a"), {"i", "k"});
  writer.publish();
  merge_corpus(folder / "c", {0}, 0);
  const Corpus corpus(folder / "c", impatient());
  EXPECT_THAT(message_of<DataError>([&] { corpus.text(""); }), HasSubstr("empty caption"));
  EXPECT_THAT(message_of<DataError>([&] { corpus.text("abc"); }), HasSubstr("no text state abc"));
}

TEST(Corpus, FindsClipsById) {
  const TempFolder folder;
  testing::write_corpus(folder / "c", some_clips(11));
  const Corpus corpus(folder / "c", impatient());
  for (std::int64_t i = 0; i < 11; ++i) {
    EXPECT_EQ(to_json(*corpus.find(corpus.clip(i).id)), to_json(corpus.clip(i)));
  }
  for (const char* other : {"a", "clip1003b", "zz"}) EXPECT_FALSE(corpus.find(other).has_value());
}

TEST(Corpus, LatentsThatAreNotStoredAreMade) {
  const TempFolder folder;
  const CorpusJob job(folder / "c", testing::make_header());
  PartWriter writer(folder / "c", 0);
  writer.add_unstored(testing::make_clip("a", {}), {"i", "k"});
  writer.publish();
  merge_corpus(folder / "c", {0}, 0);
  CorpusOptions options = impatient();
  const ClipRecord clip = Corpus(folder / "c", options).clip(0);
  EXPECT_FALSE(clip.is_stored());
  EXPECT_THAT(message_of<DataError>([&] { Corpus(folder / "c", options).latent(clip); }),
              HasSubstr("not stored"));
  int width = 5;
  options.make_latent = [&](const ClipRecord& record) {
    return testing::make_latent(record.id, 3, 4, width);
  };
  const Corpus corpus(folder / "c", options);
  EXPECT_EQ(corpus.latent(clip).values, testing::make_latent("a").values);
  width = 6;
  EXPECT_THAT(message_of<DataError>([&] { corpus.latent(clip); }), HasSubstr("another shape"));
}

TEST(Corpus, AShardThatIsCutShortLosesOnlyWhatIsBehindTheCut) {
  const TempFolder folder;
  testing::write_corpus(folder / "c", some_clips(11));
  const Corpus corpus(folder / "c", impatient());
  const ClipRecord lost = corpus.clip(5);
  const fs::path path = folder / "c" / "latents" / lost.shard;
  fs::resize_file(path, testing::place_of(lost) + 100);
  int num_read = 0, num_in_shard = 0;
  for (std::int64_t i = 0; i < 11; ++i) {
    const ClipRecord clip = corpus.clip(i);
    const bool behind = clip.shard == lost.shard && clip.shard_offset >= lost.shard_offset;
    num_in_shard += clip.shard == lost.shard;
    num_read += !behind;
    if (behind) {
      EXPECT_THAT(message_of<DataError>([&] { corpus.latent(clip); }),
                  AllOf(HasSubstr(clip.id), HasSubstr(lost.shard), HasSubstr("beyond its end")));
    } else {
      EXPECT_EQ(corpus.latent(clip).id, clip.id);
    }
  }
  EXPECT_GT(num_in_shard, 1);
  EXPECT_GT(num_read, 11 - num_in_shard - 1);
  const auto bad = find_bad_shards(folder / "c", false, 0);
  ASSERT_EQ(bad.size(), 1u);
  EXPECT_EQ(bad[0].lost_ids.size(), static_cast<std::size_t>(num_in_shard));
  fs::remove(path);
  EXPECT_THAT(message_of<DataError>([&] { Corpus(folder / "c", impatient()).latent(lost); }),
              AllOf(HasSubstr(lost.shard), HasSubstr("No such file")));
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

TEST(Corpus, ARecordThatIsNotWhereOrWhatTheManifestSaysIsNoticed) {
  const TempFolder folder;
  testing::write_corpus(folder / "c", some_clips(2));
  const Corpus corpus(folder / "c", impatient());
  for (const auto change : {+[](ClipRecord& clip) { clip.latent_width += 1; },
                            +[](ClipRecord& clip) { clip.shard_offset += 2; }}) {
    ClipRecord clip = corpus.clip(0);
    change(clip);
    EXPECT_THAT(message_of<DataError>([&] { corpus.latent(clip); }),
                AllOf(HasSubstr(clip.id), HasSubstr("checksum")));
  }
}

}  // namespace
}  // namespace zoetrope::data
