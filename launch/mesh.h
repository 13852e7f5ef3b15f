// The ranks of a job as a grid with named axes: data x shard x sequence x tensor.
// Ranks that differ only along one axis form a group with its own communicator. Neighbouring world
// ranks differ along the last axis first, so the axes that talk most stay inside a machine.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/config.h"
#include "launch/communicator.h"

namespace zoetrope::launch {

enum class Axis { kData, kShard, kSequence, kTensor };
const char* axis_name(Axis axis);

struct MeshConfig {
  std::int64_t sequence = 1;
  std::int64_t shard = 1;
  std::int64_t tensor = 1;
  std::string sharding = "optimizer";
  template <class Visitor>
  void visit_fields(Visitor& visit) {
    visit("sequence", sequence,
          "ranks that share the tokens of every sample; activations fall by this, weights do not",
          at_least(1));
    visit("shard", shard,
          "ranks that share out what mesh.sharding says; the other ranks repeat it for more data",
          at_least(1));
    visit(
        "sharding", sharding,
        "optimizer: moments, averages; gradients: and gradients; weights: and the blocks' weights",
        one_of({"optimizer", "gradients", "weights"}));
    visit("tensor", tensor,
          "ranks that share out heads and MLP channels, and tokens between them; activations and "
          "weights fall by this",
          at_least(1));
  }
};

class Mesh {
 public:
  // The data axis takes what the others leave of the ranks. ConfigError with the numbers when they
  // do not divide them. Every rank of `world` calls this; `world` outlives the mesh.
  Mesh(const MeshConfig& config, Communicator& world);

  int size(Axis axis) const { return sizes_[static_cast<int>(axis)]; }
  int index(Axis axis) const { return indices_[static_cast<int>(axis)]; }
  Communicator& group(Axis axis) { return *groups_[static_cast<int>(axis)]; }
  Communicator& world() { return world_; }
  // Ranks with the same shard and tensor place: data x sequence. They hold the same piece of all
  // weights.
  Communicator& replicas() { return *replicas_; }
  // Ranks with the same shard: data x sequence x tensor. They hold the same piece of the weights
  // that the tensor axis does not cut.
  Communicator& copies() { return *copies_; }
  // Ranks whose pieces together are the weights: shard x tensor.
  Communicator& weights() { return *weights_; }
  // Ranks that train on different samples hold different batches: their number, and this one's
  // place among them.
  int num_batches() const { return size(Axis::kData) * size(Axis::kShard); }
  int batch() const { return index(Axis::kData) * size(Axis::kShard) + index(Axis::kShard); }
  // One rank of those that hold the same batch: it speaks for its samples.
  bool speaks_for_batch() const { return index(Axis::kSequence) == 0 && index(Axis::kTensor) == 0; }
  std::string describe() const;  // "data 2 x shard 2"; axes of one are left out

 private:
  static constexpr int kAxes = 4;
  Communicator& world_;
  std::array<int, kAxes> sizes_{}, indices_{};
  std::array<std::unique_ptr<Communicator>, kAxes> groups_;
  std::unique_ptr<Communicator> replicas_, copies_, weights_;
};

}  // namespace zoetrope::launch
