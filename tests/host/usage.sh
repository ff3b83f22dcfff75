#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Mistakes on the command line are status 2, one line, and a hint; help and version are no mistakes.

# shellcheck source=tests/host/common.sh
. "$(dirname "$0")/common.sh"

# wrong TEXT ARGUMENT…
wrong() {
	local text=$1
	shift
	refused 2 "$text" regionfs "$@"
	equal "the second line" "$(sed -n 2p said)" "Try 'regionfs --help'."
	equal "the number of lines" "$(wc -l <said)" 2
}

wrong 'regionfs: no command given'
wrong "regionfs: unknown command 'zip'" zip a b
wrong 'regionfs: no archive given' tar
wrong 'regionfs: no mount point given' tar a.tar
wrong 'regionfs: no table given' table -f
wrong "regionfs: extra operand 'c'" tar a.tar "$mnt" c
wrong "regionfs: unknown option '-Z'" tar a.tar "$mnt" -Z
wrong "regionfs: unknown option '--foo'" tar --foo a.tar "$mnt"
wrong 'bogus' tar a.tar "$mnt" -o bogus

for number in 0 -1 4x '' 3000000000; do
	wrong "regionfs: max_threads=$number: not a number" tar a.tar "$mnt" -o "max_threads=$number"
done

refused 1 "mount point 'nowhere': No such file" regionfs tar a.tar nowhere
refused 1 "mount point '/dev/null' is not a directory" regionfs table a /dev/null
refused 1 "stats file '/nowhere/x'" regionfs tar a.tar "$mnt" -o stats=/nowhere/x
mkfifo fifo
refused 1 "stats file 'fifo'" timeout 10 regionfs tar a.tar "$mnt" -o stats=fifo

for option in --help -h; do
	regionfs $option >said || fail "$option: exit status $?"
	grep -q '^usage: regionfs tar ' said || fail "$option does not show the usage"
	regionfs tar $option >said || fail "tar $option: exit status $?"
done
for option in --help --version; do
	! regionfs $option >/dev/full || fail "$option to a full disk is status 0"
done
regionfs --version | grep -q '^regionfs [0-9.]*, libfuse [0-9.]*$' || fail "--version"
