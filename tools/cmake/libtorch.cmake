# torch_cpu: LibTorch from the unpacked wheel. TorchConfig.cmake wants a CUDA toolkit even for CPU programs,
# so the two libraries are imported by hand.
if(DEFINED ENV{ZOETROPE_CACHE})
  set(_cache $ENV{ZOETROPE_CACHE})
elseif(DEFINED ENV{XDG_CACHE_HOME})
  set(_cache $ENV{XDG_CACHE_HOME}/zoetrope)
else()
  set(_cache $ENV{HOME}/.cache/zoetrope)
endif()
set(ZOETROPE_LIBTORCH ${_cache}/libtorch-2.11.0 CACHE PATH "Folder with torch/ and nvidia/ from the wheels")
if(NOT EXISTS ${ZOETROPE_LIBTORCH}/torch/lib/libtorch_cpu.so)
  message(FATAL_ERROR "LibTorch is not in ${ZOETROPE_LIBTORCH}: run tools/setup, or set ZOETROPE_CACHE")
endif()
set(_torch ${ZOETROPE_LIBTORCH}/torch)
add_library(torch_cpu INTERFACE IMPORTED)
target_include_directories(torch_cpu SYSTEM INTERFACE ${_torch}/include ${_torch}/include/torch/csrc/api/include)
target_link_libraries(torch_cpu INTERFACE ${_torch}/lib/libtorch_cpu.so ${_torch}/lib/libc10.so)
# at::parallel_for is an inline template that runs on one thread unless its user is compiled with OpenMP.
# The wheel's own libgomp is linked, so that one thread pool serves both.
target_compile_options(torch_cpu INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-fopenmp>)
target_link_libraries(torch_cpu INTERFACE ${_torch}/lib/libgomp.so.1)
target_link_options(torch_cpu INTERFACE -Wl,-rpath-link,${ZOETROPE_LIBTORCH}/nvidia/cu13/lib)
