// Parts of uneven length are sent point to point, or as one broadcast or reduction a rank, in one
// group: NCCL fuses them.
//
// A group gets its NCCL communicator with its first operation on device memory: many never have
// one. Ranks come to that operation together, as to all others.
#include "model/kernels/nccl_communicator.h"

#include <cuda_runtime_api.h>
#include <nccl.h>

#include <cstring>
#include <string>
#include <vector>

#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include "base/error.h"

namespace zoetrope::model::kernels {
namespace {

using launch::Buffer;
using launch::Communicator;
using launch::Counts;
using launch::Element;
using launch::Reduction;
using launch::Request;

void check(ncclResult_t result, const char* what) {
  ZOETROPE_CHECK(result == ncclSuccess, what, " failed: ", ncclGetErrorString(result));
}
void check(cudaError_t error, const char* what) {
  ZOETROPE_CHECK(error == cudaSuccess, what, " failed: ", cudaGetErrorString(error));
}

ncclDataType_t nccl_type(Element type) {
  switch (type) {
    case Element::kByte:
      return ncclUint8;
    case Element::kBFloat16:
      return ncclBfloat16;
    case Element::kFloat:
      return ncclFloat32;
    case Element::kDouble:
      return ncclFloat64;
    case Element::kInt64:
      return ncclInt64;
  }
  throw Error(concat("no element type ", static_cast<int>(type)));
}

std::size_t bytes_of(Element type) {
  switch (type) {
    case Element::kByte:
      return 1;
    case Element::kBFloat16:
      return 2;
    case Element::kFloat:
      return 4;
    default:
      return 8;
  }
}

// Where each rank's part begins.
std::vector<std::byte*> places(Buffer buffer, Counts counts, int size) {
  ZOETROPE_CHECK(counts.size() == static_cast<std::size_t>(size), counts.size(), " parts for ",
                 size, " ranks");
  std::vector<std::byte*> parts;
  std::size_t start = 0;
  for (const std::size_t count : counts) {
    parts.push_back(static_cast<std::byte*>(buffer.data) + start * bytes_of(buffer.type));
    start += count;
  }
  ZOETROPE_CHECK(start == buffer.count, "parts of ", start, " elements in a buffer of ",
                 buffer.count);
  return parts;
}

// One point on a stream.
class Event {
 public:
  Event() { check(cudaEventCreateWithFlags(&event_, cudaEventDisableTiming), "cudaEventCreate"); }
  ~Event() { cudaEventDestroy(event_); }
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
  // What `after` does next comes after what `before` has been given.
  void order(cudaStream_t before, cudaStream_t after) {
    record(before);
    hold(after);
  }
  void record(cudaStream_t stream) { check(cudaEventRecord(event_, stream), "cudaEventRecord"); }
  void hold(cudaStream_t stream) {
    check(cudaStreamWaitEvent(stream, event_, 0), "cudaStreamWaitEvent");
  }

 private:
  cudaEvent_t event_ = nullptr;
};

class NcclRequest : public Request {
 public:
  NcclRequest(int device, cudaStream_t stream) : device_(device) { done_.record(stream); }
  void wait() override { done_.hold(c10::cuda::getCurrentCUDAStream(device_)); }

 private:
  int device_;
  Event done_;
};

// What NCCL needs of a group on device memory.
struct DeviceGroup {
  DeviceGroup(Communicator& base, int device)
      : stream(c10::cuda::getStreamFromPool(true, static_cast<c10::DeviceIndex>(device))) {
    ncclUniqueId id;
    if (base.rank() == 0) check(ncclGetUniqueId(&id), "ncclGetUniqueId");
    const std::string mine(reinterpret_cast<const char*>(&id), sizeof(id));
    const std::string roots = base.all_gather(base.rank() == 0 ? mine : std::string())[0];
    std::memcpy(&id, roots.data(), sizeof(id));
    check(ncclCommInitRank(&comm, base.size(), id, base.rank()), "ncclCommInitRank");
  }
  ~DeviceGroup() { ncclCommDestroy(comm); }
  DeviceGroup(const DeviceGroup&) = delete;
  DeviceGroup& operator=(const DeviceGroup&) = delete;

  c10::cuda::CUDAStream stream;
  Event ready;
  ncclComm_t comm = nullptr;
};

class NcclCommunicator : public Communicator {
 public:
  NcclCommunicator(Communicator& base, int device) : base_(base), device_(device) {}
  NcclCommunicator(std::unique_ptr<Communicator> base, int device)
      : owned_base_(std::move(base)), base_(*owned_base_), device_(device) {}
  NcclCommunicator(const NcclCommunicator&) = delete;
  NcclCommunicator& operator=(const NcclCommunicator&) = delete;

  int rank() const override { return base_.rank(); }
  int size() const override { return base_.size(); }
  void barrier() override { base_.barrier(); }
  std::vector<std::string> all_gather(const std::string& bytes) override {
    return base_.all_gather(bytes);
  }
  std::unique_ptr<Communicator> split(int color) override {
    return std::make_unique<NcclCommunicator>(base_.split(color), device_);
  }

