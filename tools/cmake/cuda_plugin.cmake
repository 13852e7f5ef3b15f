# libzoetrope_cuda.so beside the programs: kernels and NCCL. It alone links LibTorch's CUDA half.
set(_nvidia ${ZOETROPE_LIBTORCH}/nvidia)
if(NOT EXISTS ${_nvidia}/nccl/lib/libnccl.so.2)
  message(FATAL_ERROR "CUDA's libraries are not in ${_nvidia}: run tools/setup --cuda")
endif()
if(NOT CMAKE_CUDA_ARCHITECTURES)
  set(CMAKE_CUDA_ARCHITECTURES 80-real 90a-real 100-real)
endif()
if(NOT CMAKE_CUDA_COMPILER)
  find_program(NVCC nvcc HINTS /usr/local/cuda/bin REQUIRED)
  set(CMAKE_CUDA_COMPILER ${NVCC})
endif()
if(CCACHE_PROGRAM)
  set(CMAKE_CUDA_COMPILER_LAUNCHER ${CCACHE_PROGRAM})
endif()
enable_language(CUDA)

add_library(zoetrope_cuda SHARED ${CMAKE_SOURCE_DIR}/model/kernels/fused.cu
  ${CMAKE_SOURCE_DIR}/model/kernels/nccl_communicator.cpp ${CMAKE_SOURCE_DIR}/model/kernels/plugin.cpp)
target_include_directories(zoetrope_cuda PRIVATE ${CMAKE_SOURCE_DIR})
target_include_directories(zoetrope_cuda SYSTEM PRIVATE ${_nvidia}/nccl/include
  ${CMAKE_CUDA_TOOLKIT_INCLUDE_DIRECTORIES})
target_compile_options(zoetrope_cuda PRIVATE $<$<COMPILE_LANGUAGE:CUDA>:--threads=0 -Xcompiler=-Wall>)
# Nothing of ours calls into some of these, and each must be there when torch looks for it.
target_link_libraries(zoetrope_cuda PRIVATE torch_cpu -Wl,--no-as-needed
  ${_torch}/lib/libtorch_cuda.so ${_torch}/lib/libc10_cuda.so ${_nvidia}/nccl/lib/libnccl.so.2
  ${_nvidia}/cu13/lib/libcudart.so.13)
file(GLOB _nvidia_folders ${_nvidia}/*/lib)
list(TRANSFORM _nvidia_folders PREPEND -Wl,-rpath-link,)
target_link_options(zoetrope_cuda PRIVATE ${_nvidia_folders})
set_target_properties(zoetrope_cuda PROPERTIES LINKER_LANGUAGE CXX UNITY_BUILD OFF
  CUDA_STANDARD 17 CUDA_RUNTIME_LIBRARY None LIBRARY_OUTPUT_DIRECTORY ${CMAKE_RUNTIME_OUTPUT_DIRECTORY})
