#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Archives and backings on file systems that lie on others: on an overlayfs, as in a container, the
# kernel serves as ever; on one that lies on one, or on a mount of regionfs, this process does.

# shellcheck source=tests/host/common.sh
. "$(dirname "$0")/common.sh"
need tar
[ "$(id -u)" = 0 ] || skip "overlayfs takes root"

# overlay NAME LOWER
overlay() {
	mkdir "$1"
	mount -t overlay -o "lowerdir=$2" fr-test "$1" || skip "overlayfs cannot be mounted"
}

other_mounts=("$work"/{two,one,below,tmp})

mkdir tmp below
mount -t tmpfs fr-test tmp
mkdir tmp/{dir,empty}
head -c 300000 /dev/urandom >tmp/dir/file
tar -cf tmp/dir/a.tar -C tmp/dir file
{ head -c 100000 tmp/dir/file | tail -c 99001; tail -c 9001 tmp/dir/file; } >wanted
overlay one tmp/dir:tmp/empty
overlay two one:tmp/empty

# serves PLACE: with the archive, and with a table, there; who said that he does
serves() {
	mounted tar "$1/a.tar" "$mnt"
	same tmp/dir/file "$mnt/file"
	unmounted
	printf 'f 0 99001 %s 999\nf 99001 9001 %s 290999\n' "$1/file" "$1/file" >table
	mounted table table "$mnt"
	same wanted "$mnt/f"
	sed -n 's/.*served by //p' said
	unmounted
}

plain=$(serves tmp/dir)
equal "who serves an overlayfs" "$(serves one)" "$plain"
server=anybody
on_two=$(serves two)
regionfs tar tmp/dir/a.tar below
cp tmp/dir/a.tar tmp/b.tar
tar -rf tmp/b.tar -C tmp/dir a.tar
umount below
regionfs tar tmp/b.tar below
on_regionfs=$(serves below)
if [ "$plain" = "the kernel" ]; then
	for said in "$on_two" "$on_regionfs"; do
		grep -q '^this process: the kernel does not take .*/file.: Too many' <<<"$said" ||
			fail "it said '$said'"
	done
else
	equal "who serves two of them" "$on_two" "$plain"
	equal "who serves a mount" "$on_regionfs" "$plain"
fi
