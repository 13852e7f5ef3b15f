// Starting and ending MPI, and the communicator over it. mpi.h stays behind mpi_communicator.cpp.
#pragma once

#include <memory>

#include "launch/communicator.h"

namespace zoetrope::launch {

// True when mpirun, srun or another PMI launcher started this process.
bool started_by_mpi_launcher();

// MPI from construction to destruction; one per process.
class MpiSession {
 public:
  MpiSession(int* argc, char*** argv);
  ~MpiSession();
  MpiSession(const MpiSession&) = delete;
  MpiSession& operator=(const MpiSession&) = delete;

  std::unique_ptr<Communicator> world() const;
  // Ends every rank of the job; mpirun then exits with `exit_code`.
  [[noreturn]] static void abort(int exit_code);
};

}  // namespace zoetrope::launch
