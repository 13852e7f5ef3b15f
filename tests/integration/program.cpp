// Shell commands with their output in temporary files.
#include "tests/integration/program.h"

#include <stdlib.h>
#include <sys/wait.h>

#include <cstdlib>
#include <filesystem>

#include "base/error.h"
#include "base/files.h"

namespace zoetrope {

ProgramResult run_program(const std::string& command) {
  std::string folder =
      (std::filesystem::temp_directory_path() / "zoetrope_program_XXXXXX").string();
  ZOETROPE_CHECK(mkdtemp(folder.data()) != nullptr, "cannot make ", folder);
  setenv("OMPI_ALLOW_RUN_AS_ROOT", "1", 1);
  setenv("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1", 1);
  setenv("OMPI_MCA_rmaps_base_oversubscribe", "1", 1);
  const std::string line = concat("export PATH=" ZOETROPE_PROGRAM_FOLDER ":$PATH; ( ", command,
                                  " ) > ", folder, "/out 2> ", folder, "/err < /dev/null");
  const int status = std::system(line.c_str());
  ProgramResult result;
  result.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  result.out = read_file(folder + "/out");
  result.err = read_file(folder + "/err");
  std::filesystem::remove_all(folder);
  return result;
}

}  // namespace zoetrope
