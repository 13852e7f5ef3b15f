// See source_list.h.

#include "data/source_list.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <map>
#include <set>
#include <tuple>

#include "base/error.h"
#include "base/files.h"
#include "base/log.h"
#include "data/list_file.h"

namespace zoetrope::data {

namespace fs = std::filesystem;

namespace {

const std::set<std::string>& media_extensions() {
  static const std::set<std::string> extensions = {
      ".mp4", ".m4v", ".mov",  ".3gp",  ".3g2", ".mkv", ".webm", ".avi",  ".mpg", ".mpeg", ".vob",
      ".ts",  ".mts", ".m2ts", ".ogv",  ".ogg", ".flv", ".wmv",  ".asf",  ".mxf", ".y4m",  ".ivf",
      ".nut", ".dv",  ".gif",  ".apng", ".png", ".jpg", ".jpeg", ".webp", ".bmp"};
  return extensions;
}

bool is_media(const fs::path& path) {
  std::string extension = path.extension().string();
  for (char& letter : extension) {
    letter = static_cast<char>(std::tolower(static_cast<unsigned char>(letter)));
  }
  return media_extensions().count(extension) != 0;
}

void add_captions(SourceItem& item, const std::vector<std::string>& captions) {
  for (const std::string& caption : captions) {
    if (std::find(item.captions.begin(), item.captions.end(), caption) == item.captions.end()) {
      item.captions.push_back(caption);
    }
  }
}

void add_caption_beside(SourceItem& item) {
  const fs::path text_file = fs::path(item.path).replace_extension(".txt");
  if (!fs::is_regular_file(text_file)) return;
  std::string text = read_file(text_file);
  const auto first = text.find_first_not_of(" \t\r\n");
  if (first == std::string::npos) return;
  text = text.substr(first, text.find_last_not_of(" \t\r\n") - first + 1);
  add_captions(item, {text});
}

// Captions by video. A row names a file by its path from the table's folder, by its bare name, or
// by its name without the extension; the longest match counts.
class CaptionTable {
 public:
  explicit CaptionTable(const fs::path& path) : path_(path) {
    for (SourceItem& row : read_list_file(path)) {
      rows_.push_back(std::move(row));
      const std::size_t index = rows_.size() - 1;
      by_path_[rows_[index].path.string()].push_back(index);
      by_name_[rows_[index].path.filename().string()].push_back(index);
    }
  }

  void caption(SourceItem& item) {
    auto found = by_path_.find(item.path.lexically_normal().string());
    if (found == by_path_.end()) {
      found = by_name_.find(item.path.filename().string());
      if (found == by_name_.end()) found = by_name_.find(item.path.stem().string());
      if (found == by_name_.end()) return;
    }
    for (const std::size_t index : found->second) {
      add_captions(item, rows_[index].captions);
      used_.insert(index);
    }
  }

  void warn_unused() const {
    if (used_.size() < rows_.size()) {
      log_warn(path_.string(), ": ", rows_.size() - used_.size(), " of ", rows_.size(),
               " rows name no video that is there");
    }
  }

 private:
  fs::path path_;
  std::vector<SourceItem> rows_;
  std::map<std::string, std::vector<std::size_t>> by_path_, by_name_;
  std::set<std::size_t> used_;
};

struct FolderContent {
  std::vector<fs::path> media;   // sorted
  std::vector<fs::path> tables;  // captions.jsonl and captions.csv, sorted
};

FolderContent walk(const fs::path& folder) {
  FolderContent content;
  const auto options = fs::directory_options::skip_permission_denied;
  for (auto entry = fs::recursive_directory_iterator(folder, options);
       entry != fs::recursive_directory_iterator(); ++entry) {
    const std::string name = entry->path().filename().string();
    if (name[0] == '.') {
      if (entry->is_directory()) entry.disable_recursion_pending();
      continue;
    }
    if (!entry->is_regular_file()) continue;
    if (name == "captions.jsonl" || name == "captions.csv") {
      content.tables.push_back(entry->path().lexically_normal());
    } else if (is_media(entry->path())) {
      content.media.push_back(entry->path().lexically_normal());
    }
  }
  std::sort(content.media.begin(), content.media.end());
  std::sort(content.tables.begin(), content.tables.end());
  return content;
}

bool lies_in(const fs::path& path, const fs::path& folder) {
  return std::mismatch(folder.begin(), folder.end(), path.begin(), path.end()).first ==
         folder.end();
}

std::vector<SourceItem> list_folder(const fs::path& folder) {
  const FolderContent content = walk(folder);
  ZOETROPE_CHECK_CONFIG(!content.media.empty(), folder.string(),
                        ": no video or image in this folder");
  std::vector<SourceItem> items;
  for (const fs::path& path : content.media) {
    SourceItem item;
    item.path = path;
    item.origin = folder.string();
    add_caption_beside(item);
    items.push_back(std::move(item));
  }
  for (const fs::path& path : content.tables) {
    CaptionTable table(path);
    for (SourceItem& item : items) {
      if (lies_in(item.path, path.parent_path())) table.caption(item);
    }
    table.warn_unused();
  }
  return items;
}

std::vector<SourceItem> list_input(const fs::path& input) {
  ZOETROPE_CHECK_CONFIG(fs::exists(input), input.string(), ": no such file or folder");
  if (fs::is_directory(input)) return list_folder(input);
  if (is_list_file(input)) return read_list_file(input);
  ZOETROPE_CHECK_CONFIG(input.extension() != ".json" && input.extension() != ".parquet",
                        input.string(), ": lists are .csv, .jsonl (one object a line) or .txt");
  SourceItem item;
  item.path = input.lexically_normal();
  item.origin = input.string();
  add_caption_beside(item);
  return {item};
}

// Keeps the first place of each (file, range); later ones only add captions.
std::vector<SourceItem> merged(std::vector<SourceItem> items) {
  std::map<std::tuple<std::string, double, double>, std::size_t> seen;
  std::vector<SourceItem> kept;
  for (SourceItem& item : items) {
    const auto key = std::make_tuple(item.path.string(), item.start_s, item.end_s);
    const auto [place, is_new] = seen.emplace(key, kept.size());
    if (is_new) {
      kept.push_back(std::move(item));
    } else {
      add_captions(kept[place->second], item.captions);
    }
  }
  return kept;
}

}  // namespace

std::vector<SourceItem> list_sources(const std::vector<fs::path>& inputs,
                                     const fs::path& captions_file) {
  std::vector<SourceItem> items;
  for (const fs::path& input : inputs) {
    for (SourceItem& item : list_input(input)) items.push_back(std::move(item));
  }
  items = merged(std::move(items));
  if (!captions_file.empty()) {
    CaptionTable table(captions_file);
    for (SourceItem& item : items) table.caption(item);
    table.warn_unused();
  }
  return items;
}

}  // namespace zoetrope::data
