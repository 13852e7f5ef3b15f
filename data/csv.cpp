// RFC 4180 CSV: read_csv of source_list.h.

#include <algorithm>

#include "base/error.h"
#include "base/files.h"
#include "data/source_list.h"

namespace zoetrope::data {

namespace {

constexpr const char* kByteOrderMark = "\xEF\xBB\xBF";  // spreadsheets put it before UTF-8

// Walks the text once; a field is quoted when its first character is a quote.
class CsvParser {
 public:
  CsvParser(const std::string& text, std::string origin) : text_(text), origin_(std::move(origin)) {
    if (text_.compare(0, 3, kByteOrderMark) == 0) at_ = 3;
  }

  std::vector<CsvRow> rows() {
    std::vector<CsvRow> rows;
    while (at_ < text_.size()) {
      CsvRow row{line_, {}};
      bool more = true;
      while (more) {
        row.fields.push_back(field());
        more = at_ < text_.size() && text_[at_] == ',';
        if (more) ++at_;
      }
      end_line();
      const bool blank = row.fields.size() == 1 && row.fields[0].empty();
      if (!blank) rows.push_back(std::move(row));
    }
    return rows;
  }

 private:
  std::string field() {
    if (at_ < text_.size() && text_[at_] == '"') return quoted();
    const std::size_t end = std::min(text_.find_first_of(",\r\n", at_), text_.size());
    std::string value = text_.substr(at_, end - at_);
    at_ = end;
    return value;
  }

  std::string quoted() {
    const int opened_at = line_;
    std::string value;
    for (++at_; at_ < text_.size(); ++at_) {
      if (text_[at_] == '"') {
        ++at_;
        if (at_ >= text_.size() || text_[at_] != '"') return value;
      }
      if (text_[at_] == '\n') ++line_;
      value += text_[at_];
    }
    throw ConfigError(concat(origin_, ":", opened_at, ": a quoted field has no closing quote"));
  }

  void end_line() {
    if (at_ >= text_.size()) return;
    ZOETROPE_CHECK_CONFIG(text_[at_] == '\r' || text_[at_] == '\n', origin_, ":", line_,
                          ": text after the closing quote of a field");
    if (text_[at_] == '\r') ++at_;
    if (at_ < text_.size() && text_[at_] == '\n') ++at_;
    ++line_;
  }

  const std::string& text_;
  std::string origin_;
  std::size_t at_ = 0;
  int line_ = 1;
};

}  // namespace

std::vector<CsvRow> read_csv(const std::filesystem::path& path) {
  const std::string text = read_file(path);
  return CsvParser(text, path.string()).rows();
}

}  // namespace zoetrope::data
