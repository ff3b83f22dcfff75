#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# A server that uses the library, and changes its regions at random while it reads and writes the
# file: what the kernel shows is what the library's map says. SEEDS: which runs.

# shellcheck source=tests/host/common.sh
. "$(dirname "$0")/common.sh"
need fuse-regions-agree

for seed in ${SEEDS:-1 2 3}; do
	fuse-regions-agree "$mnt" "$seed" "${OPERATIONS:-1500}" || fail "seed $seed"
	fuse-regions-agree "$mnt" "$seed" "${OPERATIONS:-1500}" user || fail "seed $seed, user mode"
done
