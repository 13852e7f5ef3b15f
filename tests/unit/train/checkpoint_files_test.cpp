// Files of a checkpoint: the same for any number of ranks, shared out evenly.
#include "train/checkpoint_files.h"

#include <algorithm>
#include <set>

#include <gtest/gtest.h>

#include "base/error.h"

namespace zoetrope::train {
namespace {

// 60 layers of weights and their moments, of very different sizes.
std::vector<TensorSet> some_sets() {
  TensorSet weights{"model", "w.safetensors", {}, {}}, moments{"", "o.safetensors", {}, {}};
  for (std::int64_t i = 0; i < 60; ++i) {
    const std::string name = concat("blocks.", i);
    weights.bytes[name] = 4 * (1 + i * i);
    moments.bytes["first." + name] = moments.bytes["second." + name] = 4 * (1 + i * i);
  }
  return {weights, weights, moments};
}

std::vector<std::string> names_of(const std::vector<OwnedFile>& files) {
  std::vector<std::string> names;
  for (const OwnedFile& owned : files) {
    std::string name = concat(owned.set, "/", owned.file.name, ":");
    for (const std::string& tensor : owned.file.tensors) name += " " + tensor;
    names.push_back(name);
  }
  return names;
}

TEST(CheckpointFiles, DoNotDependOnTheRanks) {
  const auto alone = assign_files(some_sets(), 20000, 1);
  EXPECT_GT(alone.size(), 50u);
  for (const int ranks : {2, 3, 64, 1000}) {
    EXPECT_EQ(names_of(assign_files(some_sets(), 20000, ranks)), names_of(alone));
  }
}

TEST(CheckpointFiles, NoRankHasMoreThanItsShareAndAFile) {
  const auto sets = some_sets();
  for (const std::int64_t limit : {0, 20000}) {
    for (const int ranks : {1, 2, 3, 8, 1000}) {
      const auto files = assign_files(sets, limit, ranks);
      std::int64_t largest_file = 0, sum = 0;
      std::set<int> owners;
      for (const OwnedFile& owned : files) {
        largest_file = std::max(largest_file, owned.file.bytes);
        sum += owned.file.bytes;
        owners.insert(owned.owner);
      }
      EXPECT_EQ(total_bytes(files), sum);
      EXPECT_LE(largest_share(files), sum / ranks + largest_file) << ranks;
      EXPECT_GE(largest_share(files), sum / ranks) << ranks;
      EXPECT_EQ(owners.size(), std::min<std::size_t>(files.size(), ranks));
    }
  }
}

}  // namespace
}  // namespace zoetrope::train
