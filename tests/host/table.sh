#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Files that a table puts together: what they show, what can be written, what is refused.

# shellcheck source=tests/host/common.sh
. "$(dirname "$0")/common.sh"
need fallocate truncate

mkdir data
head -c 1000000 /dev/urandom >data/a
head -c 50000 /dev/urandom >data/b
cp data/a a.orig
cp data/b b.orig

# part FILE OFFSET LENGTH
part() {
	dd if="$1" iflag=skip_bytes,count_bytes skip="$2" count="$3" bs=64K status=none
}

zeroes() {
	head -c "$1" /dev/zero
}

cat >data/table <<'END'
# Backings are relative to the table.
mixed   0     100K a 5          # a comment
mixed 102400  1000 b 49500 rw
mixed 200K    300K a 1000 ro

	sub/dir/"x 0 1 b 0
END
refused 1 'data/table:6: a " in the middle of a field' regionfs table data/table "$mnt"
cat >data/table <<END
mixed   0     100K a 5          # a comment
mixed 102400  1000 b 49500 rw
mixed 200K    300K a 1000 ro
"sub/dir/with \"blanks\"\x2c\t." 1 3 "$PWD/data/b" 0x10
whole 0 0 a 0
rest 0 0 b 49990 rw
shared 0 10 b 49000 rw
shared-too 0 10 b 49000 rw
empty size 0
void size 1M rw
END

mounted table data/table "$mnt"
{
	part a.orig 5 102400
	part b.orig 49500 500
	zeroes $((204800 - 102900))
	part a.orig 1000 307200
} >wanted
same wanted "$mnt/mixed"
{
	zeroes 1
	part b.orig 16 3
} >wanted
same wanted "$mnt/sub/dir/with \"blanks\",	."
same a.orig "$mnt/whole"
part b.orig 49990 10 >wanted
same wanted "$mnt/rest"
equal "size of empty" "$(stat -c %s "$mnt/empty")" 0
equal "size of void" "$(stat -c %s "$mnt/void")" 1048576
equal "mode of mixed" "$(stat -c %a "$mnt/mixed")" 644
equal "mode of whole" "$(stat -c %a "$mnt/whole")" 444

# put TEXT FILE OFFSET
put() {
	printf '%s' "$1" | dd of="$2" bs=1 seek="$3" conv=notrunc status=none 2>said
}

# Bytes bound for writing go to the backing, gaps stay here, the rest is refused.
put 'written' "$mnt/mixed" 102400
equal "the backing" "$(part data/b 49500 7)" written
equal "the file" "$(part "$mnt/mixed" 102400 7)" written
put 'in a gap' "$mnt/mixed" 150000
equal "the gap" "$(part "$mnt/mixed" 150000 8)" 'in a gap'
! put 'no' "$mnt/mixed" 100 || fail "a read-only region was written to"
grep -q 'Read-only' said || fail "$(cat said)"
! put 'no' "$mnt/whole" 0 || fail "a read-only file was written to"
for command in "touch $mnt/new" "mkdir $mnt/new" "rm $mnt/void" "mv $mnt/void $mnt/new" \
	"ln $mnt/void $mnt/new" "ln -s void $mnt/new"; do
	! $command 2>said || fail "$command worked"
	grep -q 'Operation not permitted' said || fail "$command: $(cat said)"
done
# Over an edge: as much as goes.
status=0
printf '0123456789' | dd of="$mnt/mixed" bs=10 seek=$((204795)) oflag=seek_bytes \
	conv=notrunc 2>said || status=$?
equal "bytes up to the edge" "$(part "$mnt/mixed" 204795 5)" 01234
cmp -n 1000 data/a a.orig || fail "a read-only backing changed"

# One backing, two files.
put 'both' "$mnt/shared" 3
equal "the other file" "$(part "$mnt/shared-too" 3 4)" both
put 'outside' data/b 49001
equal "a change from outside" "$(part "$mnt/shared-too" 1 7)" outside

