// Builds the config tree from yaml-cpp's events. The events, not YAML::Node, because a Node hides
// duplicate keys and whether a scalar was quoted.
#include "base/config_tree.h"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <cctype>
#include <cstddef>
#include <map>
#include <optional>
#include <sstream>

#include "base/error.h"

namespace zoetrope::config_detail {
namespace {

// Where a document comes from; an override has no lines.
struct Origin {
  std::string name;
  bool has_lines = true;
  std::string at_line(int line) const { return has_lines ? concat(name, ":", line) : name; }
};

// Bytes of the UTF-8 sequence that starts at text[at]; 0 when it is not one.
std::size_t utf8_length(const std::string& text, std::size_t at) {
  auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  unsigned char first = byte(at);
  std::size_t length = first < 0x80   ? 1
                       : first < 0xC2 ? 0
                       : first < 0xE0 ? 2
                       : first < 0xF0 ? 3
                       : first < 0xF5 ? 4
                                      : 0;
  if (length == 0 || at + length > text.size()) return 0;
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(at + i) & 0xC0) != 0x80) return 0;
  }
  bool overlong = (first == 0xE0 && byte(at + 1) < 0xA0) || (first == 0xF0 && byte(at + 1) < 0x90);
  bool surrogate = first == 0xED && byte(at + 1) >= 0xA0;
  bool too_large = first == 0xF4 && byte(at + 1) >= 0x90;
  return overlong || surrogate || too_large ? 0 : length;
}

// yaml-cpp ends the file silently at the byte 4 and replaces bad UTF-8, so both are refused before.
void check_characters(const std::string& text, const Origin& origin) {
  int line = 1;
  for (std::size_t i = 0; i < text.size();) {
    unsigned char c = static_cast<unsigned char>(text[i]);
    std::size_t length = utf8_length(text, i);
    ZOETROPE_CHECK_CONFIG(length > 0, origin.at_line(line), ": byte ", static_cast<int>(c),
                          " is not UTF-8 text");
    bool control = (c < 0x20 && c != '\t' && c != '\n' && c != '\r') || c == 0x7F;
    ZOETROPE_CHECK_CONFIG(!control, origin.at_line(line), ": control character ",
                          static_cast<int>(c));
    if (c == '\n') ++line;
    i += length;
  }
}

class TreeBuilder : public YAML::EventHandler {
 public:
  explicit TreeBuilder(const Origin& origin) : origin_(origin) {}
  std::shared_ptr<Tree> root() const { return root_; }

  void OnDocumentStart(const YAML::Mark&) override {}
  void OnDocumentEnd() override {}

  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    add(make(Tree::Kind::kNull, mark, "?"), anchor);
  }

  void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    auto found = anchors_.find(anchor);
    ZOETROPE_CHECK_CONFIG(found != anchors_.end(), place(mark), ": an alias inside its own anchor");
    add(found->second, 0);
  }

  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    auto node = make(Tree::Kind::kScalar, mark, tag);
    node->text = value;
    node->quoted = tag == "!";
    add(node, anchor);
  }

  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    open_.push_back({make(Tree::Kind::kSequence, mark, tag), anchor, std::nullopt});
  }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    open_.push_back({make(Tree::Kind::kMapping, mark, tag), anchor, std::nullopt});
  }
  void OnSequenceEnd() override { close(); }
  void OnMapEnd() override { close(); }

 private:
  // A sequence or mapping whose end is not read yet; of a mapping, the key that waits for its
  // value.
  struct Open {
    std::shared_ptr<Tree> node;
    YAML::anchor_t anchor;
    std::optional<Tree::Entry> pending;
  };

  std::string place(const YAML::Mark& mark) const { return origin_.at_line(mark.line + 1); }

  std::shared_ptr<Tree> make(Tree::Kind kind, const YAML::Mark& mark, const std::string& tag) {
    ZOETROPE_CHECK_CONFIG(tag.empty() || tag == "?" || tag == "!", place(mark), ": the tag ", tag,
                          " is not supported; write the plain value");
    auto node = std::make_shared<Tree>();
    node->kind = kind;
    node->where = place(mark);
    return node;
  }

  void close() {
    Open done = std::move(open_.back());
    open_.pop_back();
    add(done.node, done.anchor);
  }

  void add(const std::shared_ptr<Tree>& node, YAML::anchor_t anchor) {
    if (anchor != 0) anchors_[anchor] = node;
    if (open_.empty()) {
      root_ = node;
      return;
    }
    Open& top = open_.back();
    if (top.node->kind == Tree::Kind::kSequence) {
      top.node->items.push_back(node);
    } else if (!top.pending) {
      begin_entry(top, *node);
    } else {
      top.pending->value = node;
      top.node->entries.push_back(std::move(*top.pending));
      top.pending.reset();
    }
  }

  static void begin_entry(Open& top, const Tree& key) {
    ZOETROPE_CHECK_CONFIG(key.kind == Tree::Kind::kScalar, key.where,
                          ": a key must be a name, not ", describe(key));
    const Tree::Entry* first = top.node->find(key.text);
    ZOETROPE_CHECK_CONFIG(first == nullptr, key.where, ": duplicate key \"", key.text,
                          "\", first at ", first ? first->where : "");
    top.pending = Tree::Entry{key.text, key.where, nullptr};
  }

  const Origin& origin_;
  std::vector<Open> open_;
  std::map<YAML::anchor_t, std::shared_ptr<Tree>> anchors_;
  std::shared_ptr<Tree> root_;
};

