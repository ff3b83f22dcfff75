#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# All mistakes of a table are told, each with its line, and nothing is mounted. (The parser's own are
# in tests/unit/test-table.c.)

# shellcheck source=tests/host/common.sh
. "$(dirname "$0")/common.sh"

head -c 1000 /dev/urandom >data
mkfifo fifo
mkdir dir

cat >table <<'END'
a 0 100 data 0
a 50 100 data 0
b 0 10 nowhere 0
c 0 10 dir 0
d 0 10 fifo 0
e 0 ten data 0
END
refused 1 "table:2: overlaps line 1: both have the bytes from 50 to 99" regionfs table table "$mnt"
for text in "table:3: backing 'nowhere': No such file or directory" \
	"table:4: backing 'dir' is a directory" "table:5: backing 'fifo' is not a regular file" \
	"table:6: LENGTH 'ten' is not a number"; do
	grep -qF "$text" said || fail "no '$text' in: $(cat said)"
done
equal "number of lines" "$(wc -l <said)" 5

refused 1 "nothere: No such file or directory" regionfs table nothere "$mnt"
refused 1 "dir: Is a directory" regionfs table dir "$mnt"
head -c 2000 /dev/zero >zero
refused 1 "zero:1: there is a NUL byte" regionfs table zero "$mnt"

# As the module says at the first open: no file is that long there. (On some file systems one can be.)
far=$((0x7fffffffffffe000))
if ! truncate -s $((far + 4096)) probe 2>/dev/null; then
	echo "f 0 4K data $far" >table
	refused 1 "table:1: backing 'data': BACKING_OFFSET and LENGTH end past the largest file" \
		regionfs table table "$mnt"
fi
rm -f probe

# More files than there are descriptors for
for ((i = 0; i < 40; i++)); do
	cp data "data.$i"
	echo "file.$i 0 1000 data.$i 0"
done >many
refused 1 "many: 40 backings, 0 files with gaps to write to and 10 threads take 144 descriptors, and there may be 100" \
	prlimit --nofile=100 regionfs table many "$mnt"
# What is written to gaps takes one a file.
for ((i = 0; i < 40; i++)); do
	echo "file.$i size 1000 rw"
	echo "file.$i 0 100 data.1 0"
done >many
refused 1 "many: 1 backings, 40 files with gaps to write to and 10 threads take 106 descriptors, and there may be 100" \
	prlimit --nofile=100 regionfs table many "$mnt"
# shellcheck disable=SC2086 # several options
prlimit --nofile=106 regionfs table many "$mnt" ${REGIONFS_OPTIONS:-} 2>said || fail "$(cat said)"
for ((i = 0; i < 40; i++)); do
	printf x | dd of="$mnt/file.$i" bs=1 seek=500 conv=notrunc status=none || fail "file.$i"
done
unmounted

# A message is as long as it takes: what is wrong comes last.
long=$(printf 'directory/%.0s' {1..120})
echo "f 0 10 ${long}file 0" >table
refused 1 "table:1: backing '${long}file': No such file or directory" regionfs table table "$mnt"

# An empty table is an empty directory.
: >table
mounted table table "$mnt"
equal names "$(ls -A "$mnt")" ''
unmounted
