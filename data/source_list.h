// What the user points at -> a list of videos and images with their captions, in a stable order.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace zoetrope::data {

struct SourceItem {
  std::filesystem::path path;
  std::vector<std::string> captions;  // may be empty; several are alternatives
  double start_s = 0;
  double end_s = 0;    // 0 = to the end
  std::string origin;  // "list.csv:12", or the folder
};

// `inputs`: folders (recursive, sorted; same-stem .txt captions; captions.jsonl, captions.csv
// inside are used), single videos or images, .csv (Open-Sora columns: path, text, ...), .jsonl
// (video|path|file, and caption|text|short|dense), .txt (one path a line; beside videos.txt,
// prompts.txt holds the captions). Relative paths start at the list's folder; data/README.md has
// the table of names. `captions_file` (.jsonl or .csv by video name) adds captions to items found.
// A list or folder that does not exist, or a row without a path, throws ConfigError with path:line;
// a listed video that does not exist stays in the list (the decoder rejects it with a reason). The
// same range of the same file listed twice is one item with the captions of both.
std::vector<SourceItem> list_sources(const std::vector<std::filesystem::path>& inputs,
                                     const std::filesystem::path& captions_file = {});

// RFC 4180: quotes, commas and newlines inside fields. Returns rows of fields; `line` of each row
// beside.
struct CsvRow {
  int line = 0;
  std::vector<std::string> fields;
};
std::vector<CsvRow> read_csv(const std::filesystem::path& path);

}  // namespace zoetrope::data
