#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# What is installed of the library and regionfs can be used: symbols, headers, pkg-config, pages.
#
# Environment: BUILD_DIRECTORY  CMake's build; CC, CXX

set -euo pipefail

skip() {
	echo "skip: $*"
	exit 77
}

fail() {
	echo "FAIL: $*" >&2
	exit 1
}

[ -n "${BUILD_DIRECTORY:-}" ] || skip "BUILD_DIRECTORY is not set"
for program in cmake pkg-config nm "${CC:=cc}"; do
	command -v "$program" >/dev/null || skip "there is no $program"
done

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for part in libext daemon; do
	cmake --install "$BUILD_DIRECTORY/$part" --prefix "$work" >"$work/log" || fail "$(cat "$work/log")"
done
pkgconfig=$(dirname "$(find "$work" -name fuse-regions.pc)")
library=$(find "$work" -name libfuse-regions.so)
export PKG_CONFIG_PATH=$pkgconfig
flags=$(pkg-config --cflags fuse-regions)

# Only names with the prefix, all with a version, the same ones as the header declares.
nm -D --defined-only "$library" | awk '$2 == "T" { print $3 }' | sort >"$work/symbols"
grep -vE '^fuse_regions_[a-z_]+@@FUSE_REGIONS_[0-9.]+$' "$work/symbols" && fail "odd symbols"
sed 's/@.*//' "$work/symbols" >"$work/exported"
grep -oE '\bfuse_regions_[a-z_]+\(' "$work/include/fuse_regions.h" | tr -d '(' | sort -u |
	grep -vE '^fuse_regions_gap_' >"$work/declared"
diff "$work/declared" "$work/exported" || fail "the header and the library differ"

# Each is described where it is declared, and named in the manual page.
while read -r name; do
	grep -q "^ \* $name() - " "$work/include/fuse_regions.h" || fail "$name is not described"
done <"$work/declared"
page=$work/share/man/man3/fuse-regions.3
while read -r name; do
	grep -qE "\b${name}\b|\b${name#fuse_regions_txn}\b" "$page" || fail "$name is not in the page"
done <"$work/declared"

# The headers stand alone, in C and in C++.
for header in fuse_regions.h linux/fuse_regions.h; do
	echo "#include <$header>" >"$work/header.c"
	cp "$work/header.c" "$work/header.cc"
	# shellcheck disable=SC2086 # several flags
	"$CC" -std=c11 -Wall -Wextra -Werror -pedantic -fsyntax-only $flags "$work/header.c"
	if command -v "${CXX:=c++}" >/dev/null; then
		# shellcheck disable=SC2086
		"$CXX" -Wall -Wextra -Werror -pedantic -fsyntax-only $flags "$work/header.cc"
	fi
done

# The example in the manual page compiles.
{
	echo '#define FUSE_USE_VERSION 312'
	echo '#define _GNU_SOURCE'
	printf '#include <%s.h>\n' err fuse_lowlevel fuse_regions stdlib string
	echo 'extern int data_fd; extern uint64_t data_size;'
	sed -n '/^\.SH EXAMPLE/,/^\.SH FILES/p' "$page" | sed -n '/^\.nf/,/^\.fi/p' |
		sed '/^\./d; s/\\-/-/g; s/\\e/\\/g'
	echo 'const struct fuse_lowlevel_ops my_ops ='
	echo '	{ .init = my_init, .open = my_open, .read = my_read };'
	echo 'int main(void) { return !session; }'
} >"$work/example.c"
# shellcheck disable=SC2046,SC2086
"$CC" -Wall -Wextra -Wno-unused-parameter -Werror -fsyntax-only "$work/example.c" $flags \
	$(pkg-config --cflags fuse3) || fail "the example does not compile"

# What the page of regionfs says of its options is what its help says.
"$work/bin/regionfs" --help >"$work/help" 2>/dev/null ||
	LD_LIBRARY_PATH=$(dirname "$library") "$work/bin/regionfs" --help >"$work/help" ||
	fail "the installed regionfs does not run"
grep -oE -- '(^ *-[a-zA-Z]|-o [a-z_]+)' "$work/help" | grep -v -- '-o OPTION' | sort -u |
	while read -r option; do
		sed 's/\\//g' "$work/share/man/man1/regionfs.1" | grep -F -- "$option" >/dev/null ||
			fail "$option is not in the page"
	done

