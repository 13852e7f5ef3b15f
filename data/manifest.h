// The text files of a corpus: header, manifest, text index, shard list, rejects, and the journals
// of which they are merged. Reading checks every line; writing is atomic. Formats: data/README.md.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
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

// Which item of the user's list a line of a journal is about.
struct Origin {
  std::string item;  // hash of (source, range asked for)
  std::string key;   // hash of (content, range, transform, VAE): equal work; "" when unreadable
};
struct PartClip {
  Origin origin;
  ClipRecord clip;
};
struct PartReject {
  Origin origin;
  Reject reject;
};

// What one published part adds: records/pNNNNNNN.jsonl.
struct Part {
  std::vector<PartClip> clips;   // whose latents this part has, or nobody
  std::vector<PartClip> copies;  // of clips of this part or earlier ones, under other sources
  std::vector<TextEntry> texts;
  std::vector<ShardEntry> shards;
  std::vector<PartReject> rejects;
};

void write_part(const std::filesystem::path& path, const Part& part);
Part read_part(const std::filesystem::path& path);
// The journals of a corpus, by the number of their part.
std::map<std::int64_t, std::filesystem::path> list_parts(const std::filesystem::path& folder);
std::string part_name(std::int64_t part);  // "p0000012"

// Empty when a shard is as listed; else what is wrong, for a message that begins with its name.
std::string shard_damage(const std::filesystem::path& folder, const ShardEntry& shard,
                         bool hash_too, double wait_s);

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
// Merges all journals into manifest.jsonl, texts.jsonl, shards.jsonl and rejects.jsonl, and makes
// the index. Run by rank 0 when `parts` are published; repeating it changes nothing. Clips found
// under several sources are one clip: the source that sorts first, the captions of all. Of an
// item's rejects those of the last part that is about it count.
MergeSummary merge_corpus(const std::filesystem::path& folder,
                          const std::vector<std::int64_t>& parts = {},
                          double wait_s = kVisibilityWaitS);

// Tries `visible` with growing pauses for up to `wait_s`; its last answer.
bool wait_until_visible(const std::function<bool()>& visible, double wait_s);

}  // namespace zoetrope::data
