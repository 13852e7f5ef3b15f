// Command lines of all programs: Boost.Program_options with the common flags and one way to fail.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <boost/program_options.hpp>

namespace zoetrope {

// Flags that every program has.
struct CommonOptions {
  std::string config;             // --config FILE.yaml
  std::vector<std::string> sets;  // --set a.b=value, repeatable
  bool print_config = false;      // --print-config
  bool dry_run = false;           // --dry-run
  std::string device = "auto";    // --device auto|cpu|cuda
  std::int64_t seed = 0;          // --seed N
  bool seed_given = false;
};

// Parses argv. --help prints `usage`, the flags and `examples` to stdout and returns false;
// --version likewise. An unknown or malformed flag throws ConfigError with the nearest known flag.
// `positional` names the option that takes bare arguments, or is empty (a bare argument then
// throws).
bool parse_options(int argc, char** argv, const std::string& usage, const std::string& examples,
                   const boost::program_options::options_description& own,
                   const std::string& positional, CommonOptions& common,
                   boost::program_options::variables_map& values);

const char* version();  // "0.1.0"
const char*
source_commit();  // "3f2a91c", with "+" where files had changed; "" outside a repository

// The candidate closest to `name` by edit distance (case, - and _ aside), or one that begins with
// it;
// "" when none is near.
std::string nearest_name(const std::string& name, const std::vector<std::string>& candidates);

}  // namespace zoetrope
