// Fills a corpus from many ranks at once, and picks up after a kill where the last published part
// ended. A clip is done only when its shard, the states of its captions and its journal line are on
// disk; all three become visible together, as one part. Ids are content hashes, so a clip written
// twice is still one clip. Which clips, captions and texts a corpus ends up with does not depend on
// the number of ranks; only how they are spread over shards does.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

#include "base/json.h"
#include "data/clip_record.h"
#include "data/frames.h"
#include "data/manifest.h"

namespace zoetrope::data {

// Each rank makes one; when all have called finish_rank() and a barrier is passed, rank 0 calls
// merge_corpus while its writer still lives (it holds the folder's lock).
class CorpusWriter {
 public:
  // `header`: what makes the latents and states; see check_same_origin for the fields that must
  // agree with a corpus that is already there (ConfigError otherwise). Removes what a killed run
  // left unpublished. A part is published when its values pass `shard_limit_bytes`. ConfigError
  // when another job writes here.
  CorpusWriter(const std::filesystem::path& folder, Json header, int rank, int num_ranks,
               std::int64_t shard_limit_bytes);
  ~CorpusWriter();  // what is not published is dropped

  bool has(const std::string& clip_id) const;  // added here, or published before this job began
  bool has_text(const std::string& text_id) const;

  // `clip.shard` is filled in. Its texts must be there already (add_text); DataError when sizes
  // disagree, values are not finite in 16 bits, or the clip is already there.
  void add(ClipRecord clip, const LatentRecord& latent);
  // A clip that is already there (has) under this source too, or with other captions: only noted.
  // Of `clip`, id, source, captions and text_ids count; the rest is known.
  void add_source(ClipRecord clip);
  void add_text(const TextRecord& text);
  void reject(const std::string& source, const SkipReason& reason);
  // Publishes what is left. Nothing may be added afterwards.
  void finish_rank();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace zoetrope::data
