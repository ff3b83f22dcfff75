#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Files that share a backing show at once what is written to it through another of them.

# shellcheck source=tests/host/common.sh
. "$(dirname "$0")/common.sh"
need regionfs-take-turns

mkdir place
ln -s log place/alias
cat >table <<'END'
a 0 0 place/log 0 rw
b 0 0 place/log 0 rw
reader 0 0 place/alias 0
part 0 100 place/alias 2
END

take_turns() {
	local reader
	for reader in b reader 'part 2 100'; do
		: >place/log
		mounted table table "$mnt" "$@"
		# shellcheck disable=SC2086 # more arguments
		regionfs-take-turns "$mnt/a" "$mnt/"$reader || fail "a and $reader"
		unmounted
	done
}

take_turns
take_turns -o noregions

# On ramfs times move in ticks, so that two writes can have the same.
if [ "$(id -u)" = 0 ]; then
	other_mounts=("$work/place")
	mount -t ramfs fr-test place
	ln -s log place/alias
	take_turns
	take_turns -o noregions
fi

# What others do not write shows no change.
printf 'w 0 100 place/one 0 rw\nw 100 100 place/two 0 rw\nr 0 0 place/one 0\n' >table
truncate -s 100 place/one place/two
touch -d 2001-02-03 place/one place/two table
mounted table table "$mnt" -o noregions
printf x | dd of="$mnt/w" bs=1 seek=150 conv=notrunc status=none
equal "what only the other was written to" "$(stat -c %y "$mnt/r" | cut -c 1-4)" 2001
printf x | dd of="$mnt/w" bs=1 seek=50 conv=notrunc status=none
[ "$(stat -c %Y "$mnt/r")" -gt 1500000000 ] || fail "a write through another file does not show in mtime"
