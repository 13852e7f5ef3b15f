// Shuts the decoder process in: after this it can read files and talk over its socket, nothing
// else.
#pragma once

#include <cstdint>

namespace zoetrope::data {

// Limits address space, allows no core dump, dies with the process `parent_pid`, and denies (EPERM)
// network, new programs and processes, tracing, and every way to write or rename a file.
// Throws Error when the kernel refuses a limit. Address sanitizer builds keep their address space.
void enter_decoder_sandbox(std::int64_t memory_bytes, int parent_pid);

}  // namespace zoetrope::data
