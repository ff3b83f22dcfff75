#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Archives with peculiar members: listed twice, without their directories, with unsafe names, with
# 8 GiB and more, links to what is not there, devices.

# shellcheck source=tests/host/common.sh
. "$(dirname "$0")/common.sh"
need tar

mkdir -p src/deep/er
echo one >src/file
echo below >src/deep/er/file

# The last one wins, and its bytes are its own.
tar -cf twice.tar -C src file
echo 'two, and longer' >src/file
tar -rf twice.tar -C src file
mounted tar twice.tar "$mnt"
equal "the file that is there twice" "$(cat "$mnt/file")" 'two, and longer'
equal "the number of names" "$(ls "$mnt")" file
equal "its links" "$(stat -c %h "$mnt/file")" 1
unmounted

# A directory that no member lists.
tar -cf no-dirs.tar -C src deep/er/file
mounted tar no-dirs.tar "$mnt"
equal "the file in it" "$(cat "$mnt/deep/er/file")" below
equal "its type" "$(stat -c %F "$mnt/deep")" directory
equal "links of it" "$(stat -c %h "$mnt/deep")" 3
unmounted

# A directory that comes after what is in it.
tar -cf late.tar -C src deep/er/file
chmod 700 src/deep
tar --no-recursion -rf late.tar -C src deep
mounted tar late.tar "$mnt"
equal "its mode" "$(stat -c %a "$mnt/deep")" 700
equal "the file in it" "$(cat "$mnt/deep/er/file")" below
unmounted

# Nothing leads out of the mount.
tar -P --transform 's,^,../../,' -cf up.tar -C src file
tar -P --transform 's,^,/root/,' -rf up.tar -C src deep/er/file
tar -P --transform 's,^,x/../y/./,' -rf up.tar -C src file
mounted tar up.tar "$mnt"
equal "names" "$(cd "$mnt" && find . -type f | sort | xargs)" './file ./root/deep/er/file ./y/file'
unmounted

# A link to something that was left out is left out, with a word.
ln src/file src/link
tar -cf all.tar -C src file link
tar --delete -f all.tar file
mounted tar all.tar "$mnt"
grep -qF "'link' is left out" "$work/said" || fail "no word of it: $(cat "$work/said")"
equal "names" "$(ls "$mnt")" ''
unmounted
# So is one to what comes later, and one to a directory; the word says which it is.
mkdir -p other/file
tar -cf directory.tar -C other file
tar -Af directory.tar all.tar
tar -rf all.tar -C src file
mounted tar all.tar "$mnt"
grep -qF "'link' is left out: it is a link to 'file', which does not come before it" "$work/said" ||
	fail "it said: $(cat "$work/said")"
equal "names" "$(ls "$mnt")" file
unmounted
mounted tar directory.tar "$mnt"
grep -qF "'link' is left out: it is a link to 'file', which is a directory" "$work/said" ||
	fail "it said: $(cat "$work/said")"
unmounted

# A name that could not be listed is left out, with a word, and the others are listed.
name=$(printf 'n%.0s' {1..1024})
tar --format=pax --transform "s,^file,x/$name," -cf long.tar -C src file
tar --format=pax --transform "s,^file,x/${name:1}," -rf long.tar -C src file
tar --format=pax --transform "s,^file,x/short," -rf long.tar -C src file
mounted tar long.tar "$mnt"
grep -q "'x/nnn.*' is left out: the name is too long" "$work/said" || fail "no word of it: $(cat "$work/said")"
equal "names" "$(ls "$mnt/x")" "$(printf '%s\nshort' "${name:1}")"
unmounted

# Devices are shown.
if [ "$(id -u)" = 0 ] && mknod src/null c 1 3 2>/dev/null; then
	mknod src/disk b 259 1048575
	tar -cf devices.tar -C src null disk
	mounted tar devices.tar "$mnt"
	equal "null" "$(stat -c '%F %t:%T' "$mnt/null")" 'character special file 1:3'
	equal "disk" "$(stat -c '%F %t:%T' "$mnt/disk")" 'block special file 103:fffff'
	unmounted
