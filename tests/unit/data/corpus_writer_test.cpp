// Writing a corpus: kills, ranks and order of work leave no trace; nothing is done twice; damage is
// made good.
#include "data/corpus_writer.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <map>
#include <set>
#include <thread>

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
using testing::write_corpus;
namespace fs = std::filesystem;

// Relative path -> bytes of all that a corpus is made of.
std::map<std::string, std::string> contents(const fs::path& folder) {
  std::map<std::string, std::string> files;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    if (!entry.is_regular_file() || name == ".lock" || name == "next.txt") continue;
    files[fs::relative(entry.path(), folder).string()] = read_file(entry.path());
  }
  return files;
}

std::vector<std::string> names(const std::map<std::string, std::string>& files) {
  std::vector<std::string> result;
  for (const auto& [name, bytes] : files) result.push_back(name);
  return result;
}

void expect_equal_corpora(const fs::path& a, const fs::path& b) {
  EXPECT_EQ(names(contents(a)), names(contents(b)));
  EXPECT_TRUE(contents(a) == contents(b)) << a << " and " << b;
}

// Runs `job` in a child process; its exit code, or minus the signal that ended it.
int in_child(const std::function<void()>& job, useconds_t kill_after_us = 0) {
  const pid_t child = fork();
  if (child == 0) {
    try {
      job();
    } catch (...) {
      _exit(1);
    }
    _exit(0);
  }
  if (kill_after_us > 0) {
    usleep(kill_after_us);
    kill(child, SIGKILL);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

TEST(CorpusWriter, KilledAtAnyPointTheResultIsByteEqualToTheUndisturbedRun) {
  const TempFolder folder;
  const auto clips = some_clips(24);
  write_corpus(folder / "whole", clips);
  Random random(1, Purpose::kTest);
  int num_killed = 0;
  for (int round = 0; round < 3; ++round) {
    const fs::path target = folder / ("c" + std::to_string(round));
    for (int i = 0; i < 7; ++i) {
      // Each attempt does the parts in another order, as ranks of various speed do.
      const auto shuffle = [&](std::vector<WorkPart>& parts) {
        std::rotate(parts.begin(), parts.begin() + (round + i) % static_cast<int>(parts.size()),
                    parts.end());
      };
      const int code = in_child([&] { write_corpus(target, clips, shuffle); },
                                static_cast<useconds_t>(random.integer(500, 60000)));
      EXPECT_NE(code, 1) << "the job failed by itself";
      num_killed += code == -SIGKILL;
    }
    write_corpus(target, clips);
    expect_equal_corpora(target, folder / "whole");
  }
  EXPECT_GT(num_killed, 2);
}

TEST(CorpusWriter, SecondRunWritesNothingNew) {
  const TempFolder folder;
  const auto clips = some_clips(9);
  write_corpus(folder / "c", clips);
  const auto first = contents(folder / "c");
  write_corpus(folder / "c", clips);
  EXPECT_TRUE(contents(folder / "c") == first);
}

TEST(CorpusWriter, AGrowingListAddsPartsAndKeepsTheOldOnes) {
  const TempFolder folder;
  const auto clips = some_clips(12);
  write_corpus(folder / "c", {clips.begin(), clips.begin() + 7});
  const auto before = contents(folder / "c");
  write_corpus(folder / "c", clips);
  for (const auto& [name, bytes] : before) {
    if (name.find('/') != std::string::npos && name != "records/job.json") {
      EXPECT_EQ(contents(folder / "c").at(name), bytes) << name;
    }
  }
  write_corpus(folder / "at_once", clips);
  const auto grown = read_manifest(folder / "c"), at_once = read_manifest(folder / "at_once");
  ASSERT_EQ(grown.size(), 12u);
  for (std::size_t i = 0; i < 12; ++i) {
    ClipRecord a = grown[i], b = at_once[i];
    a.shard = b.shard = "any";
    a.shard_offset = b.shard_offset = 1;
    EXPECT_EQ(to_json(a), to_json(b));
    EXPECT_EQ(Corpus(folder / "c").latent(grown[i]).id, a.id);
  }
}

TEST(CorpusWriter, AnInterruptedJobWithAnotherListIsLeftAndItsPartsAreUsed) {
  const TempFolder folder;
  const auto clips = some_clips(12);
  const auto stop_half_way = [](std::vector<WorkPart>& parts) { parts.resize(parts.size() / 2); };
  write_corpus(folder / "c", {clips.begin(), clips.begin() + 10}, stop_half_way);
  const auto parts_before = list_parts(folder / "c").size();
  write_corpus(folder / "c", clips);
  EXPECT_EQ(read_manifest(folder / "c").size(), 12u);
  std::map<std::string, int> stored;
  for (const auto& [number, path] : list_parts(folder / "c")) {
    for (const PartClip& line : read_part(path).clips) ++stored[line.clip.id];
  }
  EXPECT_EQ(stored.size(), 12u);
  for (const auto& [id, count] : stored) EXPECT_EQ(count, 1) << id;
  EXPECT_GT(list_parts(folder / "c").size(), parts_before);
}

TEST(CorpusWriter, CopiesAreOneClipWithTheCaptionsOfAllAndAreEncodedOnce) {
  const TempFolder folder;
  auto clips = some_clips(20);
  clips.push_back(make_clip(clips[3].id, {"the same file elsewhere"}, "a_copy.mp4"));
  clips.push_back(make_clip(clips[4].id, {clips[4].captions[1], "new words"}, "zz_copy.mp4"));
  write_corpus(folder / "c", clips);
  // The same in two runs: the copies come later.
  write_corpus(folder / "later", {clips.begin(), clips.begin() + 20});
  write_corpus(folder / "later", clips);
  for (const char* name : {"c", "later"}) {
    const auto manifest = read_manifest(folder / name);
    ASSERT_EQ(manifest.size(), 20u) << name;
    EXPECT_EQ(manifest[3].source, "a_copy.mp4");
    EXPECT_EQ(manifest[3].captions.size(), 4u);
    EXPECT_EQ(manifest[4].source, "clip1004.mp4");
    EXPECT_EQ(manifest[4].captions.size(), 4u);
    const Corpus corpus(folder / name);
    for (std::int64_t i = 0; i < 20; ++i) {
      const ClipRecord clip = corpus.clip(i);
      EXPECT_EQ(corpus.latent(clip).id, clip.id);
      for (std::size_t k = 0; k < clip.captions.size(); ++k) {
        EXPECT_EQ(corpus.text(clip.text_ids[k]).values, make_text(clip.captions[k]).values);
      }
    }
    std::int64_t num_stored = 0;
    for (const ShardEntry& shard : read_shard_list(folder / name)) {
      num_stored += shard.file.starts_with("latents/") ? shard.records : 0;
    }
    EXPECT_EQ(num_stored, 20);
  }
}

TEST(CorpusWriter, PartsThatAreDamagedAreMadeAnewWithTheSameBytes) {
  const TempFolder folder;
  const auto clips = some_clips(12);
  write_corpus(folder / "c", clips);
  write_corpus(folder / "whole", clips);
  const auto shards = read_shard_list(folder / "c");
  fs::resize_file(folder / "c" / shards[0].file, 1000);
  fs::remove(folder / "c" / shards[2].file);
  write_corpus(folder / "c", clips);
  expect_equal_corpora(folder / "c", folder / "whole");
  // What only the content shows, on request.
  const fs::path flipped = folder / "c" / shards[1].file;
  testing::overwrite_byte(flipped, fs::file_size(flipped) / 2);
  write_corpus(folder / "c", clips);
  EXPECT_FALSE(contents(folder / "c") == contents(folder / "whole"));
  { const CorpusJob job(folder / "c", make_header(), true); }
  write_corpus(folder / "c", clips);
  expect_equal_corpora(folder / "c", folder / "whole");
}

TEST(CorpusWriter, ADamagedPartIsReplacedThoughTheListIsAnotherNow) {
  const TempFolder folder;
  auto clips = some_clips(12);
  write_corpus(folder / "c", clips);
  fs::remove(folder / "c" / "latents" / read_manifest(folder / "c")[0].shard);
  fs::remove(folder / "c" / read_text_index(folder / "c")[0].shard);
  clips.push_back(make_clip(clips[0].id, {"a copy"}, "z.mp4"));
  write_corpus(folder / "c", clips);
  const Corpus corpus(folder / "c");
  ASSERT_EQ(corpus.totals().clips, 12);
  for (std::int64_t i = 0; i < 12; ++i) {
    const ClipRecord clip = corpus.clip(i);
    EXPECT_EQ(corpus.latent(clip).id, clip.id);
    for (const std::string& id : clip.text_ids) EXPECT_EQ(corpus.text(id).id, id);
  }
}

// As on a full disk: every write beyond the limit fails.
TEST(CorpusWriter, AFullDiskEndsTheRunAndTheNextOneGoesOn) {
  const TempFolder folder;
  const auto clips = some_clips(12);
  write_corpus(folder / "whole", clips);
  for (const rlim_t limit : {rlim_t{1}, rlim_t{300}, rlim_t{1500}, rlim_t{4000}}) {
    const int code = in_child([&] {
      signal(SIGXFSZ, SIG_IGN);
      const rlimit small{limit, limit};
      if (setrlimit(RLIMIT_FSIZE, &small) != 0) _exit(9);
      write_corpus(folder / "c", clips);
    });
    EXPECT_EQ(code, 1) << limit;
  }
  write_corpus(folder / "c", clips);
  expect_equal_corpora(folder / "c", folder / "whole");
}

TEST(CorpusWriter, LeftoversAreRemovedAndStrangersStay) {
  const TempFolder folder;
  write_corpus(folder / "c", some_clips(4));
  const fs::path text = folder / "c" / "text" / "p0000007.h5";
  const fs::path latents = folder / "c" / "latents" / "p0000099.h5.tmp";
  const fs::path stranger = folder / "c" / "latents" / "notes.txt";
  for (const fs::path& path : {text, latents, stranger}) write_file_atomically(path, "x");
  const CorpusJob job(folder / "c", make_header());
  EXPECT_FALSE(fs::exists(text));
  EXPECT_FALSE(fs::exists(latents));
  EXPECT_TRUE(fs::exists(stranger));
}

TEST(CorpusWriter, TheLastWordOnARejectedItemCounts) {
  const TempFolder folder;
  const auto part = [&](std::int64_t number, const std::function<void(PartWriter&)>& fill) {
    PartWriter writer(folder / "c", number);
    fill(writer);
    writer.publish();
    merge_corpus(folder / "c", {number}, 0);
  };
  const CorpusJob job(folder / "c", make_header());
  part(0, [](PartWriter& writer) {
    writer.reject("z.mp4", {"truncated", "ends at 1.5 s"}, {"z", "k1"});
    writer.reject("a.mp4", {"too_short", "3 frames"}, {"a", "k2"});
    writer.reject("a.mp4", {"too_short", "3 frames"}, {"a", "k2"});
  });
  const std::vector<Reject> both = {{"a.mp4", "too_short", "3 frames"},
                                    {"z.mp4", "truncated", "ends at 1.5 s"}};
  EXPECT_EQ(read_rejects(folder / "c"), both);
  part(1, [](PartWriter& writer) {
    writer.add(make_clip("repaired", {}, "z.mp4"), make_latent("repaired"), {"z", "k3"});
    writer.reject("a.mp4", {"truncated", "again"}, {"a", "k4"});
  });
  EXPECT_EQ(read_rejects(folder / "c"), (std::vector<Reject>{{"a.mp4", "truncated", "again"}}));
}

TEST(CorpusWriter, RejectedContentIsNotTriedAgainUnlessAsked) {
  const TempFolder folder;
  const std::vector<WorkItem> items = {{"a.mp4", {}, {"item", "key"}, 5},
                                       {"gone.mp4", {}, {"other", ""}, 0}};
  {
    CorpusJob job(folder / "c", make_header());
    job.begin(items, kSmallShardBytes);
    const EncodePlan plan = read_plan(folder / "c", items, kSmallShardBytes);
    ASSERT_EQ(plan.parts.size(), 1u);
    PartWriter writer(folder / "c", 0);
    for (const WorkItem& item : items) writer.reject(item.source, {"truncated", ""}, item.origin);
    writer.publish();
  }
  const auto groups_of = [&](const std::vector<WorkItem>& now, bool retry) {
    CorpusJob job(folder / "c", make_header());
    job.begin(now, kSmallShardBytes, retry);
    std::vector<std::vector<std::int64_t>> groups;
    for (const WorkPart& part : read_plan(folder / "c", now, kSmallShardBytes).parts) {
      if (is_published(folder / "c", part.number)) continue;
      for (const WorkGroup& group : part.groups) groups.push_back(group.items);
    }
    return groups;
  };
  using Groups = std::vector<std::vector<std::int64_t>>;
  EXPECT_EQ(groups_of(items, false), Groups{});
  auto more = items;
  more.push_back({"b.mp4", {}, {"third", "key3"}, 5});
  EXPECT_EQ(groups_of(more, false), (Groups{{1}, {2}}));  // a missing file may be there now
  EXPECT_EQ(groups_of(items, true), (Groups{{0}, {1}}));
}

TEST(CorpusWriter, AnotherVaeIsRefused) {
  const TempFolder folder;
  write_corpus(folder / "c", some_clips(1));
  Json header = make_header();
  header["vae"]["name"] = "large";
  EXPECT_THAT(message_of<ConfigError>([&] { CorpusJob(folder / "c", header); }),
              AllOf(HasSubstr("vae.name = \"small\""), HasSubstr("\"large\"")));
}

TEST(CorpusWriter, TwoJobsDoNotWriteIntoOneFolder) {
  const TempFolder folder;
  const CorpusJob first(folder / "c", make_header());
  EXPECT_THAT(message_of<ConfigError>([&] { CorpusJob(folder / "c", make_header()); }),
              HasSubstr("another encode_dataset"));
}

TEST(CorpusWriter, RefusesWhatWouldBreakTheCorpus) {
  const TempFolder folder;
  const CorpusJob job(folder / "c", make_header());
  PartWriter writer(folder / "c", 0);
  const ClipRecord clip = make_clip("a", {"red"});
  EXPECT_THAT(message_of<DataError>([&] { writer.add(clip, make_latent("b"), {}); }),
              HasSubstr("does not fit"));
  EXPECT_THAT(message_of<DataError>([&] { writer.add(clip, make_latent("a", 2), {}); }),
              HasSubstr("2x3x4x5 does not fit latent a of 2x2x4x5"));
  writer.add(clip, make_latent("a"), {"i", "k"});
  EXPECT_THAT(message_of<DataError>([&] { writer.add(clip, make_latent("a"), {}); }),
              HasSubstr("already"));
  writer.add_text(make_text("blue"));
  EXPECT_THAT(message_of<DataError>([&] { writer.add_text(make_text("blue")); }),
              HasSubstr("already"));
  writer.publish();
  EXPECT_THAT(message_of<Error>([&] { writer.add_text(make_text("green")); }),
              HasSubstr("is published"));
  EXPECT_THAT(message_of<DataError>([&] { merge_corpus(folder / "c", {0}, 0); }),
              AllOf(HasSubstr("clip a"), HasSubstr("whose state no part has")));
  EXPECT_THAT(message_of<Error>([&] {
                merge_corpus(folder / "c", {0, 1}, 0);
              }),
              HasSubstr("p0000001.jsonl is not there"));
}

TEST(CorpusWriter, AJobThatDoesNotFitTheDiskIsRefusedAtOnce) {
  const TempFolder folder;
  const CorpusJob job(folder / "c", make_header());
  EXPECT_NO_THROW(job.check_room(1000));
  EXPECT_THAT(message_of<ConfigError>([&] { job.check_room(std::int64_t{1} << 60); }),
              AllOf(HasSubstr("needs about 1099511627776 MiB"), HasSubstr("MiB free")));
}

TEST(CorpusWriter, TicketsGoToOneCallerEach) {
  const TempFolder folder;
  const CorpusJob job(folder / "c", make_header());
  std::mutex mutex;
  std::set<std::int64_t> tickets;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 25; ++i) {
        const std::int64_t ticket = take_ticket(folder / "c");
        const std::scoped_lock lock(mutex);
        EXPECT_TRUE(tickets.insert(ticket).second) << ticket;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(*tickets.rbegin(), 99);
}

}  // namespace
}  // namespace zoetrope::data
