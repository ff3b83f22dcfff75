# SPDX-License-Identifier: GPL-2.0
#
# Tests of libfuse-regions, in user mode, and of the plain parts of regionfs.

set(daemon_dir "${PROJECT_SOURCE_DIR}/daemon")

# daemon_test(NAME SOURCE…): with these sources of regionfs
function(daemon_test name)
  unit_test(${name})
  list(TRANSFORM ARGN PREPEND "${daemon_dir}/")
  target_sources(test-${name} PRIVATE ${ARGN})
  target_include_directories(test-${name} PRIVATE "${daemon_dir}")
  target_compile_definitions(test-${name} PRIVATE _GNU_SOURCE)
endfunction()

daemon_test(table table.c table-fields.c)
daemon_test(tree tree.c)

if(TARGET fuse-regions)
  pkg_check_modules(FUSE3 REQUIRED IMPORTED_TARGET fuse3>=3.12)
  foreach(name libext libext-io libext-random libext-rebind libext-reply libext-sync libext-threads)
    unit_test(${name})
    target_link_libraries(test-${name} PRIVATE fuse-regions PkgConfig::FUSE3)
    target_compile_definitions(test-${name} PRIVATE FUSE_USE_VERSION=312 _GNU_SOURCE)
  endforeach()
  foreach(name libext-io libext-random)
    target_sources(test-${name} PRIVATE libext-unit.c)
  endforeach()
  find_package(Threads REQUIRED)
  # With the library's own sources, some of whose calls come here.
  get_target_property(libext_sources fuse-regions SOURCES)
  list(FILTER libext_sources EXCLUDE REGEX "/kmod/")
  list(TRANSFORM libext_sources PREPEND "${PROJECT_SOURCE_DIR}/libext/")
  foreach(case memory:failing attach:attach)
    string(REGEX MATCH "(.*):(.*)" case "${case}")
    set(name libext-${CMAKE_MATCH_1})
    string(TOUPPER "${CMAKE_MATCH_2}" define)
    unit_test(${name})
    add_library(${name} STATIC ${libext_sources})
    target_include_directories(${name} PUBLIC "${PROJECT_SOURCE_DIR}/libext"
                               "${PROJECT_SOURCE_DIR}/libext/include")
    target_link_libraries(${name} PUBLIC unit-normal PkgConfig::FUSE3 Threads::Threads)
    target_compile_definitions(${name} PUBLIC FUSE_USE_VERSION=312 _GNU_SOURCE
                               PRIVATE ${define}_LIBRARY)
    target_compile_options(${name} PRIVATE -include "${CMAKE_CURRENT_SOURCE_DIR}/${CMAKE_MATCH_2}.h")
    target_link_libraries(test-${name} PRIVATE ${name})
  endforeach()
  target_sources(test-libext-memory PRIVATE failing.c libext-unit.c)
  # It makes the library believe that there is a kernel to talk to.
  target_include_directories(test-libext-rebind PRIVATE "${PROJECT_SOURCE_DIR}/libext")
endif()
