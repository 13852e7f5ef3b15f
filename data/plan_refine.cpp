// Each round looks at two ranks: O(samples of a rank * log), and O(log ranks) to find them.
#include "data/plan_refine.h"

#include <algorithm>
#include <set>
#include <utility>

namespace zoetrope::data {
namespace {

constexpr double kMinGain = 5e-4;
constexpr int kNone = -1;

class Refiner {
 public:
  Refiner(std::vector<Seat>& seats, Load& load)
      : seats_(seats), load_(load), samples_of_(load.finish.size()) {
    for (std::size_t rank = 0; rank < load.finish.size(); ++rank) {
      by_finish_.emplace(load.finish[rank], static_cast<int>(rank));
    }
    for (std::size_t i = 0; i < seats.size(); ++i) {
      if (seats[i].sp_degree == 1) samples_of(seats[i].first_rank).push_back(static_cast<int>(i));
    }
  }

  // One move or swap; false when none gains enough.
  bool improve() {
    const auto [latest, last] = *by_finish_.rbegin();
    const auto [earliest, first] = *by_finish_.begin();
    if (latest - earliest <= kMinGain * latest) return false;
    const Exchange best = best_exchange(last, first);
    if (best.given == kNone || latest - best.finish <= kMinGain * latest) return false;
    apply(best, last, first);
    return true;
  }

 private:
  // Sample `given` goes from the last to the first rank, `taken` (or none) comes back.
  struct Exchange {
    int given = kNone, taken = kNone;
    double finish = 0;  // of the later of the two ranks, then
  };

  std::vector<int>& samples_of(int rank) { return samples_of_[static_cast<std::size_t>(rank)]; }
  double cost(int i) const { return i == kNone ? 0 : load_.costs[static_cast<std::size_t>(i)]; }
  std::int64_t tokens(int i) const {
    return i == kNone ? 0 : load_.tokens[static_cast<std::size_t>(i)];
  }

  // For each sample of the last rank, no sample back or those of the first rank whose costs are
  // next to the one that would level both.
  Exchange best_exchange(int last, int first) {
    const auto a = static_cast<std::size_t>(last), b = static_cast<std::size_t>(first);
    const double level =
        (load_.finish[a] - load_.finish[b]) / (1 / load_.speeds[a] + 1 / load_.speeds[b]);
    const std::vector<int>& theirs = samples_of(first);
    Exchange best;
    for (const int given : samples_of(last)) {
      consider({given, kNone}, a, b, best);
      const double wanted = cost(given) - level;
      const auto below = std::partition_point(theirs.begin(), theirs.end(),
                                              [&](int i) { return cost(i) > wanted; });
      if (below != theirs.end()) consider({given, *below}, a, b, best);
      if (below != theirs.begin()) consider({given, *(below - 1)}, a, b, best);
    }
    return best;
  }

  void consider(Exchange next, std::size_t a, std::size_t b, Exchange& best) const {
    const double moved = cost(next.given) - cost(next.taken);
    const std::int64_t more = tokens(next.given) - tokens(next.taken);
    if (moved <= 0 || more > load_.room[b] || -more > load_.room[a]) return;
    next.finish = std::max(load_.finish[a] - moved / load_.speeds[a],
                           load_.finish[b] + moved / load_.speeds[b]);
    if (best.given == kNone || next.finish < best.finish) best = next;
  }

  void apply(const Exchange& exchange, int last, int first) {
    shift(exchange.given, last, first);
    if (exchange.taken != kNone) shift(exchange.taken, first, last);
  }

  void shift(int sample, int from, int to) {
    auto& source = samples_of(from);
    source.erase(std::lower_bound(source.begin(), source.end(), sample));
    auto& target = samples_of(to);
    target.insert(std::lower_bound(target.begin(), target.end(), sample), sample);
    seats_[static_cast<std::size_t>(sample)].first_rank = to;
    add(from, -cost(sample), -tokens(sample));
    add(to, cost(sample), tokens(sample));
  }

  void add(int rank, double more_cost, std::int64_t more_tokens) {
    const auto r = static_cast<std::size_t>(rank);
    by_finish_.erase({load_.finish[r], rank});
    load_.finish[r] += more_cost / load_.speeds[r];
    load_.room[r] -= more_tokens;
    by_finish_.emplace(load_.finish[r], rank);
  }

  std::vector<Seat>& seats_;
  Load& load_;
  std::vector<std::vector<int>> samples_of_;  // not shared; in running order: costs fall
  std::set<std::pair<double, int>> by_finish_;
};

}  // namespace

void refine_seats(std::vector<Seat>& seats, Load& load) {
  const auto [first, last] = std::minmax_element(load.finish.begin(), load.finish.end());
  if (*last - *first <= kMinGain * *last) return;
  Refiner refiner(seats, load);
  // Every exchange takes the last rank down; a rank is seldom last more than twice.
  for (std::size_t round = 0; round < 4 * load.finish.size() && refiner.improve();) ++round;
}

}  // namespace zoetrope::data
