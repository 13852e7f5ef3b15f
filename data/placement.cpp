// Samples are sorted by length once; costs grow with the length, so degrees fall along that order
// and one pass places everything: the shared samples degree by degree, then the rest.
#include "data/placement.h"

#include <algorithm>
#include <bit>
#include <limits>
#include <numeric>
#include <optional>
#include <utility>

#include "base/error.h"
#include "data/least_loaded.h"
#include "data/plan_refine.h"

namespace zoetrope::data {
namespace {

// Shares of the mean load that a rank's part of one sample may have, tried in turn.
constexpr double kLargestParts[] = {1, 0.9, 0.7, 0.5, 0.3};

// Another share is tried only if it could shorten the step by more than this part.
constexpr double kWorthTrying = 5e-4;

// Positions by falling length, ties in order: a stable radix sort, linear in the samples.
std::vector<std::int32_t> longest_first(std::span<const std::int64_t> tokens) {
  constexpr unsigned kBits = 11;
  const std::int64_t longest = *std::max_element(tokens.begin(), tokens.end());
  const auto key_of = [&](std::int32_t i) {
    return static_cast<std::uint64_t>(longest - tokens[static_cast<std::size_t>(i)]);
  };
  std::vector<std::int32_t> order(tokens.size()), next(tokens.size());
  std::iota(order.begin(), order.end(), 0);
  for (unsigned shift = 0; static_cast<std::uint64_t>(longest) >> shift != 0; shift += kBits) {
    std::vector<std::size_t> start((std::size_t{1} << kBits) + 1);
    const auto digit = [&](std::int32_t i) {
      return key_of(i) >> shift & ((std::uint64_t{1} << kBits) - 1);
    };
    for (const std::int32_t i : order) ++start[digit(i) + 1];
    std::partial_sum(start.begin(), start.end(), start.begin());
    for (const std::int32_t i : order) next[start[digit(i)]++] = i;
    order.swap(next);
  }
  return order;
}

std::int64_t part_of(std::int64_t tokens, int sp_degree) {
  return (tokens + sp_degree - 1) / sp_degree;
}

// Places samples that are sorted longest first.
class Placer {
 public:
  Placer(std::vector<std::int64_t> tokens, const RankLayout& mesh, const PlacementLimits& limits,
         const CostModel& cost, std::vector<double> speeds)
      : mesh_(mesh), limits_(limits), tokens_(std::move(tokens)), speeds_(std::move(speeds)) {
    costs_.reserve(tokens_.size());
    for (const std::int64_t length : tokens_) costs_.push_back(cost(length));
    total_cost_ = std::accumulate(costs_.begin(), costs_.end(), 0.0);
    total_speed_ = std::accumulate(speeds_.begin(), speeds_.end(), 0.0);
    largest_degree_ = static_cast<int>(
        std::bit_floor(static_cast<unsigned>(std::min(mesh.max_sp_degree, mesh.num_ranks))));
  }

  // Nothing when the tokens do not fit.
  std::optional<std::vector<Seat>> place() {
    std::vector<Attempt> attempts;
    for (const double largest_part : kLargestParts) {
      Attempt attempt = place_shared(largest_part);
      if (attempt.fits) attempts.push_back(std::move(attempt));
      if (largest_degree_ == 1) break;
    }
    std::stable_sort(attempts.begin(), attempts.end(),
                     [](const Attempt& a, const Attempt& b) { return a.bound < b.bound; });
    Attempt best;
    double least = std::numeric_limits<double>::infinity();
    for (Attempt& attempt : attempts) {
      if (attempt.bound >= least * (1 - kWorthTrying)) break;
      if (!place_rest(attempt)) continue;
      const double makespan = *std::max_element(attempt.finish.begin(), attempt.finish.end());
      if (makespan >= least) continue;
      least = makespan;
      best = std::move(attempt);
    }
    if (best.seats.empty()) return std::nullopt;
    Load load{costs_, tokens_, speeds_, std::move(best.finish), std::move(best.room)};
    refine_seats(best.seats, load);
    return std::move(best.seats);
  }

 private:
  struct Attempt {
    std::vector<Seat> seats;  // of the samples placed so far
    std::vector<double> finish;
    std::vector<std::int64_t> room;
    double bound = 0;  // the makespan is not below this
    bool fits = true;
  };

