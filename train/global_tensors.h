// The way of whole tensors from the pieces that the ranks of a mesh hold to the ranks that own
// them: for checkpoints, which describe global tensors and are written by all ranks.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "launch/mesh.h"
#include "model/module.h"

namespace zoetrope::train {

using TensorMap = std::map<std::string, at::Tensor>;

// Which rank of the world gets a tensor, by its name: the same function on every rank.
using OwnerOf = std::function<int(const std::string& name)>;
constexpr int kEveryRank = -1;  // an owner

class GlobalTensors {
 public:
  // What this rank holds of a parameter: elements [begin, begin + count) of its part of the global
  // tensor, from `place` on in piece number `piece`.
  struct Held {
    std::string name;
    model::ParameterPart part;
    std::vector<std::int64_t> shape;  // of the part
    std::size_t piece = 0;
    std::int64_t place = 0, begin = 0, count = 0;
  };
  // Of all parameters; tensors travel together up to `batch_elements`. The mesh outlives this.
  // Collective.
  GlobalTensors(std::vector<Held> held, std::int64_t batch_elements, launch::Mesh& mesh);

  // The tensors that this rank owns, whole, in fp32. Beside them it needs the memory of one batch.
  // `pieces`: this rank's. Collective.
  TensorMap gather(const std::vector<at::Tensor>& pieces, const OwnerOf& owner_of) const;
  // Bytes of each tensor.
  std::map<std::string, std::int64_t> bytes() const;

 private:
  // Elements of a parameter at one rank of the group, and its part's place along part.dim.
  struct Share {
    std::int64_t begin, count, part_begin, part_count;
  };
  struct Batch;
  Batch make_batch(std::size_t first, const OwnerOf& owner_of) const;
  bool travels(const Batch& batch, std::size_t parameter, int from, int to) const;
  at::Tensor join(std::size_t parameter, const at::Tensor& mine, std::vector<const float*>& next,
                  int me) const;
  const Share& share(int rank, std::size_t parameter) const {
    return shares_[static_cast<std::size_t>(rank) * held_.size() + parameter];
  }
  std::vector<std::int64_t> global_shape(std::size_t parameter) const;

  std::vector<Held> held_;  // by name
  std::int64_t batch_elements_;
  launch::Communicator& group_;  // ranks whose pieces together are the weights
  int tensors_;                  // ranks r of the group with equal r mod tensors_ have equal parts
  std::vector<Share> shares_;    // by rank of the group, then parameter
  std::map<int, int> place_of_;  // of a rank of the world in the group
};

}  // namespace zoetrope::train
