// Typed reading of config values: what counts as a boolean, an integer, a number, a text.
#include "base/config.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "base/config_tree.h"
#include "base/error.h"
#include "base/options.h"

namespace zoetrope {

using config_detail::Tree;

struct ConfigNode::Impl {
  std::shared_ptr<const Tree> tree;
  std::string where;  // of the value, or of its key when the value is a mapping or a list
  std::string path;   // "optimizer.lr", "latents_mean[3]"; empty at the root
};

namespace {

[[noreturn]] void fail(const ConfigNode& node, const std::string& reason) {
  throw ConfigError(node.place() + ": " + reason);
}

[[noreturn]] void fail_type(const ConfigNode& node, const Tree& tree, const std::string& expected,
                            const std::string& hint = "") {
  fail(node, concat("expected ", expected, ", found ", config_detail::describe(tree),
                    hint.empty() ? "" : "; ", hint));
}

bool is_digits(const std::string& text, std::size_t begin, std::size_t end) {
  return begin < end && std::all_of(text.begin() + static_cast<std::ptrdiff_t>(begin),
                                    text.begin() + static_cast<std::ptrdiff_t>(end),
                                    [](char c) { return c >= '0' && c <= '9'; });
}

// Digits without a leading zero, from `begin` up to `end`.
bool is_decimal(const std::string& text, std::size_t begin, std::size_t end) {
  return is_digits(text, begin, end) && (text[begin] != '0' || end - begin == 1);
}

bool has_leading_zero(const std::string& text) {
  std::size_t start = text.find_first_of("0123456789");
  return start != std::string::npos && start <= 1 && text[start] == '0' &&
         start + 1 < text.size() && std::isdigit(static_cast<unsigned char>(text[start + 1]));
}

// Why a text that has digits is not taken for a number; empty when there is nothing to add.
std::string number_hint(const std::string& text) {
  if (has_leading_zero(text)) return "a leading zero could mean octal; leave it out";
  if (text.find_first_of("xXoO_") != std::string::npos) return "write it in decimal digits";
  return "";
}

std::string int_hint(const std::string& text) {
  std::string hint = number_hint(text);
  if (hint.empty() && config_detail::looks_typed(text) &&
      std::isdigit(static_cast<unsigned char>(text.back()))) {
    hint = "write it in digits alone, without point or exponent";
  }
  return hint;
}

// [+-] digits [. digits] [e [+-] digits], with digits on one side of the point at least.
bool is_number(const std::string& text) {
  std::size_t at = !text.empty() && (text[0] == '-' || text[0] == '+') ? 1 : 0;
  std::size_t exponent = std::min(text.find_first_of("eE"), text.size());
  std::size_t point = std::min(text.find('.'), exponent);
  bool whole = is_decimal(text, at, point);
  bool fraction = point < exponent && is_digits(text, point + 1, exponent);
  bool mantissa = (whole && (point == exponent || point + 1 == exponent || fraction)) ||
                  (point == at && fraction);
  if (!mantissa || exponent == text.size()) return mantissa;
  std::size_t power = exponent + 1;
  if (power < text.size() && (text[power] == '-' || text[power] == '+')) ++power;
  return is_digits(text, power, text.size());
}

std::string join(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ", ") + name;
  return text;
}

void check_range(const ConfigNode& node, double value, const std::string& text,
                 const Allowed& allowed) {
  if (value >= allowed.min && value <= allowed.max) return;
  fail(node, concat(text, " is out of range: ", config_detail::describe_range(allowed)));
}

const Tree& require_kind(const ConfigNode& node, const Tree& tree, Tree::Kind kind,
                         const std::string& expected) {
  if (tree.kind != kind) fail_type(node, tree, expected);
  return tree;
}

}  // namespace

ConfigNode ConfigNode::from_file(const std::filesystem::path& path,
                                 const std::vector<std::string>& sets) {
  return from_text(read_file(path), path.string(), sets);
}

ConfigNode ConfigNode::from_text(const std::string& text, const std::string& origin,
                                 const std::vector<std::string>& sets) {
  auto root = config_detail::parse_yaml_file(text, origin);
  for (const std::string& set : sets) config_detail::apply_override(*root, set);
  ConfigNode node;
  node.impl_ = std::make_shared<const Impl>(Impl{root, root->where, ""});
  return node;
}

bool ConfigNode::has(const std::string& key) const {
  const Tree& tree = require_kind(*this, *impl_->tree, Tree::Kind::kMapping, "a mapping");
  return tree.find(key) != nullptr;
}

ConfigNode ConfigNode::child(const std::string& key) const {
  const Tree::Entry* entry = impl_->tree->find(key);
  ZOETROPE_CHECK(entry != nullptr, place(), ": no key \"", key, "\"");
  bool scalar = entry->value->kind == Tree::Kind::kScalar;
  ConfigNode node;
  node.impl_ =
      std::make_shared<const Impl>(Impl{entry->value, scalar ? entry->value->where : entry->where,
                                        impl_->path.empty() ? key : impl_->path + "." + key});
  return node;
}

