#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# usage: bench-map.sh BENCH-MAP
#
# Prints what the map costs in user space: instructions for each lookup and for each region bound
# in a message of 1,000, and bytes of memory for each region.  Needs valgrind.  The instructions
# include the bench's loop (about 7), for binds also malloc() and free() of the nodes.

set -eu
bench=${1:?usage: bench-map.sh BENCH-MAP}
out=$(mktemp)
trap 'rm -f "$out"' EXIT

printf '%-8s %-12s %10s %14s %14s\n' what order regions instructions bytes/region
for args in \
	"find sequential 1" "find sequential 15" "find random 1000" \
	"find sequential 1000000" "find random 1000000" \
	"bind sequential 1000" "bind sequential 1000000" "bind random 1000" "bind random 1000000" \
	"replace sequential 1000000" "replace random 1000000"; do
	case $args in
	find*) body=body_find ;;
	*) body=measure_bind ;;
	esac
	# shellcheck disable=SC2086
	bytes=$(valgrind --tool=callgrind --toggle-collect=$body --callgrind-out-file="$out" \
		"$bench" $args 2>/dev/null)
	# shellcheck disable=SC2086
	printf '%-8s %-12s %10s %14s %14s\n' $args \
		"$(awk '/^summary:/ { printf "%.0f", $2 / 1000 }' "$out")" "$bytes"
done
