// Runs a shell command and keeps what it printed.
#pragma once

#include <string>

namespace zoetrope {

struct ProgramResult {
  int exit_code = -1;
  std::string out, err;
};

// `command` is given to /bin/sh with build/bin first on PATH; OpenMPI may run as root and
// oversubscribe.
ProgramResult run_program(const std::string& command);

}  // namespace zoetrope
