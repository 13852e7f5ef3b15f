// See list_file.h.

#include "data/list_file.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <map>
#include <sstream>

#include "base/error.h"
#include "base/files.h"
#include "base/json.h"

namespace zoetrope::data {

namespace fs = std::filesystem;

namespace {

// Column and key names in use out there; the first one present is taken, of captions all.
constexpr std::array<const char*, 5> kPathNames = {"path", "video", "video_path", "file",
                                                   "file_name"};
constexpr std::array<const char*, 5> kCaptionNames = {"caption", "text", "prompt", "short",
                                                      "dense"};
constexpr std::array<const char*, 2> kStartNames = {"start_s", "start"};
constexpr std::array<const char*, 2> kEndNames = {"end_s", "end"};

std::string trimmed(const std::string& text) {
  const auto first = text.find_first_not_of(" \t\r\n");
  if (first == std::string::npos) return "";
  return text.substr(first, text.find_last_not_of(" \t\r\n") - first + 1);
}

std::string lower(std::string text) {
  for (char& letter : text) {
    letter = static_cast<char>(std::tolower(static_cast<unsigned char>(letter)));
  }
  return text;
}

// What a row says under any of the known names; a name may hold several captions.
using Row = std::map<std::string, std::vector<std::string>>;

template <std::size_t count>
std::string first_of(const Row& row, const std::array<const char*, count>& names) {
  for (const char* name : names) {
    const auto found = row.find(name);
    if (found != row.end() && !found->second.empty() && !trimmed(found->second[0]).empty()) {
      return trimmed(found->second[0]);
    }
  }
  return "";
}

double seconds(const std::string& text, const std::string& origin) {
  if (text.empty()) return 0;
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  ZOETROPE_CHECK_CONFIG(
      error == std::errc() && end == text.data() + text.size() && value >= 0 && value < 1e9, origin,
      ": \"", text, "\" is no time in seconds");
  return value;
}

SourceItem item_of(const Row& row, const fs::path& list, int line) {
  SourceItem item;
  item.origin = concat(list.string(), ":", line);
  const std::string path = first_of(row, kPathNames);
  ZOETROPE_CHECK_CONFIG(!path.empty(), item.origin, ": no path (path, video, video_path, file)");
  item.path = (list.parent_path() / path).lexically_normal();
  for (const char* name : kCaptionNames) {
    const auto found = row.find(name);
    if (found == row.end()) continue;
    for (const std::string& caption : found->second) {
      if (!trimmed(caption).empty()) item.captions.push_back(trimmed(caption));
    }
  }
  item.start_s = seconds(first_of(row, kStartNames), item.origin);
  item.end_s = seconds(first_of(row, kEndNames), item.origin);
  ZOETROPE_CHECK_CONFIG(item.end_s == 0 || item.end_s > item.start_s, item.origin, ": range from ",
                        item.start_s, " s to ", item.end_s, " s is empty");
  return item;
}

std::vector<SourceItem> read_csv_list(const fs::path& path) {
  const std::vector<CsvRow> rows = read_csv(path);
  ZOETROPE_CHECK_CONFIG(!rows.empty(), path.string(), ":1: no header row");
  std::vector<std::string> names;
  for (const std::string& field : rows[0].fields) names.push_back(lower(trimmed(field)));
  const bool has_path = std::any_of(kPathNames.begin(), kPathNames.end(), [&](const char* name) {
    return std::find(names.begin(), names.end(), name) != names.end();
  });
  ZOETROPE_CHECK_CONFIG(has_path, path.string(), ":", rows[0].line,
                        ": the header names no path column (path, video, video_path, file)");
  std::vector<SourceItem> items;
  for (std::size_t index = 1; index < rows.size(); ++index) {
    const CsvRow& fields = rows[index];
    ZOETROPE_CHECK_CONFIG(fields.fields.size() == names.size(), path.string(), ":", fields.line,
                          ": ", fields.fields.size(), " fields under ", names.size(),
                          " columns (a comma in a caption needs quotes)");
    Row row;
    for (std::size_t column = 0; column < names.size(); ++column) {
      row[names[column]] = {fields.fields[column]};
    }
    items.push_back(item_of(row, path, fields.line));
  }
  return items;
}

std::vector<std::string> texts_of(const Json& value) {
  std::vector<std::string> texts;
  if (value.is_string()) texts.push_back(value.get<std::string>());
  if (value.is_number()) texts.push_back(value.dump());
  if (value.is_array()) {
    for (const Json& element : value) {
      if (element.is_string()) texts.push_back(element.get<std::string>());
    }
  }
  return texts;
}

std::vector<SourceItem> read_json_lines(const fs::path& path) {
  std::vector<SourceItem> items;
  for_each_json_line(path, [&](const Json& object, int line) {
    Row row;
    for (const auto& [key, value] : object.items()) row[lower(key)] = texts_of(value);
    items.push_back(item_of(row, path, line));
  });
  return items;
}

std::vector<std::string> lines_of(const fs::path& path) {
  std::istringstream text(read_file(path));
  std::vector<std::string> lines;
  for (std::string line; std::getline(text, line);) lines.push_back(trimmed(line));
  while (!lines.empty() && lines.back().empty()) lines.pop_back();
  return lines;
}

// finetrainers keeps captions beside videos.txt, line by line; "" when there is no such file.
fs::path prompts_beside(const fs::path& path) {
  const std::string stem = lower(path.stem().string());
  if (stem != "video" && stem != "videos") return {};
  for (const char* name : {"prompts.txt", "prompt.txt", "captions.txt", "caption.txt"}) {
    if (fs::is_regular_file(path.parent_path() / name)) return path.parent_path() / name;
  }
  return {};
}

std::vector<SourceItem> read_text_list(const fs::path& path) {
  const std::vector<std::string> paths = lines_of(path);
  const fs::path prompts_file = prompts_beside(path);
  std::vector<std::string> prompts;
  if (!prompts_file.empty()) {
    prompts = lines_of(prompts_file);
    ZOETROPE_CHECK_CONFIG(prompts.size() <= paths.size(), prompts_file.string(), ":",
                          paths.size() + 1, ": ", prompts.size(), " captions for ", paths.size(),
                          " lines of ", path.string());
  }
  prompts.resize(paths.size());
  std::vector<SourceItem> items;
  for (std::size_t index = 0; index < paths.size(); ++index) {
    if (paths[index].empty()) continue;
    const Row row = {{"path", {paths[index]}}, {"caption", {prompts[index]}}};
    items.push_back(item_of(row, path, static_cast<int>(index) + 1));
  }
  return items;
}

}  // namespace

bool is_list_file(const fs::path& path) {
  const std::string extension = lower(path.extension().string());
  return extension == ".csv" || extension == ".jsonl" || extension == ".txt";
}

std::vector<SourceItem> read_list_file(const fs::path& path) {
  ZOETROPE_CHECK_CONFIG(fs::is_regular_file(path), path.string(), ": no such list");
  const std::string extension = lower(path.extension().string());
  if (extension == ".csv") return read_csv_list(path);
  if (extension == ".jsonl") return read_json_lines(path);
  return read_text_list(path);
}

}  // namespace zoetrope::data
