# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Starts one guest for one command and tells how it went.
#
# Every guest has a directory build/run/ID of its own, so that any number can run.  It holds what the
# guest's init is to do (which the guest mounts read-only) and what came back:
#
#   init, job           what to do
#   console.log         the kernel's console
#   unbooted, late, emulator   why watch.sh ended it
#   dmesg.log           the kernel's whole log, fetched after the command
#   status.log          `NONCE up`, then `NONCE exit N` once everything has arrived
#
# The command's stdout and stderr come through two virtio-serial ports, so that no kernel message
# gets between them.  Only the line `NONCE exit 0`, with this boot's nonce, is success; a guest that
# panics, hangs or vanishes can't write it.

# The accelerator that works here: `kvm` or `tcg`.  /dev/kvm may open and still be unable to boot a
# stock kernel, so the only proof is a boot.
guest_accel() {
	[ -s "$BUILD/guest/accel" ] || locked accel probe_accel
	cat "$BUILD/guest/accel"
}

probe_accel() {
	local cache=$BUILD/guest/accel
	[ ! -s "$cache" ] || return 0
	if [ -w /dev/kvm ] && kvm_boots; then
		echo kvm >"$cache"
	else
		echo tcg >"$cache"
	fi
}

kvm_boots() {
	say "seeing whether KVM can boot a guest here (at most 10 s)…"
	(
		GUEST_ACCEL=kvm GUEST_TIMEOUT=10 GUEST_MODULE='' GUEST_SHARE='' GUEST_ICOUNT=''
		GUEST_TTY='' GUEST_COMMAND=(true)
		boot_guest
	) >/dev/null 2>&1
}

# boot_guest: run GUEST_COMMAND in a new guest, with its stdout and stderr on ours.  Returns its exit
# status, 124 after GUEST_TIMEOUT seconds or GUEST_SILENCE seconds without a word, 123 if QEMU itself was
# found hanging then, 125 when the guest died, 1 when the command passed but the kernel complained.
#
# A kernel that does not get as far as our init is given up early, and booted anew: once in hundreds of
# boots, on a busy machine, QEMU's parallel emulation hangs before the kernel says a word, or stumbles over
# code that the kernel changes while it boots.
boot_guest() {
	local tries
	for tries in 1 2 3; do
		boot_once && return
		local rc=$?
		[ -e "$RUN_DIR/unbooted" ] || return "$rc"
		say "the guest ($GUEST_KERNEL) $(cat "$RUN_DIR/unbooted") (try $tries of 3)"
	done
	return "$EXIT_INFRA"
}

boot_once() {
	local rc=0 nonce
	nonce=$(od -An -N8 -tx8 /dev/urandom | tr -d ' ')
	mkdir -p "$BUILD/run"
	RUN_DIR=$(mktemp -d "$BUILD/run/$(date +%H%M%S)-$GUEST_KERNEL-XXXX")
	chmod 755 "$RUN_DIR"
	prune_runs
	cp "$VM/init" "$RUN_DIR/init"
	chmod 755 "$RUN_DIR/init"
	write_job "$nonce" >"$RUN_DIR/job"
	: >"$RUN_DIR/status.log"
	run_qemu "$nonce" || rc=$?
	# QEMU ends well when the guest wants to boot again, as it does after a panic.
	if [ ! -e "$RUN_DIR/unbooted" ] && [ ! -e "$RUN_DIR/late" ] &&
		[ "$rc" = 0 ] && ! reached_init "$nonce"; then
		explain_death "$nonce"
		echo "died before it had booted" >"$RUN_DIR/unbooted"
	fi
	[ ! -e "$RUN_DIR/unbooted" ] || return "$EXIT_INFRA"
	judge "$nonce"
}

# Old runs' logs are of no use for long.  A run that goes on still has its FIFOs.
prune_runs() {
	local old
	# shellcheck disable=SC2012 # our own names
	ls -1t "$BUILD/run" | tail -n +60 | while read -r old; do
		[ -p "$BUILD/run/$old/stdout" ] || rm -rf "${BUILD:?}/run/$old"
	done
}

