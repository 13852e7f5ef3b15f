// Buckets of gradients, sent from hooks that autograd calls after it has added a gradient.
#include "train/gradient_buckets.h"

#include <torch/csrc/autograd/function_hook.h>
#include <torch/csrc/autograd/variable.h>

#include "base/error.h"

namespace zoetrope::train {
namespace {

launch::Buffer buffer_of(const at::Tensor& flat, const FlatRange& range) {
  return {flat.data_ptr<float>() + range.begin, static_cast<std::size_t>(range.count),
          launch::Element::kFloat};
}

// Elements are shared out evenly: pieces differ by at most one.
FlatRange piece_of(const FlatRange& range, std::int64_t rank, std::int64_t ranks) {
  const std::int64_t first = range.count * rank / ranks, last = range.count * (rank + 1) / ranks;
  return {range.begin + first, last - first};
}

}  // namespace

std::vector<FlatRange> cut_into_buckets(const std::vector<FlatRange>& parameters,
                                        std::int64_t bucket_elements) {
  std::vector<FlatRange> buckets;
  for (const FlatRange& parameter : parameters) {
    if (buckets.empty() || buckets.back().count + parameter.count > bucket_elements) {
      buckets.push_back({parameter.begin, 0});
    }
    buckets.back().count += parameter.count;
  }
  return buckets;
}

class GradientBuckets::Hook : public torch::autograd::PostAccumulateGradHook {
 public:
  Hook(GradientBuckets& buckets, std::size_t bucket) : buckets_(buckets), bucket_(bucket) {}
  void operator()(const at::Tensor&) override { buckets_.count_down(bucket_); }

 private:
  GradientBuckets& buckets_;
  std::size_t bucket_;
};

GradientBuckets::GradientBuckets(std::vector<at::Tensor> parameters, std::vector<FlatRange> places,
                                 at::Tensor gradients, std::int64_t bucket_elements,
                                 launch::Communicator& shard, launch::Communicator& replicas)
    : parameters_(std::move(parameters)),
      gradients_(std::move(gradients)),
      shard_(shard),
      replicas_(replicas) {
  for (const FlatRange& range : cut_into_buckets(places, bucket_elements)) {
    Bucket& bucket = buckets_.emplace_back();
    bucket.range = range;
    for (int r = 0; r < shard.size(); ++r) {
      bucket.counts.push_back(static_cast<std::size_t>(piece_of(range, r, shard.size()).count));
    }
    pieces_.push_back(piece_of(range, shard.rank(), shard.size()));
  }
  std::size_t bucket = 0;
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    while (places[i].begin >= buckets_[bucket].range.end()) ++bucket;
    ++buckets_[bucket].parameters;
    torch::autograd::impl::set_post_acc_grad_hooks(parameters_[i],
                                                   std::make_unique<Hook>(*this, bucket));
  }
}

GradientBuckets::~GradientBuckets() {
  for (const at::Tensor& parameter : parameters_) {
    torch::autograd::impl::set_post_acc_grad_hooks(parameter, nullptr);
  }
}

void GradientBuckets::begin() {
  for (Bucket& bucket : buckets_) bucket.missing = bucket.parameters;
  unsent_ = buckets_.size();
}

void GradientBuckets::count_down(std::size_t bucket) {
  ZOETROPE_CHECK(buckets_[bucket].missing > 0,
                 "a gradient was added after its bucket had left: each parameter gets one gradient "
                 "a step");
  --buckets_[bucket].missing;
  while (unsent_ > 0 && buckets_[unsent_ - 1].missing == 0) {
    --unsent_;
    send(buckets_[unsent_], pieces_[unsent_]);
  }
}

void GradientBuckets::send(Bucket& bucket, const FlatRange& piece) {
  const launch::Buffer all = buffer_of(gradients_, bucket.range);
  bucket.request = shard_.size() > 1 ? shard_.start_reduce_scatter(
                                           all, buffer_of(gradients_, piece), bucket.counts)
                                     : replicas_.start_all_reduce(all, launch::Reduction::kSum);
}

void GradientBuckets::finish() {
  for (; unsent_ > 0; --unsent_) send(buckets_[unsent_ - 1], pieces_[unsent_ - 1]);
  for (std::size_t b = buckets_.size(); b-- > 0;) {
    buckets_[b].request->wait();
    buckets_[b].request.reset();
    if (shard_.size() == 1) continue;
    buckets_[b].request =
        replicas_.start_all_reduce(buffer_of(gradients_, pieces_[b]), launch::Reduction::kSum);
  }
  for (Bucket& bucket : buckets_) {
    bucket.missing = 0;
    if (bucket.request) bucket.request->wait();
    bucket.request.reset();
  }
}

void GradientBuckets::all_gather(const at::Tensor& flat) const {
  if (shard_.size() == 1) return;
  std::vector<std::unique_ptr<launch::Request>> requests;
  for (std::size_t b = 0; b < buckets_.size(); ++b) {
    requests.push_back(shard_.start_all_gather(
        buffer_of(flat, pieces_[b]), buffer_of(flat, buckets_[b].range), buckets_[b].counts));
  }
  for (const auto& request : requests) request->wait();
}

}  // namespace zoetrope::train
