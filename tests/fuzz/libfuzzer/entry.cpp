// libFuzzer's way into one target; CMake names it.

#include "tests/fuzz/targets.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  zoetrope::fuzz::ZOETROPE_FUZZ_TARGET({data, size});
  return 0;
}
