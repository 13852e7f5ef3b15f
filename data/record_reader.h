// Reads records where they lie in their shards, without HDF5: a file is opened once, a record is
// one read, and many threads read at a time. Bytes: data/README.md.
#pragma once

#include <cstdint>
#include <filesystem>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/files.h"
#include "data/lru_cache.h"
#include "data/shard_cache.h"

namespace zoetrope::data {

// HDF5's Fletcher-32: over big-endian 16-bit words; an odd last byte is the high half of a word.
std::uint32_t fletcher32(std::span<const std::byte> bytes);

struct RecordReaderOptions {
  std::int64_t max_open_files = 64;
  double wait_s = 0;                   // for a shard that another machine has just written
  std::filesystem::path cache_folder;  // on this node, for copies of shards; empty: none
  std::int64_t cache_bytes = 0;
};

class RecordReader {
 public:
  RecordReader(std::filesystem::path folder, const RecordReaderOptions& options);
  // The `num_values` values at `offset` of FOLDER/FILE. DataError naming file, place and `id`: the
  // file is missing or ends earlier, the disk fails, the checksum is wrong, a value is not finite.
  std::vector<float> read(const std::string& file, std::int64_t offset, std::size_t num_values,
                          const std::string& id);

 private:
  FileReader open(const std::string& file);

  std::filesystem::path folder_;
  double wait_s_;
  std::optional<ShardCache> cache_;
  std::mutex mutex_;
  LruCache<FileReader> files_;
};

}  // namespace zoetrope::data
