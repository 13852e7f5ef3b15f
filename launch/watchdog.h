// A thread in every rank that notices when the job is stuck, says where and because of whom, and
// ends it with exit code 75.
//
// Each rank writes a heartbeat every second to a file that the others can read (a folder on the
// file system that the run is on): what it does, since when, and its last collectives. Whoever
// waits for long reads the others': a rank whose heartbeat stands still is stopped or dead; of the
// others, the one that has not joined the collective that the rest waits in is the culprit.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <filesystem>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/config.h"
#include "launch/flight_recorder.h"

namespace zoetrope::launch {

struct WatchdogConfig {
  double setup_s = 1800;
  double step_s = 60;
  double checkpoint_s = 1800;
  double silent_s = 30;
  std::int64_t compare_steps = 10;
  template <class Visitor>
  void visit_fields(Visitor& visit) {
    visit("setup_s", setup_s,
          "a start, a first step or a validation that takes longer is stuck, s; 0 = no limit",
          at_least(0));
    visit("step_s", step_s,
          "a step that takes longer, and 5 x longer than the median, is stuck, s; 0 = no limit",
          at_least(0));
    visit("checkpoint_s", checkpoint_s, "a checkpoint that takes longer is stuck, s; 0 = no limit",
          at_least(0));
    visit("silent_s", silent_s,
          "a rank without a sign of life for so long ends the job, s; 0 = never", at_least(0));
    visit("compare_steps", compare_steps,
          "ranks' times are compared every so many steps, and stragglers named; 0 = never",
          at_least(0));
  }
};

enum class Phase { kSetup, kStep, kCheckpoint };

// What a rank tells the others.
struct Heartbeat {
  int rank = 0;
  std::string host;
  std::int64_t pid = 0, beat = 0, step = 0;
  std::string phase;
  double idle_s = 0;                              // since it last got on
  bool over_limit = false;                        // of its phase
  std::vector<CollectiveRecord> last;             // the newest, oldest first
  std::map<std::string, std::int64_t> sequences;  // calls on each group
  // The oldest collective that it waits in; nullptr when it is not in one.
  const CollectiveRecord* waiting_in() const;
};
Json to_json(const Heartbeat& heartbeat);
Heartbeat heartbeat_from_json(const Json& json);

// Why the job does not get on: lines that name ranks that are silent (`silent`, by rank), ranks
// whose n-th call on a group is another than the others', and ranks that have not joined what
// the others wait in. A rank without a heartbeat has not been seen.
std::string diagnose(const std::vector<std::optional<Heartbeat>>& ranks,
                     const std::vector<int>& silent);

class Watchdog {
 public:
  // `folder` is made when missing. Every rank of the job has one, with the same folder.
  Watchdog(const WatchdogConfig& config, std::filesystem::path folder, int rank, int num_ranks);
  ~Watchdog();  // takes this rank's heartbeat away
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

  // This rank gets on: it begins `phase` of `step`.
  void enter(Phase phase, std::int64_t step);

 private:
  using Clock = std::chrono::steady_clock;
  void watch();
  Heartbeat own_heartbeat();
  double limit_s() const;
  bool write_heartbeat(const Heartbeat& own) const;
  void look_at_others(const Heartbeat& own);
  [[noreturn]] void give_up(const Heartbeat& own,
                            const std::vector<std::optional<Heartbeat>>& ranks,
                            const std::vector<int>& silent);
  std::vector<std::optional<Heartbeat>> read_all() const;

  WatchdogConfig config_;
  std::filesystem::path folder_;
  int rank_, num_ranks_;
  std::mutex mutex_;
  std::condition_variable wake_;
  bool ends_ = false;
  Phase phase_ = Phase::kSetup;
  std::int64_t step_ = 0, beat_ = 0;
  Clock::time_point since_;
  std::vector<double> step_times_;  // the newest kKeptTimes
  struct Seen {
    std::int64_t beat = -1, pid = 0;
    Clock::time_point changed;
  };
  std::vector<Seen> seen_;  // of the others, while this rank waits
  std::thread thread_;
};

}  // namespace zoetrope::launch
