#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# What is no whole, uncompressed tar archive is refused with a sentence that says why and where.

# shellcheck source=tests/host/common.sh
. "$(dirname "$0")/common.sh"
need tar gzip

mkdir src
head -c 100000 /dev/urandom >src/first
head -c 100000 /dev/urandom >src/second
tar -cf good.tar -C src first second

# compressed PROGRAM SUFFIX COMMAND
compressed() {
	command -v "$1" >/dev/null || return 0
	"$1" -c good.tar >"bad.tar.$2"
	refused 1 "bad.tar.$2 is compressed ($1); regionfs needs a plain tar: $3 it first" \
		regionfs tar "bad.tar.$2" "$mnt"
	equal "number of lines that say so" "$(wc -l <said)" 1
}
compressed gzip gz 'gzip -d'
compressed bzip2 bz2 'bzip2 -d'
compressed xz xz 'xz -d'
compressed zstd zst 'zstd -d'
compressed lz4 lz4 'lz4 -d'

printf 'PK\003\004and so on' >bad.zip
refused 1 'bad.zip is a zip archive; regionfs needs a plain tar' regionfs tar bad.zip "$mnt"

: >empty
refused 1 'empty is empty; regionfs needs a tar archive' regionfs tar empty "$mnt"
refused 1 'src/first is not a tar archive' regionfs tar src/first "$mnt"
refused 1 'src is not a regular file' regionfs tar src "$mnt"
refused 1 'nowhere: No such file or directory' regionfs tar nowhere "$mnt"
mkfifo fifo
refused 1 'fifo is not a regular file' timeout 10 regionfs tar fifo "$mnt"

# Cut off in the data of the second member: 512 + 100352 + 512 is where these begin.
head -c 150000 good.tar >cut.tar
refused 1 "cut.tar: offset 101376, member 'second'" regionfs tar cut.tar "$mnt"
# Cut off in its header.
head -c 101000 good.tar >cut.tar
refused 1 "cut.tar: offset 100864, member 'first': the header after it:" \
	regionfs tar cut.tar "$mnt"

# A member's name does not reach the terminal as it is.
head -c 100000 /dev/urandom >$'src/\033[2Jgone\302\233\n'
tar -cf name.tar -C src $'\033[2Jgone\302\233\n'
truncate -s 50000 name.tar
refused 1 "member '\\033[2Jgone\\302\\233\\012'" regionfs tar name.tar "$mnt"

# A header that was overwritten.
cp good.tar damaged.tar
printf 'garbage' | dd of=damaged.tar bs=1 seek=$((100864 + 120)) conv=notrunc status=none
refused 1 "damaged.tar: offset 100864, member 'first': the header after it:" \
	regionfs tar damaged.tar "$mnt"

# Maps of sparse files (GNU's format 1.0: decimal numbers, a line each) that are no maps
# sparse SIZE MAP: five digits; the file is 20000 bytes long, with 4096 bytes of data at 8192
sparse() {
	local at
	truncate -s 20000 src/sparse
	printf x | dd of=src/sparse bs=1 seek=10000 conv=notrunc status=none
	tar --sparse --sparse-version=1.0 --format=pax -cf sparse.tar -C src sparse
	LC_ALL=C sed -i "s/realsize=20000/realsize=$1/" sparse.tar
	# The map is in a block of its own: the number of entries, then the first one's offset
	at=$(grep -abom1 '^8192$' sparse.tar | cut -d: -f1)
	printf '%b' "$2" | dd of=sparse.tar bs=1 seek=$((at - 2)) conv=notrunc status=none
}
sparse 20000 '2\n8192\n4096\n20000\n0\n'
mounted tar sparse.tar "$mnt"
same src/sparse "$mnt/sparse"
unmounted
sparse 20000 '2\n8192\n2048\n9000\n2048\n'
refused 1 "member 'sparse': 4096 bytes of data do not make a file" regionfs tar sparse.tar "$mnt"
for map in '2\n0\n600\n0\n100\n' '2\n0\n600\n900\n400\n'; do
	sparse 01000 "$map"
	refused 1 "member 'sparse': the map of the sparse file overlaps itself, or its end" \
		regionfs tar sparse.tar "$mnt"
done

# Nothing can be changed, not even when the mount is made writable.
nothing_changes() {
	local command
	for command in "touch $mnt/new" "rm $mnt/first" "mkdir $mnt/new" "mv $mnt/first $mnt/new" \
		"truncate -s 1 $mnt/first" "chmod 777 $mnt/first" "ln $mnt/first $mnt/new" \
		"ln -s first $mnt/new" "rmdir $mnt/dir" "touch $mnt/first"; do
		! $command 2>said || fail "$command worked"
		grep -q 'Read-only file system' said || fail "$command: $(cat said)"
	done
}
mkdir src/dir
tar -rf good.tar -C src dir
mounted tar good.tar "$mnt"
nothing_changes
if [ "$(id -u)" = 0 ] && mount -i -o remount,rw "$mnt" 2>said; then
	nothing_changes
fi
unmounted
