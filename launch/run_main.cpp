// Start, run and end of every program.
#include "launch/run_main.h"

#include <sched.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>
#include <optional>
#include <thread>
#include <typeinfo>

#include "base/error.h"
#include "base/log.h"
#include "launch/mpi_communicator.h"

namespace zoetrope::launch {
namespace {

struct Failure {
  std::string message;
  int exit_code = kExitFailure;
};

// c10::Error's what() carries a C++ backtrace, which helps nobody who made a mistake in a config.
std::string without_backtrace(const std::string& text) {
  return text.substr(0, text.find("\nException raised from"));
}

bool is_out_of_memory(const std::exception& error) {
  return dynamic_cast<const std::bad_alloc*>(&error) != nullptr ||
         std::strstr(typeid(error).name(), "OutOfMemoryError") != nullptr ||
         std::strstr(error.what(), "DefaultCPUAllocator") != nullptr;
}

Failure describe_current_exception() {
  try {
    throw;
  } catch (const Error& error) {
    return {error.what(), error.exit_code()};
  } catch (const std::exception& error) {
    if (is_out_of_memory(error)) {
      return {concat("out of memory: ", without_backtrace(error.what())), kExitOutOfMemory};
    }
    return {without_backtrace(error.what()), kExitFailure};
  } catch (...) {
    return {"an exception that is not a std::exception", kExitFailure};
  }
}

std::string host_name() {
  char name[256] = "";
  gethostname(name, sizeof(name) - 1);
  return name;
}

// All ranks meet the user's mistakes together; the others give rank 0 time to be the one that
// tells.
constexpr auto kLetRankZeroSpeak = std::chrono::milliseconds(500);

int run_under_mpi(int argc, char** argv,
                  const std::function<int(int, char**, Communicator&)>& body) {
  MpiSession session(&argc, &argv);
  const auto world = session.world();
  init_log(world->rank(), world->size());
  try {
    return body(argc, argv, *world);
  } catch (...) {
    const Failure failure = describe_current_exception();
    if (world->rank() != 0 && failure.exit_code == kExitUserMistake) {
      std::this_thread::sleep_for(kLetRankZeroSpeak);
    }
    std::fprintf(stderr, "error: rank %d of %d on %s: %s\n", world->rank(), world->size(),
                 host_name().c_str(), failure.message.c_str());
    std::fflush(nullptr);
    MpiSession::abort(failure.exit_code);
  }
}

int environment_number(std::initializer_list<const char*> names, int otherwise) {
  for (const char* name : names) {
    if (const char* text = std::getenv(name)) return std::atoi(text);
  }
  return otherwise;
}

// OpenMPI pins each rank of a job of one or two to a single core; with threads that wastes the
// rest.
void use_all_cores() {
  cpu_set_t all;
  CPU_ZERO(&all);
  for (long core = 0; core < sysconf(_SC_NPROCESSORS_ONLN) && core < CPU_SETSIZE; ++core) {
    CPU_SET(core, &all);
  }
  sched_setaffinity(0, sizeof(all), &all);  // refused by the kernel: the old set stays
}

}  // namespace

int run_main(int argc, char** argv, const std::function<int(int, char**)>& body) {
  try {
    return body(argc, argv);
  } catch (...) {
    const Failure failure = describe_current_exception();
    std::fflush(stdout);
    std::fprintf(stderr, "error: %s\n", failure.message.c_str());
    return failure.exit_code;
  }
}

int run_parallel_main(int argc, char** argv,
                      const std::function<int(int, char**, Communicator&)>& body) {
  if (started_by_mpi_launcher()) return run_under_mpi(argc, argv, body);
  return run_main(argc, argv, [&](int n, char** arguments) {
    return body(n, arguments, *make_single_rank_communicator());
  });
}

LocalRank local_rank() {
  LocalRank local;
  local.index =
      environment_number({"OMPI_COMM_WORLD_LOCAL_RANK", "MPI_LOCALRANKID", "SLURM_LOCALID"}, 0);
  local.count = environment_number(
      {"OMPI_COMM_WORLD_LOCAL_SIZE", "MPI_LOCALNRANKS", "SLURM_NTASKS_PER_NODE"}, 1);
  return local;
}

int threads_per_rank() {
  const int asked = environment_number({"OMP_NUM_THREADS"}, 0);
  if (asked > 0) return asked;
  use_all_cores();
  cpu_set_t mine;
  CPU_ZERO(&mine);
  sched_getaffinity(0, sizeof(mine), &mine);
  return std::max(1, CPU_COUNT(&mine) / std::max(1, local_rank().count));
}

}  // namespace zoetrope::launch