  int degree_of(std::size_t i, double largest_part) const {
    const double limit = largest_part * total_cost_ / total_speed_;
    int degree = 1;
    const auto too_much = [&] {
      return shared_cost(costs_[i], degree, limits_.sp_overhead) > limit ||
             (limits_.max_tokens_per_rank > 0 &&
              part_of(tokens_[i], degree) > limits_.max_tokens_per_rank);
    };
    while (degree < largest_degree_ && 2 * degree <= tokens_[i] && too_much()) degree *= 2;
    return degree;
  }

  Attempt place_shared(double largest_part) const {
    const auto ranks = static_cast<std::size_t>(mesh_.num_ranks);
    const std::int64_t room = limits_.max_tokens_per_rank > 0
                                  ? limits_.max_tokens_per_rank
                                  : std::numeric_limits<std::int64_t>::max();
    Attempt attempt;
    attempt.finish.assign(ranks, 0);
    attempt.room.assign(ranks, room);
    double overhead = 0;
    std::size_t begin = 0;
    while (begin < tokens_.size() && attempt.fits) {
      const int degree = degree_of(begin, largest_part);
      if (degree == 1) break;
      std::size_t end = begin + 1;
      while (end < tokens_.size() && degree_of(end, largest_part) == degree) ++end;
      for (std::size_t i = begin; i < end; ++i) {
        overhead += shared_cost(costs_[i], degree, limits_.sp_overhead) * degree - costs_[i];
      }
      place_on_groups(attempt, begin, end, degree);
      begin = end;
    }
    attempt.bound = std::max((total_cost_ + overhead) / total_speed_,
                             *std::max_element(attempt.finish.begin(), attempt.finish.end()));
    return attempt;
  }

  void place_on_groups(Attempt& attempt, std::size_t begin, std::size_t end, int degree) const {
    const std::vector<int> groups = first_ranks_of_groups(mesh_, degree);
    std::vector<double> free_at, slowest;
    std::vector<std::int64_t> room;
    const auto of_group = [&](auto& of_ranks, int first) {
      return std::span(of_ranks).subspan(static_cast<std::size_t>(first),
                                         static_cast<std::size_t>(degree));
    };
    for (const int first : groups) {
      free_at.push_back(std::ranges::max(of_group(attempt.finish, first)));
      slowest.push_back(std::ranges::min(of_group(speeds_, first)));
      room.push_back(std::ranges::min(of_group(attempt.room, first)));
    }
    LeastLoadedBins bins(free_at, room);
    for (std::size_t i = begin; i < end; ++i) {
      const std::int64_t part = part_of(tokens_[i], degree);
      const int top = bins.top(part);
      attempt.fits = top >= 0;
      if (!attempt.fits) return;
      const auto group = static_cast<std::size_t>(top);
      const double seconds = shared_cost(costs_[i], degree, limits_.sp_overhead) / slowest[group];
      bins.fill_top(bins.loads()[group] + seconds, part);
      attempt.seats.push_back({groups[group], degree});
    }
    for (std::size_t g = 0; g < groups.size(); ++g) {
      if (bins.room()[g] == room[g]) continue;
      std::ranges::fill(of_group(attempt.finish, groups[g]), bins.loads()[g]);
      for (std::int64_t& left : of_group(attempt.room, groups[g])) left -= room[g] - bins.room()[g];
    }
  }

  bool place_rest(Attempt& attempt) const {
    LeastLoadedBins bins(std::move(attempt.finish), std::move(attempt.room));
    attempt.seats.reserve(tokens_.size());
    for (std::size_t i = attempt.seats.size(); i < tokens_.size(); ++i) {
      const int rank = bins.top(tokens_[i]);
      if (rank < 0) return false;
      const auto r = static_cast<std::size_t>(rank);
      bins.fill_top(bins.loads()[r] + costs_[i] / speeds_[r], tokens_[i]);
      attempt.seats.push_back({rank, 1});
    }
    attempt.finish = bins.loads();
    attempt.room = bins.room();
    return true;
  }

