// Writing a corpus: nothing published is lost by a kill, nothing is done twice, and ranks do not
// show.
#include "data/corpus_writer.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <map>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/random.h"
#include "tests/unit/data/corpus_fixture.h"

namespace zoetrope::data {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using testing::kSmallShardBytes;
using testing::make_clip;
using testing::make_header;
using testing::make_latent;
using testing::make_text;
using testing::message_of;
using testing::some_clips;
using testing::TempFolder;
using testing::write_clip;
namespace fs = std::filesystem;

// Relative path -> bytes of all that a corpus is made of.
std::map<std::string, std::string> contents(const fs::path& folder) {
  std::map<std::string, std::string> files;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (!entry.is_regular_file() || entry.path().filename() == ".lock") continue;
    files[fs::relative(entry.path(), folder).string()] = read_file(entry.path());
  }
  return files;
}

std::vector<std::string> names(const std::map<std::string, std::string>& files) {
  std::vector<std::string> result;
  for (const auto& [name, bytes] : files) result.push_back(name);
  return result;
}

TEST(CorpusWriter, DestroyedWithoutFinishKeepsPublishedPartsAndRedoesTheRest) {
  const TempFolder folder;
  const auto clips = some_clips(13);
  testing::write_corpus(folder / "whole", clips);
  {
    CorpusWriter writer(folder / "c", make_header(), 0, 1, kSmallShardBytes);
    writer.add_text(make_text(""));
    for (int i = 0; i < 9; ++i) write_clip(writer, clips[static_cast<std::size_t>(i)]);
  }
  int num_kept = 0;
  {
    const CorpusWriter writer(folder / "c", make_header(), 0, 1, kSmallShardBytes);
    for (const ClipRecord& clip : clips) num_kept += writer.has(clip.id);
  }
  EXPECT_GT(num_kept, 0);
  EXPECT_LT(num_kept, 9);
  testing::write_corpus(folder / "c", clips);
  EXPECT_EQ(names(contents(folder / "c")), names(contents(folder / "whole")));
  EXPECT_EQ(contents(folder / "c"), contents(folder / "whole"));
}

// A job in a child process: SIGKILL falls where it falls.
void run_job_and_kill_after(const fs::path& folder, const std::vector<ClipRecord>& clips,
                            useconds_t wait_us) {
  const pid_t child = fork();
  if (child == 0) {
    try {
      testing::write_corpus(folder, clips);
    } catch (...) {
      _exit(1);
    }
    _exit(0);
  }
  usleep(wait_us);
  kill(child, SIGKILL);
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT_FALSE(WIFEXITED(status) && WEXITSTATUS(status) != 0) << "the job failed by itself";
}

TEST(CorpusWriter, KilledAtAnyPointTheResultIsByteEqualToTheUndisturbedRun) {
  const TempFolder folder;
  const auto clips = some_clips(24);
  testing::write_corpus(folder / "whole", clips);
  const auto whole = contents(folder / "whole");
  Random random(1, Purpose::kTest);
  for (int round = 0; round < 5; ++round) {
    const fs::path target = folder / ("c" + std::to_string(round));
    for (int i = 0; i < 10; ++i) {
      run_job_and_kill_after(target, clips, static_cast<useconds_t>(random.integer(500, 60000)));
    }
    testing::write_corpus(target, clips);
    EXPECT_EQ(names(contents(target)), names(whole));
    EXPECT_EQ(contents(target), whole);
  }
}

TEST(CorpusWriter, SecondRunWritesNothingNew) {
  const TempFolder folder;
  const auto clips = some_clips(9);
  testing::write_corpus(folder / "c", clips);
  const auto first = contents(folder / "c");
  testing::write_corpus(folder / "c", clips);
  EXPECT_EQ(contents(folder / "c"), first);
}

