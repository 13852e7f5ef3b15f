// The one training loop, for any task on any mesh of ranks.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/files.h"
#include "launch/communicator.h"
#include "launch/mesh.h"
#include "launch/watchdog.h"
#include "train/checkpoint_writer.h"
#include "train/guard.h"
#include "train/metrics.h"
#include "train/optimizer.h"
#include "train/step_profiler.h"
#include "train/stragglers.h"
#include "train/task.h"
#include "train/train_config.h"

namespace zoetrope::train {

class Trainer {
 public:
  // Locks the run folder. Ranks agree on all that follows. `world`, which outlives this, reaches
  // the memory of `device` and the host's (model/device.h).
  Trainer(const TrainConfig& config, launch::Communicator& world, at::Device device = at::kCPU);
  ~Trainer();

  // `from`: "auto" (the newest whole checkpoint of the run folder, if any), "none" (refused when
  // the run folder has checkpoints), or a checkpoint or run folder. On the same ranks the resumed
  // run is bit-equal to the unbroken one.
  void start(const std::string& from);
  // Trains to config.steps, with checkpoints on the way. After SIGUSR1 or SIGTERM to any rank
  // (launch/stop_signal.h) the step is finished and saved, and RUN/stopped.json says so.
  void run();
  // One optimiser step: gradients of the global mean loss, reduced over ranks, clipped, applied.
  StepMetrics step(std::int64_t step);
  // Held-out loss by noise level, with the weights that the config names; the same on every rank.
  std::vector<double> validate();
  // Takes a copy of the state, each rank of its share; the file system gets it in the background.
  // Published by run() at a later step, by the next save() or by finish_saving(). Collective.
  void save(std::int64_t step);
  // Waits until all that was saved is on disk. Error when the last checkpoint is not. Collective.
  void finish_saving();

  std::int64_t steps_done() const { return steps_done_; }
  Optimizer& optimizer() { return *optimizer_; }
  const Optimizer& optimizer() const { return *optimizer_; }
  Task& task() { return *task_; }
  launch::Mesh& mesh() { return mesh_; }

 private:
  // Clips gradients of this norm and applies them: step `step` of the optimiser's `steps`.
  void descend(Optimizer& optimizer, const OptimizerConfig& config, double norm, std::int64_t step,
               std::int64_t steps);
  bool has_opponent(std::int64_t step) const { return opponent_ && step >= opponent_->first_step; }
  void load(const std::filesystem::path& checkpoint);
  void load_opponent(const std::filesystem::path& checkpoint);
  std::filesystem::path choose_checkpoint(const std::string& from);
  void require_room() const;
  std::map<std::string, std::string> describe_state(std::int64_t step);
  bool asked_to_stop();
  void note_early_stop() const;
  void write_run_files();
  void finish_step();
  void report_left_out(const std::string& reason, const LocalStep& local,
                       const StepMetrics& metrics);

  TrainConfig config_;
  launch::Communicator& world_;
  launch::Mesh mesh_;
  std::unique_ptr<FolderLock> lock_;
  std::unique_ptr<Task> task_;
  std::unique_ptr<Optimizer> optimizer_;
  StepGuard guard_;
  std::optional<Opponent> opponent_;
  std::unique_ptr<Optimizer> opponent_optimizer_;
  std::unique_ptr<MetricsWriter> metrics_;
  std::unique_ptr<CheckpointWriter> writer_;
  std::unique_ptr<launch::Watchdog> watchdog_;
  Stragglers stragglers_;
  StepProfiler profiler_;
  std::int64_t steps_done_ = 0;
  std::int64_t skipped_ = 0, saved_step_ = 0;
};

}  // namespace zoetrope::train
