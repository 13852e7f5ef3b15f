// A YAML document as a tree that remembers where each part was written. Internal to the config
// reader. Duplicate keys, keys that are not text, tags, second documents and control characters
// throw ConfigError with FILE:LINE. Values stay text: the reader of a field decides what they mean.
#pragma once

#include <memory>
#include <string>
#include <vector>

namespace zoetrope::config_detail {

struct Tree {
  enum class Kind { kNull, kScalar, kSequence, kMapping };
  struct Entry {
    std::string key;
    std::string where;  // of the key
    std::shared_ptr<Tree> value;
  };

  Kind kind = Kind::kNull;
  std::string where;    // "file.yaml:12", or "--set a.b=1" for all that an override brought
  std::string text;     // of a scalar
  bool quoted = false;  // the scalar was in quotes or a block: it is text, whatever it looks like
  std::vector<Entry> entries;
  std::vector<std::shared_ptr<Tree>> items;

  const Entry* find(const std::string& key) const;
};

// An empty document is an empty mapping. `origin` is the file's name, for messages.
std::shared_ptr<Tree> parse_yaml_file(const std::string& text, const std::string& origin);

// Puts `a.b=value` into the tree, making mappings on the way; the value is YAML. A later override
// of the same key wins. Lists are set whole, never by index.
void apply_override(Tree& root, const std::string& assignment);

// What the user wrote, for a message: `"abc"`, `text "5"`, `a list`, `a mapping`, `nothing`.
std::string describe(const Tree& tree);

// Whether YAML readers would take this unquoted text for a number, a boolean or nothing.
bool looks_typed(const std::string& text);

}  // namespace zoetrope::config_detail
