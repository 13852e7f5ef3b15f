// The strict config reader. A config struct lists its fields once:
//
//   struct OptimizerConfig {
//     double lr = 1e-3;  // peak learning rate
//     template <class Visitor> void visit_fields(Visitor& visit) {
//       visit("lr", lr, "peak learning rate", at_least(0));
//     }
//   };
//   auto config = load_config<TrainConfig>(path, {"optimizer.lr=3e-4"});
//
// An unknown or duplicate key, a wrong type or a value out of range throws ConfigError as
// "FILE:LINE: ... (nearest known name)"; an override is named as "--set optimizer.lr=...".
// Field types: bool, int64_t, double, std::string, std::vector of these or of structs,
// std::map<std::string, double>, and structs with visit_fields. yaml-cpp stays behind
// config_tree.cpp. Booleans are true and false alone; integers are decimal digits; numbers are
// finite; text that looks like a number, a boolean or null needs quotes; null is no value of any
// field.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "base/files.h"

namespace zoetrope {

// Allowed values of a field; an unset bound does not limit.
struct Allowed {
  double min = -1e308;
  double max = 1e308;
  std::vector<std::string> names;  // of a string field; empty: any
};
inline Allowed at_least(double min) {
  return {min, 1e308, {}};
}
inline Allowed between(double min, double max) {
  return {min, max, {}};
}
inline Allowed one_of(std::vector<std::string> names) {
  return {-1e308, 1e308, std::move(names)};
}

// One YAML mapping or sequence element with its place in the file. A cheap handle.
class ConfigNode {
 public:
  struct Impl;
  static ConfigNode from_file(const std::filesystem::path& path,
                              const std::vector<std::string>& sets);
  static ConfigNode from_text(const std::string& text, const std::string& origin,
                              const std::vector<std::string>& sets = {});

  bool has(const std::string& key) const;
  ConfigNode child(const std::string& key) const;  // throws Error when missing
  std::vector<ConfigNode> elements() const;        // of a sequence; ConfigError otherwise
  std::vector<std::string> keys() const;           // of a mapping; ConfigError otherwise
  void check_keys(const std::vector<std::string>& known) const;  // unknown key -> ConfigError

  bool as_bool() const;
  std::int64_t as_int(const Allowed& allowed) const;
  double as_double(const Allowed& allowed) const;
  std::string as_string(const Allowed& allowed) const;
  std::string place() const;  // "file.yaml:12: optimizer.lr"

 private:
  std::shared_ptr<const Impl> impl_;
};

namespace config_detail {

template <class T, class Visitor>
concept HasFields = requires(T& value, Visitor& visit) {
  value.visit_fields(visit);
};
template <class T>
concept IsList = requires(T& value) {
  value.push_back(value.front());
}
&&!std::is_same_v<T, std::string>;

void read(const ConfigNode& node, bool& value, const Allowed&);
void read(const ConfigNode& node, std::int64_t& value, const Allowed& allowed);
void read(const ConfigNode& node, double& value, const Allowed& allowed);
void read(const ConfigNode& node, std::string& value, const Allowed& allowed);
void read(const ConfigNode& node, std::map<std::string, double>& value, const Allowed& allowed);

// Visitor that fills a struct from a mapping.
class Reader {
 public:
  explicit Reader(ConfigNode node) : node_(std::move(node)) {}
  template <class T>
  void operator()(const char* name, T& field, const char* /*help*/, const Allowed& allowed = {}) {
    known_.push_back(name);
    if (node_.has(name)) read_value(node_.child(name), field, allowed);
  }
  void finish() const { node_.check_keys(known_); }

 private:
  template <class T>
  static void read_value(const ConfigNode& node, T& value, const Allowed& allowed) {
    if constexpr (HasFields<T, Reader>) {
      Reader inner(node);
      value.visit_fields(inner);
      inner.finish();
    } else if constexpr (IsList<T>) {
      value.clear();
      for (const ConfigNode& element : node.elements()) {
        typename T::value_type item{};
        read_value(element, item, allowed);
        value.push_back(std::move(item));
      }
    } else {
      read(node, value, allowed);
    }
  }

  ConfigNode node_;
  std::vector<std::string> known_;
};

std::string describe_range(const Allowed& allowed);  // "at least 0"; empty: any value

std::string scalar_as_yaml(bool value);
std::string scalar_as_yaml(std::int64_t value);
std::string scalar_as_yaml(double value);
std::string scalar_as_yaml(const std::string& value);
std::string scalar_as_yaml(const std::map<std::string, double>& value);

// Visitor that prints a struct as YAML that the reader reads back to the same values.
// Lists of structs are blocks of items, every other list is one line.
class Printer {
 public:
  explicit Printer(bool with_help) : with_help_(with_help) {}
  template <class T>
  void operator()(const char* name, T& field, const char* help, const Allowed& allowed = {}) {
    begin_field(name, help, allowed);
    print_value(field);
  }
  std::string text() const { return text_; }

 private:
  template <class T>
  void print_value(T& value) {
    if constexpr (HasFields<T, Printer>) {
      begin_mapping();
      value.visit_fields(*this);
      end_mapping();
    } else if constexpr (IsList<T>) {
      print_list(value);
    } else {
      print_line(scalar_as_yaml(value));
    }
  }
  template <class T>
  void print_list(T& list) {
    if constexpr (HasFields<typename T::value_type, Printer>) {
      if (list.empty()) return print_line("[]");
      begin_block();
      for (auto& item : list) {
        begin_block_item();
        print_value(item);
      }
      end_block();
    } else {
      print_line(list_as_yaml(list));
    }
  }
  template <class T>
  static std::string list_as_yaml(const T& list) {
    std::string text;
    for (const auto& item : list) {
      typename T::value_type value = item;  // vector<bool> hands out proxies
      text += text.empty() ? "" : ", ";
      if constexpr (IsList<typename T::value_type>) {
        text += list_as_yaml(value);
      } else {
        text += scalar_as_yaml(value);
      }
    }
    return "[" + text + "]";
  }
  void begin_field(const char* name, const char* help, const Allowed& allowed);
  void begin_mapping();
  void end_mapping();
  void begin_block();
  void begin_block_item();
  void end_block();
  void print_line(const std::string& value);

  bool with_help_;
  bool after_dash_ = false;  // the next key goes on the line of its item's dash
  int indent_ = 0;
  int item_depth_ = 0;  // help is not repeated for each item of a list
  std::string text_;
};

}  // namespace config_detail

template <class Config>
Config read_config(const ConfigNode& node) {
  Config config;
  config_detail::Reader reader(node);
  config.visit_fields(reader);
  reader.finish();
  return config;
}

template <class Config>
Config load_config(const std::filesystem::path& path, const std::vector<std::string>& sets = {}) {
  return read_config<Config>(ConfigNode::from_file(path, sets));
}

// YAML; with help, each key carries its explanation and limits as a comment.
template <class Config>
std::string print_config(Config config, bool with_help = false) {
  config_detail::Printer printer(with_help);
  config.visit_fields(printer);
  return printer.text();
}

// XXH3-128 of the printed config: equal values, equal hash, whatever file or override they came
// from.
template <class Config>
std::string hash_config(const Config& config) {
  return hash_text(print_config(config));
}

}  // namespace zoetrope
