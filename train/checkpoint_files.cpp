// Files of the sets, dealt out to ranks.
#include "train/checkpoint_files.h"

#include <algorithm>
#include <functional>
#include <numeric>
#include <queue>
#include <utility>

namespace zoetrope::train {

std::vector<OwnedFile> assign_files(const std::vector<TensorSet>& sets, std::int64_t max_file_bytes,
                                    int num_ranks) {
  std::vector<OwnedFile> files;
  for (std::size_t s = 0; s < sets.size(); ++s) {
    for (TensorFile& file : spread_tensors(sets[s].name, sets[s].bytes, max_file_bytes)) {
      files.push_back({s, std::move(file)});
    }
  }
  std::vector<OwnedFile*> largest_first;
  for (OwnedFile& file : files) largest_first.push_back(&file);
  std::stable_sort(
      largest_first.begin(), largest_first.end(),
      [](const OwnedFile* a, const OwnedFile* b) { return a->file.bytes > b->file.bytes; });
  using Load = std::pair<std::int64_t, int>;  // bytes, rank
  std::priority_queue<Load, std::vector<Load>, std::greater<>> ranks;
  for (int rank = 0; rank < num_ranks; ++rank) ranks.emplace(0, rank);
  for (OwnedFile* file : largest_first) {
    const auto [bytes, rank] = ranks.top();
    ranks.pop();
    file->owner = rank;
    ranks.emplace(bytes + file->file.bytes, rank);
  }
  return files;
}

std::int64_t total_bytes(const std::vector<OwnedFile>& files) {
  return std::accumulate(
      files.begin(), files.end(), std::int64_t{0},
      [](std::int64_t sum, const OwnedFile& file) { return sum + file.file.bytes; });
}

std::int64_t largest_share(const std::vector<OwnedFile>& files) {
  std::map<int, std::int64_t> shares;
  std::int64_t largest = 0;
  for (const OwnedFile& file : files) {
    largest = std::max(largest, shares[file.owner] += file.file.bytes);
  }
  return largest;
}

}  // namespace zoetrope::train
