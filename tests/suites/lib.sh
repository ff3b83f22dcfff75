# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# What the suites share: the way into a guest, mounts, verdicts. A suite is a script that is started
# on the host, starts itself again in a guest, and there runs cases: programs that others wrote, on
# cutfs. The caller has defined `usage`, and set `tool_options` to the options it knows beyond these:
#
#   --kernel NAME      stable, latest, debug or kcsan (stable)
#   --cpus N           processors of the guest (2)
#   --timeout SECONDS  for the guest (480)
#   --only PATTERN     only the cases whose names match
#
# Exit status: 0 passed, 1 failed, 2 usage, 77 skipped: something is missing.

suite_dir=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
declare -A option=([kernel]=stable [cpus]=2 [timeout]=480 [only]='*')

suite_parse() {
	local name
	while [ $# -gt 0 ]; do
		name=${1#--}
		if [ "$1" = --help ]; then
			usage
			exit 0
		elif [[ $1 != --* || " kernel cpus timeout only ${tool_options:-} " != *" $name "* || $# -lt 2 ]]; then
			usage >&2
			exit 2
		fi
		option[$name]=$2
		shift 2
	done
}

skip() {
	echo "skipped: $*"
	exit 77
}

# suite_start ARG…: returns in the guest only.
suite_start() {
	local args=() name share=()
	suite_parse "$@"
	if [ -n "${option[from]:-}" ]; then
		option[from]=$(realpath "${option[from]}") || exit 2
		share=(--share "${option[from]}")
	elif [[ " ${tool_options:-} " == *" from "* ]]; then
		usage >&2
		exit 2
	fi
	[ -z "${FUSE_REGIONS_GUEST:-}" ] || return 0
	for name in "${!option[@]}"; do
		args+=("--$name" "${option[$name]}")
	done
	exec "$suite_dir/../../run" guest --kernel "${option[kernel]}" --cpus "${option[cpus]}" \
		--timeout "${option[timeout]}" "${share[@]}" -- "$suite_dir/$(basename "$0")" "${args[@]}"
}

# --- in the guest ---

place=/tmp/suite
cases_failed=0 cases_run=0 cases_skipped=0

# new_place tmpfs|ext4|xfs: directories $place/dir, which is on such a file system, and $place/mnt.
# Status 77 where there is no such file system; whatever else fails is a failure.
new_place() {
	mkdir -p $place/fs $place/mnt
	[ "$1" = tmpfs ] || modprobe -a loop "$1" || return 77
	[ "$1" = tmpfs ] || command -v "mkfs.$1" >/dev/null || return 77
	mount_place "$1" && mkdir $place/fs/dir && ln -sfn fs/dir $place/dir && return
	echo "cannot make a file system: $1"
	drop_place
	return 1
}

mount_place() {
	local force=-F
	if [ "$1" = tmpfs ]; then
		mount -t tmpfs tmpfs $place/fs
		return
	fi
	[ "$1" != xfs ] || force=-f
	truncate -s 3G $place/disk &&
		"mkfs.$1" -q "$force" $place/disk &&
		mount -o loop $place/disk $place/fs
}

drop_place() {
	local rc=0
	! mountpoint -q $place/fs || umount $place/fs || rc=1
	rm -f $place/disk
	return $rc
}

# Let the server end before the next one starts.
await_server() {
	local tries
	for ((tries = 0; tries < 100; tries++)); do
		pgrep -x 'cutfs|regionfs|passthrough_hp' >/dev/null || return 0
		sleep 0.1
	done
	echo "the server does not end"
	return 1
}

# statfs() asks the server; what mountpoint(1) does may be answered from the kernel's cache.
mounted() {
	mountpoint -q $place/mnt && stat -f $place/mnt >/dev/null || {
		echo "no file system is mounted"
		return 1
	}
}

# What a command has left running may take a moment to end.
unmount() {
	local rc=0 until=$((SECONDS + 4))
	while ! fusermount3 -u $place/mnt; do
		if ((SECONDS >= until)); then
			umount -l $place/mnt
			rc=1
			break
		fi
		sleep 0.2
	done
	await_server || rc=1
	return $rc
}

parameters=/sys/module/fuse_regions/parameters

has_regions() { [ "$(<$parameters/live_nodes)" -gt 0 ]; }

# with_regions COMMAND…: the module must have had some before it ended.
with_regions() {
	local rc=0 watcher
	(cd / && until has_regions; do sleep 0.1; done) &
	watcher=$!
	"$@" || rc=$?
	kill $watcher 2>/dev/null
	# The last look is for those that are short.
	wait $watcher || has_regions || {
		echo "the module had no region"
		[ "$rc" != 0 ] || rc=1
	}
	return $rc
}

# beside_file COMMAND…: for those whose files are all empty, or gone too soon to be seen: another has
# regions.
beside_file() {
	head -c 300000 /dev/urandom >beside || return
	"$@"
}

# The module must have let go of everything.
check_live() {
	local tries left
	for ((tries = 0; tries < 50; tries++)); do
		left=$(grep -Hv '^0$' $parameters/live_* 2>/dev/null)
		[ -n "$left" ] || return 0
		sleep 0.1
	done
	echo "the module still holds: $left"
	return 1
}

# Checksums of the files here that are not huge, for `sha256sum -c`. Fails if any can't be read.
checksums() (
	set -o pipefail
	find . -type f -size -64M -print0 | sort -z | xargs -0r sha256sum
)

# There may be none: most stressors clean up.
same_sums() { [ ! -s /tmp/sums ] || sha256sum --quiet -c /tmp/sums; }

# in_mount COMMAND…
in_mount() { (cd $place/mnt && "$@"); }

# What is here looks the same after the kernel has forgotten it.
remembered() {
	checksums >/tmp/sums || {
		echo "not all files can be read"
		return 1
	}
	sync
	echo 3 >/proc/sys/vm/drop_caches
	same_sums
}

# run_on FILESYSTEM CUTFS_OPTIONS COMMAND…: in the root of a new mount. Regions must have been bound; the
# files that it leaves must look the same after the kernel has forgotten them, and in the directory once
# the mount is gone.
run_on() {
	local fs=$1 options=$2 rc=0 regions=with_regions
	shift 2
	[[ ,$options, != *,noregions,* ]] || regions=
	new_place "$fs" || return
	if cutfs ${options:+-o "$options"} $place/dir $place/mnt && mounted; then
		in_mount $regions "$@" || rc=$?
		mounted || rc=1
		[ "$rc" != 0 ] || in_mount remembered || rc=1
		unmount || rc=1
		[ "$rc" != 0 ] || (cd $place/dir && same_sums) || rc=1
		check_live || rc=1
	else
		# what is left of it
		umount -l $place/mnt 2>/dev/null
		rc=1
	fi
	drop_place || rc=1
	return "$rc"
}

# suite_case NAME COMMAND…: run it, say how it went, show what it said if it failed.
suite_case() {
	local name=$1 started=$SECONDS rc=0 word=pass log=/tmp/case.$$.log
	shift
	# shellcheck disable=SC2053 # a pattern
	[[ $name == ${option[only]} ]] || return 0
	"$@" >"$log" 2>&1 || rc=$?
	cases_run=$((cases_run + 1))
	case $rc in
	0) ;;
	77)
		word=skip
		cases_skipped=$((cases_skipped + 1))
		;;
	*)
		word=FAIL
		cases_failed=$((cases_failed + 1))
		;;
	esac
	printf '%s %4d s  %s\n' "$word" $((SECONDS - started)) "$name"
	[ "$rc" = 0 ] || {
		echo "status $rc: $*"
		head -n 12 "$log"
		echo ...
		tail -n 12 "$log"
	} | sed 's/^/      /'
}

# The last command of a suite: its status
suite_end() {
	echo "$((cases_run - cases_failed - cases_skipped)) passed, $cases_skipped skipped," \
		"$cases_failed failed"
	[ "$cases_failed" = 0 ] || return 1
	[ "$cases_run" != "$cases_skipped" ] || return 77
}
