#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Random reads, writes, truncations, mappings and holes, compared with a native file.
# SEEDS: which runs; OPERATIONS: how many in each.

# shellcheck source=tests/host/common.sh
. "$(dirname "$0")/common.sh"
need regionfs-random-io

cat >table <<'END'
many 0       100000 a 5      rw
many 150001   70000 a 200000 rw
many 300K       64K b 0      rw
many 700K     50000 a 600000 rw
# Starts with a gap, ends with a region past its backing's end, has one that can only be read.
some 4K         32K c 100    rw
some 100000   10000 a 400000 ro
some 110000    5000 a 410001 rw
some 120000   50000 b 49000  rw
whole 0 0 c 33 rw
void size 100000 rw
END
make_backings() {
	head -c 700000 /dev/urandom >a
	head -c 70000 /dev/urandom >b
	head -c 300000 /dev/urandom >c
}

for seed in ${SEEDS:-1 2 3}; do
	make_backings
	mounted table table "$mnt"
	for file in many whole void; do
		cat "$mnt/$file" >reference
		regionfs-random-io "$mnt/$file" reference "$seed" "${OPERATIONS:-2000}" ||
			fail "$file, seed $seed"
	done
	cat "$mnt/some" >reference
	regionfs-random-io "$mnt/some" reference "$seed" "${OPERATIONS:-2000}" 100000 110000 ||
		fail "some, seed $seed"
	unmounted
done
