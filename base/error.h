// What can go wrong, and the exit code that each kind ends a program with.
// Everything is thrown; only launch/run_main catches all.
#pragma once

#include <sstream>
#include <stdexcept>
#include <string>

namespace zoetrope {

// Exit codes of every program.
enum ExitCode : int {
  kExitOk = 0,
  kExitFailure = 1,
  kExitUserMistake = 2,
  kExitBadData = 3,
  kExitStuck = 75,
  kExitOutOfMemory = 77,
};

// Anything that is neither the user's mistake nor bad data. Exit code 1.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
  virtual int exit_code() const { return kExitFailure; }
};

// The user's mistake: config, flags, a checkpoint that does not fit. Exit code 2.
class ConfigError : public Error {
 public:
  using Error::Error;
  int exit_code() const override { return kExitUserMistake; }
};

// Bad data beyond the allowed share. Exit code 3.
class DataError : public Error {
 public:
  using Error::Error;
  int exit_code() const override { return kExitBadData; }
};

// Joins its arguments with operator<<.
template <class... Parts>
std::string concat(const Parts&... parts) {
  std::ostringstream out;
  (out << ... << parts);
  return out.str();
}

}  // namespace zoetrope

// ZOETROPE_CHECK(width % patch == 0, "clip width ", width, " is not a multiple of patch ", patch);
#define ZOETROPE_CHECK_AS(ErrorType, condition, ...)                    \
  do {                                                                  \
    if (!(condition)) throw ErrorType(::zoetrope::concat(__VA_ARGS__)); \
  } while (false)
#define ZOETROPE_CHECK(condition, ...) ZOETROPE_CHECK_AS(::zoetrope::Error, condition, __VA_ARGS__)
#define ZOETROPE_CHECK_CONFIG(condition, ...) \
  ZOETROPE_CHECK_AS(::zoetrope::ConfigError, condition, __VA_ARGS__)
#define ZOETROPE_CHECK_DATA(condition, ...) \
  ZOETROPE_CHECK_AS(::zoetrope::DataError, condition, __VA_ARGS__)
