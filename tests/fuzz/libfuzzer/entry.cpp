// libFuzzer's way into one target; CMake names it.

#include "tests/fuzz/targets.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  zoetrope::fuzz::ZOETROPE_FUZZ_TARGET({data, size});
  return 0;
}

// HDF5 1.10 loses 424 bytes with each header that it cannot read.
extern "C" const char* __lsan_default_suppressions() {
  return "leak:libhdf5";
}
