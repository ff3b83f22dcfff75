# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# What every part of the machinery needs: where things are, how to talk to the user, how to run a
# long step with its output in a log, and how to get a package onto the host.
#
# Sourced, never run.  The caller has set REPO.

# Everything made goes below build/, or BUILD_DIR.  In a guest the repository can't be written to.
if [ -n "${BUILD_DIR:-}" ]; then
	BUILD=$BUILD_DIR
elif [ -w "$REPO" ]; then
	BUILD=$REPO/build
else
	BUILD=/var/tmp/fuse-regions-build
fi
VM="$REPO/tests/vm"
ROOT="$BUILD/root"
LOGS="$BUILD/log"

# Exit statuses of `run guest` beyond those of the command itself.
# shellcheck disable=SC2034
EXIT_USAGE=2 EXIT_EMULATOR=123 EXIT_TIMEOUT=124 EXIT_INFRA=125

say() { printf 'run: %s\n' "$*" >&2; }

die() {
	say "$*"
	exit "$EXIT_INFRA"
}

usage_error() {
	say "$*"
	say "try './run help'"
	exit "$EXIT_USAGE"
}

# logged NAME COMMAND…: run a long step with its output in build/log/NAME.log.  When it fails, show
# the tail and end the program.  Never call it in a condition (`if`, `||`): that would switch off
# `set -e` inside the step.
logged() {
	local name=$1 log=$LOGS/$1.log rc=0
	shift
	mkdir -p "$LOGS"
	set +e
	(
		set -e
		"$@"
	) >"$log" 2>&1 </dev/null
	rc=$?
	set -e
	[ "$rc" -ne 0 ] || return 0
	tail -n 40 "$log" >&2
	die "step '$name' failed (status $rc); all of it is in $log"
}

# locked NAME FUNCTION…: one at a time.  Two guests may start together; their builds must not.
locked() {
	local name=$1
	shift
	mkdir -p "$BUILD"
	(
		flock 9
		"$@"
	) 9>"$BUILD/.lock-$name"
}

# digest FILE…: one word that changes when the content of any of the files does.
digest() { cat -- "$@" | sha256sum | cut -c1-16; }

need_root() {
	[ "$(id -u)" = 0 ] || die "'$1' must run as root: it $2. Try: sudo ./run $1"
}

# need_packages PACKAGE…: install what the host lacks of these Debian packages.
need_packages() {
	local missing=() p
	command -v dpkg-query >/dev/null ||
		die "this machine has no apt. Install what corresponds to these Debian packages, then" \
			"edit need_packages in tests/vm/common.sh: $*"
	for p; do
		dpkg-query -W -f '${db:Status-Status}\n' "$p" 2>/dev/null | grep -qx installed ||
			missing+=("$p")
	done
	[ ${#missing[@]} -gt 0 ] || return 0
	[ "$(id -u)" = 0 ] || die "these packages are missing and installing them needs root: ${missing[*]}"
	say "installing on this machine: ${missing[*]}"
	locked apt logged apt install_packages "${missing[@]}"
}

install_packages() {
	local apt=(apt-get -y --no-install-recommends -o DPkg::Lock::Timeout=300)
	export DEBIAN_FRONTEND=noninteractive
	# Old package lists name files that the mirror no longer has.
	"${apt[@]}" update
	"${apt[@]}" install "$@"
}
