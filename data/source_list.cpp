// See source_list.h.

#include "data/source_list.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <map>
#include <set>
#include <tuple>

#include "base/error.h"
#include "base/json.h"
#include "base/log.h"
#include "data/list_file.h"
#include "data/list_row.h"
#include "data/media_file.h"

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

void add_captions(SourceItem& item, const KnownCaptions& captions) {
  for (std::size_t i = 0; i < captions.texts.size(); ++i) {
    const auto& known = item.captions;
    if (std::find(known.begin(), known.end(), captions.texts[i]) != known.end()) continue;
    item.captions.push_back(captions.texts[i]);
    item.caption_kinds.push_back(captions.kinds[i]);
  }
}

// The files that describe one video: KEY.txt, KEY.caption, or a row of a list as KEY.json.
constexpr std::array kTextEnds = {".txt", ".caption"};
constexpr const char* kRowEnd = ".json";
constexpr std::int64_t kMaxSidecarBytes = 1 << 20;

void add_sidecar(SourceItem& item, const MediaFile& sidecar, const std::string& place,
                 bool is_row) {
  const std::string text = read_media(sidecar, kMaxSidecarBytes);
  Json row = {{"caption", text}};
  if (is_row) row = parse_json(text, place);
  if (!row.is_object()) return;  // boxes, key points and the like
  int repaired = 0;
  add_captions(item, captions_of(row, repaired));
  item.scores.merge(scores_of(row, place));
  if (repaired > 0)
    log_warn(place, ": ", repaired, " captions repaired (no UTF-8, control characters, too long)");
}

void add_sidecars_beside(SourceItem& item) {
  auto add = [&](const char* end, bool is_row) {
    const fs::path beside = fs::path(item.path).replace_extension(end);
    std::error_code error;
    if (beside == item.path || !fs::is_regular_file(beside, error)) return;
    const auto bytes = static_cast<std::int64_t>(fs::file_size(beside));
    add_sidecar(item, {beside, 0, bytes, false}, beside.string(), is_row);
  };
  for (const char* end : kTextEnds) add(end, false);
  add(kRowEnd, true);
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
      add_captions(item, {rows_[index].captions, rows_[index].caption_kinds});
      item.scores.insert(rows_[index].scores.begin(), rows_[index].scores.end());
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

// Lists of captions that lie in folders, and what they describe.
bool is_caption_table(const fs::path& path) {
  static const std::set<std::string> names = {"captions.jsonl", "captions.csv", "captions.json",
                                              "metadata.jsonl", "metadata.csv"};
  return names.count(path.filename().string()) != 0 || !prompts_beside(path).empty();
}

// Regular files below a folder, sorted, without hidden ones and what linked folders hold.
std::vector<fs::path> files_below(const fs::path& folder) {
  std::vector<fs::path> files;
  const auto options = fs::directory_options::skip_permission_denied;
  for (auto entry = fs::recursive_directory_iterator(folder, options);
       entry != fs::recursive_directory_iterator(); ++entry) {
    std::error_code error;
    if (entry->path().filename().native()[0] == '.') {
      if (entry->is_directory(error)) entry.disable_recursion_pending();
    } else if (entry->is_regular_file(error)) {
      files.push_back(entry->path().lexically_normal());
    }
  }
  std::sort(files.begin(), files.end());
  return files;
}

bool lies_in(const fs::path& path, const fs::path& folder) {
  return std::mismatch(folder.begin(), folder.end(), path.begin(), path.end()).first ==
         folder.end();
}

// A sample of webdataset is what shares the name up to the first dot: KEY.mp4, KEY.txt, KEY.json.
std::vector<SourceItem> list_tar(const fs::path& tar) {
  std::vector<SourceItem> items;
  std::map<std::string, std::vector<TarMember>> sidecars;
  auto key_of = [](const std::string& name) {
    const std::size_t base = name.rfind('/') == std::string::npos ? 0 : name.rfind('/') + 1;
    return name.substr(0, name.find('.', base));
  };
  for_each_tar_member(tar, [&](const TarMember& member) {
    if (is_media(member.name)) {
      items.push_back({.path = (tar / member.name).lexically_normal(), .origin = tar.string()});
    } else {
      sidecars[key_of(member.name)].push_back(member);
    }
  });
  for (SourceItem& item : items) {
    const std::string key = key_of(item.path.lexically_relative(tar).string());
    for (const TarMember& member : sidecars[key]) {
      const std::string end = member.name.substr(key.size());
      const bool is_text = std::find(kTextEnds.begin(), kTextEnds.end(), end) != kTextEnds.end();
      if (!is_text && end != kRowEnd) continue;
      add_sidecar(item, {tar, member.offset, member.bytes, true},
                  concat(tar.string(), "/", member.name), !is_text);
    }
  }
  ZOETROPE_CHECK_CONFIG(!items.empty(), tar.string(), ": no video or image in this tar");
  return items;
}

std::vector<SourceItem> list_folder(const fs::path& folder) {
  std::vector<SourceItem> items;
  std::vector<fs::path> tables;
  for (const fs::path& path : files_below(folder)) {
    if (is_caption_table(path)) tables.push_back(path);
    if (is_tar(path)) {
      for (SourceItem& item : list_tar(path)) items.push_back(std::move(item));
    }
    if (!is_media(path)) continue;
    items.push_back({.path = path, .origin = folder.string()});
    add_sidecars_beside(items.back());
  }
  ZOETROPE_CHECK_CONFIG(!items.empty(), folder.string(), ": no video or image in this folder");
  for (const fs::path& path : tables) {
    CaptionTable table(path);
    for (SourceItem& item : items) {
      if (lies_in(item.path, path.parent_path())) table.caption(item);
    }
    table.warn_unused();
  }
  return items;
}

std::vector<SourceItem> list_input(const fs::path& input, const fs::path& media_root) {
  MediaFinder files;
  ZOETROPE_CHECK_CONFIG(fs::exists(input) || files.find(input), input.string(),
                        ": no such file or folder");
  if (fs::is_directory(input)) return list_folder(input);
  if (is_list_file(input)) return read_list_file(input, media_root);
  if (is_tar(input)) return list_tar(input);
  ZOETROPE_CHECK_CONFIG(input.extension() != ".parquet" && input.extension() != ".tsv",
                        input.string(), ": lists are .csv, .jsonl, .json, .txt or .tar");
  SourceItem item;
  item.path = input.lexically_normal();
  item.origin = input.string();
  add_sidecars_beside(item);
  return {item};
}

// Links count as what they point to, so that none leads out.
void refuse_outside(const std::vector<SourceItem>& items, const fs::path& root) {
  const fs::path home = fs::weakly_canonical(root);
  for (const SourceItem& item : items) {
    ZOETROPE_CHECK_CONFIG(lies_in(fs::weakly_canonical(item.path), home), item.origin, ": ",
                          source_name(item.path), " lies outside ", home.string());
  }
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
      add_captions(kept[place->second], {item.captions, item.caption_kinds});
      kept[place->second].scores.merge(item.scores);
    }
  }
  return kept;
}

}  // namespace

