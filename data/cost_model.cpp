// Normal equations of three unknowns, solved on every set of columns.
#include "data/cost_model.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "base/error.h"

namespace zoetrope::data {
namespace {

using Vector = std::array<double, 3>;
using Matrix = std::array<Vector, 3>;

// Columns whose part that is independent of the others is smaller than this (relative, squared) are
// taken for dependent.
constexpr double kDependent = 1e-13;

Matrix unpack(const std::array<double, 6>& g) {
  return {{{g[0], g[1], g[2]}, {g[1], g[3], g[4]}, {g[2], g[4], g[5]}}};
}

// Least squares on the columns in `set` (bits), 0 on the others, by Cholesky's factorisation;
// nothing when the columns are dependent. The diagonal is 1 (or 0 for an empty column).
std::optional<Vector> solve_on(unsigned set, const Matrix& gram, const Vector& right) {
  Matrix lower{};
  Vector y{}, x{};
  const auto in = [&](std::size_t i) { return (set >> i & 1U) != 0; };
  for (std::size_t i = 0; i < 3; ++i) {
    if (!in(i)) continue;
    y[i] = right[i];
    for (std::size_t j = 0; j <= i; ++j) {
      if (!in(j)) continue;
      double sum = gram[i][j];
      for (std::size_t k = 0; k < j; ++k) sum -= lower[i][k] * lower[j][k];
      if (i == j && sum < kDependent) return std::nullopt;
      lower[i][j] = i == j ? std::sqrt(sum) : sum / lower[j][j];
      if (j < i) y[i] -= lower[i][j] * y[j];
    }
    y[i] /= lower[i][i];
  }
  for (std::size_t i = 3; i-- > 0;) {
    if (!in(i)) continue;
    x[i] = y[i];
    for (std::size_t k = i + 1; k < 3; ++k) x[i] -= lower[k][i] * x[k];
    x[i] /= lower[i][i];
  }
  return x;
}

}  // namespace

void check_cost_model(const CostModel& cost, const char* origin) {
  const double parts[] = {cost.per_sample, cost.per_token, cost.per_token_squared};
  const bool valid = std::all_of(std::begin(parts), std::end(parts),
                                 [](double part) { return std::isfinite(part) && part >= 0; }) &&
                     cost(1) > 0;
  ZOETROPE_CHECK_CONFIG(valid, origin, ": cost of ", parts[0], " + ", parts[1], " * tokens + ",
                        parts[2], " * tokens^2: expected finite, >= 0 and not all 0");
}

void PackContents::add(std::int64_t tokens, double share) {
  const auto s = static_cast<double>(tokens);
  sums[0] += share;
  sums[1] += share * s;
  sums[2] += share * s * s;
}

void MeasuredPacks::add(const PackContents& pack, double seconds) {
  ZOETROPE_CHECK(seconds > 0 && std::isfinite(seconds), "a pack took ", seconds, " s");
  const Vector row = {pack.sums[0] / seconds, pack.sums[1] / seconds, pack.sums[2] / seconds};
  std::size_t next = 0;
  for (std::size_t i = 0; i < 3; ++i) {
    contents[i] += row[i];
    for (std::size_t j = i; j < 3; ++j) gram[next++] += row[i] * row[j];
  }
  packs += 1;
}

void MeasuredPacks::add(const MeasuredPacks& of_rank, double speed) {
  for (std::size_t i = 0; i < 6; ++i) gram[i] += of_rank.gram[i] / (speed * speed);
  for (std::size_t i = 0; i < 3; ++i) contents[i] += of_rank.contents[i] / speed;
  packs += of_rank.packs;
}

double MeasuredPacks::speed(const CostModel& cost) const {
  return (cost.per_sample * contents[0] + cost.per_token * contents[1] +
          cost.per_token_squared * contents[2]) /
         packs;
}

std::array<double, MeasuredPacks::kNumbers> MeasuredPacks::numbers() const {
  std::array<double, kNumbers> all{};
  std::copy(gram.begin(), gram.end(), all.begin());
  std::copy(contents.begin(), contents.end(), all.begin() + 6);
  all[9] = packs;
  return all;
}

MeasuredPacks MeasuredPacks::from_numbers(std::span<const double> numbers) {
  ZOETROPE_CHECK(numbers.size() == kNumbers, numbers.size(), " numbers of measured packs");
  MeasuredPacks result;
  std::copy_n(numbers.begin(), 6, result.gram.begin());
  std::copy_n(numbers.begin() + 6, 3, result.contents.begin());
  result.packs = numbers[9];
  return result;
}

std::array<double, 3> solve_nnls(const std::array<double, 6>& packed, const Vector& right) {
  Matrix gram = unpack(packed);
  Vector scaled = right, length{};
  for (std::size_t i = 0; i < 3; ++i) length[i] = gram[i][i] > 0 ? std::sqrt(gram[i][i]) : 1;
  for (std::size_t i = 0; i < 3; ++i) {
    scaled[i] /= length[i];
    for (std::size_t j = 0; j < 3; ++j) gram[i][j] /= length[i] * length[j];
  }
  Vector best{};
  double most_explained = 0;
  for (unsigned set = 1; set < 8; ++set) {
    const auto x = solve_on(set, gram, scaled);
    if (!x || std::any_of(x->begin(), x->end(), [](double v) { return v < 0; })) continue;
    double explained = 0;  // |b|^2 - |A x - b|^2 of a least-squares solution
    for (std::size_t i = 0; i < 3; ++i) explained += (*x)[i] * scaled[i];
    if (explained <= most_explained) continue;
    most_explained = explained;
    best = *x;
  }
  for (std::size_t i = 0; i < 3; ++i) best[i] /= length[i];
  return best;
}

CostModel fit_cost_model(const MeasuredPacks& packs) {
  const Vector x = solve_nnls(packs.gram, packs.contents);
  return {x[0], x[1], x[2]};
}

}  // namespace zoetrope::data