// Null when the text holds no document.
std::shared_ptr<Tree> parse_yaml(const std::string& text, const Origin& origin) {
  check_characters(text, origin);
  std::istringstream in(text);
  try {
    YAML::Parser parser(in);
    TreeBuilder builder(origin);
    parser.HandleNextDocument(builder);
    TreeBuilder second(origin);
    bool more = parser.HandleNextDocument(second);
    ZOETROPE_CHECK_CONFIG(!more, second.root() ? second.root()->where : origin.name,
                          ": a second YAML document; a config has one");
    return builder.root();
  } catch (const YAML::Exception& error) {
    int line = error.mark.is_null() ? 1 : error.mark.line + 1;
    throw ConfigError(concat(origin.at_line(line), ": not valid YAML: ", error.msg));
  }
}

std::vector<std::string> split_path(const std::string& path, const std::string& where) {
  std::vector<std::string> names;
  std::istringstream in(path + ".");
  for (std::string name; std::getline(in, name, '.');) {
    ZOETROPE_CHECK_CONFIG(!name.empty(), where, ": an empty name in the path \"", path, "\"");
    names.push_back(name);
  }
  return names;
}

// The entry `key` of a mapping, made when missing. Copies the mapping below, which an alias may
// share.
Tree::Entry& entry_to_override(Tree& mapping, const std::string& key, const std::string& where) {
  auto found = std::find_if(mapping.entries.begin(), mapping.entries.end(),
                            [&](const Tree::Entry& entry) { return entry.key == key; });
  if (found == mapping.entries.end()) {
    auto value = std::make_shared<Tree>();
    value->kind = Tree::Kind::kMapping;
    value->where = where;
    mapping.entries.push_back({key, where, value});
    return mapping.entries.back();
  }
  found->value = std::make_shared<Tree>(*found->value);
  return *found;
}

}  // namespace

const Tree::Entry* Tree::find(const std::string& key) const {
  for (const Entry& entry : entries) {
    if (entry.key == key) return &entry;
  }
  return nullptr;
}

std::shared_ptr<Tree> parse_yaml_file(const std::string& text, const std::string& origin) {
  auto root = parse_yaml(text, Origin{origin});
  if (!root || root->kind == Tree::Kind::kNull) {
    root = std::make_shared<Tree>();
    root->kind = Tree::Kind::kMapping;
    root->where = origin + ":1";
  }
  ZOETROPE_CHECK_CONFIG(root->kind == Tree::Kind::kMapping, root->where,
                        ": expected a mapping of keys to values, found ", describe(*root));
  return root;
}

void apply_override(Tree& root, const std::string& assignment) {
  std::string where = "--set " + assignment;
  std::size_t equals = assignment.find('=');
  ZOETROPE_CHECK_CONFIG(equals != std::string::npos && equals > 0, where, ": expected a.b=value");
  std::vector<std::string> names = split_path(assignment.substr(0, equals), where);
  auto value = parse_yaml(assignment.substr(equals + 1), Origin{where, false});
  if (!value) {
    value = std::make_shared<Tree>();
    value->where = where;
  }

  Tree* mapping = &root;
  std::string path;
  for (std::size_t i = 0; i < names.size(); ++i) {
    ZOETROPE_CHECK_CONFIG(mapping->kind != Tree::Kind::kSequence, where, ": ", path,
                          " is a list; set it whole, as in ", path, "=[1, 2]");
    ZOETROPE_CHECK_CONFIG(mapping->kind == Tree::Kind::kMapping, where, ": ", path, " is ",
                          describe(*mapping), ", not a mapping");
    Tree::Entry& entry = entry_to_override(*mapping, names[i], where);
    if (i + 1 == names.size()) {
      entry.where = where;
      entry.value = value;
      return;
    }
    mapping = entry.value.get();
    path += (path.empty() ? "" : ".") + names[i];
  }
}

std::string describe(const Tree& tree) {
  switch (tree.kind) {
    case Tree::Kind::kNull:
      return "nothing";
    case Tree::Kind::kSequence:
      return "a list";
    case Tree::Kind::kMapping:
      return "a mapping";
    case Tree::Kind::kScalar:
      break;
  }
  return (tree.quoted ? "text \"" : "\"") + tree.text + "\"";
}

bool looks_typed(const std::string& text) {
  std::string lower;
  for (char c : text) lower += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  static const char* const kWords[] = {"true",  "false", "null", "~",   ".nan", ".inf",
                                       "-.inf", "+.inf", "",     "nan", "inf",  "-inf"};
  if (std::find(std::begin(kWords), std::end(kWords), lower) != std::end(kWords)) return true;
  std::size_t start = lower[0] == '-' || lower[0] == '+' ? 1 : 0;
  std::size_t first = start < lower.size() && lower[start] == '.' ? start + 1 : start;
  bool digit_first = first < lower.size() && std::isdigit(static_cast<unsigned char>(lower[first]));
  if (!digit_first) return false;
  if (lower.compare(start, 2, "0x") == 0) {
    return lower.find_first_not_of("0123456789abcdef_", start + 2) == std::string::npos;
  }
  if (lower.compare(start, 2, "0o") == 0) {
    return lower.find_first_not_of("01234567", start + 2) == std::string::npos;
  }
  std::size_t end = lower.find_first_not_of("0123456789_", start);
  if (end != std::string::npos && lower[end] == '.') {
    end = lower.find_first_not_of("0123456789_", end + 1);
  }
  if (end == std::string::npos) return true;
  if (lower[end] != 'e') return false;
  std::size_t exponent = end + 1;
  if (exponent < lower.size() && (lower[exponent] == '-' || lower[exponent] == '+')) ++exponent;
  return exponent < lower.size() &&
         lower.find_first_not_of("0123456789", exponent) == std::string::npos;
}

}  // namespace zoetrope::config_detail
