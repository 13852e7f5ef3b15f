// See csv.h.

#include "data/csv.h"

#include <algorithm>
#include <string_view>

#include "base/error.h"
#include "base/files.h"

namespace zoetrope::data {

namespace {

constexpr const char* kByteOrderMark = "\xEF\xBB\xBF";  // spreadsheets put it before UTF-8

// Walks the text once; a field is quoted when its first character is a quote.
class CsvParser {
 public:
  CsvParser(std::string_view text, std::string origin) : text_(text), origin_(std::move(origin)) {
    if (text_.starts_with(kByteOrderMark)) at_ = 3;
  }

  void for_each_row(const std::function<void(const CsvRow&)>& use) {
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
      if (!blank) use(row);
    }
  }

 private:
  std::string field() {
    if (at_ < text_.size() && text_[at_] == '"') return quoted();
    const std::size_t end = std::min(text_.find_first_of(",\r\n", at_), text_.size());
    std::string value(text_.substr(at_, end - at_));
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

  std::string_view text_;
  std::string origin_;
  std::size_t at_ = 0;
  int line_ = 1;
};

}  // namespace

void for_each_csv_row(const std::filesystem::path& path,
                      const std::function<void(const CsvRow&)>& use) {
  const MappedFile file(path);
  const std::string_view text(reinterpret_cast<const char*>(file.bytes().data()),
                              file.bytes().size());
  CsvParser(text, path.string()).for_each_row(use);
}

}  // namespace zoetrope::data
