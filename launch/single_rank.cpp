// Communicator of one rank: nothing to exchange, results are copies of what went in.
#include <cstring>

#include "base/error.h"
#include "launch/communicator.h"

namespace zoetrope::launch {
namespace {

class Done : public Request {
 public:
  void wait() override {}
};

std::unique_ptr<Request> copy(Buffer from, Buffer to) {
  ZOETROPE_CHECK(from.count == to.count && from.type == to.type, "a group of one: ", from.count,
                 " elements go in, ", to.count, " come out");
  if (from.count > 0 && from.data != to.data) {
    std::memcpy(to.data, from.data, from.count * element_bytes(from.type));
  }
  return std::make_unique<Done>();
}

class SingleRank : public Communicator {
 public:
  int rank() const override { return 0; }
  int size() const override { return 1; }
  void barrier() override {}
  std::unique_ptr<Communicator> split(int) override { return make_single_rank_communicator(); }
  std::vector<std::string> all_gather(const std::string& bytes) override { return {bytes}; }
  std::unique_ptr<Request> start_all_reduce(Buffer, Reduction) override {
    return std::make_unique<Done>();
  }
  std::unique_ptr<Request> start_reduce_scatter(Buffer all, Buffer mine, Counts) override {
    return copy(all, mine);
  }
  std::unique_ptr<Request> start_all_gather(Buffer mine, Buffer all, Counts) override {
    return copy(mine, all);
  }
  std::unique_ptr<Request> start_all_to_all(Buffer send, Counts, Buffer receive, Counts) override {
    return copy(send, receive);
  }
  std::unique_ptr<Request> start_broadcast(Buffer, int root) override {
    ZOETROPE_CHECK(root == 0, "broadcast from rank ", root, " of 1");
    return std::make_unique<Done>();
  }
  std::unique_ptr<Request> start_exchange(Buffer send, int to, Buffer receive, int from) override {
    ZOETROPE_CHECK(to == 0 && from == 0, "exchange with ranks ", to, " and ", from, " of 1");
    return copy(send, receive);
  }
};

}  // namespace

std::size_t element_bytes(Element type) {
  switch (type) {
    case Element::kByte:
      return 1;
    case Element::kBFloat16:
      return 2;
    case Element::kFloat:
      return 4;
    case Element::kDouble:
    case Element::kInt64:
      return 8;
  }
  throw Error(concat("no element type ", static_cast<int>(type)));
}

std::unique_ptr<Communicator> make_single_rank_communicator() {
  return std::make_unique<SingleRank>();
}

}  // namespace zoetrope::launch
