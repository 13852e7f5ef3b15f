// Counts of a corpus whose content is known.
#include "data/corpus_summary.h"

#include <gtest/gtest.h>

#include "tests/unit/data/corpus_fixture.h"

namespace zoetrope::data {
namespace {

using testing::TempFolder;

TEST(CorpusSummary, CountsClipsSizesLengthsAndAspects) {
  std::vector<ClipRecord> clips = testing::some_clips(5);
  clips[4].frames = 1;
  clips[4].width = 64;
  clips[3].captions.clear();
  const Json summary = summarise_clips(clips);
  EXPECT_EQ(summary["clips"], 5);
  EXPECT_EQ(summary["images"], 1);
  EXPECT_EQ(summary["frames"], 4 * 9 + 1);
  EXPECT_DOUBLE_EQ(summary["seconds"].get<double>(), 4 * 9 / 16.0);
  EXPECT_EQ(summary["captions"], 12);
  EXPECT_EQ(summary["clips_without_caption"], 1);
  EXPECT_EQ(summary["sizes"].dump(),
            R"([{"width_x_height":"40x32","clips":4},{"width_x_height":"64x32","clips":1}])");
  EXPECT_EQ(summary["lengths"].dump(), R"([{"frames":9,"clips":4},{"frames":1,"clips":1}])");
  EXPECT_EQ(summary["aspects"].dump(),
            R"([{"aspect":"1.2:1","clips":4},{"aspect":"2.0:1","clips":1}])");
}

TEST(CorpusSummary, CountsTextsShardsAndRejectsByReason) {
  const TempFolder folder;
  testing::write_corpus(folder / "corpus", testing::some_clips(6));
  write_rejects(folder / "corpus", {{"a.mp4", "too_short", "1 frame"},
                                    {"b.mp4", "truncated", "cut"},
                                    {"c.mp4", "too_short", "2 frames"}});
  const Json summary = summarise_corpus(folder / "corpus");
  EXPECT_EQ(summary["clips"], 6);
  EXPECT_EQ(summary["texts"]["states"], 6 * 2 + 1 + 1);  // "third" is shared; and the null text
  EXPECT_EQ(summary["shards"]["bad"].size(), 0u);
  EXPECT_EQ(summary["rejected"], 3);
  EXPECT_EQ(summary["rejects"][0].dump(), R"({"reason":"too_short","sources":2})");
}

TEST(CorpusSummary, NamesShardsThatAreCutShort) {
  const TempFolder folder;
  testing::write_corpus(folder / "corpus", testing::some_clips(6));
  const std::string file = read_manifest(folder / "corpus")[0].shard;
  const auto shard = folder / "corpus" / "latents" / file;
  std::filesystem::resize_file(shard, std::filesystem::file_size(shard) / 2);
  const Json bad = summarise_corpus(folder / "corpus")["shards"]["bad"];
  ASSERT_EQ(bad.size(), 1u);
  EXPECT_EQ(bad[0]["file"], "latents/" + file);
  EXPECT_GE(bad[0]["records_lost"], 1);
}

TEST(CorpusSummary, ListsTheRecordsOfAShardAndTheirMoments) {
  const TempFolder folder;
  ShardWriter writer(folder / "x.h5");
  writer.add(LatentRecord{"clip", 1, 1, 2, 2, {1, 2, 3, 4}});
  writer.add(TextRecord{"text", 1, 2, {0, 5}});
  writer.close();
  const Json summary = summarise_shard(folder / "x.h5");
  EXPECT_EQ(summary["content"].dump(),
            R"([{"id":"clip","shape":[1,1,2,2]},{"id":"text","shape":[1,2]}])");
  EXPECT_EQ(summary["values"], 6);
  EXPECT_DOUBLE_EQ(summary["mean"].get<double>(), 2.5);
  EXPECT_NEAR(summary["std"].get<double>(), 1.7078, 1e-4);
}

}  // namespace
}  // namespace zoetrope::data