  std::unique_ptr<Request> start_all_reduce(Buffer values, Reduction how) override {
    if (!values.is_on_device) return base_.start_all_reduce(values, how);
    return start([&](ncclComm_t comm, cudaStream_t stream) {
      check(ncclAllReduce(values.data, values.data, values.count, nccl_type(values.type),
                          how == Reduction::kSum ? ncclSum : ncclMax, comm, stream),
            "ncclAllReduce");
    });
  }
  std::unique_ptr<Request> start_reduce_scatter(Buffer all, Buffer mine, Counts counts) override {
    if (!all.is_on_device) return base_.start_reduce_scatter(all, mine, counts);
    const auto parts = places(all, counts, size());
    check_mine(mine, all, counts, "reduce_scatter");
    return start([&](ncclComm_t comm, cudaStream_t stream) {
      for (int r = 0; r < size(); ++r) {
        check(ncclReduce(parts[r], r == rank() ? mine.data : parts[r], counts[r],
                         nccl_type(all.type), ncclSum, r, comm, stream),
              "ncclReduce");
      }
    });
  }
  std::unique_ptr<Request> start_all_gather(Buffer mine, Buffer all, Counts counts) override {
    if (!all.is_on_device) return base_.start_all_gather(mine, all, counts);
    const auto parts = places(all, counts, size());
    check_mine(mine, all, counts, "all_gather");
    return start([&](ncclComm_t comm, cudaStream_t stream) {
      for (int r = 0; r < size(); ++r) {
        check(ncclBroadcast(r == rank() ? mine.data : parts[r], parts[r], counts[r],
                            nccl_type(all.type), r, comm, stream),
              "ncclBroadcast");
      }
    });
  }
  std::unique_ptr<Request> start_all_to_all(Buffer send, Counts send_counts, Buffer receive,
                                            Counts receive_counts) override {
    if (!send.is_on_device) {
      return base_.start_all_to_all(send, send_counts, receive, receive_counts);
    }
    const auto outgoing = places(send, send_counts, size());
    const auto incoming = places(receive, receive_counts, size());
    return start([&](ncclComm_t comm, cudaStream_t stream) {
      for (int r = 0; r < size(); ++r) {
        send_to(r, {outgoing[r], send_counts[r], send.type}, comm, stream);
        receive_from(r, {incoming[r], receive_counts[r], receive.type}, comm, stream);
      }
    });
  }
  std::unique_ptr<Request> start_broadcast(Buffer values, int root) override {
    if (!values.is_on_device) return base_.start_broadcast(values, root);
    return start([&](ncclComm_t comm, cudaStream_t stream) {
      check(ncclBroadcast(values.data, values.data, values.count, nccl_type(values.type), root,
                          comm, stream),
            "ncclBroadcast");
    });
  }
  std::unique_ptr<Request> start_exchange(Buffer send, int to, Buffer receive, int from) override {
    if (!send.is_on_device) return base_.start_exchange(send, to, receive, from);
    return start([&](ncclComm_t comm, cudaStream_t stream) {
      send_to(to, send, comm, stream);
      receive_from(from, receive, comm, stream);
    });
  }

 private:
  // Runs enqueue(communicator, stream) as one NCCL group after the work on the current stream.
  template <class Enqueue>
  std::unique_ptr<Request> start(const Enqueue& enqueue) {
    const c10::cuda::CUDAGuard guard(static_cast<c10::DeviceIndex>(device_));
    if (!group_) group_ = std::make_unique<DeviceGroup>(base_, device_);
    group_->ready.order(c10::cuda::getCurrentCUDAStream(device_), group_->stream);
    check(ncclGroupStart(), "ncclGroupStart");
    enqueue(group_->comm, group_->stream.stream());
    check(ncclGroupEnd(), "ncclGroupEnd");
    return std::make_unique<NcclRequest>(device_, group_->stream);
  }
  void check_mine(Buffer mine, Buffer all, Counts counts, const char* what) const {
    ZOETROPE_CHECK(mine.count == counts[rank()] && mine.type == all.type, what, ": rank ", rank(),
                   " has a part of ", mine.count, " elements, not ", counts[rank()]);
  }
  static void send_to(int peer, Buffer part, ncclComm_t comm, cudaStream_t stream) {
    check(ncclSend(part.data, part.count, nccl_type(part.type), peer, comm, stream), "ncclSend");
  }
  static void receive_from(int peer, Buffer part, ncclComm_t comm, cudaStream_t stream) {
    check(ncclRecv(part.data, part.count, nccl_type(part.type), peer, comm, stream), "ncclRecv");
  }

  std::unique_ptr<Communicator> owned_base_;  // of a part of the ranks
  Communicator& base_;
  int device_;
  std::unique_ptr<DeviceGroup> group_;
};

}  // namespace

std::unique_ptr<Communicator> make_nccl_communicator(Communicator& base, int device) {
  return std::make_unique<NcclCommunicator>(base, device);
}

}  // namespace zoetrope::model::kernels
