// Buckets: their memory, the hooks that autograd calls after it has added a gradient, and the
// collectives that these start.
#include "train/weight_buckets.h"

#include <algorithm>
#include <map>
#include <utility>

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <torch/csrc/autograd/function_hook.h>
#include <torch/csrc/autograd/variable.h>

#include "base/error.h"
#include "model/parallel/buffer.h"

namespace zoetrope::train {
namespace {

using model::buffer_of;

// Buckets of gradients whose sums are on their way before the next waits.
constexpr std::size_t kBucketsInFlight = 2;

bool decays(const std::string& name, const at::Tensor& parameter) {
  return parameter.dim() >= 2 && name.find("scale_shift_table") == std::string::npos &&
         name.find("gamma") == std::string::npos;
}

}  // namespace

Sharding sharding_of(const std::string& name) {
  if (name == "weights") return Sharding::kWeights;
  return name == "gradients" ? Sharding::kGradients : Sharding::kOptimizer;
}

class WeightBuckets::Hook : public torch::autograd::PostAccumulateGradHook {
 public:
  Hook(WeightBuckets& buckets, std::size_t bucket, std::size_t member)
      : buckets_(buckets), bucket_(bucket), member_(member) {}
  void operator()(const at::Tensor&) override { buckets_.take_gradient(bucket_, member_); }

