// A trace of chosen steps, in Chrome's format: for https://ui.perfetto.dev.
#pragma once

#include <cstdint>
#include <filesystem>

#include "train/train_config.h"

namespace zoetrope::train {

class StepProfiler {
 public:
  // ConfigError unless profile.steps is empty or [first, last] in order. Only rank 0 records.
  StepProfiler(const ProfileConfig& config, std::filesystem::path folder, int rank);
  void before(std::int64_t step);  // starts at the first step
  void after(std::int64_t step);   // after the last: writes FOLDER/steps_FIRST_LAST.json

 private:
  std::int64_t first_ = 0, last_ = 0;  // 0: none
  bool records_ = false;
  std::filesystem::path folder_;
};

}  // namespace zoetrope::train
