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
  template <class Visitor>
  void visit_fields(Visitor& visit) {
    visit("sequence", sequence,
          "ranks that share the tokens of every sample; activations fall by this, weights do not",
          at_least(1));
    visit("shard", shard,
          "ranks that share out gradients, master weights, moments and averages; the other ranks "
          "repeat them for more data",
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
  // Ranks with the same piece of the weights and the same tensor place: data x sequence.
  Communicator& replicas() { return *replicas_; }
  // Ranks that train on different samples hold different batches: their number, and this one's
  // place among them.
  int num_batches() const { return size(Axis::kData) * size(Axis::kShard); }
  int batch() const { return index(Axis::kData) * size(Axis::kShard) + index(Axis::kShard); }
  std::string describe() const;  // "data 2 x shard 2"; axes of one are left out

 private:
  static constexpr int kAxes = 4;
  Communicator& world_;
  std::array<int, kAxes> sizes_{}, indices_{};
  std::array<std::unique_ptr<Communicator>, kAxes> groups_;
  std::unique_ptr<Communicator> replicas_;
};

}  // namespace zoetrope::launch
