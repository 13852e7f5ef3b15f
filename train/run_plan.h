// What a run will take, told before anything is built: parameters, memory of a rank, tokens, FLOPs
// and time of a step.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include <c10/core/Device.h>

#include "train/train_config.h"

namespace zoetrope::train {

// Bytes of the rank that needs most. On a CUDA device what lies in host memory is left out:
// checkpoint copies, data and the program.
struct MemoryPlan {
  std::int64_t weights = 0, gradients = 0;  // fp32, as mesh.sharding and mesh.tensor leave them
  std::int64_t state = 0;                   // moments and averages: its share of a shard group
  std::int64_t activations = 0;             // of the largest pack that a step can give a rank
  std::int64_t checkpoint = 0;  // the largest copy of a rank's files, while they are written
  std::int64_t data = 0;        // records kept and loaded ahead
  std::int64_t program = 0;     // libraries and buffers: this process, now
  std::int64_t total() const {
    return weights + gradients + state + activations + checkpoint + data + program;
  }
};

struct RunPlan {
  std::string task, facts;  // facts: lines about the data
  std::int64_t parameters = 0;
  int ranks = 1;
  MemoryPlan memory;
  std::int64_t memory_limit = 0;  // of a rank; 0 = not known
  double tokens = 0, flops = 0;   // a step, over all ranks, on average
  std::optional<double> step_time_s;
  std::string step_time_source;  // how step_time_s is known, or what would tell it
};

// Without a corpus (task dit), as if every clip were 81 x 480 x 832 with 512 text tokens; `facts`
// says so. `ranks` on this machine, of which each has hardware.memory_gb, or its share of what the
// machine has, or a `device` like this rank's. ConfigError for a mesh or corpus that does not fit
// the config.
RunPlan plan_run(const TrainConfig& config, int ranks, at::Device device = at::kCPU);

// One line a fact.
std::string describe(const RunPlan& plan);

// ConfigError with the numbers and what to change when a rank needs more than it has.
void check_fits(const RunPlan& plan, const TrainConfig& config);

// The most memory that this process has held so far: of a CUDA device, or of the host.
std::int64_t peak_bytes(at::Device device);

}  // namespace zoetrope::train
