# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# `./run test`: unit tests on this machine, with sanitizers; guest tests on each kernel; one CTest
# run over all of it, whose summary is the last thing printed.  `./run test --debug-kernel` and
# `--kcsan-kernel`: guest tests alone, on those kernels.

HOST_PACKAGES=(gcc libc6-dev clang libclang-rt-dev cmake ninja-build pkg-config libfuse3-dev
	libarchive-dev check shellcheck)

cmd_test() {
	case ${1:-} in
	--debug-kernel) test_built_kernel debug "${@:2}" ;;
	--kcsan-kernel) test_built_kernel kcsan "${@:2}" ;;
	esac
	need_packages "${HOST_PACKAGES[@]}" qemu-system-x86 util-linux xz-utils zstd
	prepare_tests
	# Both guests at a time: the wait for one leaves processors for the other.
	ASAN_OPTIONS=${ASAN_OPTIONS:-abort_on_error=0} \
		exec ctest --test-dir "$BUILD/host" --output-on-failure -j2 "$@"
}

# test_built_kernel NAME [PATTERN…]: the guest tests on a kernel that looks for mistakes.  It is some
# ten times slower, hence no part of the usual run.
test_built_kernel() {
	local name=$1 results=$BUILD/results/$1 failed
	shift
	GUEST_TESTS_TIMEOUT=${GUEST_TESTS_TIMEOUT:-7200} TEST_TIMEOUT=600 \
		"$VM/guest-tests" "$name" "$results" "$@" || exit
	# Whatever grep's status says of -L: that has changed.
	failed=$(cd "$results" && grep -Lx -e 0 -e 77 -- *.rc | sed 's/\.rc$//') || true
	[ -n "$failed" ] || exit 0
	say "failed:" $failed
	exit 1
}

# All that can fail to build does so here, before the first test starts.
prepare_tests() {
	local kernel
	ensure_kernel stable
	ensure_kernel latest
	if have_module_source; then
		build_module stable
		build_module latest
	fi
	build_user
	locked host make_host
}

make_host() {
	local out=$BUILD/host
	say "building the host's programs with sanitizers…"
	# Always configured anew, as the list of guest tests is read then.
	logged host-configure cmake -S "$REPO" --preset sanitize -B "$out"
	logged host cmake --build "$out"
	grep -A6 'warning:' "$LOGS/host.log" >&2 || true
}

cmd_bench() {
	[ -x "$REPO/bench/run" ] || die "there is no bench/run yet"
	exec "$REPO/bench/run" "$@"
}
