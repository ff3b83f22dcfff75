# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# `./run demo [ARCHIVE]`: mounts a tar archive with regionfs in a guest, checks every byte, shows that
# the server was asked for none of them, and compares speeds.  demo-guest.sh is the guest's half.

# A package with some thousands of files, none of which matters: its archive is the default.
DEMO_PACKAGE=vim-runtime

cmd_demo() {
	local archive=$BUILD/demo/archive.tar
	[ $# -le 1 ] || usage_error "demo takes one archive at most"
	[ $# -eq 0 ] || [ -r "$1" ] || usage_error "demo: cannot read '$1'"
	guest_options --icount --timeout 600
	# The machine is made first: its apt fetches the package.
	prepare_guest
	[ -n "$GUEST_MODULE" ] || die "there is no module to demonstrate"
	mkdir -p "$BUILD/demo"
	if [ $# -eq 1 ]; then
		archive=$BUILD/demo/given.tar
		# A link where possible: archives are large.
		# What was given before may be linked there, and is not ours to write to.
		ln -fL "$1" "$archive" 2>/dev/null || cp --remove-destination "$1" "$archive"
	else
		locked demo make_demo_archive "$archive"
	fi
	GUEST_MEM=$(demo_memory "$archive")
	GUEST_TTY='' GUEST_COMMAND=("$VM/demo-guest.sh" "$archive")
	boot_guest
}

# The guest holds the archive and its contents in memory, each on a tmpfs of half of it.
demo_memory() {
	local mib
	mib=$(($(stat -L -c %s "$1") >> 20))
	[ "$mib" -le 2500 ] || die "the demo keeps the archive in memory: at most 2500 MiB, not $mib"
	echo $((3072 + mib * 5))
}

make_demo_archive() {
	[ ! -s "$1" ] || return 0
	say "fetching $DEMO_PACKAGE, whose contents make a handy archive…"
	rm -rf "$BUILD/demo/deb"
	mkdir -p "$BUILD/demo/deb"
	logged demo-archive root_download "$BUILD/demo/deb" "$DEMO_PACKAGE"
	dpkg-deb --fsys-tarfile "$BUILD"/demo/deb/*.deb >"$1.tmp"
	mv "$1.tmp" "$1"
	rm -rf "$BUILD/demo/deb"
}