std::vector<SourceItem> list_sources(const std::vector<fs::path>& inputs,
                                     const ListOptions& options) {
  std::vector<SourceItem> items;
  for (const fs::path& input : inputs) {
    std::vector<SourceItem> found = list_input(input, options.media_root);
    if (options.inside_root) {
      const fs::path own = fs::is_directory(input) ? input : fs::absolute(input).parent_path();
      refuse_outside(found, options.media_root.empty() ? own : options.media_root);
    }
    for (SourceItem& item : found) items.push_back(std::move(item));
  }
  items = merged(std::move(items));
  if (!options.captions_file.empty()) {
    CaptionTable table(options.captions_file);
    for (SourceItem& item : items) table.caption(item);
    table.warn_unused();
  }
  return items;
}

std::vector<fs::path> find_media(const fs::path& folder) {
  if (!fs::is_directory(folder)) return {};
  std::vector<fs::path> files = files_below(folder);
  std::erase_if(files, [](const fs::path& path) { return !is_media(path); });
  return files;
}

std::string source_name(const fs::path& path) {
  auto is_whole = [](const std::string& letter) {
    const Json text(letter);
    return text.dump(-1, ' ', false, Json::error_handler_t::ignore).size() == letter.size() + 2;
  };
  const std::string bytes = path.string();
  std::string name;
  for (std::size_t at = 0; at < bytes.size();) {
    const auto first = static_cast<unsigned char>(bytes[at]);
    const std::size_t length = first < 0x80 ? 1 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
    const std::string letter = bytes.substr(at, length);
    const bool control = first < 0x20 || first == 0x7F;
    if (!control && (first < 0x80 || (letter.size() == length && is_whole(letter)))) {
      name += letter;
      at += length;
      continue;
    }
    static constexpr char kDigits[] = "0123456789ABCDEF";
    name += {'\\', 'x', kDigits[first >> 4], kDigits[first & 15]};
    ++at;
  }
  return name;
}

}  // namespace zoetrope::data
