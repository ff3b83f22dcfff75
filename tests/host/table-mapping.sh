#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# What is stored through a mapping either gets to where it belongs, or the program hears of it. This
# process serves: with the module a store goes to the backing's own page, or finds that it may not.

# shellcheck source=tests/host/common.sh
. "$(dirname "$0")/common.sh"
need regionfs-map-store
[ "$(id -u)" = 0 ] || skip "tmpfs takes root"

other_mounts=("$work/small")
mkdir small
mount -t tmpfs -o size=256K fr-test small

# xs FILE: how many bytes of it were stored
xs() { tr -cd x <"$1" | wc -c; }

# no_space FILE: there is none for so much
no_space() {
	! regionfs-map-store "$1" 0 400000 2>said || fail "$1: no error, and $(xs "$1") bytes are there"
	grep -q 'No space left' said || fail "$1: it said: $(cat said)"
}

# A backing, and what stands in for one, on a full file system
truncate -s 1M small/back
printf '%s\n' "f 0 1M $work/small/back 0 rw" 'gap size 1M rw' >table
TMPDIR=$work/small mounted table table "$mnt" -o noregions
regionfs-map-store "$mnt/f" 0 200000 || fail "a store for which there is room fails"
equal "bytes of it" "$(xs small/back)" 200000
no_space "$mnt/f"
no_space "$mnt/gap"
unmounted

# What a write that fails had for bytes behind the file's end is not there when the file grows.
truncate -s 0 small/back
truncate -s 100 small/back
head -c 1M /dev/zero >small/fill 2>/dev/null || true
echo "f 0 100 $work/small/back 0 rw" >table
mounted table table "$mnt" -o noregions
! head -c 100 /dev/zero | tr '\0' x |
	dd of="$mnt/f" bs=100 oflag=seek_bytes seek=50 conv=notrunc 2>said || fail "there is room after all"
grep -q 'No space left' said || fail "it said: $(cat said)"
equal "size after a write that failed" "$(stat -c %s "$mnt/f")" 100
truncate -s 150 "$mnt/f"
equal "bytes of a write that failed" "$(xs "$mnt/f")" 0
unmounted
rm small/fill

# A page with bytes that can only be read among those that can be written
head -c 3000 /dev/zero | tr '\0' r >ro
head -c 4096 /dev/zero | tr '\0' w >rw
cp ro ro.orig
cat >table <<'END'
f 0    1000 rw 0    rw
f 1000 2000 ro 0    ro
f 3000 5000 rw 1000 rw
END
mounted table table "$mnt" -o noregions
regionfs-map-store "$mnt/f" 0 500 || fail "a store beside them fails"
equal "bytes stored beside them" "$(xs rw)" 500
! regionfs-map-store "$mnt/f" 500 3000 2>said || fail "a store into them is no error"
grep -q 'Read-only file system' said || fail "it said: $(cat said)"
equal "bytes stored before and after them" "$(xs rw)" 1500
same ro ro.orig
unmounted
mounted table table "$mnt" -o noregions
{
	head -c 1000 /dev/zero | tr '\0' x
	head -c 2000 ro
	head -c 500 /dev/zero | tr '\0' x
} >wanted
cmp -n 3500 wanted "$mnt/f" || fail "the file is not what was stored"
