// Places of ranks in the grid, and the groups along its axes.
#include "launch/mesh.h"

#include "base/error.h"

namespace zoetrope::launch {

const char* axis_name(Axis axis) {
  constexpr std::array<const char*, 4> kNames = {"data", "shard", "sequence", "tensor"};
  return kNames[static_cast<int>(axis)];
}

Mesh::Mesh(const MeshConfig& config, Communicator& world) : world_(world) {
  const std::int64_t asked = config.shard * config.sequence * config.tensor;
  ZOETROPE_CHECK_CONFIG(asked <= world.size() && world.size() % asked == 0, "mesh: shard ",
                        config.shard, " x sequence ", config.sequence, " x tensor ", config.tensor,
                        " does not divide the ", world.size(), " ranks of this job");
  sizes_ = {static_cast<int>(world.size() / asked), static_cast<int>(config.shard),
            static_cast<int>(config.sequence), static_cast<int>(config.tensor)};
  int rest = world.rank();
  for (int axis = kAxes - 1; axis >= 0; --axis) {
    indices_[axis] = rest % sizes_[axis];
    rest /= sizes_[axis];
  }
  // A group's color is the place of its first rank: this rank's with the axis at 0.
  for (int axis = 0, stride = world.size(); axis < kAxes; ++axis) {
    stride /= sizes_[axis];
    groups_[axis] = world.split(world.rank() - indices_[axis] * stride);
  }
  replicas_ = world.split(index(Axis::kShard) * size(Axis::kTensor) + index(Axis::kTensor));
  copies_ = world.split(index(Axis::kShard));
  weights_ = world.split(index(Axis::kData) * size(Axis::kSequence) + index(Axis::kSequence));
}

std::string Mesh::describe() const {
  std::string text;
  for (int axis = 0; axis < kAxes; ++axis) {
    if (sizes_[axis] == 1 && axis != 0) continue;
    text +=
        concat(text.empty() ? "" : " x ", axis_name(static_cast<Axis>(axis)), " ", sizes_[axis]);
  }
  return text;
}

}  // namespace zoetrope::launch
