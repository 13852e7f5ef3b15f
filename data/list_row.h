// What lists call their columns, in one table, and one row of any list -> the clips that it names.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "base/json.h"
#include "data/source_list.h"

namespace zoetrope::data {

// A JSON object with lower-case keys; of a CSV all values are strings.
using ListRow = Json;

// Without spaces, tabs and ends of line around it.
std::string trimmed(const std::string& text);

bool names_a_video(const std::string& column);

// Captions and scores under any of the known names. Captions are made printable: bytes that are no
// UTF-8 become U+FFFD, control characters spaces, and 16 kB are kept; `repaired` counts those.
struct KnownCaptions {
  std::vector<std::string> texts, kinds;  // of each text, by its column
};
KnownCaptions captions_of(const ListRow& row, int& repaired);
std::map<std::string, double> scores_of(const ListRow& row, const std::string& origin);

// Turns the rows of one list into clips.
class RowReader {
 public:
  // Relative paths and video ids start at `media_root`, or at the list's folder when it is empty.
  RowReader(const std::filesystem::path& list, const std::filesystem::path& media_root);
  // One clip, or one for each of the row's timestamps. ConfigError with `origin` ("list.csv:12")
  // for a row without a path, a path with control characters, a URL, a bad range, lists of unequal
  // length.
  std::vector<SourceItem> clips(const ListRow& row, const std::string& origin);
  void warn_repaired() const;

 private:
  std::filesystem::path media_of(const ListRow& row, const std::string& origin);
  std::filesystem::path file_of_id(const std::string& id);

  std::filesystem::path list_, root_;
  std::map<std::string, std::filesystem::path> by_id_;  // below root_, made at the first id
  bool has_ids_ = false;
  int repaired_ = 0;
};

}  // namespace zoetrope::data
