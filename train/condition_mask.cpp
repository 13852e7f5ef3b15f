// The kinds of condition masks.
#include "train/condition_mask.h"

#include <algorithm>
#include <array>
#include <numeric>
#include <utility>
#include <vector>

#include <ATen/ops/zeros.h>

namespace zoetrope::train {
namespace {

using Kind = std::pair<const char*, double>;

std::array<Kind, 8> kinds(const ConditionConfig& c) {
  return {{{"first", c.first},
           {"last", c.last},
           {"ends", c.ends},
           {"prefix", c.prefix},
           {"suffix", c.suffix},
           {"join", c.join},
           {"frames", c.frames},
           {"region", c.region}}};
}

std::string draw_kind(const ConditionConfig& config, Random& random) {
  double draw = random.uniform();
  for (const auto& [name, share] : kinds(config)) {
    if (draw < share) return name;
    draw -= share;
  }
  return "none";
}

// Frames of `kind` among `frames`; empty when there are too few.
std::vector<std::int64_t> draw_frames(const std::string& kind, std::int64_t frames,
                                      Random& random) {
  const std::int64_t fewest = kind == "ends" || kind == "join" ? 3 : 2;
  if (frames < fewest) return {};
  std::vector<std::int64_t> order(static_cast<std::size_t>(frames));
  std::iota(order.begin(), order.end(), std::int64_t{0});
  const auto head = [&](std::int64_t n) { return std::vector(order.begin(), order.begin() + n); };
  const auto tail = [&](std::int64_t n) { return std::vector(order.end() - n, order.end()); };
  if (kind == "first") return head(1);
  if (kind == "last") return tail(1);
  if (kind == "prefix") return head(random.integer(1, frames - 1));
  if (kind == "suffix") return tail(random.integer(1, frames - 1));
  if (kind == "frames") {  // the first so many of a shuffle
    const std::int64_t count = random.integer(1, frames - 1);
    for (std::int64_t i = 0; i < count; ++i)
      std::swap(order[i], order[random.integer(i, frames - 1)]);
    return head(count);
  }
  const std::int64_t at_start = kind == "join" ? random.integer(1, frames - 2) : 1;
  const std::int64_t at_end = kind == "join" ? random.integer(1, frames - 1 - at_start) : 1;
  std::vector<std::int64_t> both = head(at_start);
  const auto end = tail(at_end);
  both.insert(both.end(), end.begin(), end.end());
  return both;
}

// [begin, end) of at least one place among `size`.
std::pair<std::int64_t, std::int64_t> draw_range(std::int64_t size, Random& random) {
  const std::int64_t a = random.integer(0, size - 1), b = random.integer(0, size - 1);
  return {std::min(a, b), std::max(a, b) + 1};
}

at::Tensor draw_region(const model::Grid& grid, Random& random) {
  if (grid.h * grid.w < 2) return {};
  std::pair<std::int64_t, std::int64_t> rows, columns;
  do {
    rows = draw_range(grid.h, random);
    columns = draw_range(grid.w, random);
  } while ((rows.second - rows.first) * (columns.second - columns.first) == grid.h * grid.w);
  const at::Tensor edited = at::zeros({grid.t, grid.h, grid.w}, at::kBool);
  edited.narrow(1, rows.first, rows.second - rows.first)
      .narrow(2, columns.first, columns.second - columns.first)
      .fill_(true);
  return edited.logical_not().flatten();
}

}  // namespace

ConditionMask draw_condition(const ConditionConfig& config, const model::Grid& grid,
                             Random random) {
  const std::string kind = draw_kind(config, random);
  if (kind == "none") return {};
  if (kind == "region") {
    const at::Tensor clean_T = draw_region(grid, random);
    return clean_T.defined() ? ConditionMask{kind, clean_T} : ConditionMask{};
  }
  const auto frames = draw_frames(kind, grid.t, random);
  if (frames.empty()) return {};
  const at::Tensor clean = at::zeros({grid.t, grid.h * grid.w}, at::kBool);
  for (const std::int64_t frame : frames) clean.select(0, frame).fill_(true);
  return {kind, clean.flatten()};
}

}  // namespace zoetrope::train