 private:
  WeightBuckets& buckets_;
  std::size_t bucket_, member_;
};

WeightBuckets::WeightBuckets(model::Module& module, std::int64_t bucket_elements, Sharding sharding,
                             launch::Mesh& mesh)
    : module_(module),
      sharding_(mesh.size(launch::Axis::kShard) > 1 ? sharding : Sharding::kOptimizer),
      mesh_(mesh),
      shard_(mesh.group(launch::Axis::kShard)),
      fetch_group_(shard_.split(0)) {
  module.visit_parameters("", [&](const std::string& name, at::Tensor& parameter) {
    ZOETROPE_CHECK(parameter.scalar_type() == at::kFloat, name, " is not fp32");
    add_member(name, parameter, bucket_elements);
  });
  std::size_t index = 0;
  for (Bucket& bucket : buckets_) {
    last_unit_ = std::max(last_unit_, bucket.unit);
    bucket.weights = at::empty({bucket.count}, bucket.members[0].leaf.options());
    held_ += bucket.count;
    if (bucket.is_dropped_between) drop(bucket);
    if (sharding_ == Sharding::kOptimizer) {
      bucket.gradients = hold(at::zeros_like(bucket.weights));
    }
    make_piece(bucket);
    for (std::size_t m = 0; m < bucket.members.size(); ++m) {
      Member& member = bucket.members[m];
      const auto view = [&](const at::Tensor& flat) {
        return flat.narrow(0, member.begin, member.count).view(member.shape);
      };
      member.leaf = view(bucket.weights).requires_grad_();
      if (bucket.gradients.defined()) member.leaf.mutable_grad() = view(bucket.gradients);
      torch::autograd::impl::set_post_acc_grad_hooks(member.leaf,
                                                     std::make_unique<Hook>(*this, index, m));
    }
    ++index;
  }
  std::map<std::string, at::Tensor> leaves, values;
  for (const Bucket& bucket : buckets_) {
    for (const Member& member : bucket.members) leaves[member.name] = member.leaf;
  }
  module.visit_parameters("", [&](const std::string& name, at::Tensor& parameter) {
    values[name] = std::exchange(parameter, leaves.at(name));
  });
  fill_weights([&](const std::string& name, at::Tensor& memory) {
    memory.copy_(values.at(name));
    values.erase(name);
  });
  globals_ = std::make_unique<GlobalTensors>(held(), bucket_elements, mesh);
  if (sharding_ == Sharding::kWeights) module.set_weight_gate(this);
}

WeightBuckets::~WeightBuckets() {
  if (sharding_ == Sharding::kWeights) module_.set_weight_gate(nullptr);
  for (const Bucket& bucket : buckets_) {
    for (const Member& member : bucket.members) {
      torch::autograd::impl::set_post_acc_grad_hooks(member.leaf, nullptr);
    }
  }
}

// Cut parameters lie between others, so one bucket of each kind is open at a time.
void WeightBuckets::add_member(const std::string& name, at::Tensor& parameter,
                               std::int64_t bucket_elements) {
  const model::ParameterPart part = module_.part_of(name);
  const std::int64_t unit =
      sharding_ == Sharding::kWeights ? module_.unit_of(name) : std::int64_t{-1};
  const auto open = std::find_if(buckets_.rbegin(), buckets_.rend(), [&](const Bucket& bucket) {
    return bucket.is_cut == !part.is_whole();
  });
  if (open == buckets_.rend() || open->unit != unit ||
      open->count + parameter.numel() > bucket_elements) {
    Bucket& bucket = buckets_.emplace_back();
    bucket.unit = unit;
    bucket.is_cut = !part.is_whole();
    bucket.is_dropped_between = unit >= 0;
  }
  Bucket& bucket = *std::find_if(buckets_.rbegin(), buckets_.rend(),
                                 [&](const Bucket& b) { return b.is_cut == !part.is_whole(); });
  Member& member = bucket.members.emplace_back();
  member.name = name;
  member.leaf = parameter;
  member.part = part;
  member.begin = bucket.count;
  member.count = parameter.numel();
  member.shape = parameter.sizes().vec();
  bucket.count += member.count;
}

// Elements are shared out evenly: pieces differ by at most one.
void WeightBuckets::make_piece(Bucket& bucket) {
  for (int r = 0; r < shard_.size(); ++r) {
    const auto part = model::even_part(bucket.count, r, shard_.size());
    bucket.counts.push_back(static_cast<std::size_t>(part.count));
  }
  const auto mine = model::even_part(bucket.count, shard_.rank(), shard_.size());
  bucket.begin = mine.begin;
  const auto options = bucket.weights.options();
  Piece& piece = pieces_.emplace_back();
  piece.is_cut = bucket.is_cut;
  const auto place = [&](const at::Tensor& whole) {
    return whole.narrow(0, mine.begin, mine.count);
  };
  piece.weights =
      bucket.is_dropped_between ? hold(at::empty({mine.count}, options)) : place(bucket.weights);
  piece.gradients =
      bucket.gradients.defined() ? place(bucket.gradients) : hold(at::zeros({mine.count}, options));
  for (const Member& member : bucket.members) {
    const std::int64_t first = std::max(member.begin, mine.begin);
    const std::int64_t last = std::min(member.begin + member.count, mine.end());
    if (first < last) {
      piece.ranges.push_back(
          {first - mine.begin, last - first, decays(member.name, member.leaf), member.name});
    }
  }
}

std::vector<at::Tensor> WeightBuckets::weights() const {
  std::vector<at::Tensor> all;
  for (const Piece& piece : pieces_) all.push_back(piece.weights);
  return all;
}

std::vector<at::Tensor> WeightBuckets::gradients() const {
  std::vector<at::Tensor> all;
  for (const Piece& piece : pieces_) all.push_back(piece.gradients);
  return all;
}

at::Tensor WeightBuckets::hold(const at::Tensor& memory) {
  held_ += memory.numel();
  peak_ = std::max(peak_, held_);
  return memory;
}

void WeightBuckets::ensure_gradients(Bucket& bucket) {
  if (bucket.gradients.defined()) return;
  bucket.gradients = hold(at::zeros({bucket.count}, bucket.weights.options()));
}

std::int64_t WeightBuckets::num_owned() const {
  std::int64_t count = 0;
  for (const Piece& piece : pieces_) count += piece.count();
  return count;
}

launch::Communicator& WeightBuckets::copies_of(const Bucket& bucket) const {
  return bucket.is_cut ? mesh_.replicas() : mesh_.copies();
}

void WeightBuckets::fill(const model::ParameterVisitor& fill_one,
                         const std::vector<at::Tensor>& pieces) const {
  const at::NoGradGuard no_grad;
  for (std::size_t b = 0; b < buckets_.size(); ++b) {
    const Bucket& bucket = buckets_[b];
    const at::Tensor whole = at::empty({bucket.count}, at::kFloat);
    for (const Member& member : bucket.members) {
      at::Tensor memory = whole.narrow(0, member.begin, member.count).view(member.shape);
      fill_one(member.name, memory);
    }
    pieces[b].copy_(whole.narrow(0, bucket.begin, pieces[b].numel()));
  }
}

void WeightBuckets::fill_weights(const model::ParameterVisitor& fill_one) {
  fill(fill_one, weights());
  publish();
}

void WeightBuckets::begin() {
  for (const Piece& piece : pieces_) piece.gradients.zero_();
  for (const Bucket& bucket : buckets_) {
    if (bucket.gradients.defined()) bucket.gradients.zero_();
  }
}

void WeightBuckets::begin_pass(bool last) {
  flush();
  is_last_pass_ = last;
  for (Bucket& bucket : buckets_) bucket.missing = bucket.members.size();
  unsent_ = unretired_ = buckets_.size();
}

void WeightBuckets::take_gradient(std::size_t index, std::size_t m) {
  Bucket& bucket = buckets_[index];
  ZOETROPE_CHECK(bucket.missing > 0,
                 "a gradient was added after its bucket had left: each parameter gets one gradient "
                 "a pass");
  if (sharding_ != Sharding::kOptimizer) {
    Member& member = bucket.members[m];
    ensure_gradients(bucket);
    bucket.gradients.narrow(0, member.begin, member.count)
        .view(member.shape)
        .copy_(member.leaf.grad());
    member.leaf.mutable_grad().reset();
  }
  if (--bucket.missing > 0) return;
  if (bucket.is_dropped_between) drop(bucket);
  while (unsent_ > 0 && buckets_[unsent_ - 1].missing == 0) send(--unsent_);
}

void WeightBuckets::send(std::size_t index) {
  Bucket& bucket = buckets_[index];
  const Piece& piece = pieces_[index];
  if (sharding_ == Sharding::kOptimizer) {
    if (!is_last_pass_) return;
    bucket.reducing = shard_.size() > 1
                          ? shard_.start_reduce_scatter(buffer_of(bucket.gradients),
                                                        buffer_of(piece.gradients), bucket.counts)
                          : copies_of(bucket).start_all_reduce(buffer_of(bucket.gradients),
                                                               launch::Reduction::kSum);
    return;
  }
  ensure_gradients(bucket);
  bucket.received = hold(at::empty_like(piece.gradients));
  bucket.reducing = shard_.start_reduce_scatter(buffer_of(bucket.gradients),
                                                buffer_of(bucket.received), bucket.counts);
  while (unretired_ > unsent_ + kBucketsInFlight) retire(--unretired_);
}

// The sums over the shard group are here; those over its copies follow.
void WeightBuckets::retire(std::size_t index) {
  Bucket& bucket = buckets_[index];
  const Piece& piece = pieces_[index];
  if (!bucket.reducing || shard_.size() == 1) return;
  bucket.reducing->wait();
  bucket.reducing.reset();
  if (sharding_ != Sharding::kOptimizer) {
    piece.gradients.add_(bucket.received);
    held_ -= bucket.count + piece.count();
    bucket.received.reset();
    bucket.gradients.reset();
  }
  if (is_last_pass_) {
    bucket.reducing =
        copies_of(bucket).start_all_reduce(buffer_of(piece.gradients), launch::Reduction::kSum);
  }
}

// What waits for gradients that never came leaves: they are zero.
void WeightBuckets::flush() {
  while (unsent_ > 0) send(--unsent_);
  while (unretired_ > 0) retire(--unretired_);
}

void WeightBuckets::finish() {
  flush();
  for (Bucket& bucket : buckets_) {
    bucket.missing = 0;
    if (bucket.reducing) bucket.reducing->wait();
    bucket.reducing.reset();
    if (bucket.is_dropped_between) drop(bucket);
  }
}

void WeightBuckets::publish() {
  if (shard_.size() == 1) return;
  std::vector<std::unique_ptr<launch::Request>> requests;
  for (std::size_t b = 0; b < buckets_.size(); ++b) {
    if (buckets_[b].is_dropped_between) continue;
    requests.push_back(shard_.start_all_gather(buffer_of(pieces_[b].weights),
                                               buffer_of(buckets_[b].weights), buckets_[b].counts));
  }
  for (const auto& request : requests) request->wait();
}

// The views that modules and graphs hold share the storage: they see the memory come and go.
void WeightBuckets::allocate(Bucket& bucket) {
  c10::StorageImpl* storage = bucket.weights.storage().unsafeGetStorageImpl();
  if (storage->data() != nullptr) return;
  storage->set_data_ptr_noswap(storage->allocator()->allocate(storage->nbytes()));
  held_ += bucket.count;
  peak_ = std::max(peak_, held_);
}

void WeightBuckets::drop(Bucket& bucket) {
  if (bucket.fetching) bucket.fetching->wait();
  bucket.fetching.reset();
  bucket.is_whole = false;
  c10::StorageImpl* storage = bucket.weights.storage().unsafeGetStorageImpl();
  if (storage->data() == nullptr) return;
  storage->set_data_ptr_noswap(at::DataPtr(nullptr, bucket.weights.device()));
  held_ -= bucket.count;
}

void WeightBuckets::start_fetch(std::int64_t unit) {
  for (std::size_t b = 0; b < buckets_.size(); ++b) {
    Bucket& bucket = buckets_[b];
    if (bucket.unit != unit || unit < 0 || bucket.is_whole || bucket.fetching) continue;
    allocate(bucket);
    bucket.fetching = fetch_group_->start_all_gather(buffer_of(pieces_[b].weights),
                                                     buffer_of(bucket.weights), bucket.counts);
  }
}

void WeightBuckets::fetch(std::int64_t unit, bool backward) {
  start_fetch(unit);
  for (Bucket& bucket : buckets_) {
    if (bucket.unit != unit || !bucket.fetching) continue;
    bucket.fetching->wait();
    bucket.fetching.reset();
    bucket.is_whole = true;
  }
  start_fetch(backward ? unit - 1 : unit + 1);
}

void WeightBuckets::release(std::int64_t unit) {
  if (unit == last_unit_ && c10::GradMode::is_enabled()) return;  // backward begins with it
  for (Bucket& bucket : buckets_) {
    if (bucket.unit == unit) drop(bucket);
  }
}

std::vector<GlobalTensors::Held> WeightBuckets::held() const {
  std::vector<GlobalTensors::Held> all;
  for (std::size_t b = 0; b < buckets_.size(); ++b) {
    const std::int64_t begin = buckets_[b].begin, end = begin + pieces_[b].count();
    for (const Member& member : buckets_[b].members) {
      const std::int64_t first = std::clamp(member.begin, begin, end);
      const std::int64_t last = std::clamp(member.begin + member.count, begin, end);
      GlobalTensors::Held& held = all.emplace_back();
      held.name = member.name;
      held.part = member.part;
      held.shape = member.shape;
      held.piece = b;
      if (first == last) continue;  // another rank has it
      held.place = first - begin;
      held.begin = first - member.begin;
      held.count = last - first;
    }
  }
  return all;
}

}  // namespace zoetrope::train
