// Communicator over MPI on host memory.
#include "launch/mpi_communicator.h"

#include <mpi.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <limits>

#include "base/error.h"

namespace zoetrope::launch {
namespace {

// MPI counts are ints: longer arrays go in pieces. The piece length is fixed, so the order of
// additions does not depend on the caller.
constexpr std::size_t kMaxCount = std::size_t{1} << 28;

void check(int code, const char* what) {
  if (code == MPI_SUCCESS) return;
  char text[MPI_MAX_ERROR_STRING];
  int length = 0;
  MPI_Error_string(code, text, &length);
  throw Error(concat(what, " failed: ", std::string(text, length)));
}

template <class T>
void reduce(std::span<T> values, MPI_Datatype type, MPI_Op operation, MPI_Comm comm) {
  for (std::size_t start = 0; start < values.size(); start += kMaxCount) {
    const auto piece = values.subspan(start, std::min(kMaxCount, values.size() - start));
    check(MPI_Allreduce(MPI_IN_PLACE, piece.data(), static_cast<int>(piece.size()), type, operation,
                        comm),
          "MPI_Allreduce");
  }
}

class MpiRequest : public Communicator::Request {
 public:
  MpiRequest(std::span<float> values, MPI_Comm comm) {
    ZOETROPE_CHECK(values.size() <= kMaxCount, "an all-reduce of ", values.size(),
                   " floats in flight is over ", kMaxCount);
    check(MPI_Iallreduce(MPI_IN_PLACE, values.data(), static_cast<int>(values.size()), MPI_FLOAT,
                         MPI_SUM, comm, &request_),
          "MPI_Iallreduce");
  }
  void wait() override { check(MPI_Wait(&request_, MPI_STATUS_IGNORE), "MPI_Wait"); }

 private:
  MPI_Request request_ = MPI_REQUEST_NULL;
};

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
  void all_reduce_sum(std::span<float> v) override { reduce(v, MPI_FLOAT, MPI_SUM, comm_); }
  void all_reduce_sum(std::span<double> v) override { reduce(v, MPI_DOUBLE, MPI_SUM, comm_); }
  void all_reduce_sum(std::span<std::int64_t> v) override {
    reduce(v, MPI_INT64_T, MPI_SUM, comm_);
  }
  void all_reduce_max(std::span<double> v) override { reduce(v, MPI_DOUBLE, MPI_MAX, comm_); }

  void broadcast(std::span<std::byte> bytes, int root) override {
    for (std::size_t start = 0; start < bytes.size(); start += kMaxCount) {
      const auto piece = bytes.subspan(start, std::min(kMaxCount, bytes.size() - start));
      check(MPI_Bcast(piece.data(), static_cast<int>(piece.size()), MPI_BYTE, root, comm_),
            "MPI_Bcast");
    }
  }

  std::vector<std::string> all_gather(const std::string& bytes) override {
    ZOETROPE_CHECK(bytes.size() <= kMaxCount, "all_gather of ", bytes.size(), " bytes a rank");
    const int mine = static_cast<int>(bytes.size());
    std::vector<int> counts(size_), starts(size_);
    check(MPI_Allgather(&mine, 1, MPI_INT, counts.data(), 1, MPI_INT, comm_), "MPI_Allgather");
    std::int64_t total = 0;
    for (int r = 0; r < size_; ++r) {
      starts[r] = static_cast<int>(total);
      total += counts[r];
      ZOETROPE_CHECK(total <= std::numeric_limits<int>::max(), "all_gather of ", total, " bytes");
    }
    std::string all(total, '\0');
    check(MPI_Allgatherv(bytes.data(), mine, MPI_BYTE, all.data(), counts.data(), starts.data(),
                         MPI_BYTE, comm_),
          "MPI_Allgatherv");
    std::vector<std::string> parts;
    for (int r = 0; r < size_; ++r) parts.push_back(all.substr(starts[r], counts[r]));
    return parts;
  }

  std::unique_ptr<Communicator> split(int color) override {
    MPI_Comm part = MPI_COMM_NULL;
    check(MPI_Comm_split(comm_, color, rank_, &part), "MPI_Comm_split");
    return std::make_unique<MpiCommunicator>(part, true);
  }

  std::unique_ptr<Request> start_all_reduce_sum(std::span<float> values) override {
    return std::make_unique<MpiRequest>(values, comm_);
  }

 private:
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
  return std::make_unique<MpiCommunicator>(MPI_COMM_WORLD, false);
}

void MpiSession::abort(int exit_code) {
  MPI_Abort(MPI_COMM_WORLD, exit_code);
  _exit(exit_code);  // MPI_Abort does not return; this tells the compiler so
}

}  // namespace zoetrope::launch
