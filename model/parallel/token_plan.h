// Which tokens of a batch this rank holds. Two levels:
//   joint tokens: what the ranks of a tensor group work on together, in attention and MLP, where
//     they share out heads and channels instead. With a shared pack they are one group's share.
//   own tokens: this rank's part of the joint ones, everywhere else (norms, residual, head, loss).
// Without a tensor group both are the same.
#pragma once

#include <cstdint>
#include <vector>

#include <ATen/core/Tensor.h>

#include "launch/communicator.h"

namespace zoetrope::model {

// [begin, begin + count) of something.
struct Part {
  std::int64_t begin = 0, count = 0;
  std::int64_t end() const { return begin + count; }
};

// Part `rank` of `total` things shared out evenly: parts differ by at most one.
Part even_part(std::int64_t total, int rank, int ranks);

class TokenPlan {
 public:
  // Neighbouring segments whose tokens the ranks of `group` share out evenly, in rank order,
  // wherever the segments end. Without a group this rank holds all.
  struct Pack {
    std::int64_t num_segments = 0;
    launch::Communicator* group = nullptr;
  };
  // One rank holds all.
  explicit TokenPlan(std::vector<std::int64_t> segment_lengths);
  // `packs` cover the segments in order. `tensor`: the ranks that share out heads and channels, all
  // with the same segments and packs. Groups outlive the plan. Error with the numbers when this
  // rank would get no token.
  TokenPlan(const std::vector<std::int64_t>& segment_lengths, const std::vector<Pack>& packs,
            launch::Communicator* tensor = nullptr);

  struct SharedPack {
    launch::Communicator* group = nullptr;  // null: one rank
    std::vector<std::int64_t> lengths;      // of its segments
    Part tokens;                            // its place in the batch
    std::vector<Part> parts;                // of each rank, counted from the pack's start
    Part mine() const { return parts[group != nullptr ? group->rank() : 0]; }
    // Tokens of each segment in `part`; zeros included.
    std::vector<std::int64_t> lengths_in(const Part& part) const;
  };
  const std::vector<SharedPack>& packs() const { return packs_; }
  launch::Communicator* tensor() const { return tensor_; }  // null: one rank

  std::int64_t total() const { return total_; }  // tokens of the batch
  std::int64_t num_joint() const { return num_joint_; }
  std::int64_t num_own() const { return own_.count; }
  // Elements of each tensor rank's own tokens of this width.
  std::vector<std::size_t> own_counts(std::int64_t width) const;

  // This rank's rows of a tensor of all tokens: a view where they are neighbours.
  at::Tensor own(const at::Tensor& all_T) const { return rows(all_T, own_places_); }
  at::Tensor joint(const at::Tensor& all_T) const { return rows(all_T, joint_places_); }
  const std::vector<Part>& own_places() const { return own_places_; }

  // The joint tokens by segment, in order; segments without any are left out.
  struct Piece {
    std::int64_t segment = 0, length = 0;
  };
  const std::vector<Piece>& joint_pieces() const { return pieces_; }

 private:
  at::Tensor rows(const at::Tensor& all_T, const std::vector<Part>& places) const;

  std::vector<SharedPack> packs_;
  launch::Communicator* tensor_;
  std::int64_t total_ = 0, num_joint_ = 0;
  Part own_;  // among the joint tokens
  std::vector<Part> joint_places_, own_places_;
  std::vector<Piece> pieces_;
};

}  // namespace zoetrope::model
