// The one training loop, for any task on any mesh of ranks.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "base/files.h"
#include "launch/communicator.h"
#include "launch/mesh.h"
#include "train/guard.h"
#include "train/metrics.h"
#include "train/optimizer.h"
#include "train/task.h"
#include "train/train_config.h"

namespace zoetrope::train {

class Trainer {
 public:
  // Locks the run folder. Ranks agree on all that follows.
  Trainer(const TrainConfig& config, launch::Communicator& world);
  ~Trainer();

  // `from`: "auto" (the newest whole checkpoint of the run folder, if any), "none" (refused when
  // the run folder has checkpoints), or a checkpoint or run folder. On the same ranks the resumed
  // run is bit-equal to the unbroken one.
  void start(const std::string& from);
  // Trains to config.steps, with checkpoints on the way.
  void run();
  // One optimiser step: gradients of the global mean loss, reduced over ranks, clipped, applied.
  StepMetrics step(std::int64_t step);
  // Held-out loss by noise level, with the weights that the config names; the same on every rank.
  std::vector<double> validate();
  void save(std::int64_t step);

  std::int64_t steps_done() const { return steps_done_; }
  Optimizer& optimizer() { return *optimizer_; }
  const Optimizer& optimizer() const { return *optimizer_; }
  Task& task() { return *task_; }
  launch::Mesh& mesh() { return mesh_; }

 private:
  void load(const std::filesystem::path& checkpoint);
  std::filesystem::path choose_checkpoint(const std::string& from);
  void write_run_files();
  void report_left_out(const std::string& reason, const LocalStep& local,
                       const StepMetrics& metrics);

  TrainConfig config_;
  launch::Communicator& world_;
  launch::Mesh mesh_;
  std::unique_ptr<FolderLock> lock_;
  std::unique_ptr<Task> task_;
  std::unique_ptr<Optimizer> optimizer_;
  StepGuard guard_;
  std::unique_ptr<MetricsWriter> metrics_;
  std::int64_t steps_done_ = 0;
  std::int64_t skipped_ = 0;
};

}  // namespace zoetrope::train