fi

# 9 GiB: in the archive, and nearly all hole in it, so that it costs nothing.
large_member() {
	local size=$((9 << 30)) data end
	truncate -s $size src/big
	# Only the headers: tar ends when nobody reads on.
	(tar --format="$1" -cf - -C src big 2>/dev/null || true) | head -c "$2" >big.tar
	data=$2
	end=$((data + size))
	truncate -s $end big.tar
	printf 'first' | dd of=big.tar bs=1 seek="$data" conv=notrunc status=none
	printf 'middle' | dd of=big.tar bs=1 seek=$((data + (5 << 30) + 17)) conv=notrunc status=none
	printf 'last' | dd of=big.tar bs=1 seek=$((end - 4)) conv=notrunc status=none
	tar --format="$1" -cf - -C src file >>big.tar
	mounted tar big.tar "$mnt"
	equal "size" "$(stat -c %s "$mnt/big")" $size
	equal "its first bytes" "$(dd if="$mnt/big" bs=1 count=5 status=none)" first
	equal "bytes in the middle" \
		"$(dd if="$mnt/big" bs=1 skip=$(((5 << 30) + 17)) count=6 status=none)" middle
	equal "its last bytes" "$(tail -c 4 "$mnt/big")" last
	equal "the member after it" "$(cat "$mnt/file")" "$(cat src/file)"
	unmounted
	rm -f big.tar src/big
}
large_member gnu 512
large_member pax 1536

# The same as a sparse member.
truncate -s $((9 << 30)) src/big
printf 'middle' | dd of=src/big bs=1 seek=$(((8 << 30) + 5)) conv=notrunc status=none
tar -S -cf big.tar -C src big
mounted tar big.tar "$mnt"
equal "size" "$(stat -c %s "$mnt/big")" $((9 << 30))
equal "bytes in the middle" \
	"$(dd if="$mnt/big" bs=1 skip=$(((8 << 30) + 5)) count=6 status=none)" middle
equal "bytes of the hole" "$(dd if="$mnt/big" bs=4096 skip=9999 count=1 status=none | tr -d '\0')" ''
blocks=$(stat -c %b "$mnt/big")
[ "$blocks" -lt 10000 ] || fail "the holes count as $blocks blocks"
unmounted

# An archive without members.
head -c 10240 /dev/zero >zero.tar
mounted tar zero.tar "$mnt"
equal "names" "$(ls -A "$mnt")" ''
unmounted

# Names in an encoding that is not UTF-8.
name=$'caf\xe9'
echo latin >"src/$name"
for format in gnu ustar pax; do
	tar --format=$format -cf latin.tar -C src "$name"
	mounted tar latin.tar "$mnt"
	equal "the file with a Latin-1 name, $format" "$(cat "$mnt/$name")" latin
	unmounted
done

# A member that the kernel does not take is read all the same, and the message names it.
limit=/sys/module/fuse_regions/parameters/max_regions
if [ -w "$limit" ] && [ -z "${REGIONFS_OPTIONS:-}" ]; then
	before=$(<"$limit")
	echo 1 >"$limit"
	mkdir -p src/below
	truncate -s 1M src/below/sparse
	for at in 100000 500000; do
		printf x | dd of=src/below/sparse bs=1 seek=$at conv=notrunc status=none
	done
	tar -Scf sparse.tar -C src below
	regionfs tar sparse.tar "$mnt" -f 2>said &
	eventually mountpoint -q "$mnt" || fail "it does not mount: $(cat said)"
	cmp src/below/sparse "$mnt/below/sparse" || fail "it is not read"
	echo "$before" >"$limit"
	grep -qF "cannot bind the regions of 'below/sparse': No space left" said || fail "it said: $(cat said)"
	unmounted
fi
