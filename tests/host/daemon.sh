#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Becoming a daemon, saying who serves the regions, counting, ending.

# shellcheck source=tests/host/common.sh
. "$(dirname "$0")/common.sh"
need tar

mkdir src
head -c 1000000 /dev/urandom >src/file
tar -cf a.tar -C src file

running() { kill -0 "$1" 2>/dev/null; }
gone() { ! running "$1"; }
not_mounted() { ! mountpoint -q "$mnt"; }

# count NAME: from the stats file
count() { sed -n "s/^$1 //p" stats; }

counted() { [ "$(count "$1")" = "$2" ]; }

# It is mounted and usable at once when the command returns, and says who serves.
mounted tar a.tar "$mnt" -o stats=stats
same src/file "$mnt/file"
grep -qxE 'regionfs: regions served by (the kernel|this process: .+)' said ||
	fail "it said: $(cat said)"
pid=$(the_pid) || fail "no process of it"
equal "its parent" "$(ps -o ppid= -p "$pid" | tr -d ' ')" 1
equal "its directory" "$(readlink "/proc/$pid/cwd")" /
equal "its stderr" "$(readlink "/proc/$pid/fd/2")" /dev/null

# The counts come when asked for.
kill -USR1 "$pid"
eventually counted opens 1 || fail "SIGUSR1 does not write the counts: $(cat stats)"
equal "number of regions" "$(count regions)" 1
equal "number of lines" "$(wc -l <stats)" 6
if grep -q 'by the kernel' said; then
	equal mode "$(count mode)" kernel
	equal "READ requests" "$(count read_requests)" 0
else
	equal mode "$(count mode)" server
	[ "$(count read_requests)" -gt 0 ] || fail "no READ requests were counted"
fi
running "$pid" || fail "SIGUSR1 ended it"

# The kernel serves an inode that it forgot and looked up again.
if grep -q 'by the kernel' said && [ -w /proc/sys/vm/drop_caches ]; then
	for i in 1 2 3; do
		echo 2 >/proc/sys/vm/drop_caches
		same src/file "$mnt/file"
	done
	kill -USR1 "$pid"
	eventually counted opens 4 || fail "four opens do not count as four: $(cat stats)"
	equal "READ requests" "$(count read_requests)" 0
	equal "number of regions" "$(count regions)" 1
fi
opens=$(count opens)

# SIGTERM unmounts.
kill -TERM "$pid"
eventually gone "$pid" || fail "SIGTERM did not end it"
not_mounted || fail "still mounted after SIGTERM"
equal "opens in the last stats" "$(count opens)" "$opens"

# umount ends it.
mounted tar a.tar "$mnt"
pid=$(the_pid)
unmounted
eventually gone "$pid" || fail "umount did not end it"

# In the foreground, every way to end is status 0.
for end in TERM INT HUP umount; do
	for threads in '' -s; do
		# shellcheck disable=SC2086
		# (a shell's background commands ignore SIGINT)
		env --default-signal=INT regionfs tar a.tar "$mnt" -f $threads ${REGIONFS_OPTIONS:-} 2>said &
		pid=$!
		eventually mountpoint -q "$mnt" || fail "-f does not mount"
		same src/file "$mnt/file"
		running "$pid" || fail "-f went to the background"
		case $end in
		umount) umount "$mnt" ;;
		*) kill -$end $pid ;;
		esac
		status=0
		wait $pid || status=$?
		equal "status after $end" "$status" 0
		not_mounted || fail "still mounted after $end"
	done
done

# A file that is open does not keep it from ending.
mounted tar a.tar "$mnt"
pid=$(the_pid)
exec 9<"$mnt/file"
head -c 10 <&9 >/dev/null
kill -TERM "$pid"
eventually gone "$pid" || fail "an open file keeps it alive"
exec 9<&-
not_mounted || fail "still mounted"

# When asked for, the process itself serves, and says that this is why.
mounted tar a.tar "$mnt" -o noregions
equal "what it says" "$(cat said)" 'regionfs: regions served by this process: asked to'
same src/file "$mnt/file"
unmounted

# Whatever the order of the options, each is heard.
mounted tar a.tar "$mnt" -o noregions -s
equal "what it says with -s" "$(cat said)" 'regionfs: regions served by this process: asked to'
unmounted
if [ "$(id -u)" = 0 ]; then
	mounted tar a.tar "$mnt" -o allow_other -o noregions
	grep -q " $mnt fuse.regionfs .*default_permissions.*allow_other" /proc/mounts ||
		fail "modes are not checked: $(grep regionfs /proc/mounts)"
	unmounted
fi

# A descriptor that is closed at the start is not what a file gets that is opened then.
mounted tar a.tar "$mnt" -o stats=stats <&-
same src/file "$mnt/file"
unmounted
eventually counted opens 1 || fail "the stats file went elsewhere: $(cat stats)"
head -c 5000 /dev/urandom >backing
cp backing before
echo "file 0 5000 backing 0 rw" >table
# shellcheck disable=SC2086
regionfs table table "$mnt" ${REGIONFS_OPTIONS:-} <&- >&- 2>&- || fail "without descriptors: $?"
unmounted
same backing before

# The mount shows what is mounted, whatever its name.
cp a.tar 'b,c d.tar'
mounted tar 'b,c d.tar' "$mnt"
grep -q '^b,c\\040d.tar .* fuse.regionfs ro' /proc/mounts || fail "$(grep regionfs /proc/mounts)"
same src/file "$mnt/file"
unmounted
