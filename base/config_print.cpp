// Printing of configs. The reader reads every printed value back to the same bits.
#include <array>
#include <charconv>
#include <cmath>
#include <cstdio>

#include "base/config.h"
#include "base/config_tree.h"
#include "base/error.h"

namespace zoetrope::config_detail {
namespace {

// The shortest text that reads back to the same double; whole numbers below 1e15 without exponent.
std::string number_text(double value) {
  std::array<char, 64> buffer;
  bool whole = std::trunc(value) == value && std::abs(value) < 1e15;
  auto end = whole ? std::to_chars(buffer.data(), buffer.data() + buffer.size(), value,
                                   std::chars_format::fixed)
                         .ptr
                   : std::to_chars(buffer.data(), buffer.data() + buffer.size(), value).ptr;
  return {buffer.data(), end};
}

bool is_name_character(char c, bool first) {
  bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '/';
  return letter || (!first && ((c >= '0' && c <= '9') || c == '.' || c == '-' || c == '+'));
}

// Text that every YAML reader takes for the same text without quotes.
bool is_plain(const std::string& text) {
  static const std::array<const char*, 6> kOldBooleans = {"yes", "no", "on", "off", "y", "n"};
  if (text.empty() || looks_typed(text)) return false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (!is_name_character(text[i], i == 0)) return false;
  }
  std::string lower;
  for (char c : text) lower += c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  for (const char* word : kOldBooleans) {
    if (lower == word) return false;
  }
  return true;
}

std::string text_as_yaml(const std::string& text) {
  if (is_plain(text)) return text;
  std::string quoted = "\"";
  for (char c : text) {
    unsigned char byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      quoted += '\\';
      quoted += c;
    } else if (c == '\n') {
      quoted += "\\n";
    } else if (c == '\t') {
      quoted += "\\t";
    } else if (byte < 0x20 || byte == 0x7F) {
      std::array<char, 5> escape;
      std::snprintf(escape.data(), escape.size(), "\\x%02x", byte);
      quoted += escape.data();
    } else {
      quoted += c;
    }
  }
  return quoted + "\"";
}

std::string double_as_yaml(double value) {
  ZOETROPE_CHECK(std::isfinite(value), "a config cannot hold the number ", value);
  std::string text = number_text(value);
  bool integer_like = text.find_first_of(".e") == std::string::npos;
  return integer_like ? text + ".0" : text;
}

}  // namespace

std::string describe_range(const Allowed& allowed) {
  constexpr double kNoLimit = 1e308;
  bool low = allowed.min > -kNoLimit;
  bool high = allowed.max < kNoLimit;
  if (low && high) {
    return concat("between ", number_text(allowed.min), " and ", number_text(allowed.max));
  }
  if (low) return "at least " + number_text(allowed.min);
  if (high) return "at most " + number_text(allowed.max);
  std::string names;
  for (const std::string& name : allowed.names) names += (names.empty() ? "" : " | ") + name;
  return names;
}

void Printer::begin_field(const char* name, const char* help, const Allowed& allowed) {
  std::string margin(static_cast<std::size_t>(indent_), ' ');
  bool explain = with_help_ && item_depth_ == 0 && *help != '\0';
  if (explain) {
    std::string range = describe_range(allowed);
    text_ += margin + "# " + help + (range.empty() ? "" : " (" + range + ")") + "\n";
  }
  if (!after_dash_) text_ += margin;
  after_dash_ = false;
  text_ += text_as_yaml(name) + ":";
}

void Printer::begin_mapping() {
  if (!after_dash_) text_ += "\n";
  indent_ += 2;
}

void Printer::end_mapping() {
  indent_ -= 2;
}

void Printer::begin_block() {
  text_ += "\n";
  indent_ += 2;
  ++item_depth_;
}

void Printer::begin_block_item() {
  text_ += std::string(static_cast<std::size_t>(indent_), ' ') + "- ";
  after_dash_ = true;
}

void Printer::end_block() {
  indent_ -= 2;
  --item_depth_;
}

void Printer::print_line(const std::string& value) {
  text_ += " " + value + "\n";
}

std::string scalar_as_yaml(bool value) {
  return value ? "true" : "false";
}
std::string scalar_as_yaml(std::int64_t value) {
  return std::to_string(value);
}
std::string scalar_as_yaml(double value) {
  return double_as_yaml(value);
}
std::string scalar_as_yaml(const std::string& value) {
  return text_as_yaml(value);
}
std::string scalar_as_yaml(const std::map<std::string, double>& value) {
  std::string text;
  for (const auto& [key, number] : value) {
    text += (text.empty() ? "" : ", ") + text_as_yaml(key) + ": " + double_as_yaml(number);
  }
  return "{" + text + "}";
}

}  // namespace zoetrope::config_detail
