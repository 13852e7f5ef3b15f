// Copies of shards on a disk of this node: a shard is fetched whole, by one large sequential read,
// checked against shards.jsonl, and kept until the room is needed. All processes of a node share
// the folder. Pays where the shards that a node reads fit into it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <unordered_map>

#include "base/files.h"
#include "data/manifest.h"

namespace zoetrope::data {

class ShardCache {
 public:
  // ConfigError when `limit_bytes` holds not even the largest shard, or the folder cannot be made.
  ShardCache(std::filesystem::path corpus, const std::filesystem::path& folder,
             std::int64_t limit_bytes);
  // FILE ("latents/NAME.h5"), from its copy. Thread-safe. The copies least recently asked for make
  // room; who still reads one keeps its open file. DataError naming the shard when it is not
  // listed, or its content is not what the list says.
  FileReader open(const std::string& file);

 private:
  void fetch(const ShardEntry& shard, const std::filesystem::path& copy) const;
  void make_room(std::int64_t bytes) const;

  std::filesystem::path corpus_, folder_;
  std::int64_t limit_bytes_;
  std::unordered_map<std::string, ShardEntry> shards_;
};

}  // namespace zoetrope::data
