// What the user points at -> a list of videos and images with their captions, in a stable order.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace zoetrope::data {

struct SourceItem {
  std::filesystem::path path;         // of a file, or "shard.tar/KEY.mp4"
  std::vector<std::string> captions;  // may be empty; several are alternatives
  double start_s = 0;
  double end_s = 0;                             // 0 = to the end
  std::map<std::string, double> scores;         // as the list has them: aesthetic, motion, ...
  std::string origin;                           // "list.csv:12", or the folder
  std::vector<std::string> caption_kinds = {};  // one per caption: "caption", "short" or "dense"
};

struct ListOptions {
  std::filesystem::path captions_file;  // adds captions, by the names of videos
  std::filesystem::path media_root;     // where lists look for their files; "" = the list's folder
  bool inside_root = false;  // refuses files outside media_root (else outside the input's folder)
};

// `inputs`: folders (recursive, sorted), videos, images, lists (.csv, .jsonl, .json, .txt) and
// webdataset tars; data/README.md has the layouts and the table of names. A list or folder that
// does not exist, or a row that makes no sense, throws ConfigError or DataError with path:line; a
// listed video that does not exist stays in the list (the decoder rejects it with a reason). The
// same range of the same file listed twice is one item with the captions of both.
std::vector<SourceItem> list_sources(const std::vector<std::filesystem::path>& inputs,
                                     const ListOptions& options = {});

// The videos and images below a folder, sorted, without hidden ones.
std::vector<std::filesystem::path> find_media(const std::filesystem::path& folder);

// A path as text for records and messages: bytes that are no UTF-8, and control characters, become
// \xNN.
std::string source_name(const std::filesystem::path& path);

}  // namespace zoetrope::data
