// The grid of the real ranks and its groups.
#include "launch/mesh.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "tests/distributed/world.h"

namespace zoetrope::launch {
namespace {

TEST(Mesh, GroupsJoinTheRanksThatDifferAlongOneAxis) {
  const int n = world().size(), rank = world().rank();
  for (std::int64_t shard = 1; shard <= n; shard *= 2) {
    Mesh mesh({1, shard}, world());
    EXPECT_EQ(mesh.size(Axis::kShard), shard);
    EXPECT_EQ(mesh.size(Axis::kData), n / shard);
    EXPECT_EQ(mesh.num_batches(), n);
    EXPECT_EQ(mesh.batch(), rank);
    for (const Axis axis : {Axis::kData, Axis::kShard, Axis::kSequence, Axis::kTensor}) {
      EXPECT_EQ(mesh.group(axis).size(), mesh.size(axis)) << axis_name(axis);
      EXPECT_EQ(mesh.group(axis).rank(), mesh.index(axis)) << axis_name(axis);
    }
    // Neighbours in the world share shards.
    const auto members = mesh.group(Axis::kShard).all_gather(std::to_string(rank));
    EXPECT_EQ(members[0], std::to_string(rank / shard * shard));
    EXPECT_EQ(members.back(), std::to_string(rank / shard * shard + shard - 1));
    const auto replicas = mesh.group(Axis::kData).all_gather(std::to_string(rank));
    EXPECT_EQ(replicas[0], std::to_string(rank % shard));
  }
}

// World ranks of the group, in its order.
std::vector<std::string> members_of(Communicator& group) {
  return group.all_gather(std::to_string(world().rank()));
}

TEST(Mesh, CopiesReplicasAndWeightsCrossTheAxes) {
  if (world().size() != 4) GTEST_SKIP() << "needs four ranks";
  const bool odd = world().rank() % 2 == 1;
  using Ranks = std::vector<std::string>;
  Mesh by_tensor({1, 1, 2}, world());  // data 2 x tensor 2
  EXPECT_EQ(members_of(by_tensor.replicas()), odd ? Ranks({"1", "3"}) : Ranks({"0", "2"}));
  EXPECT_EQ(members_of(by_tensor.copies()), Ranks({"0", "1", "2", "3"}));
  EXPECT_EQ(by_tensor.num_batches(), 2);
  EXPECT_EQ(by_tensor.speaks_for_batch(), !odd);
  Mesh by_shard({2, 2}, world());  // shard 2 x sequence 2
  const bool second = world().rank() >= 2;
  EXPECT_EQ(members_of(by_shard.copies()), second ? Ranks({"2", "3"}) : Ranks({"0", "1"}));
  EXPECT_EQ(members_of(by_shard.weights()), odd ? Ranks({"1", "3"}) : Ranks({"0", "2"}));
}

TEST(Mesh, RefusesAShardThatDoesNotDivideTheRanksWithTheNumbers) {
  try {
    Mesh mesh({1, 3}, world());
    ADD_FAILURE() << "accepted";
  } catch (const ConfigError& error) {
    EXPECT_EQ(std::string(error.what()),
              "mesh: shard 3 x sequence 1 x tensor 1 does not divide the " +
                  std::to_string(world().size()) + " ranks of this job");
  }
}

}  // namespace
}  // namespace zoetrope::launch
