// Times of all ranks, gathered now and then.
#include "train/stragglers.h"

#include <unistd.h>

#include <algorithm>
#include <span>

#include "base/log.h"

namespace zoetrope::train {
namespace {

constexpr double kSlow = 1.3;  // x the median
constexpr int kRunning = 3;

double total(const RankTimes& times) {
  return times.compute_s + times.data_wait_s;
}

double median_total(const std::vector<RankTimes>& ranks) {
  std::vector<double> totals;
  for (const RankTimes& rank : ranks) totals.push_back(total(rank));
  std::sort(totals.begin(), totals.end());
  return totals[(totals.size() - 1) / 2];  // of two ranks: the faster one
}

}  // namespace

Stragglers::Stragglers(std::int64_t every_steps, launch::Communicator& world)
    : every_steps_(world.size() > 1 ? every_steps : 0),
      world_(world),
      times_running_(static_cast<std::size_t>(world.size())) {
  char host[256] = "";
  gethostname(host, sizeof(host) - 1);
  if (every_steps_ > 0) hosts_ = world.all_gather(host);
}

void Stragglers::add(std::int64_t step, double compute_s, double data_wait_s) {
  if (every_steps_ == 0) return;
  sums_.compute_s += compute_s;
  sums_.data_wait_s += data_wait_s;
  ++steps_;
  if (step % every_steps_ != 0) return;
  const auto size = static_cast<std::size_t>(world_.size());
  const auto mine = static_cast<std::size_t>(world_.rank());
  std::vector<double> numbers(2 * size);
  numbers[2 * mine] = sums_.compute_s / static_cast<double>(steps_);
  numbers[2 * mine + 1] = sums_.data_wait_s / static_cast<double>(steps_);
  world_.all_reduce_sum(std::span<double>(numbers));
  sums_ = {};
  steps_ = 0;
  if (mine != 0) return;
  std::vector<RankTimes> ranks;
  for (std::size_t r = 0; r < size; ++r) ranks.push_back({numbers[2 * r], numbers[2 * r + 1]});
  for (const int rank : judge(ranks)) {
    const RankTimes& slow = ranks[static_cast<std::size_t>(rank)];
    log_warn("rank ", rank, " on ", hosts_[static_cast<std::size_t>(rank)],
             " is slow: ", slow.compute_s, " s of computing and ", slow.data_wait_s,
             " s of waiting for data a step, over the last ", every_steps_,
             " steps; the median is ", median_total(ranks), " s");
  }
}

std::vector<int> Stragglers::judge(const std::vector<RankTimes>& ranks) {
  std::vector<int> slow;
  const double limit = kSlow * median_total(ranks);
  for (std::size_t r = 0; r < ranks.size(); ++r) {
    times_running_[r] = total(ranks[r]) > limit ? times_running_[r] + 1 : 0;
    if (times_running_[r] > 0 && times_running_[r] % kRunning == 0)
      slow.push_back(static_cast<int>(r));
  }
  return slow;
}

}  // namespace zoetrope::train
