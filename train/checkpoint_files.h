// Which file of a checkpoint holds which tensors, and which rank writes it.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/safetensors.h"

namespace zoetrope::train {

// Tensors that belong together: in FOLDER/NAME, or in several files with an index.
struct TensorSet {
  std::string folder, name;  // folder: in the checkpoint's, "" = there
  std::map<std::string, std::string> metadata;
  std::map<std::string, std::int64_t> bytes;  // by name in the file
};

struct OwnedFile {
  std::size_t set = 0;  // number of the set
  TensorFile file;
  int owner = 0;  // rank of the world
};

// The files depend on names, sizes and `max_file_bytes` (0 = no limit) alone, not on the ranks.
// They go to ranks largest first, each to the one that has the fewest bytes, ties to the lower
// rank: no rank has more than its even share and one file.
std::vector<OwnedFile> assign_files(const std::vector<TensorSet>& sets, std::int64_t max_file_bytes,
                                    int num_ranks);

// Bytes of all; of the rank that has most.
std::int64_t total_bytes(const std::vector<OwnedFile>& files);
std::int64_t largest_share(const std::vector<OwnedFile>& files);

}  // namespace zoetrope::train
