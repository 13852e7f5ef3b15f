// The index of a corpus: index.bin, memory-mapped, 16 bytes a clip and 24 a text. Opening a corpus
// of any size reads the end of it; planning reads the entries of the clips that it draws; a line of
// the manifest is read when its clip is. Bytes: data/README.md.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "base/files.h"
#include "data/clip_record.h"
#include "data/manifest.h"

namespace zoetrope::data {

// Over all clips; zeros when there are none.
struct IndexTotals {
  std::int64_t clips = 0, texts = 0, latent_channels = 0;
  std::int64_t positions = 0;      // latent frames x height x width, summed
  std::int64_t max_positions = 0;  // of a clip
  // Greatest common divisors of latent frames, heights and widths.
  std::array<std::int64_t, 3> common_divisors{};
};

// Writes an index entry by entry: all clips in the order of the manifest, then all texts by id.
class IndexWriter {
 public:
  explicit IndexWriter(const std::filesystem::path& path);
  // `line`: the byte at which its line in manifest.jsonl or texts.jsonl starts. DataError naming
  // `place` for a shape that the index cannot hold, other latent channels than the clips before,
  // an id that is not 32 hexadecimal digits or does not follow the one before.
  void add_clip(std::uint64_t line, const LatentShape& shape, const std::string& place);
  void add_text(std::uint64_t line, const std::string& id, const std::string& place);
  // Sizes of the two files that it stands for.
  void finish(std::uint64_t manifest_bytes, std::uint64_t texts_bytes);

 private:
  template <class Entry>
  void put(const Entry& entry);

  FileWriter file_;
  std::string buffer_, last_text_;
  IndexTotals totals_;
};

// Makes FOLDER/index.bin of manifest.jsonl and texts.jsonl. Atomic; several processes may do so at
// once. DataError with path and line for what read_manifest or IndexWriter refuses.
void build_index(const std::filesystem::path& folder);

// Thread-safe. Opening makes the index anew when the manifest or the list of texts is younger or
// has another size. DataError for an index that is not one, also when an entry turns out wrong.
class CorpusIndex {
 public:
  explicit CorpusIndex(const std::filesystem::path& folder);
  const IndexTotals& totals() const { return totals_; }
  // Of clip 0 .. clips - 1: one entry of the map.
  LatentShape shape(std::int64_t clip) const;
  // The clip's line of the manifest.
  ClipRecord clip(std::int64_t clip) const;
  // By its id: reads some log2(clips) lines. Nothing when the corpus does not have it.
  std::optional<ClipRecord> find(const std::string& id) const;
  // Nothing when the corpus has no such text.
  std::optional<TextEntry> text(const std::string& id) const;

 private:
  const std::byte* clip_entry(std::int64_t clip) const;
  const std::byte* text_entry(std::int64_t text) const;

  std::filesystem::path folder_;
  FileReader manifest_, texts_;
  MappedFile map_;
  IndexTotals totals_;
};

}  // namespace zoetrope::data
