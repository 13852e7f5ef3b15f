// See list_file.h.

#include "data/list_file.h"

#include <algorithm>
#include <cctype>
#include <sstream>

#include "base/error.h"
#include "base/files.h"
#include "base/json.h"
#include "data/csv.h"
#include "data/list_row.h"

namespace zoetrope::data {

namespace fs = std::filesystem;

namespace {

std::string lower(std::string text) {
  for (char& letter : text) {
    letter = static_cast<char>(std::tolower(static_cast<unsigned char>(letter)));
  }
  return text;
}

// A list being read: its rows go to the reader, its clips gather here.
struct OpenList {
  OpenList(const fs::path& list, const fs::path& media_root) : path(list), rows(list, media_root) {}
  void add(const ListRow& row, const std::string& place) {
    for (SourceItem& item : rows.clips(row, place)) items.push_back(std::move(item));
  }
  std::string place(auto line) const { return concat(path.string(), ":", line); }

  fs::path path;
  RowReader rows;
  std::vector<SourceItem> items;
};

void read_csv(OpenList& list) {
  std::vector<std::string> names;
  for_each_csv_row(list.path, [&](const CsvRow& row) {
    if (names.empty()) {
      for (const std::string& field : row.fields) names.push_back(lower(trimmed(field)));
      ZOETROPE_CHECK_CONFIG(
          std::any_of(names.begin(), names.end(), names_a_video), list.place(row.line),
          ": the header names no path column (path, video, video_path, file, videoID, ...)");
      return;
    }
    ZOETROPE_CHECK_CONFIG(row.fields.size() == names.size(), list.place(row.line), ": ",
                          row.fields.size(), " fields under ", names.size(),
                          " columns (a comma in a caption needs quotes)");
    ListRow fields = ListRow::object();
    for (std::size_t column = 0; column < names.size(); ++column)
      fields[names[column]] = row.fields[column];
    list.add(fields, list.place(row.line));
  });
  ZOETROPE_CHECK_CONFIG(!names.empty(), list.place(1), ": no header row");
}

ListRow with_lower_keys(const Json& object) {
  ListRow row = ListRow::object();
  for (const auto& [key, value] : object.items()) row[lower(key)] = value;
  return row;
}

void read_json_lines(OpenList& list) {
  for_each_json_line(list.path, [&](const Json& object, int line) {
    list.add(with_lower_keys(object), list.place(line));
  });
}

// An array of objects, or one object of names and their captions (diffusion-pipe's captions.json).
void read_json_document(OpenList& list) {
  const Json document = read_json(list.path);
  ZOETROPE_CHECK_CONFIG(document.is_array() || document.is_object(), list.place(1),
                        ": expected a JSON array or object, found ", document.type_name());
  std::size_t number = 0;
  for (const auto& [name, value] : document.items()) {
    const std::string place = concat(list.path.string(), " entry ", ++number);
    if (document.is_object()) {
      list.add({{"path", name}, {"caption", value}}, place);
      continue;
    }
    ZOETROPE_CHECK_CONFIG(value.is_object(), place, ": expected a JSON object, found ",
                          value.type_name());
    list.add(with_lower_keys(value), place);
  }
}

std::vector<std::string> lines_of(const fs::path& path) {
  std::istringstream text(read_file(path));
  std::vector<std::string> lines;
  for (std::string line; std::getline(text, line);) lines.push_back(trimmed(line));
  while (!lines.empty() && lines.back().empty()) lines.pop_back();
  return lines;
}

void read_text(OpenList& list) {
  const std::vector<std::string> paths = lines_of(list.path);
  const fs::path prompts_file = prompts_beside(list.path);
  std::vector<std::string> prompts;
  if (!prompts_file.empty()) {
    prompts = lines_of(prompts_file);
    ZOETROPE_CHECK_CONFIG(prompts.size() <= paths.size(), prompts_file.string(), ":",
                          paths.size() + 1, ": ", prompts.size(), " captions for ", paths.size(),
                          " lines of ", list.path.string());
  }
  prompts.resize(paths.size());
  for (std::size_t index = 0; index < paths.size(); ++index) {
    if (paths[index].empty()) continue;
    list.add({{"path", paths[index]}, {"caption", prompts[index]}}, list.place(index + 1));
  }
}

}  // namespace

bool is_list_file(const fs::path& path) {
  const std::string extension = lower(path.extension().string());
  return extension == ".csv" || extension == ".jsonl" || extension == ".json" ||
         extension == ".txt";
}

fs::path prompts_beside(const fs::path& path) {
  const std::string name = lower(path.filename().string());
  if (name != "video.txt" && name != "videos.txt") return {};
  for (const char* prompts : {"prompts.txt", "prompt.txt", "captions.txt", "caption.txt"}) {
    if (fs::is_regular_file(path.parent_path() / prompts)) return path.parent_path() / prompts;
  }
  return {};
}

std::vector<SourceItem> read_list_file(const fs::path& path, const fs::path& media_root) {
  ZOETROPE_CHECK_CONFIG(fs::is_regular_file(path), path.string(), ": no such list");
  const std::string extension = lower(path.extension().string());
  OpenList list(path, media_root);
  if (extension == ".csv") {
    read_csv(list);
  } else if (extension == ".jsonl") {
    read_json_lines(list);
  } else if (extension == ".json") {
    read_json_document(list);
  } else {
    read_text(list);
  }
  list.rows.warn_repaired();
  return std::move(list.items);
}

}  // namespace zoetrope::data
