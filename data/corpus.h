// A corpus on disk: clips as latents, their captions and text states, and what was left out.
//
//   corpus.json            what made it: format version, VAE and text encoder (name, hash), latent channels
//   manifest.jsonl         one ClipRecord a line, sorted by id
//   latents/*.h5           LatentRecords, written per rank, published whole
//   text/*.h5              text states by caption hash, true length only
//   rejects.jsonl          {"source", "code", "detail"}
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/json.h"

namespace zoetrope::data {

// Normalised latents ((mean - vae_mean) / vae_std), [channels, frames, height, width], row-major.
struct LatentRecord {
  std::string id;
  int channels = 0, frames = 0, height = 0, width = 0;
  std::vector<float> values;
};

// Hidden states of one caption, [length, width], true length only.
struct TextRecord {
  std::string id;   // hash_text(caption)
  int length = 0, width = 0;
  std::vector<float> values;
};

// One clip. `id` is the hash of (file content, time range, transform, VAE), hence a name for the work.
struct ClipRecord {
  std::string id;
  std::string source;             // as the user's list named it
  std::string content_hash;       // of the file
  double start_s = 0, end_s = 0;  // pts range kept
  double fps = 0;
  int frames = 0, height = 0, width = 0, rotation_deg = 0;  // of the pixels encoded
  int latent_channels = 0, latent_frames = 0, latent_height = 0, latent_width = 0;
  std::string shard;              // file name under latents/
  std::vector<std::string> captions;
  std::vector<std::string> text_ids;  // TextRecord ids, one per caption
  bool is_image() const { return frames == 1; }
};

Json to_json(const ClipRecord& record);
ClipRecord clip_from_json(const Json& json, const std::string& place);  // DataError with the place

// HDF5 file of float arrays by id: dataset /ID of rank 2 or 4, stored as 16-bit floats with fletcher32,
// no timestamps: same records in the same order -> same bytes. Written to NAME.tmp, published on close().
class ShardWriter {
 public:
  explicit ShardWriter(const std::filesystem::path& path);
  ~ShardWriter();  // without close(): the .tmp is removed
  void add(const LatentRecord& record);
  void add(const TextRecord& record);
  void close();
  std::int64_t bytes() const;  // of values so far

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Throws DataError naming file and record on a bad checksum, a missing record or a wrong shape.
class ShardReader {
 public:
  explicit ShardReader(const std::filesystem::path& path);
  ~ShardReader();
  ShardReader(ShardReader&&) noexcept;
  std::vector<std::string> ids() const;
  LatentRecord latent(const std::string& id) const;
  TextRecord text(const std::string& id) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// A corpus opened for reading. Thread-safe (HDF5 calls are serialised inside).
class Corpus {
 public:
  explicit Corpus(const std::filesystem::path& folder);
  ~Corpus();
  const std::filesystem::path& folder() const;
  const Json& header() const;                      // corpus.json
  const std::vector<ClipRecord>& clips() const;
  LatentRecord latent(const ClipRecord& clip) const;
  TextRecord text(const std::string& text_id) const;  // "" gives the null text (stored like any caption)

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// 4-D or 2-D float arrays survive storage with 11 bits of precision: the value that will be read back.
float round_to_half(float value);

}  // namespace zoetrope::data
