// Collectives between the ranks of one group. Every rank of the group must call the same operations
// in the same order with the same sizes. Implementations: MPI and a single rank, on host memory;
// the CUDA plugin's, on device memory too (model/device.h).
//
// Every operation is started, and finished by wait() on its request; the calls without "start" do
// both. Until then its memory must stay untouched. Requests of one group may be waited for in any
// order. An operation on a stream-ordered device starts after, and wait() orders it before, the
// work on the calling thread's current stream.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

namespace zoetrope::launch {

enum class Element { kByte, kBFloat16, kFloat, kDouble, kInt64 };
std::size_t element_bytes(Element type);

// A contiguous array in memory that the communicator can reach.
struct Buffer {
  void* data = nullptr;
  std::size_t count = 0;  // elements
  Element type = Element::kByte;
  bool is_on_device = false;  // of CUDA; otherwise the host's. The same on every rank

  Buffer() = default;
  Buffer(void* memory, std::size_t elements, Element element, bool on_device = false)
      : data(memory), count(elements), type(element), is_on_device(on_device) {}
  Buffer(std::span<std::byte> v) : Buffer(v.data(), v.size(), Element::kByte) {}
  Buffer(std::span<float> v) : Buffer(v.data(), v.size(), Element::kFloat) {}
  Buffer(std::span<double> v) : Buffer(v.data(), v.size(), Element::kDouble) {}
  Buffer(std::span<std::int64_t> v) : Buffer(v.data(), v.size(), Element::kInt64) {}
};

enum class Reduction { kSum, kMax };

// An operation in flight.
class Request {
 public:
  virtual ~Request() = default;
  virtual void wait() = 0;
};

// Elements of each rank's part, in rank order.
using Counts = std::span<const std::size_t>;

class Communicator {
 public:
  virtual ~Communicator() = default;
  virtual int rank() const = 0;
  virtual int size() const = 0;
  virtual void barrier() = 0;
  // A group of the ranks that pass the same color, ordered by their rank here.
  virtual std::unique_ptr<Communicator> split(int color) = 0;
  // Each rank's bytes of host memory, in rank order; lengths may differ.
  virtual std::vector<std::string> all_gather(const std::string& bytes) = 0;

  // Element-wise over ranks, in place, same bits on every rank. bf16 is rounded after each
  // addition.
  virtual std::unique_ptr<Request> start_all_reduce(Buffer values, Reduction how) = 0;
  // `all` holds every rank's part (counts[r] elements). The sum of part r lands in rank r's
  // `mine`, which may be its own place in `all`; the rest of `all` is lost.
  virtual std::unique_ptr<Request> start_reduce_scatter(Buffer all, Buffer mine, Counts counts) = 0;
  // The reverse: every rank's `mine` lands in its place in everyone's `all`; `mine` may be there.
  virtual std::unique_ptr<Request> start_all_gather(Buffer mine, Buffer all, Counts counts) = 0;
  // Part r of `send` goes to rank r, part r of `receive` comes from rank r.
  virtual std::unique_ptr<Request> start_all_to_all(Buffer send, Counts send_counts, Buffer receive,
                                                    Counts receive_counts) = 0;
  virtual std::unique_ptr<Request> start_broadcast(Buffer values, int root) = 0;
  // Sends to one rank while receiving from another: a step round a ring.
  virtual std::unique_ptr<Request> start_exchange(Buffer send, int to, Buffer receive,
                                                  int from) = 0;

  void all_reduce(Buffer values, Reduction how) { start_all_reduce(values, how)->wait(); }
  template <class T>
  void all_reduce_sum(std::span<T> values) {
    all_reduce(Buffer(values), Reduction::kSum);
  }
  void all_reduce_max(std::span<double> values) { all_reduce(Buffer(values), Reduction::kMax); }
  void reduce_scatter(Buffer all, Buffer mine, Counts counts) {
    start_reduce_scatter(all, mine, counts)->wait();
  }
  void all_gather(Buffer mine, Buffer all, Counts counts) {
    start_all_gather(mine, all, counts)->wait();
  }
  void all_to_all(Buffer send, Counts send_counts, Buffer receive, Counts receive_counts) {
    start_all_to_all(send, send_counts, receive, receive_counts)->wait();
  }
  void broadcast(Buffer values, int root) { start_broadcast(values, root)->wait(); }
  void exchange(Buffer send, int to, Buffer receive, int from) {
    start_exchange(send, to, receive, from)->wait();
  }
};

// A group of one: every collective is the identity.
std::unique_ptr<Communicator> make_single_rank_communicator();

}  // namespace zoetrope::launch
