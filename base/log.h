// One log for a process: lines to stderr, and to a file when asked. Thread-safe.
// spdlog stays behind log.cpp (its fmt clashes with the one in torch's headers).
#pragma once

#include <filesystem>
#include <string>

#include "base/error.h"

namespace zoetrope {

enum class LogLevel { kDebug, kInfo, kWarn, kError };

// Rank 0 writes to stderr; every rank also appends to `file` when it is not empty.
// Without this call the log goes to stderr as rank 0 of 1.
void init_log(int rank, int num_ranks, const std::filesystem::path& file = {});

// One line: "2025-01-31 12:00:00.123 info rank 3: LINE"; the rank stands there when there are
// several.
void log_line(LogLevel level, const std::string& line);

// Debug lines reach the file alone.
template <class... Parts>
void log_debug(const Parts&... parts) {
  log_line(LogLevel::kDebug, concat(parts...));
}
template <class... Parts>
void log_info(const Parts&... parts) {
  log_line(LogLevel::kInfo, concat(parts...));
}
// Warnings and errors reach stderr from every rank, with the rank's number.
template <class... Parts>
void log_warn(const Parts&... parts) {
  log_line(LogLevel::kWarn, concat(parts...));
}
template <class... Parts>
void log_error(const Parts&... parts) {
  log_line(LogLevel::kError, concat(parts...));
}

}  // namespace zoetrope