# The guest's orders, as shell assignments.
write_job() {
	local path="$BUILD/user/bin:$BUILD/user/sbin"
	cat <<-END
		NONCE=$1
		JOB_REPO=$(printf %q "$REPO")
		JOB_BUILD=$(printf %q "$BUILD")
		JOB_SHARE=$(printf %q "$GUEST_SHARE")
		JOB_CWD=$(printf %q "$(guest_cwd)")
		JOB_MODULE=$(printf %q "$GUEST_MODULE")
		JOB_PATH=$(printf %q "$path")
		JOB_LIBS=$(printf %q "$BUILD/user/lib")
		JOB_KERNEL=$GUEST_KERNEL
		JOB_ICOUNT=$GUEST_ICOUNT
		JOB_TTY=$(printf %q "${GUEST_TTY:-}")
		JOB_TERM=$(printf %q "${TERM:-vt100}")
		JOB_COMMAND=($(printf '%q ' "${GUEST_COMMAND[@]}"))
	END
}

# Where the command starts: here, if the guest can see it.
guest_cwd() {
	case $PWD/ in
	"$REPO"/* | "$BUILD"/*) echo "$PWD" ;;
	"${GUEST_SHARE:-/nonexistent}"/*) echo "$PWD" ;;
	*) echo "$REPO" ;;
	esac
}

# qemu_9p TAG PATH [OPTIONS]: the arguments that share a directory.
qemu_9p() {
	QEMU+=(-fsdev "local,id=$1,path=$2,security_model=none,multidevs=remap${3:-}"
		-device "virtio-9p-pci,fsdev=$1,mount_tag=$1")
}

# qemu_port NAME FILE: the arguments for a one-way channel to a file or FIFO.
qemu_port() {
	QEMU+=(-chardev "file,id=$1,path=$2" -device "virtserialport,chardev=$1,name=fr.$1")
}

qemu_arguments() {
	local accel=${GUEST_ACCEL:-} append
	[ -n "$accel" ] || accel=$(guest_accel)
	QEMU=(qemu-system-x86_64 -nodefaults -no-user-config -display none -no-reboot
		-m "$GUEST_MEM" -cpu max
		-kernel "$BUILD/guest/$GUEST_KERNEL/kernel"
		-initrd "$BUILD/guest/$GUEST_KERNEL/initrd")
	if [ -n "$GUEST_ICOUNT" ]; then
		# One instruction is one nanosecond of the guest's clock: figures don't move
		# with the machine.
		QEMU+=(-accel tcg -icount shift=0,sleep=off -smp 1)
	elif [ "$accel" = kvm ]; then
		QEMU+=(-accel kvm -smp "$GUEST_CPUS")
	else
		QEMU+=(-accel "tcg,thread=${GUEST_THREADS:-multi}" -smp "$GUEST_CPUS")
	fi

	# oops=panic and panic=-1: the first oops ends the guest, and -no-reboot QEMU with it.
	append="console=ttyS0,115200 quiet oops=panic panic=-1 log_buf_len=16M printk.devkmsg=on"
	append+=" no_timer_check nokaslr net.ifnames=0 mitigations=off"
	# QEMU finds what it translated before by its address: a program that always starts at the same one
	# starts three times as fast.
	append+=" norandmaps"
	# ACPI's byte code takes a minute to say what PCI says at once, with a sanitizer watching it.
	! kernel_is_built "$GUEST_KERNEL" || append+=" pci=noacpi"
	# Last, as what is behind a "--" goes to the guest's init
	append+=" $GUEST_APPEND"
	QEMU+=(-append "$append" -chardev "file,id=console,path=$RUN_DIR/console.log"
		-serial chardev:console)

	qemu_9p fr-root "$ROOT" ,readonly=on
	qemu_9p fr-run "$RUN_DIR" ,readonly=on
	qemu_9p fr-repo "$REPO" ,readonly=on
	case $BUILD/ in
	"$REPO"/*) ;;
	*) qemu_9p fr-build "$BUILD" ,readonly=on ;;
	esac
	[ -z "$GUEST_SHARE" ] || qemu_9p fr-share "$GUEST_SHARE"

	QEMU+=(-device virtio-serial-pci,max_ports=8)
	qemu_port stdout "$RUN_DIR/stdout"
	qemu_port stderr "$RUN_DIR/stderr"
	qemu_port dmesg "$RUN_DIR/dmesg.log"
	qemu_port status "$RUN_DIR/status.log"
}

# run_qemu NONCE: runs QEMU to its end, passing the two FIFOs on meanwhile.  Returns its status.
run_qemu() {
	local rc=0 pid reader watcher
	mkfifo "$RUN_DIR/stdout" "$RUN_DIR/stderr"
	qemu_arguments
	qemu_monitor
	printf '%q ' "${QEMU[@]}" >"$RUN_DIR/qemu.sh"
	# Should the caller stop reading, tee goes on, and so does the guest.
	tee -p /dev/null <"$RUN_DIR/stdout" &
	reader=$!
	tee -p /dev/null <"$RUN_DIR/stderr" >&2 &
	if [ -n "${GUEST_TTY:-}" ]; then
		QEMU+=(-chardev stdio,id=tty,signal=off -serial chardev:tty)
		"${QEMU[@]}" 2>"$RUN_DIR/qemu.log" || rc=$?
	else
		"${QEMU[@]}" </dev/null >"$RUN_DIR/qemu.log" 2>&1 &
		pid=$!
		watch_guest "$pid" "$reader" "$1" &
		watcher=$!
		trap 'kill "$watcher" "$pid" 2>/dev/null; exit 130' INT TERM HUP
		wait "$pid" || rc=$?
		trap - INT TERM HUP
		kill "$watcher" 2>/dev/null || true
	fi
	release_readers
	return "$rc"
}

# A QEMU that failed to start never opened the FIFOs, and their readers still wait.  Opening them
# for reading and writing never blocks; closing them again is the readers' end of file.
release_readers() {
	: <>"$RUN_DIR/stdout"
	: <>"$RUN_DIR/stderr"
	wait
	rm -f "$RUN_DIR/stdout" "$RUN_DIR/stderr"
}

# judge NONCE: what this run was worth.
judge() {
	local nonce=$1 rc
	rc=$(sed -n "s/^$nonce exit \([0-9][0-9]*\)$/\1/p" "$RUN_DIR/status.log")
	if [ -z "$rc" ]; then
		explain_death "$nonce"
		[ ! -e "$RUN_DIR/emulator" ] || return "$EXIT_EMULATOR"
		[ ! -e "$RUN_DIR/late" ] || return "$EXIT_TIMEOUT"
		return "$EXIT_INFRA"
	fi
	if ! "$VM/dmesg-scan" <"$RUN_DIR/dmesg.log" >&2; then
		say "the kernel complained (above); its whole log is $RUN_DIR/dmesg.log"
		[ "$rc" != 0 ] || rc=1
	fi
	return "$rc"
}

explain_death() {
	local what="died before the command ended"
	[ ! -e "$RUN_DIR/late" ] || what=$(cat "$RUN_DIR/late")
	[ ! -e "$RUN_DIR/emulator" ] || what+="; $(cat "$RUN_DIR/emulator")"
	grep -qx "$1 up" "$RUN_DIR/status.log" || what+=", and never finished booting"
	last_words >&2
	cat "$RUN_DIR/qemu.log" >&2 2>/dev/null || true
	say "the guest ($GUEST_KERNEL) $what; its console is $RUN_DIR/console.log"
}

# What the console says of its end.  After a panic come the stacks of all tasks: those that matter wait
# for something that does not come, or are in our code.
last_words() {
	local line
	line=$(grep -n -m1 'Kernel panic' "$RUN_DIR/console.log" 2>/dev/null | cut -d: -f1)
	if [ -z "$line" ]; then
		tail -n 60 "$RUN_DIR/console.log" 2>/dev/null
	else
		sed -n "$((line > 60 ? line - 60 : 1)),$((line + 30))p" "$RUN_DIR/console.log"
		tail -n "+$((line + 31))" "$RUN_DIR/console.log" | stuck_tasks | head -n 200
	fi | tr -d '\r'
}

stuck_tasks() {
	awk '
		function finish() { if (stuck) printf "%s", task; task = ""; stuck = 0 }
		/ task:/ { finish() }
		/ task:.* state:D/ || /fuse_regions/ { stuck = 1 }
		{ task = task $0 "\n" }
		END { finish() }
	'
}
