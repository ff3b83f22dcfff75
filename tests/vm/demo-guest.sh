#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# usage: demo-guest.sh ARCHIVE
#
# The guest's half of `./run demo`.  The guest counts instructions instead of seconds, so the
# comparison comes out the same on any machine.

set -euo pipefail

work=/tmp/demo
mnt=$work/mnt
stats=$work/stats
archive=$work/archive.tar

main() {
	mkdir -p "$mnt" "$work/extracted"
	cp "$1" "$archive"
	file_type "$archive"

	echo "1. What GNU tar makes of the archive, and what regionfs serves from it"
	tar -xf "$archive" -C "$work/extracted"
	(cd "$work/extracted" && find . -type f -print0 | sort -z | xargs -0r sha256sum) >"$work/sums"
	local files bytes
	files=$(wc -l <"$work/sums")
	bytes=$(find "$work/extracted" -type f -printf '%s\n' | awk '{ n += $1 } END { print n + 0 }')
	[ "$files" -gt 0 ] || fail "the archive has no regular files"

	mount_archive -o stats="$stats"
	(cd "$mnt" && sha256sum --quiet -c "$work/sums") || fail "contents differ"
	# Unmounting makes regionfs write its final figures.
	unmount_archive
	printf '   %s files, %s bytes: all checksums agree\n' "$files" "$bytes"
	printf '   bytes that programs read:          %12s\n' "$bytes"
	printf '   READ requests the server received: %12s   (regions: %s, mode: %s)\n\n' \
		"$(stat_of read_requests)" "$(stat_of regions)" "$(stat_of mode)"
	[ "$(stat_of mode)" = kernel ] || fail "the regions did not reach the kernel"
	[ "$(stat_of read_requests)" = 0 ] || fail "the server was asked for bytes that regions cover"

	compare
}

fail() {
	echo "demo: $*" >&2
	exit 1
}

file_type() {
	[ "$(tail -c +258 "$1" | head -c 5)" = ustar ] ||
		fail "this is not an uncompressed tar archive (decompress it first)"
}

mount_archive() {
	local i
	regionfs tar "$archive" "$mnt" "$@" || fail "regionfs did not start"
	for i in {1..100}; do
		mountpoint -q "$mnt" && return
		sleep 0.05
	done
	fail "nothing mounted after $i tries"
}

unmount_archive() {
	local i
	rm -f "$stats.done"
	fusermount3 -u "$mnt"
	for i in {1..100}; do
		pgrep -x regionfs >/dev/null || return 0
		sleep 0.05
	done
	fail "regionfs still runs after $i tries"
}

stat_of() { awk -v name="$1" '$1 == name { print $2 }' "$stats"; }

# The largest member, and where its bytes are in the archive.
choose_member() {
	local block
	member=$(cd "$work/extracted" && find . -type f -links 1 -printf '%s %P\n' | sort -rn | sed -n '1s/^[0-9]* //p')
	size=$(stat -c %s "$work/extracted/$member")
	# Through the environment, where awk leaves backslashes alone.
	block=$(tar -tRf "$archive" | member=$member awk '
		match($0, /^block [0-9]+: (\.\/)?/) && substr($0, RLENGTH + 1) == ENVIRON["member"] {
			sub(/:.*/, "", $2)
			print $2
		}' | tail -n 1)
	[ -n "$block" ] || fail "cannot find $member in the archive"
	offset=$(((block + 1) * 512))
	cmp -s -n "$size" -i "$offset:0" "$archive" "$work/extracted/$member" ||
		fail "$member is not where tar says it is"
}

compare() {
	choose_member
	if [ "$size" -lt 131072 ]; then
		echo "2. No comparison: the largest member ($member) has only $size bytes"
		return
	fi
	printf '2. Reading one member (%s, %s bytes at %s in the archive), in guest instructions\n' \
		"$member" "$size" "$offset"
	printf '   %-24s %22s %24s\n' '' '128 KiB sequential' '4 KiB random'
	rm -rf "$work/extracted"
	native=()
	row 'the archive itself' 1 "$archive" "$offset"
	mount_archive
	row 'through regions' 1 "$mnt/$member" 0
	unmount_archive
	mount_archive -o noregions
	# Past FUSE's own page cache, which would hold a second copy of what was read before.
	row 'answered by the server' 8 "$mnt/$member" 0 --direct=1
	unmount_archive
}

# row LABEL SHARE FILE OFFSET [FIO-OPTION…]: SHARE divides the amount read, for the slow.
row() {
	local label=$1 share=$2 seq random
	shift 2
	seq=$(measure 7 "$@" --rw=read --bs=128k --io_size=$((512 / share))m)
	random=$(measure 8 "$@" --rw=randread --bs=4k --io_size=$((128 / share))m)
	[ ${#native[@]} -gt 0 ] || native=("$seq" "$random")
	awk -v label="$label" -v s="$seq" -v r="$random" -v s0="${native[0]}" -v r0="${native[1]}" 'BEGIN {
		printf "   %-24s %9.0f MiB/s %6.3f %12d IOPS %6.3f\n", label, s / 1024, s / s0, r, r / r0
	}'
}

# measure FIELD FILE OFFSET FIO-OPTION…: one field of fio's terse line; 7 is KiB/s, 8 IOPS.
measure() {
	local field=$1 file=$2 offset=$3
	shift 3
	# Read once first, so that caches are warm for all alike.
	fio --name=demo --filename="$file" --offset="$offset" --size=$((size / 131072 * 131072)) \
		--ioengine=psync --readonly --invalidate=0 --pre_read=1 --norandommap --thread \
		--output-format=terse --terse-version=3 "$@" | cut -d';' -f"$field"
}

main "$@"
