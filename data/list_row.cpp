// See list_row.h.

#include "data/list_row.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <optional>

#include "base/error.h"
#include "base/log.h"
#include "data/clip_record.h"
#include "data/python_list.h"

namespace zoetrope::data {

namespace fs = std::filesystem;

namespace {

constexpr std::size_t kMaxCaptionBytes = 16384;

// The names in use out there. Of captions all that are present are taken, of the others the first.
constexpr std::array kPathNames = {"path",     "video",     "video_path", "video_file",
                                   "file",     "file_name", "filename",   "file_path",
                                   "filepath", "image",     "image_path"};
constexpr std::array kIdNames = {"videoid", "video_id"};  // Panda-70M: a file's name without .mp4
// With the kind that a column's captions are of.
constexpr std::array<std::pair<const char*, const char*>, 10> kCaptionNames = {
    {{"caption", kPlainCaption},
     {"captions", kPlainCaption},
     {"text", kPlainCaption},
     {"prompt", kPlainCaption},
     {"cap", kPlainCaption},
     {"short", "short"},
     {"dense", "dense"},
     {"short_caption", "short"},
     {"dense_caption", "dense"},
     {"long_caption", "dense"}}};
constexpr std::array kStartNames = {"start_s", "start", "start_time"};
constexpr std::array kEndNames = {"end_s", "end", "end_time"};
constexpr std::array kClipNames = {"timestamp", "timestamps"};  // lists of [start, end]

// Columns of scores: what they are called in lists, and what we call them.
constexpr std::array<std::pair<const char*, const char*>, 9> kScoreNames = {
    {{"aes", "aesthetic"},
     {"aesthetic", "aesthetic"},
     {"motion", "motion"},
     {"flow", "flow"},
     {"match", "match"},
     {"matching_score", "match"},
     {"ocr", "ocr"},
     {"vmaf", "vmaf"},
     {"temporal consistency score", "temporal_consistency"}}};
constexpr std::string_view kScoreEnd = "score";  // any other column that ends so

bool is_blank(const Json& value) {
  return value.is_null() || (value.is_string() && trimmed(value.get<std::string>()).empty());
}

template <class Names>
const Json* first_of(const ListRow& row, const Names& names) {
  for (const char* name : names) {
    const auto found = row.find(name);
    if (found != row.end() && !is_blank(*found)) return &*found;
  }
  return nullptr;
}

bool is_control(char letter) {
  return static_cast<unsigned char>(letter) < 0x20 || letter == 0x7F;
}

std::string with_whole_letters(const std::string& text) {
  const Json shown = Json::parse(Json(text).dump(-1, ' ', false, Json::error_handler_t::replace));
  return shown.get<std::string>();
}

std::string printable(const std::string& text, int& repaired) {
  std::string shown = with_whole_letters(text.substr(0, kMaxCaptionBytes + 4));
  if (shown.size() > kMaxCaptionBytes) {
    std::size_t end = kMaxCaptionBytes;
    while (end > 0 && (static_cast<unsigned char>(shown[end]) & 0xC0) == 0x80) --end;
    shown.resize(end);
  }
  for (char& letter : shown) {
    if (is_control(letter) && letter != '\n' && letter != '\t') letter = ' ';
  }
  if (shown != text) ++repaired;
  return trimmed(shown);
}

void add_texts(const Json& value, std::vector<std::string>& texts, int& repaired) {
  if (value.is_string()) {
    std::string text = printable(trimmed(value.get<std::string>()), repaired);
    if (!text.empty()) texts.push_back(std::move(text));
  }
  if (value.is_array()) {
    for (const Json& element : value) {
      if (element.is_string()) add_texts(element, texts, repaired);
    }
  }
}

std::optional<double> number_of(const std::string& text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// 1.5, "1.5", "0:00:01.5" or "0:01.5".
double seconds(const Json& value, const std::string& origin) {
  std::optional<double> time_s;
  if (value.is_number()) time_s = value.get<double>();
  if (value.is_string()) {
    std::string rest = trimmed(value.get<std::string>());
    time_s = 0;
    for (std::size_t colon = 0; time_s && colon != std::string::npos;) {
      colon = rest.find(':');
      const auto part = number_of(rest.substr(0, colon));
      time_s = part && *part >= 0 ? std::optional(*time_s * 60 + *part) : std::nullopt;
      if (colon != std::string::npos) rest = rest.substr(colon + 1);
    }
  }
  const std::string shown = value.dump(-1, ' ', false, Json::error_handler_t::replace);
  ZOETROPE_CHECK_CONFIG(time_s && *time_s >= 0 && *time_s < 1e9, origin, ": ", shown,
                        " is no time in seconds");
  return *time_s;
}

void set_range(SourceItem& item, double start_s, double end_s) {
  ZOETROPE_CHECK_CONFIG(end_s == 0 || end_s > start_s, item.origin, ": range from ", start_s,
                        " s to ", end_s, " s is empty");
  item.start_s = start_s;
  item.end_s = end_s;
}

void set_captions(SourceItem& item, KnownCaptions captions) {
  item.captions = std::move(captions.texts);
  item.caption_kinds = std::move(captions.kinds);
}

std::string score_name(const std::string& column) {
  for (const auto& [name, ours] : kScoreNames) {
    if (column == name) return ours;
  }
  if (!column.ends_with(kScoreEnd) || column.size() <= kScoreEnd.size()) return "";
  std::string name = column.substr(0, column.size() - kScoreEnd.size());
  if (name.back() != ' ' && name.back() != '_') return "";
  name.pop_back();
  std::replace(name.begin(), name.end(), ' ', '_');
  return name;
}

void add_score(const std::string& name, const Json& value, const std::string& origin,
               std::map<std::string, double>& scores) {
  if (is_blank(value) || value.is_array()) return;
  std::optional<double> score;
  if (value.is_number()) score = value.get<double>();
  if (value.is_string()) score = number_of(trimmed(value.get<std::string>()));
  const std::string shown = value.dump(-1, ' ', false, Json::error_handler_t::replace);
  ZOETROPE_CHECK_CONFIG(score, origin, ": score ", name, " is ", shown, ", not a number");
  if (std::isfinite(*score)) scores[name] = *score;
}

Json listed(const Json& value, const std::string& origin) {
  if (!value.is_string()) return value;
  const std::string text = trimmed(value.get<std::string>());
  return text.starts_with('[') ? parse_python_list(text, origin) : value;
}

// The row of clip `index` of a row that lists several: lists of that length are taken apart.
ListRow row_of_clip(const ListRow& row, std::size_t index, std::size_t num_clips,
                    const std::string& origin) {
  ListRow one = row;
  for (const auto& item : one.items()) {
    const std::string& column = item.key();
    Json& value = item.value();
    const bool caption = std::any_of(kCaptionNames.begin(), kCaptionNames.end(),
                                     [&](const auto& known) { return column == known.first; });
    if (!caption && score_name(column).empty()) continue;
    const Json values = listed(value, origin);
    if (!values.is_array()) continue;
    ZOETROPE_CHECK_CONFIG(values.size() == num_clips, origin, ": ", values.size(), " values of \"",
                          column, "\" for ", num_clips, " timestamps");
    value = values[index];
  }
  return one;
}

}  // namespace

std::string trimmed(const std::string& text) {
  const auto first = text.find_first_not_of(" \t\r\n");
  if (first == std::string::npos) return "";
  return text.substr(first, text.find_last_not_of(" \t\r\n") - first + 1);
}

bool names_a_video(const std::string& column) {
  const auto is = [&](const char* name) { return column == name; };
  return std::any_of(kPathNames.begin(), kPathNames.end(), is) ||
         std::any_of(kIdNames.begin(), kIdNames.end(), is);
}

KnownCaptions captions_of(const ListRow& row, int& repaired) {
  KnownCaptions captions;
  for (const auto& [name, kind] : kCaptionNames) {
    const auto found = row.find(name);
    if (found != row.end()) add_texts(*found, captions.texts, repaired);
    captions.kinds.resize(captions.texts.size(), kind);
  }
  return captions;
}

std::map<std::string, double> scores_of(const ListRow& row, const std::string& origin) {
  std::map<std::string, double> scores;
  for (const auto& [column, value] : row.items()) {
    if (column == "scores" && value.is_object()) {
      for (const auto& [name, score] : value.items()) add_score(name, score, origin, scores);
    } else if (const std::string name = score_name(column); !name.empty()) {
      add_score(name, value, origin, scores);
    }
  }
  return scores;
}

RowReader::RowReader(const fs::path& list, const fs::path& media_root)
    : list_(list), root_(media_root.empty() ? list.parent_path() : media_root) {}

fs::path RowReader::file_of_id(const std::string& id) {
  if (!has_ids_) {
    for (const fs::path& path : find_media(root_.empty() ? "." : root_))
      by_id_.emplace(path.stem().string(), path);
    has_ids_ = true;
  }
  const auto found = by_id_.find(id);
  return found != by_id_.end() ? found->second : root_ / (id + ".mp4");
}

fs::path RowReader::media_of(const ListRow& row, const std::string& origin) {
  const Json* value = first_of(row, kPathNames);
  const bool is_id = value == nullptr;
  if (is_id) value = first_of(row, kIdNames);
  ZOETROPE_CHECK_CONFIG(value != nullptr && (value->is_string() || value->is_number()), origin,
                        ": no path (path, video, video_path, file, videoID, ...)");
  const std::string name = value->is_string() ? trimmed(value->get<std::string>()) : value->dump();
  const bool printable = std::none_of(name.begin(), name.end(), is_control);
  ZOETROPE_CHECK_CONFIG(printable && with_whole_letters(name) == name, origin,
                        ": a path with control characters or bytes that are no UTF-8");
  ZOETROPE_CHECK_CONFIG(!name.starts_with("http://") && !name.starts_with("https://"), origin, ": ",
                        name, " is a URL; lists name files that are here");
  return (is_id ? file_of_id(name) : root_ / name).lexically_normal();
}

std::vector<SourceItem> RowReader::clips(const ListRow& row, const std::string& origin) {
  SourceItem item;
  item.origin = origin;
  item.path = media_of(row, origin);
  const Json* times = first_of(row, kClipNames);
  const Json ranges = times == nullptr ? Json() : listed(*times, origin);
  if (!ranges.is_array()) {
    const Json *start = first_of(row, kStartNames), *end = first_of(row, kEndNames);
    set_captions(item, captions_of(row, repaired_));
    item.scores = scores_of(row, origin);
    set_range(item, start ? seconds(*start, origin) : 0, end ? seconds(*end, origin) : 0);
    return {item};
  }
  ZOETROPE_CHECK_CONFIG(!ranges.empty(), origin, ": an empty list of timestamps");
  std::vector<SourceItem> items;
  for (std::size_t index = 0; index < ranges.size(); ++index) {
    const Json& range = ranges[index];
    ZOETROPE_CHECK_CONFIG(range.is_array() && range.size() == 2, origin, ": timestamp ", index + 1,
                          " is no [start, end]");
    const ListRow one = row_of_clip(row, index, ranges.size(), origin);
    set_captions(item, captions_of(one, repaired_));
    item.scores = scores_of(one, origin);
    set_range(item, seconds(range[0], origin), seconds(range[1], origin));
    items.push_back(item);
  }
  return items;
}

void RowReader::warn_repaired() const {
  if (repaired_ > 0) {
    log_warn(list_.string(), ": ", repaired_,
             " captions repaired (bytes that are no UTF-8, control characters, or beyond ",
             kMaxCaptionBytes, " bytes)");
  }
}

}  // namespace zoetrope::data
