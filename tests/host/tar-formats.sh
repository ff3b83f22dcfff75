#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Archives of every format show what tar unpacks: names, types, links, modes, times, every byte.

# shellcheck source=tests/host/common.sh
. "$(dirname "$0")/common.sh"
need tar

long=$(printf 'd%.0s' {1..60})

make_tree() {
	mkdir -p src/dir/empty "src/a b"
	printf 'hello\n' >src/short
	: >src/nothing
	head -c 512 /dev/urandom >src/block
	head -c 513 /dev/urandom >src/block-and-1
	head -c 300000 /dev/urandom >src/dir/large
	head -c 5000 /dev/urandom >"src/a b/c d"
	ln src/dir/large src/hard
	ln src/short src/dir/hard
	ln -s dir/large src/soft
	ln -s /nowhere src/dangling
	chmod 600 src/block
	chmod 4755 src/short
	chmod 2711 src/dir/empty
	touch -d '2001-02-03 04:05:06.789' src/nothing
}

# What only some formats can name
make_long() {
	mkdir -p "src/$long/$long"
	head -c 7000 /dev/urandom >"src/$long/$long/$long-file"
	ln "src/$long/$long/$long-file" "src/$long/hard"
	ln -s "$long/$long/$long/$long" src/long-target
	printf 'x' >"src/$(printf 'é%.0s' {1..60})"
}

# Holes at the start, in the middle, at the end, nothing else; more than fit into one header.
make_sparse() {
	local i
	truncate -s 3M src/holes
	printf 'abc' | dd of=src/holes bs=1 seek=100000 conv=notrunc status=none
	printf 'xyz' | dd of=src/holes bs=1 seek=2000001 conv=notrunc status=none
	truncate -s 1M src/all-hole
	truncate -s 1000000 src/odd-end
	head -c 10000 /dev/urandom | dd of=src/odd-end conv=notrunc status=none
	for ((i = 0; i < 64; i++)); do
		printf '%d' "$i" | dd of=src/many bs=1 seek=$((i * 70001)) conv=notrunc status=none
	done
}

list() {
	(cd "$1" && find . -mindepth 1 -printf '%p %y %m %n %U:%G %l %TY-%Tm-%Td %TH:%TM:%.2TS' \
		\( -type f -printf ' %s' -o -true \) -printf '\n' | sort)
}

sums() {
	(cd "$1" && find . -type f -print0 | sort -z | xargs -0 sha256sum)
}

# compare ARCHIVE [TAR]: the mount of it with the files that tar unpacks from it.
compare() {
	rm -rf unpacked
	mkdir unpacked
	"${2:-tar}" -xpf "$1" -C unpacked 2>tar-said || fail "cannot unpack $1: $(cat tar-said)"
	mounted tar "$1" "$mnt"
	list unpacked >wanted
	list "$mnt" >got
	diff wanted got || fail "$1: names or attributes differ"
	sums unpacked >wanted
	sums "$mnt" >got
	diff wanted got || fail "$1: bytes differ"
	# Once more, larger pieces, from the page cache if there is one
	sums "$mnt" >got
	diff wanted got || fail "$1: bytes differ when read again"
	unmounted
	echo "ok: $1"
}

make_tree
tar --format=v7 -cf v7.tar -C src .
compare v7.tar
mkfifo src/dir/fifo
for format in ustar oldgnu gnu pax; do
	tar --format=$format -cf $format.tar -C src .
	compare $format.tar
done
make_long
touch -d '1969-12-31 23:00:00' src/block
for format in oldgnu gnu pax; do
	tar --format=$format -cf long-$format.tar -C src .
	compare long-$format.tar
done
make_sparse
for format in oldgnu gnu; do
	tar --format=$format -S -cf sparse-$format.tar -C src .
	compare sparse-$format.tar
done
for version in 0.0 0.1 1.0; do
	tar --format=pax --sparse-version=$version -S -cf sparse-pax-$version.tar -C src .
	compare sparse-pax-$version.tar
done
# The file system at hand may not have holes for tar to find: then these would test nothing.
size=$(stat -c %s sparse-gnu.tar)
[ "$size" -lt 2000000 ] || fail "the sparse archive has $size bytes, so it is not sparse"

if command -v bsdtar >/dev/null; then
	for format in ustar pax gnutar; do
		if bsdtar --format=$format -cf bsd-$format.tar -C src . 2>bsd-said; then
			compare bsd-$format.tar bsdtar
		fi
	done
else
	echo "no bsdtar: its archives are left out"
fi
