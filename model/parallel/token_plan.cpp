// Shares of packs, and what of them belongs to one rank of a tensor group.
#include "model/parallel/token_plan.h"

#include <algorithm>
#include <numeric>

#include <ATen/ops/cat.h>

#include "base/error.h"

namespace zoetrope::model {
namespace {

launch::Communicator* group_or_null(launch::Communicator* group) {
  return group != nullptr && group->size() > 1 ? group : nullptr;
}

std::int64_t sum_of(const std::vector<std::int64_t>& lengths) {
  return std::accumulate(lengths.begin(), lengths.end(), std::int64_t{0});
}

// `part` of the elements that `places` list.
std::vector<Part> narrow_places(const std::vector<Part>& places, const Part& part) {
  std::vector<Part> result;
  std::int64_t start = 0;
  for (const Part& place : places) {
    const std::int64_t first = std::max(start, part.begin);
    const std::int64_t last = std::min(start + place.count, part.end());
    if (first < last) result.push_back({place.begin + first - start, last - first});
    start += place.count;
  }
  return result;
}

}  // namespace

Part even_part(std::int64_t total, int rank, int ranks) {
  const std::int64_t first = total * rank / ranks, last = total * (rank + 1) / ranks;
  return {first, last - first};
}

std::vector<std::int64_t> TokenPlan::SharedPack::lengths_in(const Part& part) const {
  std::vector<std::int64_t> counts;
  std::int64_t start = 0;
  for (const std::int64_t length : lengths) {
    const std::int64_t stop = start + length;
    counts.push_back(
        std::max<std::int64_t>(0, std::min(stop, part.end()) - std::max(start, part.begin)));
    start = stop;
  }
  return counts;
}

TokenPlan::TokenPlan(std::vector<std::int64_t> segment_lengths)
    : TokenPlan(segment_lengths, {{static_cast<std::int64_t>(segment_lengths.size()), nullptr}}) {}

TokenPlan::TokenPlan(const std::vector<std::int64_t>& segment_lengths,
                     const std::vector<Pack>& packs, launch::Communicator* tensor)
    : tensor_(group_or_null(tensor)) {
  auto next = segment_lengths.begin();
  std::int64_t segment = 0;
  for (const Pack& pack : packs) {
    ZOETROPE_CHECK(segment_lengths.end() - next >= pack.num_segments, "packs of more than the ",
                   segment_lengths.size(), " segments");
    SharedPack shared;
    shared.group = group_or_null(pack.group);
    shared.lengths.assign(next, next + pack.num_segments);
    next += pack.num_segments;
    shared.tokens = {total_, sum_of(shared.lengths)};
    const int ranks = shared.group != nullptr ? shared.group->size() : 1;
    for (int r = 0; r < ranks; ++r) {
      shared.parts.push_back(even_part(shared.tokens.count, r, ranks));
    }
    const Part mine = shared.mine();
    joint_places_.push_back({total_ + mine.begin, mine.count});
    for (const std::int64_t length : shared.lengths_in(mine)) {
      if (length > 0) pieces_.push_back({segment, length});
      ++segment;
    }
    num_joint_ += mine.count;
    total_ += shared.tokens.count;
    packs_.push_back(std::move(shared));
  }
  ZOETROPE_CHECK(next == segment_lengths.end(), "packs of ", segment, " segments, but there are ",
                 segment_lengths.size());
  const int ranks = tensor_ != nullptr ? tensor_->size() : 1;
  own_ = even_part(num_joint_, tensor_ != nullptr ? tensor_->rank() : 0, ranks);
  own_places_ = narrow_places(joint_places_, own_);
  ZOETROPE_CHECK(own_.count > 0, "a sequence of ", total_, " tokens, ", num_joint_,
                 " of them for a group of ", ranks, " ranks, leaves this rank none");
}

std::vector<std::size_t> TokenPlan::own_counts(std::int64_t width) const {
  std::vector<std::size_t> counts;
  const int ranks = tensor_ != nullptr ? tensor_->size() : 1;
  for (int r = 0; r < ranks; ++r) {
    counts.push_back(static_cast<std::size_t>(even_part(num_joint_, r, ranks).count * width));
  }
  return counts;
}

at::Tensor TokenPlan::rows(const at::Tensor& all_T, const std::vector<Part>& places) const {
  ZOETROPE_CHECK(all_T.size(0) == total(), "a plan of ", total(), " tokens, a tensor of ",
                 all_T.size(0));
  std::vector<at::Tensor> parts;
  for (const Part& place : places) parts.push_back(all_T.narrow(0, place.begin, place.count));
  return parts.size() == 1 ? parts[0] : at::cat(parts);
}

}  // namespace zoetrope::model