  RankLayout mesh_;
  PlacementLimits limits_;
  std::vector<std::int64_t> tokens_;
  std::vector<double> costs_, speeds_;
  double total_cost_ = 0, total_speed_ = 0;
  int largest_degree_ = 1;
};

void check(std::span<const std::int64_t> tokens, const RankLayout& mesh,
           const PlacementLimits& limits) {
  ZOETROPE_CHECK(!tokens.empty(), "no samples to place");
  ZOETROPE_CHECK(mesh.num_ranks >= 1, "planning for ", mesh.num_ranks, " ranks");
  ZOETROPE_CHECK_CONFIG(mesh.max_sp_degree >= 1 && mesh.ranks_per_node >= 1, "max_sp_degree is ",
                        mesh.max_sp_degree, ", ranks_per_node is ", mesh.ranks_per_node,
                        ", expected at least 1");
  ZOETROPE_CHECK_CONFIG(limits.sp_overhead >= 0 && limits.max_tokens_per_rank >= 0,
                        "sp_overhead is ", limits.sp_overhead, ", max_tokens_per_rank is ",
                        limits.max_tokens_per_rank, ", expected at least 0");
}

}  // namespace

std::vector<int> first_ranks_of_groups(const RankLayout& mesh, int sp_degree) {
  const int domain = sp_degree <= mesh.ranks_per_node ? mesh.ranks_per_node : mesh.num_ranks;
  std::vector<int> first;
  for (int begin = 0; begin < mesh.num_ranks; begin += domain) {
    const int end = std::min(begin + domain, mesh.num_ranks);
    for (int rank = begin; rank + sp_degree <= end; rank += sp_degree) first.push_back(rank);
  }
  return first;
}

double shared_cost(double cost, int sp_degree, double sp_overhead) {
  const int doublings = std::countr_zero(static_cast<unsigned>(sp_degree));
  return cost * (1 + sp_overhead * doublings) / sp_degree;
}

Placement place_samples(std::span<const std::int64_t> tokens, const RankLayout& mesh,
                        const PlacementLimits& limits, const Calibration& calibration) {
  check(tokens, mesh, limits);
  check_calibration(calibration, mesh.num_ranks);
  std::vector<double> speeds = calibration.speeds;
  if (speeds.empty()) speeds.assign(static_cast<std::size_t>(mesh.num_ranks), 1);
  Placement result;
  result.order = longest_first(tokens);
  std::vector<std::int64_t> sorted;
  sorted.reserve(tokens.size());
  for (const std::int32_t i : result.order) sorted.push_back(tokens[static_cast<std::size_t>(i)]);
  auto seats = Placer(sorted, mesh, limits, calibration.cost, speeds).place();
  if (!seats) {  // levelling the tokens packs them tighter than levelling the time
    seats = Placer(sorted, mesh, limits, {0, 1, 0}, std::vector<double>(speeds.size(), 1)).place();
  }
  ZOETROPE_CHECK_CONFIG(seats.has_value(), "a step of ", tokens.size(), " samples and ",
                        std::accumulate(tokens.begin(), tokens.end(), std::int64_t{0}),
                        " tokens, the longest ", sorted[0], ", does not fit ", mesh.num_ranks,
                        " ranks of max_tokens_per_rank ", limits.max_tokens_per_rank,
                        ": raise it or max_sp_degree, or lower global_batch");
  result.seats.resize(tokens.size());
  std::vector<double> costs(tokens.size());
  for (std::size_t position = 0; position < tokens.size(); ++position) {
    const auto i = static_cast<std::size_t>(result.order[position]);
    result.seats[i] = (*seats)[position];
    costs[i] = calibration.cost(tokens[i]);
  }
  result.balance = run_seats(result, costs, speeds, mesh.num_ranks, limits.sp_overhead).balance;
  return result;
}

Timeline run_seats(const Placement& placement, std::span<const double> costs,
                   std::span<const double> speeds, int num_ranks, double sp_overhead) {
  const auto ranks = static_cast<std::size_t>(num_ranks);
  Timeline times{std::vector<double>(ranks), std::vector<double>(ranks), 0, 1};
  const auto speed = [&](std::size_t rank) { return speeds.empty() ? 1 : speeds[rank]; };
  for (const std::int32_t sample : placement.order) {
    const auto i = static_cast<std::size_t>(sample);
    const auto [first, degree] = placement.seats[i];
    const auto begin = static_cast<std::size_t>(first);
    const auto end = begin + static_cast<std::size_t>(degree);
    const double cost = shared_cost(costs[i], degree, sp_overhead);
    double start = 0, seconds = 0;
    for (std::size_t rank = begin; rank < end; ++rank) {
      start = std::max(start, times.finish[rank]);
      seconds = std::max(seconds, cost / speed(rank));
    }
    for (std::size_t rank = begin; rank < end; ++rank) {
      times.busy[rank] += cost / speed(rank);
      times.finish[rank] = start + seconds;
    }
  }
  times.makespan = *std::max_element(times.finish.begin(), times.finish.end());
  const double busy = std::accumulate(times.busy.begin(), times.busy.end(), 0.0);
  times.balance = std::min(busy / num_ranks / times.makespan, 1.0);
  return times;
}

}  // namespace zoetrope::data
