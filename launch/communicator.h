// Collectives between the ranks of one group, on host memory. Every rank of the group must call the
// same operations in the same order with the same sizes. One implementation over MPI, one for a
// single rank.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace zoetrope::launch {

class Communicator {
 public:
  virtual ~Communicator() = default;
  virtual int rank() const = 0;
  virtual int size() const = 0;

  virtual void barrier() = 0;
  // Element-wise sum over ranks, in place, same bits on every rank.
  virtual void all_reduce_sum(std::span<float> values) = 0;
  virtual void all_reduce_sum(std::span<double> values) = 0;
  virtual void all_reduce_sum(std::span<std::int64_t> values) = 0;
  virtual void all_reduce_max(std::span<double> values) = 0;
  virtual void broadcast(std::span<std::byte> bytes, int root) = 0;
  // Each rank's bytes, in rank order; lengths may differ.
  virtual std::vector<std::string> all_gather(const std::string& bytes) = 0;
  // A group of the ranks that pass the same color, ordered by their rank here.
  virtual std::unique_ptr<Communicator> split(int color) = 0;

  // Started now, finished by wait(); `values` must stay untouched until then. Requests are finished
  // in the order in which they were started.
  class Request {
   public:
    virtual ~Request() = default;
    virtual void wait() = 0;
  };
  virtual std::unique_ptr<Request> start_all_reduce_sum(std::span<float> values) = 0;
};

// A group of one: every collective is the identity.
std::unique_ptr<Communicator> make_single_rank_communicator();

}  // namespace zoetrope::launch
