// Records read without HDF5 are those that HDF5 reads; damage is named; copies on the node serve.
#include "data/record_reader.h"

#include <thread>

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

TEST(RecordReader, ReadsWhatHdf5Reads) {
  const TempFolder folder;
  fs::create_directories(folder / "latents");
  std::vector<LatentRecord> records;
  for (int i = 0; i < 40; ++i) {
    // 3 to 21,483 values: also more than the words that Fletcher-32 sums before it folds.
    records.push_back(
        testing::make_latent("id" + std::to_string(i), 1 + i % 3, 1 + i * i / 11, 1 + i % 29));
  }
  ShardWriter writer(folder / "latents" / "x.h5");
  std::vector<std::int64_t> offsets;
  for (const LatentRecord& record : records) offsets.push_back(writer.add(record));
  const std::int64_t text_offset = writer.add(testing::make_text("a caption"));
  writer.close();
  const ShardReader hdf5(folder / "latents" / "x.h5");
  RecordReader reader(folder / "", {.max_open_files = 1});
  for (std::size_t i = 0; i < records.size(); ++i) {
    const auto values =
        reader.read("latents/x.h5", offsets[i], records[i].values.size(), records[i].id);
    EXPECT_EQ(values, hdf5.latent(records[i].id).values);
  }
  const TextRecord text = hdf5.text(hash_text("a caption"));
  EXPECT_EQ(reader.read("latents/x.h5", text_offset, text.values.size(), text.id), text.values);
}

TEST(RecordReader, EveryFlippedBitOfARecordIsNoticedAndNamed) {
  const TempFolder folder;
  fs::create_directories(folder / "latents");
  const fs::path path = folder / "latents" / "x.h5";
  const LatentRecord record = testing::make_latent("id0");
  ShardWriter writer(path);
  const std::int64_t offset = writer.add(record);
  writer.close();
  for (std::size_t at = 0; at < record.values.size() * 2 + 4; ++at) {
    testing::overwrite_byte(path, static_cast<std::uint64_t>(offset) + at);
    RecordReader reader(folder / "", {});
    EXPECT_THAT(message_of<DataError>(
                    [&] { reader.read("latents/x.h5", offset, record.values.size(), "id0"); }),
                AllOf(HasSubstr("latents/x.h5"), HasSubstr("\"id0\"")));
    testing::overwrite_byte(path, static_cast<std::uint64_t>(offset) + at);
  }
  RecordReader reader(folder / "", {});
  EXPECT_NO_THROW(reader.read("latents/x.h5", offset, record.values.size(), "id0"));
  EXPECT_THROW(reader.read("latents/x.h5", 0, 4, "id0"), DataError);
  EXPECT_THROW(reader.read("latents/x.h5", offset, 0, "id0"), DataError);
  EXPECT_THROW(reader.read("latents/x.h5", offset, std::size_t{1} << 40, "id0"), DataError);
  EXPECT_THROW(reader.read("latents", offset, 4, "id0"), DataError);
}

TEST(RecordReader, ManyThreadsReadAtATime) {
  const TempFolder folder;
  testing::write_corpus(folder / "c", some_clips(40));
  CorpusOptions options;
  options.max_open_shards = 2;
  options.cache_folder = folder / "node";
  options.cache_bytes = 1 << 20;
  const Corpus corpus(folder / "c", options);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (std::int64_t i = 0; i < 120; ++i) {
        const ClipRecord clip = corpus.clip((i * 7 + t) % 40);
        EXPECT_EQ(corpus.latent(clip).values[3],
                  round_to_half(testing::make_latent(clip.id).values[3]));
        EXPECT_EQ(corpus.text(clip.text_ids[0]).length,
                  static_cast<int>(clip.captions[0].size()) + 1);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

std::int64_t bytes_in(const fs::path& folder) {
  std::int64_t bytes = 0;
  for (const auto& entry : fs::directory_iterator(folder)) {
    bytes += static_cast<std::int64_t>(entry.file_size());
  }
  return bytes;
}

TEST(ShardCache, ServesFromItsCopiesWithinItsRoom) {
  const TempFolder folder;
  testing::write_corpus(folder / "c", some_clips(40));
  std::int64_t largest = 0, total = 0;
  for (const ShardEntry& shard : read_shard_list(folder / "c")) {
    largest = std::max(largest, shard.bytes);
    total += shard.bytes;
  }
  CorpusOptions options;
  options.max_open_shards = 1;
  options.text_cache_bytes = 0;
  options.cache_folder = folder / "node";
  options.cache_bytes = 3 * largest;
  const Corpus corpus(folder / "c", options);
  for (std::int64_t i = 0; i < 40; ++i) corpus.latent(corpus.clip(i));
  EXPECT_GT(bytes_in(folder / "node"), largest);
  EXPECT_LE(bytes_in(folder / "node"), 3 * largest);
  // A shard that has been copied is not read again from the corpus.
  options.cache_bytes = total;
  const Corpus all(folder / "c", options);
  for (std::int64_t i = 0; i < 40; ++i) all.latent(all.clip(i));
  fs::rename(folder / "c" / "latents", folder / "c" / "gone");
  const Corpus again(folder / "c", [&] {
    CorpusOptions impatient = options;
    impatient.wait_s = 0;
    return impatient;
  }());
  for (std::int64_t i = 0; i < 40; ++i) EXPECT_NO_THROW(again.latent(again.clip(i)));
}

TEST(ShardCache, RefusesAShardThatIsNotAsListedAndRoomThatIsTooSmall) {
  const TempFolder folder;
  testing::write_corpus(folder / "c", some_clips(4));
  const ClipRecord clip = Corpus(folder / "c").clip(0);
  CorpusOptions options;
  options.cache_folder = folder / "node";
  options.cache_bytes = 100;
  EXPECT_THAT(message_of<ConfigError>([&] { Corpus(folder / "c", options); }),
              HasSubstr("may hold 100 bytes"));
  options.cache_bytes = 1 << 20;
  const fs::path shard = folder / "c" / "latents" / clip.shard;
  testing::overwrite_byte(shard, fs::file_size(shard) - 1);
  EXPECT_THAT(message_of<DataError>([&] { Corpus(folder / "c", options).latent(clip); }),
              AllOf(HasSubstr(clip.shard), HasSubstr("shards.jsonl says")));
}

}  // namespace
}  // namespace zoetrope::data
