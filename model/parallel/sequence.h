// Sequence parallelism (Ulysses, arXiv:2309.14509): the ranks of a group share out the tokens of
// one packed sequence; for attention they trade tokens for heads, so that each sees all tokens of
// some heads. Any number of tokens and heads; a rank may have no head.
#pragma once

#include <cstdint>
#include <vector>

#include <ATen/core/Tensor.h>

#include "launch/communicator.h"

namespace zoetrope::model {

// Which tokens of the packed sequence this rank holds.
class SequencePlan {
 public:
  // Equal shares of `tokens`, in rank order; they differ by at most one. Error when a rank would
  // get none. Without a group one rank holds all. `group` outlives the plan.
  explicit SequencePlan(std::int64_t tokens, launch::Communicator* group = nullptr);

  std::int64_t begin() const { return bounds_[rank_]; }
  std::int64_t count() const { return bounds_[rank_ + 1] - bounds_[rank_]; }
  std::int64_t total() const { return bounds_.back(); }
  // This rank's rows of a tensor of all tokens, a view.
  at::Tensor mine(const at::Tensor& all_T) const;

  // This rank's part of the segments that it holds tokens of: the first such segment, and how many
  // tokens of each.
  struct Pieces {
    std::int64_t first_segment = 0;
    std::vector<std::int64_t> lengths;
  };
  Pieces pieces(const std::vector<std::int64_t>& segment_lengths) const;

  launch::Communicator* group() const { return group_; }
  const std::vector<std::int64_t>& bounds() const { return bounds_; }

 private:
  launch::Communicator* group_;  // null: one rank
  int rank_ = 0;
  std::vector<std::int64_t> bounds_;  // rank r holds tokens [bounds[r], bounds[r + 1])
};

// packed_attention of each segment with itself over the whole sequence: q, k, v and the result hold
// this rank's tokens [t, N, H], `segment_lengths` are those of the whole. Differentiable.
// Collective over the plan's group, forward and backward.
at::Tensor sequence_attention(const at::Tensor& q_TNH, const at::Tensor& k_TNH,
                              const at::Tensor& v_TNH,
                              const std::vector<std::int64_t>& segment_lengths,
                              const SequencePlan& plan);

}  // namespace zoetrope::model