TEST(CorpusWriter, RankCountDoesNotChangeTheRecords) {
  const TempFolder folder;
  auto clips = some_clips(20);
  clips.push_back(make_clip(clips[3].id, {"the same file elsewhere"}, "a_copy.mp4"));
  clips.push_back(make_clip(clips[4].id, {clips[4].captions[1], "new words"}, "zz_copy.mp4"));
  testing::write_corpus(folder / "r1", clips, 1);
  testing::write_corpus(folder / "r3", clips, 3);
  testing::write_corpus(folder / "mixed", {clips.begin(), clips.begin() + 10}, 4);
  testing::write_corpus(folder / "mixed", clips, 2);
  const auto one = read_manifest(folder / "r1");
  ASSERT_EQ(one.size(), 20u);
  for (const char* other_name : {"r3", "mixed"}) {
    const auto other = read_manifest(folder / other_name);
    ASSERT_EQ(other.size(), one.size());
    const Corpus corpus(folder / other_name);
    for (std::size_t i = 0; i < one.size(); ++i) {
      ClipRecord a = one[i], b = other[i];
      a.shard = b.shard = "any";
      a.shard_offset = b.shard_offset = 1;
      EXPECT_EQ(to_json(a), to_json(b)) << other_name;
      EXPECT_EQ(corpus.latent(other[i]).id, a.id);
    }
    EXPECT_EQ(read_text_index(folder / other_name).size(), read_text_index(folder / "r1").size());
  }
  EXPECT_EQ(one[3].source, "a_copy.mp4");
  EXPECT_EQ(one[3].captions.size(), 4u);
  EXPECT_EQ(one[4].source, "clip1004.mp4");
  EXPECT_EQ(one[4].captions.size(), 4u);
}

TEST(CorpusWriter, AddedSourceNeedsOnlyItsNameAndCaptions) {
  const TempFolder folder;
  testing::write_corpus(folder / "c", some_clips(3));
  ClipRecord again;
  again.id = "clip1001";
  again.source = "another.mp4";
  again.captions = {"new words"};
  again.text_ids = {hash_text("new words")};
  {
    CorpusWriter writer(folder / "c", make_header(), 0, 1, kSmallShardBytes);
    writer.add_text(make_text("new words"));
    writer.add_source(again);
    writer.finish_rank();
    EXPECT_EQ(merge_corpus(folder / "c", 1, 0).clips, 3);
  }
  const Corpus corpus(folder / "c");
  const ClipRecord clip = corpus.clip(1);
  EXPECT_EQ(clip.source, "another.mp4");
  EXPECT_EQ(clip.frames, 9);
  EXPECT_EQ(clip.captions.size(), 4u);
  EXPECT_EQ(clip.content_hash, hash_text("clip1001"));
  EXPECT_EQ(corpus.latent(clip).id, "clip1001");
  EXPECT_EQ(corpus.text(clip.text_ids[0]).values, make_text("new words").values);
}

TEST(CorpusWriter, ManyTextsBeforeTheFirstClipArePublishedInParts) {
  const TempFolder folder;
  {
    CorpusWriter writer(folder / "c", make_header(), 0, 1, kSmallShardBytes);
    for (int i = 0; i < 20; ++i) writer.add_text(make_text("caption " + std::to_string(i)));
  }
  const CorpusWriter writer(folder / "c", make_header(), 0, 1, kSmallShardBytes);
  EXPECT_TRUE(writer.has_text(hash_text("caption 0")));
  EXPECT_FALSE(writer.has_text(hash_text("caption 19")));
}

TEST(CorpusWriter, LeftoversOfAKilledJobWithMoreRanksAreRemoved) {
  const TempFolder folder;
  testing::write_corpus(folder / "c", some_clips(4));
  const fs::path text = folder / "c" / "text" / "r00007_p00000.h5";
  const fs::path latents = folder / "c" / "latents" / "r00000_p00099.h5.tmp";
  write_file_atomically(text, "never journalled");
  write_file_atomically(latents, "never finished");
  const CorpusWriter writer(folder / "c", make_header(), 0, 1, kSmallShardBytes);
  EXPECT_FALSE(fs::exists(text));
  EXPECT_FALSE(fs::exists(latents));
}

