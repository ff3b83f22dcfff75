#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# fsync covers what the server does to a backing by itself.

# shellcheck source=tests/host/common.sh
. "$(dirname "$0")/common.sh"
need strace fallocate

printf 'whole 0 0 one 0 rw\npart 0 8192 two 0 rw\npart 8192 100 three 0 rw\n' >table
head -c 16384 /dev/urandom | tee one two >three

nr_syncs=0
syncs_are() { [ "$(grep -cE 'f(data)?sync\(' trace)" = $nr_syncs ]; }

# syncs NR FILE: the server has so many backings synced when somebody syncs the file
syncs() {
	sync "$mnt/$2" || fail "$2 cannot be synced"
	nr_syncs=$((nr_syncs + $1))
	eventually syncs_are || fail "$2 is not synced by $1 calls: $(cat trace)"
}

changed() {
	mounted table table "$mnt" -s "$@"
	exec 7<>"$mnt/whole" 8<>"$mnt/part"
	sync "$mnt/whole" "$mnt/part"
	strace -f -o trace -e trace=fsync,fdatasync -p "$(the_pid)" >/dev/null 2>attached &
	eventually grep -q attached attached || fail "strace: $(cat attached)"
	nr_syncs=0
	syncs 0 whole
	syncs 0 part
	truncate -s 12000 "$mnt/whole"
	syncs 1 whole
	fallocate -z -o 0 -l 10 "$mnt/whole"
	syncs 1 whole
	fallocate -l 20000 "$mnt/whole"
	syncs 1 whole
	fallocate -p -o 4096 -l 4100 "$mnt/part"
	syncs 2 part # backings
	syncs 0 whole
	syncs 0 part
	kill %1
	wait %1 || true
	exec 7>&- 8>&-
	unmounted
}

changed
changed -o noregions
