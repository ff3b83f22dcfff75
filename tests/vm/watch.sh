# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Ends a guest that does not end by itself, and has its kernel say before that where it hangs.
#
# QEMU's monitor can send an NMI to each processor, on which the guest's kernel panics and shows all
# processors and tasks (the guest's init asks for that).  A guest that does not even do this has no
# processor that runs: then it is QEMU that hangs, and not what we test.
#
# Why a guest was ended is in its directory: `unbooted`, `late` (its time was up, or it was silent) or
# `emulator`, a sentence each.

# The arguments that make the monitor: RUN_DIR/monitor.in takes its commands.
qemu_monitor() {
	mkfifo "$RUN_DIR/monitor.in" "$RUN_DIR/monitor.out"
	QEMU+=(-chardev "pipe,id=monitor,path=$RUN_DIR/monitor" -mon chardev=monitor)
}

# Seconds; none of them boots in a tenth of that.
boot_time() {
	local usual=100
	! kernel_is_built "$GUEST_KERNEL" || usual=400
	echo "${GUEST_BOOT_TIME:-$usual}"
}

reached_init() { grep -qx "$1 init" "$RUN_DIR/status.log"; }

# How many bytes a process has read
bytes_read() { sed -n 's/^rchar: //p' "/proc/$1/io" 2>/dev/null || true; }

# watch_guest QEMU READER NONCE: until somebody kills us.  READER passes on what the command says.
watch_guest() {
	local qemu=$1 reader=$2 nonce=$3 began=$SECONDS heard=$SECONDS boot booted='' read before=''
	boot=$(boot_time)
	while sleep 1; do
		if [ -z "$booted" ] && reached_init "$nonce"; then
			booted=yes
		fi
		[ -n "$booted" ] || heard=$SECONDS
		if [ -z "$booted" ] && [ $((SECONDS - began)) -ge "$boot" ]; then
			echo "did not boot in $boot s" >"$RUN_DIR/unbooted"
			end_guest "$qemu"
		fi
		if [ $((SECONDS - began)) -ge "$GUEST_TIMEOUT" ]; then
			echo "was stopped after $GUEST_TIMEOUT s" >"$RUN_DIR/late"
			break
		fi
		read=$(bytes_read "$reader")
		if [ "$read" != "$before" ]; then
			before=$read heard=$SECONDS
		elif [ -n "$booted" ] && [ "$GUEST_SILENCE" -gt 0 ] &&
			[ $((SECONDS - heard)) -ge "$GUEST_SILENCE" ]; then
			echo "was stopped after $GUEST_SILENCE s of silence" >"$RUN_DIR/late"
			break
		fi
	done
	# Before its init it would not panic.
	[ -z "$booted" ] || ask_where "$qemu"
	end_guest "$qemu"
}

# ask_where QEMU: have the kernel panic, which ends QEMU.
ask_where() {
	echo nmi 1<>"$RUN_DIR/monitor.in"
	wait_for_end "$1" "${GUEST_ANSWER_TIME:-60}" && return
	grep -q 'Kernel panic' "$RUN_DIR/console.log" ||
		echo "no processor of it answers an NMI: QEMU hangs" >"$RUN_DIR/emulator"
}

end_guest() {
	kill "$1" 2>/dev/null || exit 0
	wait_for_end "$1" 5 || kill -KILL "$1" 2>/dev/null
	exit
}

# wait_for_end PID SECONDS
wait_for_end() {
	local until=$((SECONDS + $2))
	while [ "$SECONDS" -lt "$until" ]; do
		kill -0 "$1" 2>/dev/null || return 0
		sleep 0.2
	done
	return 1
}
