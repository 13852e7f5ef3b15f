// The background thread, and what becomes of its failures.
#include "train/checkpoint_writer.h"

#include <chrono>
#include <utility>

#include "base/error.h"
#include "base/log.h"
#include "train/checkpoint.h"

namespace zoetrope::train {
namespace fs = std::filesystem;
namespace {

constexpr double kRoom = 1.2;  // bytes free over bytes to write

}  // namespace

void check_room(const fs::path& folder, std::int64_t bytes) {
  const auto free_bytes = static_cast<double>(fs::space(folder).available);
  ZOETROPE_CHECK(free_bytes >= kRoom * static_cast<double>(bytes), folder.string(), " has ",
                 free_bytes * 1e-6, " MB free, a checkpoint needs ", kRoom, " x ",
                 static_cast<double>(bytes) * 1e-6, " MB");
}

CheckpointWriter::CheckpointWriter(fs::path run_folder, std::string task,
                                   const CheckpointConfig& config)
    : run_folder_(std::move(run_folder)), task_(std::move(task)), config_(config) {}

CheckpointWriter::~CheckpointWriter() {
  wait();
}

void CheckpointWriter::submit(std::int64_t step, std::int64_t bytes, WriteFunction write) {
  wait();
  ZOETROPE_CHECK(failures_ < config_.max_failures, failures_,
                 " checkpoints in a row failed, the last with: ", last_failure_,
                 "; checkpoints that were there before are whole");
  thread_ =
      std::thread([this, step, bytes, write = std::move(write)] { write_one(step, bytes, write); });
  if (!config_.background) wait();
}

void CheckpointWriter::finish() {
  wait();
  ZOETROPE_CHECK(failures_ == 0, "the last checkpoint failed: ", last_failure_);
}

void CheckpointWriter::wait() {
  if (thread_.joinable()) thread_.join();
}

void CheckpointWriter::write_one(std::int64_t step, std::int64_t bytes,
                                 const WriteFunction& write) {
  const auto start = std::chrono::steady_clock::now();
  try {
    check_room(run_folder_, bytes);
    const fs::path folder = publish_checkpoint(run_folder_, step, task_, write);
    const double seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    failures_ = 0;
    log_info("checkpoint ", folder.string(), ": ", static_cast<double>(bytes) * 1e-6,
             " MB written in ", seconds, " s");
    prune_checkpoints(run_folder_, config_.keep_last, config_.keep_every);
  } catch (const std::exception& error) {
    ++failures_;
    last_failure_ = error.what();
    log_error("CHECKPOINT OF STEP ", step, " FAILED, ", failures_, " of ", config_.max_failures,
              " in a row before the run ends: ", error.what(),
              "; training goes on, older checkpoints are whole");
    remove_unfinished(run_folder_);  // it takes room from the next
  }
}

}  // namespace zoetrope::train
