// Writes a corpus part by part, from many ranks, and picks up after a kill where it ended. A part
// is done when its journal is there; its shards are published just before, so all of it becomes
// visible together, and what is unfinished is removed and made again. data/README.md has the names
// and promises.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "base/files.h"
#include "base/json.h"
#include "data/clip_record.h"
#include "data/encode_plan.h"
#include "data/frames.h"
#include "data/manifest.h"

namespace zoetrope::data {

// A job on a corpus. Rank 0 makes it before the others touch the folder, and keeps it until the
// merge is done.
class CorpusJob {
 public:
  // `header`: what makes the latents and states; see check_same_origin for the fields that must
  // agree with a corpus that is already there (ConfigError otherwise). ConfigError when another job
  // writes here. Removes what killed runs left unfinished, and parts whose shards are missing or
  // of the wrong size (with `verify` also: of the wrong content), naming them: they are made anew.
  CorpusJob(const std::filesystem::path& folder, Json header, bool verify = false);
  // Decides which parts are this job's. When an interrupted run had the same items, they are those
  // of that run; else they follow the parts that are there. With `retry_rejects` they do so in any
  // case, and hold again what earlier jobs rejected.
  void begin(const std::vector<WorkItem>& items, std::int64_t shard_bytes,
             bool retry_rejects = false);
  // ConfigError with both sizes when the disk does not hold `bytes` more, and a fifth to spare.
  void check_room(std::int64_t bytes) const;

 private:
  std::filesystem::path folder_;
  FolderLock lock_;
};

// The job that begin() decided on, the same on every rank.
struct EncodePlan {
  KnownParts known;
  std::vector<WorkPart> parts;  // done or not
};
EncodePlan read_plan(const std::filesystem::path& folder, const std::vector<WorkItem>& items,
                     std::int64_t shard_bytes);
bool is_published(const std::filesystem::path& folder, std::int64_t part);

// The next number of 0, 1, 2, ... of this job, each to one caller among all ranks.
std::int64_t take_ticket(const std::filesystem::path& folder);

// One part. Nothing is visible before publish(); what is not published is dropped.
class PartWriter {
 public:
  PartWriter(const std::filesystem::path& folder, std::int64_t part);
  ~PartWriter();
  void add_text(const TextRecord& text);
  // `clip.shard` is filled in. DataError when sizes disagree, values are not finite in 16 bits, or
  // the clip is already in this part.
  void add(ClipRecord clip, const LatentRecord& latent, const Origin& origin);
  // A clip whose latents are made when they are needed.
  void add_unstored(ClipRecord clip, const Origin& origin);
  // A clip that this part or an earlier one has, under another source or with other captions.
  void add_copy(ClipRecord clip, const Origin& origin);
  void reject(const std::string& source, const SkipReason& reason, const Origin& origin);
  void publish();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace zoetrope::data
