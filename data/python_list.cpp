// See python_list.h.

#include "data/python_list.h"

#include <charconv>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "base/error.h"

namespace zoetrope::data {

namespace {

constexpr int kMaxDepth = 8;

void append_utf8(std::string& text, std::uint32_t point) {
  if (point < 0x80) {
    text += static_cast<char>(point);
    return;
  }
  const int tail = point < 0x800 ? 1 : point < 0x10000 ? 2 : 3;
  static constexpr unsigned kLead[] = {0, 0xC0, 0xE0, 0xF0};
  text += static_cast<char>(kLead[tail] | (point >> (6 * tail)));
  for (int byte = tail - 1; byte >= 0; --byte)
    text += static_cast<char>(0x80 | ((point >> (6 * byte)) & 0x3F));
}

class PythonParser {
 public:
  PythonParser(std::string_view text, const std::string& origin) : text_(text), origin_(origin) {}

  Json parse() {
    Json value = list(1);
    skip_spaces();
    if (at_ != text_.size()) fail("more text after the list");
    return value;
  }

 private:
  [[noreturn]] void fail(const char* what) const {
    throw ConfigError(
        concat(origin_, ": not a list as Python prints it: ", what, " at character ", at_ + 1));
  }
  void skip_spaces() {
    while (at_ < text_.size() && std::strchr(" \t\r\n", text_[at_]) != nullptr) ++at_;
  }
  bool take(char wanted) {
    skip_spaces();
    if (at_ >= text_.size() || text_[at_] != wanted) return false;
    ++at_;
    return true;
  }

  Json list(int depth) {
    if (depth > kMaxDepth) fail("lists nested too deep");
    const bool tuple = take('(');
    if (!tuple && !take('[')) fail("no [");
    const char end = tuple ? ')' : ']';
    Json values = Json::array();
    while (!take(end)) {
      if (!values.empty() && !take(',')) fail("no comma");
      if (take(end)) break;  // a comma may end a list
      values.push_back(value(depth));
    }
    return values;
  }

  Json value(int depth) {
    skip_spaces();
    if (at_ >= text_.size()) fail("the end");
    const char first = text_[at_];
    if (first == '[' || first == '(') return list(depth + 1);
    if (first == '\'' || first == '"') return string();
    for (const auto& [word, meaning] : {std::pair<std::string_view, Json>{"None", nullptr},
                                        {"True", true},
                                        {"False", false},
                                        {"nan", nullptr}}) {
      if (text_.substr(at_, word.size()) == word) {
        at_ += word.size();
        return meaning;
      }
    }
    double number = 0;
    const auto [end, error] =
        std::from_chars(text_.data() + at_, text_.data() + text_.size(), number);
    if (error != std::errc()) fail("no value");
    at_ = static_cast<std::size_t>(end - text_.data());
    return number;
  }

  std::string string() {
    const char quote = text_[at_++];
    std::string value;
    while (at_ < text_.size() && text_[at_] != quote) {
      if (text_[at_] == '\\') {
        ++at_;
        escape(value);
      } else {
        value += text_[at_++];
      }
    }
    if (at_ >= text_.size()) fail("no closing quote");
    ++at_;
    return value;
  }

  void escape(std::string& value) {
    if (at_ >= text_.size()) fail("no closing quote");
    const char kind = text_[at_++];
    switch (kind) {
      case 'n':
        value += '\n';
        break;
      case 't':
        value += '\t';
        break;
      case 'r':
        value += '\r';
        break;
      case 'x':
        append_utf8(value, hex(2));
        break;
      case 'u':
        append_utf8(value, hex(4));
        break;
      case 'U':
        append_utf8(value, hex(8));
        break;
      case '\\':
      case '\'':
      case '"':
        value += kind;
        break;
      default:  // Python keeps the backslash of an escape that it does not know
        value += '\\';
        value += kind;
    }
  }

  std::uint32_t hex(std::size_t digits) {
    std::uint32_t point = 0;
    const char* from = text_.data() + at_;
    if (text_.size() - at_ < digits) fail("half an escape");
    const auto [end, error] = std::from_chars(from, from + digits, point, 16);
    if (error != std::errc() || end != from + digits || point > 0x10FFFF) fail("a bad escape");
    at_ += digits;
    return point;
  }

  std::string_view text_;
  const std::string& origin_;
  std::size_t at_ = 0;
};

}  // namespace

Json parse_python_list(const std::string& text, const std::string& origin) {
  return PythonParser(text, origin).parse();
}

}  // namespace zoetrope::data
