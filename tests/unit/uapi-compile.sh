#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# usage: uapi-compile.sh c64|c32|cxx
#
# Compiles uapi-layout.c, in which the compiler checks the layout of the uapi header.  Exits with
# 77 where that cannot be tried.

set -u
here=$(dirname "$0")
include=$here/../../uapi
: "${CC:=cc}" "${CXX:=c++}"

skip() {
	echo "skip: $*"
	exit 77
}

# can COMMAND ...: does this compile, with the kernel's types and nothing else?
can() {
	printf '#include <linux/types.h>\n#include <linux/ioctl.h>\n' |
		"$@" -fsyntax-only - >/dev/null 2>&1
}

warnings="-Wall -Wextra -Wpedantic -Wpadded -Werror"

case ${1-} in
c64)
	can "$CC" -x c || skip "$CC cannot compile"
	# shellcheck disable=SC2086
	exec "$CC" -std=c11 $warnings -fsyntax-only -I "$include" "$here/uapi-layout.c"
	;;
c32)
	can "$CC" -m32 -x c || skip "$CC has no 32-bit headers: install gcc-multilib"
	# shellcheck disable=SC2086
	exec "$CC" -m32 -std=c11 $warnings -fsyntax-only -I "$include" "$here/uapi-layout.c"
	;;
cxx)
	can "$CXX" -x c++ || skip "no C++ compiler: install g++"
	# shellcheck disable=SC2086
	exec "$CXX" -std=c++11 $warnings -fsyntax-only -I "$include" -x c++ "$here/uapi-layout.c"
	;;
*)
	echo "usage: uapi-compile.sh c64|c32|cxx" >&2
	exit 2
	;;
esac