std::vector<ConfigNode> ConfigNode::elements() const {
  const Tree& tree = require_kind(*this, *impl_->tree, Tree::Kind::kSequence, "a list");
  std::vector<ConfigNode> nodes;
  for (const auto& item : tree.items) {
    ConfigNode node;
    node.impl_ = std::make_shared<const Impl>(
        Impl{item, item->where, concat(impl_->path, "[", nodes.size(), "]")});
    nodes.push_back(std::move(node));
  }
  return nodes;
}

std::vector<std::string> ConfigNode::keys() const {
  const Tree& tree = require_kind(*this, *impl_->tree, Tree::Kind::kMapping, "a mapping");
  std::vector<std::string> names;
  for (const Tree::Entry& entry : tree.entries) names.push_back(entry.key);
  return names;
}

void ConfigNode::check_keys(const std::vector<std::string>& known) const {
  const Tree& tree = require_kind(*this, *impl_->tree, Tree::Kind::kMapping, "a mapping");
  for (const Tree::Entry& entry : tree.entries) {
    if (std::find(known.begin(), known.end(), entry.key) != known.end()) continue;
    std::string near = nearest_name(entry.key, known);
    std::string hint =
        near.empty() ? "known keys: " + join(known) : concat("did you mean \"", near, "\"?");
    std::string prefix = impl_->path.empty() ? "" : impl_->path + ".";
    throw ConfigError(concat(entry.where, ": unknown key \"", prefix, entry.key, "\"; ", hint));
  }
}

bool ConfigNode::as_bool() const {
  const Tree& tree = *impl_->tree;
  bool plain = tree.kind == Tree::Kind::kScalar && !tree.quoted;
  if (plain && tree.text == "true") return true;
  if (plain && tree.text == "false") return false;
  fail_type(*this, tree, "true or false");
}

std::int64_t ConfigNode::as_int(const Allowed& allowed) const {
  const Tree& tree = *impl_->tree;
  const std::string& text = tree.text;
  if (tree.kind != Tree::Kind::kScalar || tree.quoted) fail_type(*this, tree, "an integer");
  if (!is_decimal(text, text.starts_with('-') ? 1 : 0, text.size())) {
    fail_type(*this, tree, "an integer", int_hint(text));
  }
  std::int64_t value = 0;
  auto result = std::from_chars(text.data(), text.data() + text.size(), value);
  if (result.ec != std::errc()) fail(*this, text + " does not fit in 64 bits");
  check_range(*this, static_cast<double>(value), text, allowed);
  return value;
}

double ConfigNode::as_double(const Allowed& allowed) const {
  const Tree& tree = *impl_->tree;
  const std::string& text = tree.text;
  if (tree.kind != Tree::Kind::kScalar || tree.quoted) fail_type(*this, tree, "a number");
  if (!is_number(text)) {
    bool has_digits = text.find_first_of("0123456789") != std::string::npos;
    bool not_finite = !has_digits && config_detail::looks_typed(text) && text.size() <= 5 &&
                      text.find_first_of("nN") != std::string::npos;
    fail_type(*this, tree, not_finite ? "a finite number" : "a number", number_hint(text));
  }
  const char* begin = text.data() + (text[0] == '+' ? 1 : 0);  // from_chars knows no plus sign
  double value = 0;
  auto result = std::from_chars(begin, text.data() + text.size(), value);
  if (result.ec != std::errc()) fail(*this, text + " does not fit in a double");
  check_range(*this, value, text, allowed);
  return value;
}

std::string ConfigNode::as_string(const Allowed& allowed) const {
  const Tree& tree = *impl_->tree;
  if (tree.kind == Tree::Kind::kNull) fail_type(*this, tree, "text", "write \"\" for empty text");
  if (tree.kind != Tree::Kind::kScalar) fail_type(*this, tree, "text");
  const auto& names = allowed.names;
  if (!names.empty() && std::find(names.begin(), names.end(), tree.text) == names.end()) {
    std::string near = nearest_name(tree.text, names);
    fail_type(*this, tree, (names.size() > 1 ? "one of " : "") + join(names),
              near.empty() ? "" : concat("did you mean \"", near, "\"?"));
  }
  if (!tree.quoted && config_detail::looks_typed(tree.text)) {
    fail_type(*this, tree, "text", "put it in quotes if it is meant as text");
  }
  return tree.text;
}

std::string ConfigNode::place() const {
  // An override's own text already names the path.
  bool named = impl_->path.empty() || impl_->where.starts_with("--set " + impl_->path + "=");
  return named ? impl_->where : impl_->where + ": " + impl_->path;
}

namespace config_detail {

void read(const ConfigNode& node, bool& value, const Allowed&) {
  value = node.as_bool();
}
void read(const ConfigNode& node, std::int64_t& value, const Allowed& allowed) {
  value = node.as_int(allowed);
}
void read(const ConfigNode& node, double& value, const Allowed& allowed) {
  value = node.as_double(allowed);
}
void read(const ConfigNode& node, std::string& value, const Allowed& allowed) {
  value = node.as_string(allowed);
}
void read(const ConfigNode& node, std::map<std::string, double>& value, const Allowed& allowed) {
  value.clear();
  if (!allowed.names.empty()) node.check_keys(allowed.names);
  for (const std::string& key : node.keys()) value[key] = node.child(key).as_double(allowed);
}

}  // namespace config_detail
}  // namespace zoetrope
