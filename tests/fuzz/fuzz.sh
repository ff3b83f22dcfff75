#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# usage: fuzz.sh msg|map DIRECTORY [LIBFUZZER-OPTION ...]
#
# Builds a fuzzer in DIRECTORY with clang and the sanitizers, and runs it on the seeds and on from
# there: 20,000 inputs, or as the options say (-max_total_time=3600, -runs=-1 -jobs=2 ...).  What it
# finds interesting stays in DIRECTORY/corpus-NAME, what makes it fail in DIRECTORY.  Exits with 77
# where there is no clang, or no libFuzzer.

set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$here/../..
: "${CLANG:=clang}"

usage() {
	echo "usage: fuzz.sh msg|map DIRECTORY [LIBFUZZER-OPTION ...]" >&2
	exit 2
}

[ $# -ge 2 ] || usage
name=$1
dir=$2
shift 2
case $name in
map) nodes="-DFR_LEAF_MAX=4 -DFR_INNER_MAX=4 -DFR_LEVELS=14" len=512 ;;
msg) nodes='' len=4096 ;;
*) usage ;;
esac
[ $# -gt 0 ] || set -- -runs=20000 -seed=1

if ! echo 'int LLVMFuzzerTestOneInput(void); int LLVMFuzzerTestOneInput(void) { return 0; }' |
	"$CLANG" -fsanitize=fuzzer,address,undefined -x c - -o /dev/null 2>/dev/null; then
	echo "skip: $CLANG cannot build for libFuzzer: install clang and libclang-rt-dev"
	exit 77
fi

mkdir -p "$dir/corpus-$name"
# shellcheck disable=SC2086
"$CLANG" -std=gnu17 -g -O1 -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=undefined \
	$nodes -I "$root/kmod" -I "$root/uapi" -I "$root/tests/unit" \
	"$root"/kmod/map*.c "$root/kmod/cut.c" "$root/kmod/msg.c" \
	"$root/tests/unit/fake.c" "$root/tests/unit/model.c" "$root/tests/unit/trial.c" \
	"$here/fuzz-$name.c" -o "$dir/fuzz-$name"
cd "$dir"
exec "./fuzz-$name" -max_len=$len -timeout=20 "$@" "corpus-$name" "$here/corpus/$name"
