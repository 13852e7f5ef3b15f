// Progress of long work: a bar with rate and ETA on a terminal, a plain line every few seconds
// elsewhere.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace zoetrope {

class Progress {
 public:
  // `enabled` is false on ranks other than 0. total 0 = unknown.
  Progress(std::string what, std::int64_t total, bool enabled = true, std::string unit = "it");
  ~Progress();  // ends the bar's line
  void advance(std::int64_t amount = 1, const std::string& note = "");

 private:
  void draw(bool last);
  std::string what_, unit_, note_;
  std::int64_t total_, done_ = 0;
  bool enabled_, terminal_;
  std::chrono::steady_clock::time_point start_, last_draw_;
};

// "1:02:03", "4:05" or "12 s".
std::string format_duration(double seconds);

}  // namespace zoetrope