TEST(CorpusWriter, RejectsAreSortedUniqueAndForgottenOnceTheSourceGivesAClip) {
  const TempFolder folder;
  {
    CorpusWriter writer(folder / "c", make_header(), 0, 1, kSmallShardBytes);
    writer.reject("z.mp4", {"truncated", "ends at 1.5 s"});
    writer.reject("a.mp4", {"too_short", "3 frames"});
    writer.reject("a.mp4", {"too_short", "3 frames"});
    writer.finish_rank();
    EXPECT_EQ(merge_corpus(folder / "c", 1, 0).rejects, 2);
    EXPECT_EQ(merge_corpus(folder / "c", 1, 0).rejects, 2);
  }
  const std::vector<Reject> both = {{"a.mp4", "too_short", "3 frames"},
                                    {"z.mp4", "truncated", "ends at 1.5 s"}};
  EXPECT_EQ(read_rejects(folder / "c"), both);
  testing::write_corpus(folder / "c", {make_clip("repaired", {"red"}, "z.mp4")});
  EXPECT_EQ(read_rejects(folder / "c"), std::vector<Reject>{both[0]});
}

TEST(CorpusWriter, AnotherVaeIsRefused) {
  const TempFolder folder;
  testing::write_corpus(folder / "c", some_clips(1));
  Json header = make_header();
  header["vae"]["name"] = "large";
  EXPECT_THAT(
      message_of<ConfigError>([&] { CorpusWriter writer(folder / "c", header, 0, 1, 1000); }),
      AllOf(HasSubstr("vae.name = \"small\""), HasSubstr("\"large\"")));
}

TEST(CorpusWriter, TwoJobsDoNotWriteIntoOneFolder) {
  const TempFolder folder;
  const CorpusWriter first(folder / "c", make_header(), 0, 2, 1000);
  const CorpusWriter first_too(folder / "c", make_header(), 1, 2, 1000);
  for (const int rank : {0, 1}) {
    EXPECT_THROW(CorpusWriter(folder / "c", make_header(), rank, 2, 1000), ConfigError);
  }
}

TEST(CorpusWriter, RefusesWhatWouldBreakTheCorpus) {
  const TempFolder folder;
  CorpusWriter writer(folder / "c", make_header(), 0, 1, 1 << 20);
  const ClipRecord clip = make_clip("a", {"red"});
  EXPECT_THAT(message_of<Error>([&] { writer.add(clip, make_latent("a")); }),
              HasSubstr("was not added before"));
  writer.add_text(make_text("red"));
  EXPECT_THAT(message_of<DataError>([&] { writer.add(clip, make_latent("b")); }),
              HasSubstr("does not fit"));
  EXPECT_THAT(message_of<DataError>([&] { writer.add(clip, make_latent("a", 2)); }),
              HasSubstr("2x3x4x5 does not fit latent a of 2x2x4x5"));
  EXPECT_THAT(message_of<Error>([&] { writer.add_source(clip); }),
              HasSubstr("not in the corpus yet"));
  writer.add(clip, make_latent("a"));
  EXPECT_THAT(message_of<DataError>([&] { writer.add(clip, make_latent("a")); }),
              HasSubstr("already"));
  EXPECT_THAT(message_of<DataError>([&] { writer.add_text(make_text("red")); }),
              HasSubstr("already"));
  writer.finish_rank();
  EXPECT_THAT(message_of<Error>([&] { writer.add_text(make_text("blue")); }),
              HasSubstr("after finish_rank"));
}

TEST(CorpusWriter, MergeWaitsForEveryRank) {
  const TempFolder folder;
  CorpusWriter writer(folder / "c", make_header(), 0, 2, 1000);
  writer.finish_rank();
  EXPECT_THAT(message_of<Error>([&] { merge_corpus(folder / "c", 2, 0); }),
              HasSubstr("rank 1 has not finished"));
}

}  // namespace
}  // namespace zoetrope::data
