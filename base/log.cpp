// The process's log, on spdlog. The one state a process shares: a line must come out wherever it is
// written from, before set-up and from any thread.
#include "base/log.h"

#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <memory>
#include <mutex>
#include <vector>

namespace zoetrope {
namespace {

using Logger = std::shared_ptr<spdlog::logger>;

Logger make_logger(int rank, int num_ranks, const std::filesystem::path& file) {
  auto terminal = std::make_shared<spdlog::sinks::stderr_sink_mt>();
  terminal->set_level(rank == 0 ? spdlog::level::info : spdlog::level::warn);
  std::vector<spdlog::sink_ptr> sinks = {terminal};
  if (!file.empty()) {
    sinks.push_back(std::make_shared<spdlog::sinks::basic_file_sink_mt>(file.string()));
  }
  auto logger = std::make_shared<spdlog::logger>("zoetrope", sinks.begin(), sinks.end());
  logger->set_level(spdlog::level::debug);
  logger->flush_on(spdlog::level::debug);
  std::string who = num_ranks > 1 ? concat(" rank ", rank) : "";
  logger->set_pattern("%Y-%m-%d %H:%M:%S.%e %l" + who + ": %v");
  return logger;
}

struct SharedLogger {
  std::mutex mutex;
  Logger logger = make_logger(0, 1, {});
};

SharedLogger& shared() {
  // Never destroyed: destructors of other statics may still log.
  static SharedLogger& instance = *std::make_unique<SharedLogger>().release();
  return instance;
}

spdlog::level::level_enum level_of(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return spdlog::level::debug;
    case LogLevel::kInfo:
      return spdlog::level::info;
    case LogLevel::kWarn:
      return spdlog::level::warn;
    case LogLevel::kError:
      break;
  }
  return spdlog::level::err;
}

}  // namespace

void init_log(int rank, int num_ranks, const std::filesystem::path& file) {
  ZOETROPE_CHECK(rank >= 0 && rank < num_ranks, "init_log: rank ", rank, " of ", num_ranks);
  Logger logger;
  try {
    logger = make_logger(rank, num_ranks, file);
  } catch (const spdlog::spdlog_ex& error) {
    throw Error(concat("cannot open the log ", file, ": ", error.what()));
  }
  std::scoped_lock lock(shared().mutex);
  shared().logger = logger;
}

void log_line(LogLevel level, const std::string& line) {
  Logger logger;
  {
    std::scoped_lock lock(shared().mutex);
    logger = shared().logger;
  }
  logger->log(level_of(level), spdlog::string_view_t(line.data(), line.size()));
}

}  // namespace zoetrope
