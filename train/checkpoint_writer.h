// Writes checkpoints of a run in a thread of its own, one at a time, while training goes on. A
// write that fails leaves the older checkpoints alone.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <thread>

#include "train/train_config.h"

namespace zoetrope::train {

class CheckpointWriter {
 public:
  CheckpointWriter(std::filesystem::path run_folder, std::string task,
                   const CheckpointConfig& config);
  ~CheckpointWriter();  // waits for the write in flight

  // `write` fills the folder that it is given, with about `bytes`; it owns all that it reads. The
  // checkpoint is published when it is durable, then the older ones are pruned. A failure is logged
  // as an error; after checkpoint.max_failures in a row, Error. Waits for the write before.
  void submit(std::int64_t step, std::int64_t bytes,
              std::function<void(const std::filesystem::path&)> write);
  // Waits until all is on disk. Error when the last checkpoint failed.
  void finish();

 private:
  using WriteFunction = std::function<void(const std::filesystem::path&)>;
  void write_one(std::int64_t step, std::int64_t bytes, const WriteFunction& write);
  void wait();

  std::filesystem::path run_folder_;
  std::string task_;
  CheckpointConfig config_;
  std::thread thread_;
  // Touched by the thread while it runs, by the owner after joining it.
  std::int64_t failures_ = 0;
  std::string last_failure_;
};

// Error unless the disk of `folder` has 1.2 times `bytes` free.
void check_room(const std::filesystem::path& folder, std::int64_t bytes);

}  // namespace zoetrope::train
