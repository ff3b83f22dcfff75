# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Sourced by each test: a directory to work in, mounts that are gone at the end, and words to say
# what went wrong with. The tests run on the host, and in a guest with the module, with the
# regionfs that is on PATH. $REGIONFS_OPTIONS is added to every mount.

set -euo pipefail

skip() {
	echo "skip: $*"
	exit 77
}

fail() {
	echo "FAIL: $*" >&2
	exit 1
}

need() {
	local program
	for program; do
		command -v "$program" >/dev/null || skip "there is no $program"
	done
}

need regionfs
[ -w /dev/fuse ] || skip "/dev/fuse cannot be opened"
[ "$(id -u)" = 0 ] || need fusermount3

work=$(mktemp -d "${TMPDIR:-/tmp}/regionfs-test.XXXXXX")
mnt=$work/mnt
mkdir "$mnt"

# What a test mounts besides $mnt, each before those it lies on.
other_mounts=()

finish() {
	local status=$? place
	trap - EXIT
	cd /
	for place in "$mnt" "${other_mounts[@]}"; do
		while mountpoint -q "$place" && umount "$place" 2>/dev/null; do :; done
		! mountpoint -q "$place" || umount -l "$place"
	done
	rm -rf "$work"
	exit "$status"
}
trap finish EXIT
trap 'exit 1' INT TERM
cd "$work"

# Who has to serve what is mounted: "the kernel" where there is the module and it may be used, or
# "anybody", which a test says before mounts that the module does not take.
server=anybody
[ "$(id -u)" != 0 ] || [ ! -e /dev/fuse_regions ] || server="the kernel"

# served OPTION…: by who is to
served() {
	[ "$server" != anybody ] || return 0
	[[ "$*" != *noregions* ]] || return 0
	grep -q "^regionfs: regions served by $server" "$work/said"
}

# mounted KIND SOURCE [OPTION…]: the line that regionfs said is in $work/said.
mounted() {
	# shellcheck disable=SC2086 # several options
	regionfs "$@" ${REGIONFS_OPTIONS:-} 2>"$work/said" ||
		fail "regionfs $*: exit status $?: $(cat "$work/said")"
	mountpoint -q "$mnt" || fail "regionfs $* did not mount"
	served "$@" "${REGIONFS_OPTIONS:-}" || fail "regionfs $*: not by $server: $(cat "$work/said")"
}

unmounted() {
	umount "$mnt" || fail "cannot unmount"
}

# same FILE FILE
same() {
	cmp "$1" "$2" || fail "$1 and $2 differ"
}

# equal WHAT GOT WANTED
equal() {
	[ "$2" = "$3" ] || fail "$1 is '$2', not '$3'"
}

# refused STATUS TEXT COMMAND…: it fails with that status, says something like TEXT, mounts nothing.
refused() {
	local status=0 wanted=$1 text=$2
	shift 2
	"$@" >said 2>&1 || status=$?
	[ "$status" = "$wanted" ] || fail "$*: exit status $status, not $wanted: $(cat said)"
	grep -qF -- "$text" said || fail "$*: no '$text' in: $(cat said)"
	! mountpoint -q "$mnt" || fail "$*: mounted in spite of it"
}

# the_pid: of the regionfs that serves $mnt.
the_pid() {
	local pid
	for pid in $(pidof -x regionfs || true); do
		if tr '\0' ' ' <"/proc/$pid/cmdline" | grep -qF "$work"; then
			echo "$pid"
			return
		fi
	done
	return 1
}

# eventually COMMAND…: within ten seconds.
eventually() {
	local i
	for ((i = 0; i < 100; i++)); do
		! "$@" || return 0
		sleep 0.1
	done
	return 1
}
