// Parameters travel in batches, each by one all-to-all: a rank sends its elements of a tensor to
// the tensor's owner and to nobody else.
#include "train/global_tensors.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <span>

#include <ATen/ops/empty.h>
#include <c10/util/accumulate.h>

#include "base/error.h"

namespace zoetrope::train {
namespace {

constexpr int kElsewhere = -2;  // the owner is in another group

std::string bytes_of(std::span<const std::int64_t> numbers) {
  return {reinterpret_cast<const char*>(numbers.data()), numbers.size_bytes()};
}

std::int64_t sum_of(const std::vector<std::size_t>& counts) {
  return static_cast<std::int64_t>(std::accumulate(counts.begin(), counts.end(), std::size_t{0}));
}

launch::Buffer floats_of(const at::Tensor& values) {
  return {values.mutable_data_ptr(), static_cast<std::size_t>(values.numel()),
          launch::Element::kFloat};
}

void copy_floats(float* to, const float* from, std::int64_t count) {
  if (count > 0) std::memcpy(to, from, static_cast<std::size_t>(count) * sizeof(float));
}

}  // namespace

// Parameters [first, last), and the place of each one's owner in the group.
struct GlobalTensors::Batch {
  std::size_t first = 0, last = 0;
  std::vector<int> owners;
  bool is_empty = true;
};

GlobalTensors::GlobalTensors(std::vector<Held> held, std::int64_t batch_elements,
                             launch::Mesh& mesh)
    : held_(std::move(held)),
      batch_elements_(batch_elements),
      group_(mesh.weights()),
      tensors_(mesh.size(launch::Axis::kTensor)) {
  // Buckets may be cut differently where parts are uneven: names are the order that all ranks have.
  std::sort(held_.begin(), held_.end(),
            [](const Held& a, const Held& b) { return a.name < b.name; });
  std::vector<std::int64_t> mine = {mesh.world().rank()};
  for (const Held& h : held_) {
    mine.insert(mine.end(), {h.begin, h.count, h.part.begin, h.part.count});
  }
  const auto all = group_.all_gather(bytes_of(mine));
  shares_.resize(all.size() * held_.size());
  for (std::size_t r = 0; r < all.size(); ++r) {
    ZOETROPE_CHECK(all[r].size() == mine.size() * sizeof(std::int64_t), "ranks have ",
                   mine.size() / 4, " and ", all[r].size() / 4 / sizeof(std::int64_t),
                   " parameters");
    std::int64_t rank = 0;
    std::memcpy(&rank, all[r].data(), sizeof(rank));
    place_of_[static_cast<int>(rank)] = static_cast<int>(r);
    if (held_.empty()) continue;
    std::memcpy(&shares_[r * held_.size()], all[r].data() + sizeof(rank),
                held_.size() * sizeof(Share));
  }
}

std::vector<std::int64_t> GlobalTensors::global_shape(std::size_t parameter) const {
  return held_[parameter].part.global_shape(held_[parameter].shape);
}

std::map<std::string, std::int64_t> GlobalTensors::bytes() const {
  std::map<std::string, std::int64_t> sizes;
  for (std::size_t p = 0; p < held_.size(); ++p) {
    sizes[held_[p].name] =
        c10::multiply_integers(global_shape(p)) * static_cast<std::int64_t>(sizeof(float));
  }
  return sizes;
}

GlobalTensors::Batch GlobalTensors::make_batch(std::size_t first, const OwnerOf& owner_of) const {
  Batch batch{first, first, {}};
  for (std::int64_t elements = 0; batch.last < held_.size(); ++batch.last) {
    elements += c10::multiply_integers(global_shape(batch.last));
    if (batch.last > first && elements > batch_elements_) break;
    const int owner = owner_of(held_[batch.last].name);
    const auto found = place_of_.find(owner);
    batch.owners.push_back(owner == kEveryRank        ? kEveryRank
                           : found == place_of_.end() ? kElsewhere
                                                      : found->second);
    batch.is_empty &= batch.owners.back() == kElsewhere;
  }
  return batch;
}

// Of parameters that are not cut, every rank along the tensor axis holds the same.
bool GlobalTensors::travels(const Batch& batch, std::size_t parameter, int from, int to) const {
  const int owner = batch.owners[parameter - batch.first];
  return from != to && (owner == kEveryRank || owner == to) &&
         (!held_[parameter].part.is_whole() || from % tensors_ == to % tensors_);
}

TensorMap GlobalTensors::gather(const std::vector<at::Tensor>& pieces,
                                const OwnerOf& owner_of) const {
  const int me = group_.rank();
  TensorMap result;
  Batch batch;
  for (std::size_t first = 0; first < held_.size(); first = batch.last) {
    batch = make_batch(first, owner_of);
    if (batch.is_empty) continue;
    std::vector<at::Tensor> held_here;  // this rank's elements, in host memory
    for (std::size_t p = batch.first; p < batch.last; ++p) {
      held_here.push_back(pieces[held_[p].piece].narrow(0, held_[p].place, held_[p].count).cpu());
    }
    const auto mine = [&](std::size_t p) { return held_here[p - batch.first]; };
    std::vector<std::size_t> num_sent(group_.size()), num_received(group_.size());
    for (int r = 0; r < group_.size(); ++r) {
      const auto place = static_cast<std::size_t>(r);
      for (std::size_t p = batch.first; p < batch.last; ++p) {
        if (travels(batch, p, me, r)) num_sent[place] += static_cast<std::size_t>(held_[p].count);
        if (travels(batch, p, r, me))
          num_received[place] += static_cast<std::size_t>(share(r, p).count);
      }
    }
    const at::Tensor sent = at::empty({sum_of(num_sent)}, at::kFloat);
    const at::Tensor received = at::empty({sum_of(num_received)}, at::kFloat);
    float* end = sent.mutable_data_ptr<float>();
    for (int r = 0; r < group_.size(); ++r) {
      for (std::size_t p = batch.first; p < batch.last; ++p) {
        if (!travels(batch, p, me, r)) continue;
        copy_floats(end, mine(p).const_data_ptr<float>(), held_[p].count);
        end += held_[p].count;
      }
    }
    group_.all_to_all(floats_of(sent), num_sent, floats_of(received), num_received);
    std::vector<const float*> next = {received.const_data_ptr<float>()};
    for (const std::size_t count : num_received) {
      next.push_back(next.back() + static_cast<std::ptrdiff_t>(count));
    }
    for (std::size_t p = batch.first; p < batch.last; ++p) {
      const int owner = batch.owners[p - batch.first];
      if (owner == kEveryRank || owner == me) result[held_[p].name] = join(p, mine(p), next, me);
    }
  }
  return result;
}

// `next`: by rank, what it sent of this parameter and those after it.
at::Tensor GlobalTensors::join(std::size_t p, const at::Tensor& mine,
                               std::vector<const float*>& next, int me) const {
  const Held& held = held_[p];
  const at::Tensor whole = at::empty(global_shape(p), at::kFloat);
  for (int t = 0; t < tensors_; ++t) {
    if (held.part.is_whole() && t != me % tensors_) continue;
    std::vector<std::int64_t> shape = held.shape;
    const Share& along = share(t, p);
    if (!held.part.is_whole()) shape[static_cast<std::size_t>(held.part.dim)] = along.part_count;
    const at::Tensor part = held.part.is_whole() ? whole : at::empty(shape, at::kFloat);
    float* values = part.mutable_data_ptr<float>();
    for (int r = t; r < group_.size(); r += tensors_) {
      const Share& from = share(r, p);
      auto& sent = next[static_cast<std::size_t>(r)];
      copy_floats(values + from.begin, r == me ? mine.const_data_ptr<float>() : sent, from.count);
      if (r != me) sent += from.count;
    }
    if (!held.part.is_whole()) {
      whole.narrow(held.part.dim, along.part_begin, along.part_count).copy_(part);
    }
  }
  return whole;
}

}  // namespace zoetrope::train
