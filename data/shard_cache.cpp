// Copies are named by content, so two corpora may share a folder. One lock a folder: fetching is
// bound by the network anyway, and makes room for what it fetches.
#include "data/shard_cache.h"

#include <algorithm>
#include <optional>
#include <vector>

#include "base/error.h"
#include "base/files.h"

namespace zoetrope::data {
namespace {

namespace fs = std::filesystem;

// Nothing when there is no whole copy.
std::optional<FileReader> open_copy(const fs::path& copy, const ShardEntry& shard) {
  std::error_code ignored;
  if (!fs::exists(copy, ignored)) return std::nullopt;
  try {
    FileReader reader(copy);
    if (static_cast<std::int64_t>(reader.size()) != shard.bytes) return std::nullopt;
    fs::last_write_time(copy, fs::file_time_type::clock::now(), ignored);
    return reader;
  } catch (const DataError&) {
    return std::nullopt;  // another process has just removed it
  }
}

}  // namespace

ShardCache::ShardCache(fs::path corpus, const fs::path& folder, std::int64_t limit_bytes)
    : corpus_(std::move(corpus)), folder_(folder), limit_bytes_(limit_bytes) {
  std::error_code failed;
  fs::create_directories(folder_, failed);
  ZOETROPE_CHECK_CONFIG(fs::is_directory(folder_), "cannot make the cache folder ",
                        folder_.string(), ": ", failed.message());
  std::int64_t largest = 0;
  for (ShardEntry& shard : read_shard_list(corpus_)) {
    largest = std::max(largest, shard.bytes);
    const std::string file = shard.file;
    shards_.emplace(file, std::move(shard));
  }
  ZOETROPE_CHECK_CONFIG(largest <= limit_bytes_, "the cache folder ", folder_.string(),
                        " may hold ", limit_bytes_, " bytes, but the largest shard of ",
                        corpus_.string(), " has ", largest);
}

FileReader ShardCache::open(const std::string& file) {
  const auto found = shards_.find(file);
  ZOETROPE_CHECK_DATA(found != shards_.end(), corpus_.string(), ": shards.jsonl does not list ",
                      file);
  const ShardEntry& shard = found->second;
  const fs::path copy = folder_ / (shard.hash + ".h5");
  if (auto reader = open_copy(copy, shard)) return *reader;
  const FolderLock lock(folder_);
  if (auto reader = open_copy(copy, shard)) return *reader;
  fetch(shard, copy);
  return FileReader(copy);
}

void ShardCache::fetch(const ShardEntry& shard, const fs::path& copy) const {
  make_room(shard.bytes);
  publish_file(copy, [&](const fs::path& temporary) {
    std::error_code failed;
    fs::copy_file(corpus_ / shard.file, temporary, fs::copy_options::overwrite_existing, failed);
    ZOETROPE_CHECK_DATA(!failed, "cannot copy ", (corpus_ / shard.file).string(), " to ",
                        folder_.string(), ": ", failed.message());
    const std::string hash = hash_file(temporary);
    ZOETROPE_CHECK_DATA(hash == shard.hash, (corpus_ / shard.file).string(), " has hash ", hash,
                        ", shards.jsonl says ", shard.hash);
  });
}

void ShardCache::make_room(std::int64_t bytes) const {
  struct Copy {
    fs::file_time_type asked;
    std::int64_t bytes;
    fs::path path;
    bool operator<(const Copy& other) const { return asked < other.asked; }
  };
  std::vector<Copy> copies;
  for (const auto& entry : fs::directory_iterator(folder_)) {
    if (entry.path().extension() == ".tmp") fs::remove(entry.path());  // of a killed process
    if (entry.path().extension() != ".h5") continue;
    copies.push_back(
        {entry.last_write_time(), static_cast<std::int64_t>(entry.file_size()), entry.path()});
    bytes += copies.back().bytes;
  }
  std::sort(copies.begin(), copies.end());
  for (const Copy& copy : copies) {
    if (bytes <= limit_bytes_) break;
    fs::remove(copy.path);
    bytes -= copy.bytes;
  }
}

}  // namespace zoetrope::data
