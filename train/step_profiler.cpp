// LibTorch's Kineto, for operators on the CPU.
#include "train/step_profiler.h"

#include <set>
#include <utility>

#include <torch/csrc/autograd/profiler_kineto.h>

#include "base/error.h"
#include "base/log.h"

namespace zoetrope::train {
namespace profiler = torch::autograd::profiler;
namespace settings = torch::profiler::impl;

StepProfiler::StepProfiler(const ProfileConfig& config, std::filesystem::path folder, int rank)
    : folder_(std::move(folder)) {
  if (config.steps.empty()) return;
  ZOETROPE_CHECK_CONFIG(config.steps.size() == 2 && config.steps[0] <= config.steps[1],
                        "profile.steps must be [first, last], it has ", config.steps.size(),
                        " numbers, the first ", config.steps[0], ", the last ",
                        config.steps.back());
  if (rank != 0) return;
  first_ = config.steps[0];
  last_ = config.steps[1];
}

void StepProfiler::before(std::int64_t step) {
  if (step != first_) return;
  const settings::ProfilerConfig config(settings::ProfilerState::KINETO);
  const std::set<settings::ActivityType> activities = {settings::ActivityType::CPU};
  profiler::prepareProfiler(config, activities);
  profiler::enableProfiler(config, activities);
  records_ = true;
}

void StepProfiler::after(std::int64_t step) {
  if (step != last_ || !records_) return;
  records_ = false;
  const auto result = profiler::disableProfiler();
  std::filesystem::create_directories(folder_);
  const auto path = folder_ / concat("steps_", first_, "_", last_, ".json");
  result->save(path.string());
  log_info("trace of steps ", first_, " to ", last_, ": ", path.string());
}

}  // namespace zoetrope::train