# Sizes.
put 'tail' "$mnt/mixed" 600000
equal "size after a write past the end" "$(stat -c %s "$mnt/mixed")" 600004
put 'and more' "$mnt/rest" 10
equal "size of the backing" "$(stat -c %s data/b)" 50008
equal "size of the file" "$(stat -c %s "$mnt/rest")" 18
echo appended >>"$mnt/rest"
equal "end of the backing" "$(tail -n 1 data/b | tail -c 9)" appended
truncate -s 102403 "$mnt/mixed"
truncate -s 210000 "$mnt/mixed"
{
	part a.orig 5 102400
	printf wri
	zeroes $((210000 - 102403))
} >wanted
same wanted "$mnt/mixed"
equal "the backing after the truncation" "$(part data/b 49500 7)" written
put 'again' "$mnt/mixed" 205000
equal "what was a region" "$(part "$mnt/mixed" 205000 5)" again
truncate -s 9 "$mnt/rest"
equal "size of the truncated backing" "$(stat -c %s data/b)" 49999
! truncate -s 1 "$mnt/whole" 2>said || fail "a read-only file was truncated"

# Holes.
put 'abcdefgh' "$mnt/void" 5000
fallocate -p -o 5002 -l 3 "$mnt/void"
equal "around the hole" "$(part "$mnt/void" 5000 8 | tr '\0' _)" 'ab___fgh'
fallocate -l 2M "$mnt/void"
equal "size after fallocate" "$(stat -c %s "$mnt/void")" 2097152
! fallocate -p -o 0 -l 10 "$mnt/mixed" 2>said || fail "a hole was made in a read-only region"

# Times and modes.
touch -d '2001-02-03 04:05:06' "$mnt/shared"
equal "mtime" "$(TZ=UTC stat -c %y "$mnt/shared" | cut -c 1-4)" 2001
put 'x' "$mnt/shared" 0
[ "$(stat -c %Y "$mnt/shared")" -gt 1500000000 ] || fail "a write does not show in mtime"
chmod 640 "$mnt/shared"
equal "mode" "$(stat -c %a "$mnt/shared")" 640

# What was written stays when the kernel forgets the inodes.
if [ -w /proc/sys/vm/drop_caches ]; then
	echo 2 >/proc/sys/vm/drop_caches
	equal "mode" "$(stat -c %a "$mnt/shared")" 640
	equal "the gap" "$(part "$mnt/void" 5000 2)" ab
	equal "the cut file" "$(part "$mnt/mixed" 205000 5)" again
	head -c 102400 wanted >wanted2
	head -c 102400 "$mnt/mixed" >got
	same wanted2 got
fi
sync "$mnt/mixed" "$mnt/rest" "$mnt/void"
unmounted

# A limit on the server's files is an error of the write that meets it, and nobody's end.
echo 'void size 10M rw' >table
# shellcheck disable=SC2086
prlimit --fsize=65536 regionfs table table "$mnt" ${REGIONFS_OPTIONS:-} 2>said || fail "$(cat said)"
put 'keep' "$mnt/void" 100
! put 'x' "$mnt/void" 1000000 || fail "a write went over the limit"
grep -q 'File too large' said || fail "$(cat said)"
equal "what was written before" "$(part "$mnt/void" 100 4)" keep
unmounted

# With ro nothing is opened for writing, nor can it be written to once the mount is made writable.
if [ "$(id -u)" = 0 ]; then
	mkdir readonly
	other_mounts=("$work/readonly")
	mount -t tmpfs fr-test readonly
	head -c 10000 /dev/zero >readonly/file
	mount -o remount,ro readonly
	printf '%s\n' 'part 0 4K readonly/file 0 rw' 'whole 0 0 readonly/file 0 rw' \
		'void size 4K rw' >table
	refused 1 "table:1: backing 'readonly/file': Read-only file system" \
		regionfs table table "$mnt" -o ro,rw
	mounted table table "$mnt" -o ro
	same readonly/file "$mnt/whole"
	# Where mount(8) cannot do that, it is the kernel that refuses.
	mount -i -o remount,rw "$mnt" 2>said || true
	for file in part whole void; do
		! put 'x' "$mnt/$file" 0 || fail "$file was written to"
		grep -q 'Read-only file system' said || fail "$(cat said)"
		! truncate -s 1 "$mnt/$file" 2>said || fail "$file was truncated"
		grep -q 'Read-only file system' said || fail "$(cat said)"
	done
	unmounted
fi
