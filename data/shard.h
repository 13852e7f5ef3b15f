// One shard: an HDF5 file of float arrays by id. Dataset /ID of rank 4 (latents) or 2 (text
// states), stored as 16-bit floats with fletcher32, without timestamps: same records in the same
// order -> same bytes. Thread-safe: HDF5 calls are serialised inside. Bytes: data/README.md.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "data/clip_record.h"

namespace zoetrope::data {

// Written to PATH.tmp, published whole by close(). An id twice, sizes that do not fit the values,
// or a value that is not finite in 16 bits (|x| >= 65520, NaN) throws DataError naming the record.
class ShardWriter {
 public:
  explicit ShardWriter(const std::filesystem::path& path);
  ~ShardWriter();  // without close(): the .tmp is removed
  // Where the record's values lie in the file, bytes: what RecordReader asks for.
  std::int64_t add(const LatentRecord& record);
  std::int64_t add(const TextRecord& record);
  void close();
  std::int64_t bytes() const;  // of values so far
  std::int64_t num_records() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Throws DataError naming file and record on a bad checksum, a missing record, a wrong shape or a
// value that is not finite. Only what ShardWriter makes is believed: hard links, one chunk a
// record, fletcher32 and no other filter.
class ShardReader {
 public:
  explicit ShardReader(const std::filesystem::path& path);
  ~ShardReader();
  ShardReader(ShardReader&&) noexcept;
  std::vector<std::string> ids() const;       // in the order of writing
  int num_dims(const std::string& id) const;  // 4: latent, 2: text state
  LatentRecord latent(const std::string& id) const;
  TextRecord text(const std::string& id) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace zoetrope::data
