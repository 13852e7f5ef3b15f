// Heartbeats, the decision that a job is stuck, and the end.
#include "launch/watchdog.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <utility>

#include "base/error.h"
#include "base/files.h"
#include "base/log.h"
#include "launch/stacks.h"

namespace zoetrope::launch {
namespace fs = std::filesystem;
namespace {

constexpr double kLongestBeatS = 2;
constexpr double kBeatsInSilence = 15;
constexpr double kAliveBeats = 3;
// Between the first report and the end, so that every rank has told its part.
constexpr auto kLetOthersReport = std::chrono::seconds(3);
constexpr std::size_t kReported = 12;  // collectives
constexpr std::size_t kKeptTimes = 64;
constexpr double kTimesMedian = 5;

const char* phase_name(Phase phase) {
  constexpr const char* kNames[] = {"setup", "step", "checkpoint"};
  return kNames[static_cast<int>(phase)];
}

fs::path heartbeat_file(const fs::path& folder, int rank) {
  return folder / concat("rank_", rank, ".json");
}

std::string own_host() {
  char name[256] = "";
  gethostname(name, sizeof(name) - 1);
  return name;
}

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

std::string who(const Heartbeat& rank) {
  return concat("rank ", rank.rank, " (", rank.host, ", pid ", rank.pid, ")");
}

const CollectiveRecord* find_call(const Heartbeat& rank, const std::string& group,
                                  std::int64_t sequence) {
  for (const CollectiveRecord& record : rank.last)
    if (record.group == group && record.sequence == sequence) return &record;
  return nullptr;
}

bool same_call(const CollectiveRecord& a, const CollectiveRecord& b) {
  // Ranks of one gather or scatter pass different numbers of bytes.
  const bool all_pass_the_same = a.operation == "all_reduce" || a.operation == "broadcast";
  return a.operation == b.operation && (!all_pass_the_same || a.bytes == b.bytes);
}

std::string diagnose_call(const std::vector<std::optional<Heartbeat>>& ranks,
                          const Heartbeat& waiting, const CollectiveRecord& call) {
  std::string text;
  for (const auto& other : ranks) {
    if (!other || other->rank == waiting.rank || !other->sequences.contains(call.group)) continue;
    const CollectiveRecord* theirs = find_call(*other, call.group, call.sequence);
    if (theirs && !same_call(*theirs, call)) {
      text += concat("ranks call different collectives: ", who(waiting), " is in ", describe(call),
                     "; ", who(*other), " is in ", describe(*theirs), "\n");
    } else if (other->sequences.at(call.group) < call.sequence) {
      const CollectiveRecord* in = other->waiting_in();
      text += concat(who(*other), " has not joined ", describe(call), ", which ", who(waiting),
                     " waits in: it is in ", other->phase, " of step ", other->step,
                     in ? ", in " + describe(*in) : std::string(", in no collective"), "\n");
    }
  }
  return text;
}

}  // namespace

const CollectiveRecord* Heartbeat::waiting_in() const {
  for (const CollectiveRecord& record : last)
    if (!record.done) return &record;
  return nullptr;
}

Json to_json(const Heartbeat& h) {
  Json last = Json::array();
  for (const CollectiveRecord& record : h.last) last.push_back(to_json(record));
  return {{"rank", h.rank},     {"host", h.host},
          {"pid", h.pid},       {"beat", h.beat},
          {"step", h.step},     {"phase", h.phase},
          {"idle_s", h.idle_s}, {"over_limit", h.over_limit},
          {"last", last},       {"sequences", h.sequences}};
}

Heartbeat heartbeat_from_json(const Json& json) {
  Heartbeat h;
  h.rank = json.at("rank").get<int>();
  h.host = json.at("host").get<std::string>();
  h.pid = json.at("pid").get<std::int64_t>();
  h.beat = json.at("beat").get<std::int64_t>();
  h.step = json.at("step").get<std::int64_t>();
  h.phase = json.at("phase").get<std::string>();
  h.idle_s = json.at("idle_s").get<double>();
  h.over_limit = json.at("over_limit").get<bool>();
  for (const Json& record : json.at("last")) h.last.push_back(collective_from_json(record));
  h.sequences = json.at("sequences").get<std::map<std::string, std::int64_t>>();
  return h;
}

std::string diagnose(const std::vector<std::optional<Heartbeat>>& ranks,
                     const std::vector<int>& silent) {
  std::string text;
  for (const int rank : silent) {
    const auto& h = ranks[static_cast<std::size_t>(rank)];
    text += h ? concat(who(*h),
                       " gives no sign of life: stopped, dead, or its machine is gone; it "
                       "was in ",
                       h->phase, " of step ", h->step, "\n")
              : concat("rank ", rank, " was never seen\n");
  }
  if (!text.empty()) return text;
  for (const auto& rank : ranks) {
    if (!rank) continue;
    if (const CollectiveRecord* call = rank->waiting_in())
      text = diagnose_call(ranks, *rank, *call);
    if (!text.empty()) return text;
  }
  for (const auto& rank : ranks) {
    if (rank && rank->over_limit && !rank->waiting_in())
      text += concat(who(*rank), " is in no collective, and has been in ", rank->phase, " of step ",
                     rank->step, " for ", rank->idle_s, " s\n");
  }
  return text.empty() ? "all ranks are alive and wait in the same collective\n" : text;
}

Watchdog::Watchdog(const WatchdogConfig& config, fs::path folder, int rank, int num_ranks)
    : config_(config),
      folder_(std::move(folder)),
      rank_(rank),
      num_ranks_(num_ranks),
      since_(Clock::now()) {
  fs::create_directories(folder_);
  prepare_stacks();
  thread_ = std::thread([this] { watch(); });
}

Watchdog::~Watchdog() {
  {
    const std::lock_guard lock(mutex_);
    ends_ = true;
  }
  wake_.notify_all();
  thread_.join();
  std::error_code error;
  fs::remove(heartbeat_file(folder_, rank_), error);
}

void Watchdog::enter(Phase phase, std::int64_t step) {
  FlightRecorder::instance().set_step(step);
  const std::lock_guard lock(mutex_);
  if (phase_ == Phase::kStep) step_times_.push_back(seconds_since(since_));
  if (step_times_.size() > kKeptTimes) step_times_.erase(step_times_.begin());
  phase_ = phase;
  step_ = step;
  since_ = Clock::now();
}

// Under the mutex.
double Watchdog::limit_s() const {
  if (phase_ == Phase::kCheckpoint) return config_.checkpoint_s;
  if (phase_ == Phase::kSetup || step_times_.empty()) return config_.setup_s;
  if (config_.step_s == 0) return 0;
  std::vector<double> sorted = step_times_;
  std::nth_element(sorted.begin(), sorted.begin() + static_cast<std::ptrdiff_t>(sorted.size() / 2),
                   sorted.end());
  return std::max(config_.step_s, kTimesMedian * sorted[sorted.size() / 2]);
}

Heartbeat Watchdog::own_heartbeat() {
  const std::lock_guard lock(mutex_);
  Heartbeat h{
      rank_, own_host(), getpid(), ++beat_, step_, phase_name(phase_), seconds_since(since_)};
  h.over_limit = limit_s() > 0 && h.idle_s > limit_s();
  h.last = FlightRecorder::instance().last(kReported);
  h.sequences = FlightRecorder::instance().sequences();
  return h;
}

// Renamed into place, not synced: it must be whole, and need not last. A disk that is full takes
// the heartbeat away, not the run.
bool Watchdog::write_heartbeat(const Heartbeat& own) const {
  const fs::path path = heartbeat_file(folder_, rank_), temporary = path.string() + ".tmp";
  {
    std::ofstream file(temporary);
    file << to_json(own).dump();
    file.close();
    if (!file) return false;
  }
  std::error_code error;
  fs::rename(temporary, path, error);
  return !error;
}

std::vector<std::optional<Heartbeat>> Watchdog::read_all() const {
  std::vector<std::optional<Heartbeat>> ranks(static_cast<std::size_t>(num_ranks_));
  for (int rank = 0; rank < num_ranks_; ++rank) {
    try {  // a file that is not there, or not whole yet on a slow file system
      ranks[static_cast<std::size_t>(rank)] =
          heartbeat_from_json(read_json(heartbeat_file(folder_, rank)));
    } catch (const std::exception&) {
    }
  }
  return ranks;
}

void Watchdog::watch() {
  const auto beat = std::chrono::duration<double>(
      config_.silent_s > 0 ? std::min(kLongestBeatS, config_.silent_s / kBeatsInSilence)
                           : kLongestBeatS);
  std::unique_lock lock(mutex_);
  while (!ends_) {
    lock.unlock();
    const Heartbeat own = own_heartbeat();
    const bool is_heard = write_heartbeat(own);
    const bool waits_long = config_.silent_s > 0 && own.idle_s > config_.silent_s / 2;
    if (is_heard && (own.over_limit || waits_long)) {
      look_at_others(own);
    } else {
      seen_.clear();
    }
    lock.lock();
    wake_.wait_for(lock, beat, [this] { return ends_; });
  }
}

void Watchdog::look_at_others(const Heartbeat& own) {
  const auto ranks = read_all();
  if (seen_.empty()) seen_.assign(ranks.size(), Seen{-1, 0, Clock::now()});
  std::vector<int> silent;
  bool someone_is_busy = false;
  for (int r = 0; r < num_ranks_; ++r) {
    const auto& other = ranks[static_cast<std::size_t>(r)];
    Seen& seen = seen_[static_cast<std::size_t>(r)];
    if (other && (other->beat != seen.beat || other->pid != seen.pid))
      seen = {other->beat, other->pid, Clock::now()};
    const double quiet_s = seconds_since(seen.changed);
    const bool is_alive = quiet_s < kAliveBeats * kLongestBeatS;
    if (r != rank_ && config_.silent_s > 0 && quiet_s > config_.silent_s) silent.push_back(r);
    // Others may wait for a rank that works within its limit: for one that writes a checkpoint.
    if (other && r != rank_ && is_alive && !other->over_limit && !other->waiting_in())
      someone_is_busy = true;
  }
  if (!silent.empty() || (own.over_limit && !someone_is_busy)) give_up(own, ranks, silent);
}

void Watchdog::give_up(const Heartbeat& own, const std::vector<std::optional<Heartbeat>>& ranks,
                       const std::vector<int>& silent) {
  std::string report = concat("STUCK in ", own.phase, " of step ", own.step, " for ", own.idle_s,
                              " s; this rank's last collectives:\n");
  for (const CollectiveRecord& record : own.last)
    report += concat("  ", describe(record), record.done ? "" : "  <- waits here", "\n");
  log_error(report, diagnose(ranks, silent), "stacks of rank ", rank_, " follow");
  print_stacks();
  std::this_thread::sleep_for(kLetOthersReport);
  std::fflush(nullptr);
  _exit(kExitStuck);
}

}  // namespace zoetrope::launch
