// The text files of a corpus: header, manifest, text index, shard list, rejects, and the journals
// of which they are merged. Reading checks every line; writing is atomic. Formats: data/README.md.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "base/json.h"
#include "data/clip_record.h"

namespace zoetrope::data {

inline constexpr char kCorpusFormat[] = "zoetrope-corpus-2";
// How long readers wait for files that another machine has just written (network file systems).
inline constexpr double kVisibilityWaitS = 30;

// Where a text state lies.
struct TextEntry {
  std::string id, shard;  // file name under text/
  int length = 0, width = 0;
  std::int64_t shard_offset = 0;  // of its values in that file, bytes
};

// What a published shard file must be.
struct ShardEntry {
  std::string file;  // "latents/NAME.h5" or "text/NAME.h5"
  std::int64_t records = 0, bytes = 0;
  std::string hash;  // hash_file
};

// A source, or a clip of it, that is not in the corpus.
struct Reject {
  std::string source, code, detail;
  auto operator<=>(const Reject&) const = default;
};

// What one published part adds: records/rRRRRR/pPPPPP.jsonl.
struct Part {
  std::vector<ClipRecord> clips;
  std::vector<TextEntry> texts;
  std::vector<ShardEntry> shards;
};

void write_part(const std::filesystem::path& path, const Part& part);
Part read_part(const std::filesystem::path& path);

// What a rank leaves when it is through: records/rRRRRR/finished.json.
struct RankFinish {
  std::int64_t num_parts = 0;
  std::vector<Reject> rejects;
};
void write_finish(const std::filesystem::path& path, const RankFinish& finish);
RankFinish read_finish(const std::filesystem::path& path);

// ConfigError when FOLDER has no finished corpus; DataError with path:line for a bad line.
Json read_corpus_header(const std::filesystem::path& folder);
std::vector<ClipRecord> read_manifest(const std::filesystem::path& folder);
std::vector<TextEntry> read_text_index(const std::filesystem::path& folder);
TextEntry text_from_json(const Json& json, const std::string& place);
std::vector<ShardEntry> read_shard_list(const std::filesystem::path& folder);
std::vector<Reject> read_rejects(const std::filesystem::path& folder);

void write_manifest(const std::filesystem::path& folder, const std::vector<ClipRecord>& clips);
void write_text_index(const std::filesystem::path& folder, const std::vector<TextEntry>& texts);
void write_shard_list(const std::filesystem::path& folder, const std::vector<ShardEntry>& shards);
void write_rejects(const std::filesystem::path& folder, const std::vector<Reject>& rejects);

// ConfigError naming the field and both values when two headers differ in what decides a latent or
// a text state: "format", "vae", "text_encoder", "transform", "latent_channels", and all fields
// below them.
void check_same_origin(const Json& corpus, const Json& run, const std::filesystem::path& folder);

struct MergeSummary {
  std::int64_t clips = 0, texts = 0, shards = 0, rejects = 0;
};
// Merges the journals of all ranks into manifest.jsonl, texts.jsonl, shards.jsonl and
// rejects.jsonl, and makes the index. Run by rank 0 after a barrier that follows finish_rank() on
// all `num_ranks` ranks; repeating it changes nothing. Clips found under several sources are one
// clip: the source that sorts first, the captions of all.
MergeSummary merge_corpus(const std::filesystem::path& folder, int num_ranks,
                          double wait_s = kVisibilityWaitS);

// Tries `visible` with growing pauses for up to `wait_s`; its last answer.
bool wait_until_visible(const std::function<bool()>& visible, double wait_s);

// "r00003" and "p00012": names of a rank's folder of journals and of a part in it.
std::string rank_name(int rank);
std::string part_name(std::int64_t part);

}  // namespace zoetrope::data
