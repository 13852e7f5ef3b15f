// Writes checkpoints of a run while training goes on, one at a time: each rank its own files, in a
// thread of its own. When all files are durable, rank 0 publishes the checkpoint. A write that
// fails on any rank leaves the older checkpoints alone.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "base/json.h"
#include "launch/communicator.h"
#include "train/train_config.h"

namespace zoetrope::train {

// Every rank of `world`, which outlives it, has one. All but is_writing() are collective.
class CheckpointWriter {
 public:
  CheckpointWriter(std::filesystem::path run_folder, std::string task,
                   const CheckpointConfig& config, launch::Communicator& world);
  ~CheckpointWriter();  // waits for this rank's files in flight; they stay unpublished

  // Waits for the checkpoint before. Whether there is room for one of `bytes` in all; without, it
  // counts as failed. After checkpoint.max_failures in a row, Error.
  bool begin(std::int64_t step, std::int64_t bytes);
  // `write` fills the folder that it is given with this rank's files and returns their names there;
  // it owns all that it reads.
  using WriteFiles = std::function<std::vector<std::string>(const std::filesystem::path&)>;
  void write(WriteFiles write);
  // Whether this rank's files of a checkpoint are still on their way.
  bool is_writing() const { return is_writing_; }
  // Publishes the checkpoint in flight, if there is one, and prunes the older ones, in the
  // background; waits for the ranks that still write. A failure is logged as an error.
  void publish();
  // Waits until all is on disk. Error when the last checkpoint failed.
  void finish();

 private:
  void write_files(const WriteFiles& write);
  void publish_files(const Json& files);
  void note_failure(const std::string& what);
  std::string from_rank_zero(const std::string& mine);
  void join();

  std::filesystem::path run_folder_;
  std::string task_;
  CheckpointConfig config_;
  launch::Communicator& world_;
  std::int64_t step_ = 0, bytes_ = 0;  // of the checkpoint in flight
  bool is_unpublished_ = false;        // it is written, or has been; the same on every rank
  std::chrono::steady_clock::time_point start_;
  std::atomic<bool> is_writing_ = false;
  std::thread thread_;
  // Touched by the thread while it runs, by the owner after joining it.
  std::string report_;         // of this rank's files: JSON
  std::int64_t failures_ = 0;  // rank 0's
  std::string last_failure_;
};

// Error unless the disk of `folder` has 1.2 times `bytes` free.
void check_room(const std::filesystem::path& folder, std::int64_t bytes);

}  // namespace zoetrope::train
