// Communicator of one rank: nothing to exchange.
#include <algorithm>

#include "base/error.h"
#include "launch/communicator.h"

namespace zoetrope::launch {
namespace {

class SingleRank : public Communicator {
 public:
  int rank() const override { return 0; }
  int size() const override { return 1; }
  void barrier() override {}
  void all_reduce_sum(std::span<float>) override {}
  void all_reduce_sum(std::span<double>) override {}
  void all_reduce_sum(std::span<std::int64_t>) override {}
  void all_reduce_max(std::span<double>) override {}
  void broadcast(std::span<std::byte>, int root) override {
    ZOETROPE_CHECK(root == 0, "broadcast from rank ", root, " of 1");
  }
  std::vector<std::string> all_gather(const std::string& bytes) override { return {bytes}; }
  std::unique_ptr<Communicator> split(int) override { return make_single_rank_communicator(); }
  std::unique_ptr<Request> start_all_reduce_sum(std::span<float>) override {
    class Done : public Request {
      void wait() override {}
    };
    return std::make_unique<Done>();
  }
};

}  // namespace

std::unique_ptr<Communicator> make_single_rank_communicator() {
  return std::make_unique<SingleRank>();
}

}  // namespace zoetrope::launch
