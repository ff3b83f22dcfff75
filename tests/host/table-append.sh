#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Whoever appends to a whole file appends to its backing, whatever others have appended meanwhile.

# shellcheck source=tests/host/common.sh
. "$(dirname "$0")/common.sh"

cat >table <<'END'
a 0 0 log 0 rw
b 0 0 log 0 rw
c 0 0 log 4 rw
far 0 0 short 100 rw
END

# log_is WORD…: the backing's lines, and those of the files
log_is() {
	local file
	printf '%s\n' "$@" >wanted
	for file in log "$mnt/a" "$mnt/b"; do
		cmp wanted "$file" || fail "$file is $(tr '\n' ' ' <"$file"), not $*"
	done
}

echo start >log
printf 1234567890 >short
mounted table table "$mnt"
for i in 1 2 3; do
	echo "a$i" >>"$mnt/a"
	echo "b$i" >>"$mnt/b"
done
log_is start a1 b1 a2 b2 a3 b3

# The same with files that stay open, and after reading
exec 7>>"$mnt/a" 8>>"$mnt/b"
exec 9<>"$mnt/a"
cat "$mnt/a" >/dev/null
echo a4 >&7
echo b4 >&8
echo c4 >>"$mnt/c"
echo a5 >&7
log_is start a1 b1 a2 b2 a3 b3 a4 b4 c4 a5
# One that does not append writes where it stands.
echo START >&9
log_is START a1 b1 a2 b2 a3 b3 a4 b4 c4 a5
exec 7>&- 8>&- 9>&-

# Somebody else
echo start >log
stat "$mnt/a" >/dev/null
echo "from outside" >>log
echo a1 >>"$mnt/a"
log_is start "from outside" a1
sync "$mnt/a" || fail "it cannot be synced"

# A backing that ends before the file begins
printf abc >>"$mnt/far"
printf def >>"$mnt/far"
equal "the file" "$(cat "$mnt/far")" abcdef
equal "where it is" "$(stat -c %s short)" 106

# What is appended while a file grows is not cut off.
if command -v strace >/dev/null && command -v fallocate >/dev/null; then
	echo start >log
	pid=$(the_pid)
	strace -f -o trace -e trace=fallocate,ftruncate \
		-e inject=fallocate,ftruncate:delay_enter=3000000 -p "$pid" 2>attached &
	eventually grep -q attached attached || fail "strace: $(cat attached)"
	fallocate -z -o 0 -l 10 "$mnt/a" &
	eventually grep -q DELAYED trace || fail "no system call: $(cat trace)"
	echo "meanwhile" >>log
	wait %2 || fail "zeroing a range fails"
	kill %1
	wait %1 || true
	equal "size after an append beside it" "$(stat -c %s log)" 16
fi
unmounted

# The kernel tells the one descriptor of a backing once that it could not be written.
if command -v strace >/dev/null; then
	# one thread, for strace counts the calls of each
	mounted table table "$mnt" -o noregions -s
	sync "$mnt/a" "$mnt/b" || fail "what nobody wrote to cannot be synced"
	echo a1 >>"$mnt/a"
	echo b1 >>"$mnt/b"
	pid=$(the_pid)
	strace -f -o trace -e trace=fsync -e inject=fsync:error=EIO:when=1 -p "$pid" 2>attached &
	eventually grep -q attached attached || fail "strace: $(cat attached)"
	! sync "$mnt/a" 2>/dev/null || fail "the first is not told that its bytes are lost"
	! sync "$mnt/b" 2>/dev/null || fail "the second is not told that its bytes are lost"
	sync "$mnt/b" || fail "the second is told for ever"
	kill %1
	wait %1 || true
	unmounted
fi

# All at a time. With the module, each file keeps to the end that it knows while it writes.
mounted table table "$mnt" -o noregions
: >log
append() {
	local i
	for ((i = 0; i < 200; i++)); do
		echo "$2$i" >>"$1"
	done
}
append "$mnt/a" a &
append "$mnt/b" b &
append log c &
wait
for who in a b c; do
	for ((i = 0; i < 200; i++)); do
		echo "$who$i"
	done
done | sort >wanted
sort log >got
same wanted got
unmounted
