// Command lines, strict: no abbreviations, no flag twice, no stray argument.
#include "base/options.h"

#include <algorithm>
#include <cctype>
#include <iostream>

#include "base/error.h"

namespace zoetrope {
namespace {

namespace po = boost::program_options;

constexpr unsigned kLineWidth = 100;

po::options_description common_flags() {
  po::options_description flags("Common flags", kLineWidth);
  flags.add_options()("config", po::value<std::string>()->value_name("FILE.yaml"),
                      "config: a path, or the name of a shipped one")(
      "set", po::value<std::vector<std::string>>()->composing()->value_name("a.b=value"),
      "override one value of the config; repeatable, the last one wins")(
      "print-config", po::bool_switch(), "print the resolved config as YAML and end")(
      "dry-run", po::bool_switch(), "check everything, do nothing")(
      "device", po::value<std::string>()->default_value("auto")->value_name("auto|cpu|cuda"),
      "where to compute")("seed", po::value<std::int64_t>()->value_name("N"),
                          "seed of all random numbers, 0 or more")(
      "help,h", "print this help and end")("version", "print the version and end");
  return flags;
}

std::vector<std::string> long_names(const po::options_description& flags) {
  std::vector<std::string> names;
  for (const auto& option : flags.options()) names.push_back(option->long_name());
  return names;
}

std::string without_dashes(const std::string& flag) {
  std::size_t start = flag.find_first_not_of('-');
  if (start == std::string::npos) return "";
  return flag.substr(start, flag.find('=') - start);
}

// Boost reports "-frames" as the unknown short flag "-f"; the whole argument says more.
std::string typed_flag(const std::string& reported, int argc, char** argv) {
  for (int i = 1; i < argc; ++i) {
    std::string argument = argv[i];
    if (argument.starts_with(reported)) return argument.substr(0, argument.find('='));
  }
  return reported;
}

po::variables_map parse(int argc, char** argv, const po::options_description& flags,
                        const std::string& positional) {
  namespace style = po::command_line_style;
  po::positional_options_description bare;
  if (!positional.empty()) bare.add(positional.c_str(), -1);
  po::command_line_parser parser(argc, argv);
  parser.options(flags).style(style::unix_style & ~style::allow_guessing);
  if (!positional.empty()) parser.positional(bare);
  po::parsed_options parsed = parser.run();
  for (const auto& option : parsed.options) {
    bool stray = option.string_key.empty() && !option.value.empty();
    ZOETROPE_CHECK_CONFIG(!stray, "unexpected argument \"", stray ? option.value[0] : "",
                          "\"; see --help");
  }
  po::variables_map values;
  po::store(parsed, values);
  return values;
}

void take_common(const po::variables_map& values, CommonOptions& common) {
  if (values.count("config") > 0) common.config = values["config"].as<std::string>();
  if (values.count("set") > 0) common.sets = values["set"].as<std::vector<std::string>>();
  common.print_config = values["print-config"].as<bool>();
  common.dry_run = values["dry-run"].as<bool>();
  common.device = values["device"].as<std::string>();
  bool known = common.device == "auto" || common.device == "cpu" || common.device == "cuda";
  ZOETROPE_CHECK_CONFIG(known, "--device ", common.device, ": expected auto, cpu or cuda");
  common.seed_given = values.count("seed") > 0;
  if (common.seed_given) common.seed = values["seed"].as<std::int64_t>();
  ZOETROPE_CHECK_CONFIG(common.seed >= 0, "--seed ", common.seed, ": expected 0 or more");
}

std::size_t edit_distance(const std::string& a, const std::string& b) {
  // Rows of the optimal string alignment table: insert, delete, replace, swap of neighbours.
  std::vector<std::size_t> before(b.size() + 1), last(b.size() + 1), row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) last[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      std::size_t replace = last[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      row[j] = std::min({replace, last[j] + 1, row[j - 1] + 1});
      bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
      if (swapped) row[j] = std::min(row[j], before[j - 2] + 1);
    }
    std::swap(before, last);
    std::swap(last, row);
  }
  return last[b.size()];
}

// Case and the choice of - or _ are the most common slips; they do not count.
std::string folded(const std::string& name) {
  std::string text;
  for (char c : name) {
    text += c == '-' ? '_' : static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  }
  return text;
}

}  // namespace

bool parse_options(int argc, char** argv, const std::string& usage, const std::string& examples,
                   const po::options_description& own, const std::string& positional,
                   CommonOptions& common, po::variables_map& values) {
  po::options_description flags("", kLineWidth);
  flags.add(own).add(common_flags());
  try {
    values = parse(argc, argv, flags, positional);
    if (values.count("help") > 0) {
      std::cout << usage << "\n" << flags;
      if (!examples.empty()) std::cout << "\n" << examples << "\n";
      return false;
    }
    if (values.count("version") > 0) {
      std::cout << "zoetrope " << version() << "\n";
      return false;
    }
    take_common(values, common);
    po::notify(values);
  } catch (const po::unknown_option& error) {
    std::string flag = typed_flag(error.get_option_name(), argc, argv);
    std::string near = nearest_name(without_dashes(flag), long_names(flags));
    throw ConfigError(concat("unknown flag ", flag, "; ",
                             near.empty() ? "see --help" : "did you mean --" + near + "?"));
  } catch (const po::error& error) {
    throw ConfigError(concat(error.what(), "; see --help"));
  }
  return true;
}

const char* version() {
  return ZOETROPE_VERSION;
}

const char* source_commit() {
  return ZOETROPE_COMMIT;
}

std::string nearest_name(const std::string& name, const std::vector<std::string>& candidates) {
  std::string wanted = folded(name);
  std::size_t best = std::max<std::size_t>(1, (name.size() + 1) / 3) + 1;
  std::string nearest;
  for (const std::string& candidate : candidates) {
    bool beginning = wanted.size() >= 3 && folded(candidate).starts_with(wanted);
    std::size_t distance = beginning ? 1 : edit_distance(wanted, folded(candidate));
    if (distance >= best || distance >= wanted.size()) continue;
    best = distance;
    nearest = candidate;
  }
  return nearest;
}

}  // namespace zoetrope
