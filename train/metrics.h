// What a step reports: metrics.jsonl, TensorBoard events and one clear line on the console. Rank 0
// only.
#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/json.h"
#include "train/event_writer.h"

namespace zoetrope::train {

struct StepMetrics {
  std::int64_t step = 0;
  double loss = 0, grad_norm = 0, lr = 0;
  double step_time_s = 0, data_wait_s = 0;
  std::int64_t samples = 0, tokens = 0;
  double tflops = 0;                    // of all ranks: useful model FLOPs / step_time_s / 1e12
  double mfu = 0;                       // tflops over the ranks' peak; 0: the peak is not known
  double balance = 1;                   // mean over max of the ranks' planned cost
  std::int64_t skipped = 0;             // steps left out so far for gradients that were not finite
  std::map<std::string, double> parts;  // the task's own, e.g. loss terms
};

class MetricsWriter {
 public:
  // Lines of `run_folder`/metrics.jsonl and skipped.jsonl after `first_step` are dropped: a resumed
  // run writes them anew.
  MetricsWriter(const std::filesystem::path& run_folder, std::int64_t first_step,
                std::int64_t total_steps, std::int64_t log_every_steps);
  void write(const StepMetrics& metrics);
  // A step that was left out: a line of skipped.jsonl.
  void write_left_out(const Json& what);
  // Mean held-out loss, and that of each noise level.
  void write_validation(std::int64_t step, const std::vector<double>& loss_by_t, double seconds);

 private:
  std::ofstream lines_, left_out_;
  EventWriter events_;
  std::int64_t first_step_, total_steps_, log_every_steps_;
  double seconds_ = 0;
};

}  // namespace zoetrope::train
