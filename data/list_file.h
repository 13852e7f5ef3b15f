// One list of videos (.csv, .jsonl or .txt) as rows of path, captions and range, whatever its
// columns are called. Understands the lists of Open-Sora, OpenVid-1M, finetrainers and
// musubi-tuner.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "data/source_list.h"

namespace zoetrope::data {

bool is_list_file(const std::filesystem::path& path);

// Rows in the order of the file. Relative paths are joined to the list's folder; `origin` is
// "list.csv:12". Throws ConfigError with path:line for a row without a path or with a bad range.
std::vector<SourceItem> read_list_file(const std::filesystem::path& path);

}  // namespace zoetrope::data
