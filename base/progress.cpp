// Draws progress on stderr: a bar that rewrites its line on a terminal, log lines elsewhere.
#include "base/progress.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <utility>

#include "base/error.h"
#include "base/log.h"

namespace zoetrope {
namespace {

constexpr double kBarPeriod_s = 0.1;
constexpr double kLinePeriod_s = 5.0;
constexpr int kBarWidth = 24;

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

std::string rate_text(double rate, const std::string& unit) {
  char buffer[32];
  std::snprintf(buffer, sizeof buffer, rate >= 100 ? "%.0f" : rate >= 1 ? "%.1f" : "%.3f", rate);
  return concat(buffer, " ", unit, "/s");
}

// A bar that wraps would leave a line behind at each redraw.
std::string cut_to_terminal(const std::string& text) {
  winsize size{};
  bool known = ::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 1;
  return known ? text.substr(0, size.ws_col - 1u) : text;
}

}  // namespace

Progress::Progress(std::string what, std::int64_t total, bool enabled, std::string unit)
    : what_(std::move(what)),
      unit_(std::move(unit)),
      total_(total),
      enabled_(enabled),
      terminal_(::isatty(STDERR_FILENO) == 1),
      start_(std::chrono::steady_clock::now()),
      last_draw_(start_) {}

Progress::~Progress() {
  if (!enabled_) return;
  try {
    draw(true);
  } catch (...) {
    // The work is done; a line that cannot be printed must not end the program.
  }
}

void Progress::advance(std::int64_t amount, const std::string& note) {
  done_ += amount;
  if (!note.empty()) note_ = note;
  if (!enabled_) return;
  if (seconds_since(last_draw_) >= (terminal_ ? kBarPeriod_s : kLinePeriod_s)) draw(false);
}

void Progress::draw(bool last) {
  last_draw_ = std::chrono::steady_clock::now();
  double elapsed_s = seconds_since(start_);
  double rate = elapsed_s > 0 ? static_cast<double>(done_) / elapsed_s : 0;
  double share =
      total_ > 0 ? std::clamp(static_cast<double>(done_) / static_cast<double>(total_), 0.0, 1.0)
                 : 0;
  std::string text = what_ + ": ";
  if (terminal_ && total_ > 0) {
    auto filled = static_cast<std::size_t>(std::lround(share * kBarWidth));
    text += concat("[", std::string(filled, '='), std::string(kBarWidth - filled, ' '), "] ");
  }
  text += std::to_string(done_);
  if (total_ > 0) text += concat("/", total_, " (", std::floor(share * 100), "%)");
  text += concat(" ", unit_, ", ", rate_text(rate, unit_));
  if (last) {
    text += ", took " + format_duration(elapsed_s);
  } else if (total_ > done_ && rate > 0) {
    text += ", ETA " + format_duration(static_cast<double>(total_ - done_) / rate);
  }
  if (!note_.empty()) text += ", " + note_;
  if (terminal_) {
    std::fprintf(stderr, "\r%s\x1b[K%s", cut_to_terminal(text).c_str(), last ? "\n" : "");
    std::fflush(stderr);
  } else {
    log_info(text);
  }
}

std::string format_duration(double seconds) {
  if (!(seconds >= 0) || seconds > 1e9) return "?";
  auto total = static_cast<long long>(std::llround(seconds));
  if (total < 60) return concat(total, " s");
  char buffer[48];
  if (total < 3600) {
    std::snprintf(buffer, sizeof buffer, "%lld:%02lld", total / 60, total % 60);
  } else {
    std::snprintf(buffer, sizeof buffer, "%lld:%02lld:%02lld", total / 3600, total / 60 % 60,
                  total % 60);
  }
  return buffer;
}

}  // namespace zoetrope
