// What a sample costs: c = per_sample + per_token * s + per_token_squared * s^2 for s tokens, and
// its fit to measured packs by non-negative least squares. Costs grow with the tokens.
#pragma once

#include <array>
#include <cstdint>
#include <span>

namespace zoetrope::data {

// Seconds after a fit; before one, any unit: only ratios place work.
struct CostModel {
  double per_sample = 0, per_token = 1, per_token_squared = 1e-4;

  double operator()(std::int64_t tokens) const {
    const auto s = static_cast<double>(tokens);
    return per_sample + s * (per_token + s * per_token_squared);
  }
  bool operator==(const CostModel&) const = default;
};
// ConfigError unless all three are finite and >= 0 and a token costs something.
void check_cost_model(const CostModel& cost, const char* origin);

// One rank's part of a step: sums of 1, s and s^2 over its samples. A sample that g ranks share
// adds its g-th part, with the overhead of sharing.
struct PackContents {
  std::array<double, 3> sums{};
  void add(std::int64_t tokens, double share);
};

// What a fit needs of the measured packs: the normal equations of contents / seconds = 1, so that
// every pack counts by its relative error. Sums of sums: ranks measure apart and add up.
struct MeasuredPacks {
  static constexpr std::size_t kNumbers = 10;
  std::array<double, 6> gram{};      // upper triangle of sum(row row^T), by rows
  std::array<double, 3> contents{};  // sum(row)
  double packs = 0;

  void add(const PackContents& pack, double seconds);
  // The packs of a rank of this speed, as a rank of speed 1 would have measured them.
  void add(const MeasuredPacks& of_rank, double speed);
  // Mean of predicted / measured.
  double speed(const CostModel& cost) const;

  std::array<double, kNumbers> numbers() const;
  static MeasuredPacks from_numbers(std::span<const double> numbers);
};

// x >= 0 that minimises |A x - b|, from A^T A (upper triangle, by rows) and A^T b. Exact for three
// unknowns: the best of the least-squares solutions on all sets of columns that is not negative.
std::array<double, 3> solve_nnls(const std::array<double, 6>& gram,
                                 const std::array<double, 3>& right);

// All zero when the packs say nothing (none, or no contents).
CostModel fit_cost_model(const MeasuredPacks& packs);

}  // namespace zoetrope::data
