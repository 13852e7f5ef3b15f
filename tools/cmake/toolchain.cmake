# ccache and a fast linker where present; warnings; sanitizers.
find_program(CCACHE_PROGRAM ccache)
if(CCACHE_PROGRAM AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env CCACHE_BASEDIR=${CMAKE_SOURCE_DIR}
      CCACHE_NOHASHDIR=1 CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime ${CCACHE_PROGRAM})
endif()
find_program(MOLD_PROGRAM mold)
find_program(LLD_PROGRAM ld.lld)
if(MOLD_PROGRAM AND CMAKE_CXX_COMPILER_VERSION VERSION_GREATER_EQUAL 12.1)
  add_link_options(-fuse-ld=mold)
elseif(LLD_PROGRAM)
  add_link_options(-fuse-ld=lld)
endif()

set(_warnings -Wall -Wextra -Wpedantic -Wshadow -Wno-missing-field-initializers
  -Wno-restrict            # GCC 12 sees overlaps in std::string that are not there
  -Wno-subobject-linkage)  # a unity build includes sources, whose anonymous namespaces are their own
if(ZOETROPE_WERROR)
  list(APPEND _warnings -Werror)
endif()
add_compile_options("$<$<COMPILE_LANGUAGE:C,CXX>:${_warnings}>")  # nvcc has words of its own
if(ZOETROPE_FUZZ)
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()
if(ZOETROPE_SANITIZE)
  add_compile_options(-fsanitize=address,undefined -fno-omit-frame-pointer)
  add_link_options(-fsanitize=address,undefined)
endif()
