# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Makes the guest's Debian root, build/root, and runs commands inside it.  The guest mounts it
# read-only over 9p; the host enters it with chroot to compile, because the newest kernel's headers
# want a compiler that the host may not have.

ROOT_SUITE=trixie

ROOT_PACKAGES=(
	# to build the module
	gcc gcc-14 libc6-dev make libelf-dev pahole kmod bpftool sparse
	# to build user space
	cmake ninja-build pkg-config libfuse3-dev libarchive-dev check libaio-dev liburing-dev
	libcap-dev
	# to run tests
	fuse3 fio strace attr acl stress-ng util-linux procps psmisc libcap2-bin e2fsprogs xfsprogs
	xz-utils file bc gdb-minimal
	# to boot
	busybox-static ca-certificates
	# to install into, as on a real machine
	dkms
	# to build the debug and kcsan kernels
	bison flex rsync
)

# Manuals and translations are half of the unpacking.
ROOT_DPKG_OPTIONS=(
	force-unsafe-io
	'path-exclude=/usr/share/man/*'
	'path-exclude=/usr/share/locale/*'
	'path-exclude=/usr/share/doc/*'
	'path-exclude=/usr/share/info/*'
)

# The mirror is whatever this machine's own apt uses for Debian; a network may reach no other.
root_mirror() {
	local uri
	if [ -n "${DEBIAN_MIRROR:-}" ]; then
		echo "$DEBIAN_MIRROR"
		return
	fi
	uri=$(mirror_from_apt)
	if [ -z "$uri" ]; then
		logged apt-update apt-get update
		uri=$(mirror_from_apt)
	fi
	[ -n "$uri" ] || die "apt on this machine names no Debian mirror; set DEBIAN_MIRROR to one's address"
	echo "$uri"
}

mirror_from_apt() {
	# shellcheck disable=SC2016 # apt's own fields
	apt-get indextargets --format '$(ORIGIN)|$(LABEL)|$(REPO_URI)' 'Created-By: Packages' \
		2>/dev/null | sed -n 's/^Debian|Debian|//p' | sed -n 1p
}

# The part of this machine's apt configuration that says how to reach a mirror.
host_apt_options() {
	apt-config dump |
		grep -E '^Acquire::(https?|ftp|Check-|Retries|Force)' |
		grep -v ' "";$' || true
}

# What the root is made of.  A new package is added to it; anything else makes it anew, as does
# deleting build/root.
root_stamp() { { echo "$ROOT_SUITE ${ROOT_DPKG_OPTIONS[*]}" && declare -f run_mmdebstrap; } | digest -; }
root_packages_stamp() { echo "${ROOT_PACKAGES[*]}" | digest -; }

root_exists() { [ "$(cat "$ROOT/.stamp" 2>/dev/null)" = "$(root_stamp)" ]; }
root_is_complete() {
	root_exists && [ "$(cat "$ROOT/.packages" 2>/dev/null)" = "$(root_packages_stamp)" ]
}

ensure_root() { root_is_complete || locked root make_root; }

make_root() {
	need_root guest "makes a Debian root with chroot and mounts"
	# Somebody else may have made it while we waited for the lock.
	if root_is_complete; then
		return
	elif root_exists; then
		say "adding packages to the guest's root…"
		logged root-packages in_root sh -euc 'apt-get update && apt-get -y install "$@"' \
			sh "${ROOT_PACKAGES[@]}"
	else
		make_new_root
	fi
	root_packages_stamp >"$ROOT/.packages"
}

make_new_root() {
	need_packages mmdebstrap debian-archive-keyring
	say "building the guest's Debian root (once, about a minute)…"
	rm -rf "$BUILD/guest" "$ROOT.tmp"
	mkdir -p "$ROOT.tmp"
	logged root run_mmdebstrap "$ROOT.tmp"
	host_apt_options >"$ROOT.tmp/etc/apt/apt.conf.d/95host"
	root_stamp >"$ROOT.tmp/.stamp"
	rm -rf "$ROOT"
	mv "$ROOT.tmp" "$ROOT"
}

run_mmdebstrap() {
	local target=$1 mirror options=() o
	local signed='[signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]'
	mirror=$(root_mirror)
	host_apt_options >"$BUILD/host-apt.conf"
	for o in "${ROOT_DPKG_OPTIONS[@]}"; do
		options+=(--dpkgopt="$o")
	done
	mmdebstrap --mode=root --variant=minbase --format=directory \
		--aptopt="$BUILD/host-apt.conf" --aptopt='APT::Install-Recommends "false"' \
		--skip=cleanup/apt/lists \
		"${options[@]}" \
		--include="$(IFS=,; echo "${ROOT_PACKAGES[*]}")" \
		"$ROOT_SUITE" "$target" \
		"deb $signed $mirror $ROOT_SUITE main" \
		"deb $signed $mirror $ROOT_SUITE-backports main"
}

# in_root COMMAND…: run it inside the root, with this repository and build/ at their own paths.
# The mounts live in a mount namespace of their own, so nothing is left behind, however it ends.
in_root() {
	local env=(PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
		HOME=/root LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive)
	need_root guest "enters the guest's root with chroot"
	# shellcheck disable=SC2016 # expanded by the inner shell
	env -i "${env[@]}" unshare --mount --propagation private --pid --fork --kill-child \
		sh -euc '
		root=$1 repo=$2 build=$3
		shift 3
		mount -t proc proc "$root/proc"
		mount --rbind /sys "$root/sys"
		mount --rbind /dev "$root/dev"
		# Process ids start anew here, and make names its files in /tmp after its own.
		mount -t tmpfs tmp "$root/tmp"
		mkdir -p "$root$repo" "$root$build"
		mount --bind "$repo" "$root$repo"
		mount --bind "$build" "$root$build"
		exec chroot "$root" "$@"
		' in_root "$ROOT" "$REPO" "$BUILD" "$@"
}

# root_download DIRECTORY PACKAGE…: fetch packages as the root's suites have them.  Should the mirror
# have moved on since the root's package lists were made, fetch those again first.
root_download() {
	in_root sh -euc '
		cd "$1"
		shift
		get() { apt-get -o APT::Sandbox::User=root download "$@"; }
		get "$@" || { apt-get update && get "$@"; }
		' sh "$@"
}
