// Gradients of a flat buffer summed over ranks in buckets, while the backward pass still runs: a
// bucket leaves when the last gradient in it has been added. The buckets' order is fixed, so every
// rank starts the same operations in the same order, whichever gradients arrive first.
//
// With a shard group of N ranks each rank ends with the sums of its piece of every bucket, one
// N-th; the rest of the buffer is then undefined. Over the replica group pieces are summed again.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include <ATen/core/Tensor.h>

#include "launch/communicator.h"

namespace zoetrope::train {

// Elements [begin, begin + count) of the flat buffer.
struct FlatRange {
  std::int64_t begin = 0, count = 0;
  std::int64_t end() const { return begin + count; }
};

// Neighbouring parameters, up to about so many elements.
std::vector<FlatRange> cut_into_buckets(const std::vector<FlatRange>& parameters,
                                        std::int64_t bucket_elements);

class GradientBuckets {
 public:
  // `parameters[i]` is a leaf whose gradient lies at `places[i]` of `gradients`. Adds a hook to
  // each; the destructor removes them. Each gradient is added to once a step.
  GradientBuckets(std::vector<at::Tensor> parameters, std::vector<FlatRange> places,
                  at::Tensor gradients, std::int64_t bucket_elements, launch::Communicator& shard,
                  launch::Communicator& replicas);
  ~GradientBuckets();
  GradientBuckets(const GradientBuckets&) = delete;
  GradientBuckets& operator=(const GradientBuckets&) = delete;

  // Before a backward pass.
  void begin();
  // After it: sends the buckets that wait for gradients that never came (they are zero), then waits
  // for all.
  void finish();

  // This rank's piece of each bucket, in order.
  const std::vector<FlatRange>& pieces() const { return pieces_; }
  // Every rank's pieces of `flat` (laid out as the gradients) to all ranks of the shard group.
  void all_gather(const at::Tensor& flat) const;

 private:
  class Hook;
  struct Bucket {
    FlatRange range;
    std::vector<std::size_t> counts;  // of each rank's piece
    std::int64_t parameters = 0, missing = 0;
    std::unique_ptr<launch::Request> request;
  };
  void count_down(std::size_t bucket);
  void send(Bucket& bucket, const FlatRange& piece);

  std::vector<at::Tensor> parameters_;
  at::Tensor gradients_;
  launch::Communicator& shard_;
  launch::Communicator& replicas_;
  std::vector<Bucket> buckets_;
  std::vector<FlatRange> pieces_;
  std::size_t unsent_ = 0;  // buckets [0, unsent_) have not left; the last leaves first
};

}  // namespace zoetrope::train
