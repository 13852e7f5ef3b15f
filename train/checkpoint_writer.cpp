// The background threads, what they report, and what becomes of failures.
#include "train/checkpoint_writer.h"

#include <utility>

#include "base/error.h"
#include "base/log.h"
#include "train/checkpoint.h"

namespace zoetrope::train {
namespace fs = std::filesystem;
namespace {

constexpr double kRoom = 1.2;  // bytes free over bytes to write

// The files of all ranks, or why there are none.
struct Joined {
  Json files = Json::object();
  std::string failure;
};

Joined join_reports(const std::vector<std::string>& reports) {
  Joined all;
  for (std::size_t rank = 0; rank < reports.size(); ++rank) {
    const Json report = parse_json(reports[rank], "a rank's report on its files");
    if (!report.contains("error")) {
      all.files.update(report.at("files"));
    } else if (all.failure.empty()) {
      all.failure = concat("rank ", rank, ": ", report.at("error").get<std::string>());
    }
  }
  return all;
}

}  // namespace

void check_room(const fs::path& folder, std::int64_t bytes) {
  const auto free_bytes = static_cast<double>(fs::space(folder).available);
  ZOETROPE_CHECK(free_bytes >= kRoom * static_cast<double>(bytes), folder.string(), " has ",
                 free_bytes * 1e-6, " MB free, a checkpoint needs ", kRoom, " x ",
                 static_cast<double>(bytes) * 1e-6, " MB");
}

CheckpointWriter::CheckpointWriter(fs::path run_folder, std::string task,
                                   const CheckpointConfig& config, launch::Communicator& world)
    : run_folder_(std::move(run_folder)), task_(std::move(task)), config_(config), world_(world) {}

CheckpointWriter::~CheckpointWriter() {
  join();
}

bool CheckpointWriter::begin(std::int64_t step, std::int64_t bytes) {
  publish();
  join();
  std::string end, defect;
  if (failures_ >= config_.max_failures) {
    end = concat(failures_, " checkpoints in a row failed, the last with: ", last_failure_,
                 "; checkpoints that were there before are whole");
  } else if (world_.rank() == 0) {
    try {
      check_room(run_folder_, bytes);
    } catch (const std::exception& error) {
      defect = error.what();
    }
  }
  end = from_rank_zero(end);
  ZOETROPE_CHECK(end.empty(), end);
  step_ = step;
  bytes_ = bytes;
  start_ = std::chrono::steady_clock::now();
  defect = from_rank_zero(defect);
  if (!defect.empty()) note_failure(defect);
  return defect.empty();
}

void CheckpointWriter::write(WriteFiles write) {
  is_writing_ = is_unpublished_ = true;
  thread_ = std::thread([this, write = std::move(write)] { write_files(write); });
  if (config_.background) return;
  publish();
  join();
}

void CheckpointWriter::write_files(const WriteFiles& write) {
  Json report;
  try {
    const fs::path folder = unfinished_folder(run_folder_, step_);
    fs::create_directories(folder);
    report = {{"files", seal_files(folder, write(folder))}};
  } catch (const std::exception& error) {
    report = {{"error", error.what()}};
  }
  report_ = report.dump(-1, ' ', false, Json::error_handler_t::replace);
  is_writing_ = false;
}

void CheckpointWriter::publish() {
  if (!is_unpublished_) return;
  is_unpublished_ = false;
  join();
  const Joined all = join_reports(world_.all_gather(report_));
  if (world_.rank() > 0) return;
  if (!all.failure.empty()) return note_failure(all.failure);
  thread_ = std::thread([this, files = all.files] { publish_files(files); });
}

void CheckpointWriter::publish_files(const Json& files) {
  try {
    const fs::path folder = publish_checkpoint(run_folder_, step_, task_, files);
    const double seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
    failures_ = 0;
    log_info("checkpoint ", folder.string(), ": ", static_cast<double>(bytes_) * 1e-6,
             " MB written in ", seconds, " s");
    prune_checkpoints(run_folder_, config_.keep_last, config_.keep_every);
  } catch (const std::exception& error) {
    note_failure(error.what());
  }
}

void CheckpointWriter::finish() {
  publish();
  join();
  const std::string failure = from_rank_zero(failures_ > 0 ? last_failure_ : "");
  ZOETROPE_CHECK(failure.empty(), "the last checkpoint failed: ", failure);
}

void CheckpointWriter::note_failure(const std::string& what) {
  if (world_.rank() > 0) return;
  ++failures_;
  last_failure_ = what;
  log_error("CHECKPOINT OF STEP ", step_, " FAILED, ", failures_, " of ", config_.max_failures,
            " in a row before the run ends: ", what,
            "; training goes on, older checkpoints are whole");
  remove_unfinished(run_folder_);  // it takes room from the next
}

std::string CheckpointWriter::from_rank_zero(const std::string& mine) {
  return world_.all_gather(world_.rank() == 0 ? mine : std::string())[0];
}

void CheckpointWriter::join() {
  if (thread_.joinable()) thread_.join();
}

}  // namespace zoetrope::train
