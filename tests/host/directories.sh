#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# What seeking in a directory shows: what follows, and nothing from anywhere else.

# shellcheck source=tests/host/common.sh
. "$(dirname "$0")/common.sh"

mkdir data
echo content >data/a
cat >data/table <<END
hidden/one 0 1 a 0
hidden/two 0 1 a 0
open/three 0 1 a 0
four 0 1 a 0
END

# Each number, each offset that a 32-bit number of a name could come from, and the largest
offsets=(3 4 5 6 7 8 9 10 100 0x7fffffff 0x100000000 0x100000003 0x7fffffffffffffff)

mounted table data/table "$mnt"
regionfs-list-from "$mnt/open" "${offsets[@]}" >names
! grep -vx three names || fail "names of other directories"
regionfs-list-from "$mnt" "${offsets[@]}" >names
! grep -vxE 'four|open|hidden' names || fail "names of other directories"
equal "from the beginning" "$(regionfs-list-from "$mnt/open" 0 | sort | paste -sd' ')" ". .. three"
unmounted

: >data/empty
mounted table data/empty "$mnt"
equal "an empty table" "$(regionfs-list-from "$mnt" "${offsets[@]}")" ""
unmounted
