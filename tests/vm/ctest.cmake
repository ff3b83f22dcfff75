# SPDX-License-Identifier: GPL-2.0
#
# Makes every guest test a CTest test of its own, called <kernel>/<name>.
#
# All tests of one kernel run in one guest, which the fixture guest-<kernel> boots; the tests
# themselves report what it recorded.  Include this from tests/CMakeLists.txt.

set(FUSE_REGIONS_GUEST_KERNELS "stable;latest" CACHE STRING "kernels to run guest tests on; empty: none")

set(guest_dir "${CMAKE_SOURCE_DIR}/tests/guest")
set(guest_tests "")
if(EXISTS "${guest_dir}/list")
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${guest_dir}/list")
  execute_process(COMMAND "${guest_dir}/list" OUTPUT_VARIABLE guest_tests
                  OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
  string(REPLACE "\n" ";" guest_tests "${guest_tests}")
endif()

function(add_guest_tests kernel)
  set(results "${CMAKE_BINARY_DIR}/../results/${kernel}")
  cmake_path(NORMAL_PATH results)

  add_test(NAME guest-${kernel}
           COMMAND "${CMAKE_SOURCE_DIR}/tests/vm/guest-tests" ${kernel} "${results}")
  # The longest by far: started first, so that everything else fits beside them.
  set_tests_properties(guest-${kernel} PROPERTIES
    FIXTURES_SETUP guest_${kernel} TIMEOUT 3300 COST 1000)

  foreach(name guest ${ARGN})
    add_test(NAME ${kernel}/${name}
             COMMAND "${CMAKE_SOURCE_DIR}/tests/vm/report" "${results}" ${name})
    set_tests_properties(${kernel}/${name} PROPERTIES
      FIXTURES_REQUIRED guest_${kernel} SKIP_RETURN_CODE 77 TIMEOUT 60)
  endforeach()
endfunction()

# Other people's tools, where Debian has them; the other suites want something that was built elsewhere.
foreach(kernel ${FUSE_REGIONS_GUEST_KERNELS})
  add_test(NAME suites/stress-ng-${kernel}
           COMMAND "${CMAKE_SOURCE_DIR}/tests/suites/stress-ng" --kernel ${kernel})
  set_tests_properties(suites/stress-ng-${kernel} PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 500)
endforeach()

# Whether the suites notice it when nothing works
if(FUSE_REGIONS_GUEST_KERNELS)
  add_test(NAME suites/selftest COMMAND "${CMAKE_SOURCE_DIR}/tests/suites/selftest")
  set_tests_properties(suites/selftest PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 900)
endif()

# What host/* are on this machine, with the kernel to serve the regions
foreach(kernel ${FUSE_REGIONS_GUEST_KERNELS})
  add_test(NAME vm/regionfs-${kernel}
           COMMAND "${CMAKE_SOURCE_DIR}/tests/vm/host-tests" ${kernel})
  set_tests_properties(vm/regionfs-${kernel} PROPERTIES TIMEOUT 1500)
endforeach()

if(FUSE_REGIONS_GUEST_KERNELS)
  foreach(name dmesg-scan shellcheck usage verdicts)
    add_test(NAME vm/${name} COMMAND "${CMAKE_SOURCE_DIR}/tests/vm/t-${name}")
    set_tests_properties(vm/${name} PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 300)
  endforeach()
  set_tests_properties(vm/verdicts PROPERTIES COST 900 TIMEOUT 900)
endif()

if(guest_tests)
  foreach(kernel ${FUSE_REGIONS_GUEST_KERNELS})
    add_guest_tests(${kernel} ${guest_tests})
  endforeach()
endif()
