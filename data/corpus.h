// A corpus on disk: clips as latents, their captions and text states, and what was left out.
//
//   corpus.json            what made it: format version, VAE and text encoder (name, hash), latent
//                          channels
//   manifest.jsonl         one ClipRecord a line, sorted by id
//   texts.jsonl            which text shard holds a state, sorted by id
//   index.bin              where those lines are, and the shapes of the latents (corpus_index.h)
//   shards.jsonl           size and hash of every shard
//   latents/*.h5           LatentRecords, written per rank, published whole
//   text/*.h5              text states by caption hash, true length only
//   rejects.jsonl          {"source", "code", "detail"}
//   records/               journals of the ranks that wrote it (corpus_writer.h)
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "data/clip_record.h"
#include "data/corpus_index.h"
#include "data/manifest.h"

namespace zoetrope::data {

struct CorpusOptions {
  double wait_s = kVisibilityWaitS;  // for files that other machines have just written
  std::int64_t text_cache_bytes = std::int64_t{256} << 20;
  std::int64_t max_open_shards = 64;
  std::filesystem::path cache_folder;  // of this node, for copies of shards; empty: none
  std::int64_t cache_bytes = 0;
  // Makes the latents of clips whose latents are not stored, from any thread; absent: DataError.
  std::function<LatentRecord(const ClipRecord&)> make_latent;
};

// A shard that is not what shards.jsonl says, and the ids of the clips or texts that it takes
// along.
struct BadShard {
  std::string file, reason;
  std::vector<std::string> lost_ids;
};
// By size; with `hash_too` also by content, which reads the whole corpus.
std::vector<BadShard> find_bad_shards(const std::filesystem::path& folder, bool hash_too,
                                      double wait_s = kVisibilityWaitS);

// A corpus opened for reading, whatever its size: only what is asked for is read. Thread-safe.
// ConfigError when FOLDER has none. What is damaged or missing is a DataError, naming file and
// record, when it is asked for; the rest stays readable.
class Corpus {
 public:
  explicit Corpus(const std::filesystem::path& folder, CorpusOptions options = {});
  ~Corpus();
  const std::filesystem::path& folder() const;
  const Json& header() const;  // corpus.json
  const IndexTotals& totals() const;
  // Clip 0 .. totals().clips - 1, in the order of ids. `shape` reads no file.
  LatentShape shape(std::int64_t clip) const;
  ClipRecord clip(std::int64_t clip) const;
  // By id; nothing when the corpus does not have it.
  std::optional<ClipRecord> find(const std::string& id) const;
  LatentRecord latent(const ClipRecord& clip) const;
  // "" gives the null text (stored like any caption). Recently used states stay in memory.
  TextRecord text(const std::string& text_id) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace zoetrope::data
