// Communicator over MPI on host memory.
#include "launch/mpi_communicator.h"

#include <mpi.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <numeric>
#include <span>

#include "base/error.h"
#include "launch/flight_recorder.h"

namespace zoetrope::launch {
namespace {

// MPI counts are ints, as they are in its displacements.
constexpr std::size_t kMaxCount = std::numeric_limits<int>::max();
// All-reduces over this go in pieces.
constexpr std::size_t kPiece = std::size_t{1} << 28;

void check(int code, const char* what) {
  if (code == MPI_SUCCESS) return;
  char text[MPI_MAX_ERROR_STRING];
  int length = 0;
  MPI_Error_string(code, text, &length);
  throw Error(concat(what, " failed: ", std::string(text, length)));
}

int to_int(std::size_t count) {
  ZOETROPE_CHECK(count <= kMaxCount, "a message of ", count, " elements is over ", kMaxCount);
  return static_cast<int>(count);
}

MPI_Datatype datatype(Element type) {
  switch (type) {
    case Element::kByte:
      return MPI_BYTE;
    case Element::kBFloat16:
      return MPI_UINT16_T;
    case Element::kFloat:
      return MPI_FLOAT;
    case Element::kDouble:
      return MPI_DOUBLE;
    case Element::kInt64:
      return MPI_INT64_T;
  }
  throw Error(concat("no element type ", static_cast<int>(type)));
}

// bf16 is the upper half of an fp32.
float widen(std::uint16_t value) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(value) << 16);
}
std::uint16_t narrow(float value) {  // to the nearest, ties to even; NaN stays NaN
  const auto bits = std::bit_cast<std::uint32_t>(value);
  if (std::isnan(value)) return static_cast<std::uint16_t>(bits >> 16 | 0x40);
  return static_cast<std::uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

void sum_bf16(void* in, void* in_out, int* count, MPI_Datatype*) {
  const auto* x = static_cast<const std::uint16_t*>(in);
  auto* y = static_cast<std::uint16_t*>(in_out);
  for (int i = 0; i < *count; ++i) y[i] = narrow(widen(x[i]) + widen(y[i]));
}
void max_bf16(void* in, void* in_out, int* count, MPI_Datatype*) {
  const auto* x = static_cast<const std::uint16_t*>(in);
  auto* y = static_cast<std::uint16_t*>(in_out);
  for (int i = 0; i < *count; ++i) y[i] = narrow(std::max(widen(x[i]), widen(y[i])));
}

MPI_Op make_operation(MPI_User_function* function) {
  MPI_Op operation = MPI_OP_NULL;
  check(MPI_Op_create(function, 1, &operation), "MPI_Op_create");
  return operation;
}

MPI_Op operation(Element type, Reduction how) {
  static const MPI_Op kSumBf16 = make_operation(sum_bf16), kMaxBf16 = make_operation(max_bf16);
  if (type == Element::kBFloat16) return how == Reduction::kSum ? kSumBf16 : kMaxBf16;
  return how == Reduction::kSum ? MPI_SUM : MPI_MAX;
}

// Where each rank's part begins; `total` is what the buffer must hold.
std::vector<int> starts_of(Counts counts, std::size_t total, int size) {
  ZOETROPE_CHECK(counts.size() == static_cast<std::size_t>(size), counts.size(), " parts for ",
                 size, " ranks");
  std::vector<int> starts;
  std::size_t sum = 0;
  for (const std::size_t count : counts) {
    starts.push_back(to_int(sum));
    sum += count;
  }
  ZOETROPE_CHECK(sum == total, "parts of ", sum, " elements in a buffer of ", total);
  return starts;
}
std::vector<int> to_ints(Counts counts) {
  std::vector<int> ints;
  for (const std::size_t count : counts) ints.push_back(to_int(count));
  return ints;
}

// The counts and places that an operation in flight reads belong to it.
class MpiRequest : public Request {
 public:
  ~MpiRequest() override {
    int finalized = 0;
    MPI_Finalized(&finalized);
    if (!finalized)
      MPI_Waitall(static_cast<int>(pending.size()), pending.data(), MPI_STATUSES_IGNORE);
  }
  void wait() override {
    check(MPI_Waitall(static_cast<int>(pending.size()), pending.data(), MPI_STATUSES_IGNORE),
          "MPI_Waitall");
  }
  MPI_Request* add() { return &pending.emplace_back(MPI_REQUEST_NULL); }

  std::vector<MPI_Request> pending;
  std::vector<int> counts, starts, other_counts, other_starts;
};

std::byte* place(Buffer buffer, int start) {
  return static_cast<std::byte*>(buffer.data) +
         static_cast<std::size_t>(start) * element_bytes(buffer.type);
}

class MpiCommunicator : public Communicator {
 public:
  MpiCommunicator(MPI_Comm comm, bool owned) : comm_(comm), owned_(owned) {
    check(MPI_Comm_rank(comm, &rank_), "MPI_Comm_rank");
    check(MPI_Comm_size(comm, &size_), "MPI_Comm_size");
  }
  ~MpiCommunicator() override {
    if (owned_) MPI_Comm_free(&comm_);
  }
  MpiCommunicator(const MpiCommunicator&) = delete;
  MpiCommunicator& operator=(const MpiCommunicator&) = delete;

  int rank() const override { return rank_; }
  int size() const override { return size_; }
  void barrier() override { check(MPI_Barrier(comm_), "MPI_Barrier"); }

  std::vector<std::string> all_gather(const std::string& bytes) override {
    std::vector<std::int64_t> lengths(size_);
    const auto mine = static_cast<std::int64_t>(bytes.size());
    check(MPI_Allgather(&mine, 1, MPI_INT64_T, lengths.data(), 1, MPI_INT64_T, comm_),
          "MPI_Allgather");
    const std::vector<std::size_t> counts(lengths.begin(), lengths.end());
    std::string all(std::accumulate(counts.begin(), counts.end(), std::size_t{0}), '\0');
    const Buffer part(const_cast<char*>(bytes.data()), bytes.size(), Element::kByte);
    start_all_gather(part, {all.data(), all.size(), Element::kByte}, counts)->wait();
    std::vector<std::string> parts;
    for (std::size_t r = 0, start = 0; r < counts.size(); start += counts[r++]) {
      parts.push_back(all.substr(start, counts[r]));
    }
    return parts;
  }

  std::unique_ptr<Request> start_all_reduce(Buffer values, Reduction how) override {
    auto request = std::make_unique<MpiRequest>();
    request->pending.reserve(values.count / kPiece + 1);
    for (std::size_t start = 0; start < values.count; start += kPiece) {
      void* piece = static_cast<std::byte*>(values.data) + start * element_bytes(values.type);
      check(
          MPI_Iallreduce(MPI_IN_PLACE, piece, to_int(std::min(kPiece, values.count - start)),
                         datatype(values.type), operation(values.type, how), comm_, request->add()),
          "MPI_Iallreduce");
    }
    return request;
  }

  std::unique_ptr<Request> start_reduce_scatter(Buffer all, Buffer mine, Counts counts) override {
    auto request = std::make_unique<MpiRequest>();
    request->starts = starts_of(counts, all.count, size_);
    request->counts = to_ints(counts);
    ZOETROPE_CHECK(mine.count == counts[rank_] && mine.type == all.type, "reduce_scatter: rank ",
                   rank_, " has room for ", mine.count, " elements of ", counts[rank_]);
    // One reduction a part, each to its owner: MPI's own wants separate memory for the result.
    request->pending.reserve(size_);
    for (int r = 0; r < size_; ++r) {
      void* part = place(all, request->starts[r]);
      const bool in_place = r == rank_ && part == mine.data;
      check(MPI_Ireduce(in_place ? MPI_IN_PLACE : part, r == rank_ ? mine.data : nullptr,
                        request->counts[r], datatype(all.type),
                        operation(all.type, Reduction::kSum), r, comm_, request->add()),
            "MPI_Ireduce");
    }
    return request;
  }

  std::unique_ptr<Request> start_all_gather(Buffer mine, Buffer all, Counts counts) override {
    auto request = std::make_unique<MpiRequest>();
    request->starts = starts_of(counts, all.count, size_);
    request->counts = to_ints(counts);
    ZOETROPE_CHECK(mine.count == counts[rank_] && mine.type == all.type, "all_gather: rank ", rank_,
                   " gives ", mine.count, " elements of ", counts[rank_]);
    const bool in_place = mine.data == place(all, request->starts[rank_]);
    check(MPI_Iallgatherv(in_place ? MPI_IN_PLACE : mine.data, to_int(mine.count),
                          datatype(mine.type), all.data, request->counts.data(),
                          request->starts.data(), datatype(all.type), comm_, request->add()),
          "MPI_Iallgatherv");
    return request;
  }

  std::unique_ptr<Request> start_all_to_all(Buffer send, Counts send_counts, Buffer receive,
                                            Counts receive_counts) override {
    auto request = std::make_unique<MpiRequest>();
    request->starts = starts_of(send_counts, send.count, size_);
    request->counts = to_ints(send_counts);
    request->other_starts = starts_of(receive_counts, receive.count, size_);
    request->other_counts = to_ints(receive_counts);
    check(
        MPI_Ialltoallv(send.data, request->counts.data(), request->starts.data(),
                       datatype(send.type), receive.data, request->other_counts.data(),
                       request->other_starts.data(), datatype(receive.type), comm_, request->add()),
        "MPI_Ialltoallv");
    return request;
  }

  std::unique_ptr<Request> start_broadcast(Buffer values, int root) override {
    auto request = std::make_unique<MpiRequest>();
    check(MPI_Ibcast(values.data, to_int(values.count), datatype(values.type), root, comm_,
                     request->add()),
          "MPI_Ibcast");
    return request;
  }

  std::unique_ptr<Request> start_exchange(Buffer send, int to, Buffer receive, int from) override {
    auto request = std::make_unique<MpiRequest>();
    request->pending.reserve(2);
    check(MPI_Irecv(receive.data, to_int(receive.count), datatype(receive.type), from, kTag, comm_,
                    request->add()),
          "MPI_Irecv");
    check(MPI_Isend(send.data, to_int(send.count), datatype(send.type), to, kTag, comm_,
                    request->add()),
          "MPI_Isend");
    return request;
  }

  std::unique_ptr<Communicator> split(int color) override {
    MPI_Comm part = MPI_COMM_NULL;
    check(MPI_Comm_split(comm_, color, rank_, &part), "MPI_Comm_split");
    return std::make_unique<MpiCommunicator>(part, true);
  }

 private:
  static constexpr int kTag = 1;  // messages between two ranks keep their order

  MPI_Comm comm_;
  bool owned_;
  int rank_ = 0, size_ = 1;
};

}  // namespace

bool started_by_mpi_launcher() {
  for (const char* name : {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "PMIX_RANK"}) {
    if (std::getenv(name) != nullptr) return true;
  }
  return false;
}

MpiSession::MpiSession(int* argc, char*** argv) {
  int provided = 0;
  check(MPI_Init_thread(argc, argv, MPI_THREAD_SERIALIZED, &provided), "MPI_Init_thread");
  ZOETROPE_CHECK(provided >= MPI_THREAD_SERIALIZED, "this MPI gives thread level ", provided,
                 ", MPI_THREAD_SERIALIZED is needed");
}

MpiSession::~MpiSession() {
  MPI_Finalize();
}

std::unique_ptr<Communicator> MpiSession::world() const {
  return record_collectives(std::make_unique<MpiCommunicator>(MPI_COMM_WORLD, false));
}

void MpiSession::abort(int exit_code) {
  MPI_Abort(MPI_COMM_WORLD, exit_code);
  _exit(exit_code);  // MPI_Abort does not return; this tells the compiler so
}

}  // namespace zoetrope::launch
