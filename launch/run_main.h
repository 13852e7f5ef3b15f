// The frame of every program: start, run, and end - of all ranks together.
#pragma once

#include <functional>
#include <memory>

#include "launch/communicator.h"

namespace zoetrope::launch {

// Runs `body` and turns what it throws into one line on stderr and an exit code (base/error.h).
// Under mpirun a rank that throws names itself and aborts every rank: the job is over within
// seconds.
int run_main(int argc, char** argv, const std::function<int(int, char**)>& body);

// The same for programs that use ranks: MPI is started when this process was launched by mpirun or
// srun (OMPI_COMM_WORLD_SIZE, PMI_SIZE, PMIX_RANK); otherwise the world is one rank and MPI stays
// untouched.
int run_parallel_main(int argc, char** argv,
                      const std::function<int(int, char**, Communicator& world)>& body);

// Number of ranks on this host and this rank's index among them (0 of 1 without mpirun): what the
// number of compute threads a rank is derived from.
struct LocalRank {
  int index = 0;
  int count = 1;
};
LocalRank local_rank();

// Compute threads for this rank: $OMP_NUM_THREADS if set, else available cores / ranks on this
// host.
int threads_per_rank();

}  // namespace zoetrope::launch
