# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# `./run install` and `./run uninstall`: the module for the running kernel, the library and the
# programs, onto this machine.
#
# Everything is first laid out below build/install/tree as it will be below /.  That gives the exact
# list of files and new directories, which uninstall takes back from MANIFEST.

PREFIX=/usr/local
MANIFEST=/var/lib/fuse-regions/manifest
INSTALL_PACKAGES=(gcc libc6-dev make cmake ninja-build pkg-config libfuse3-dev libarchive-dev kmod)

cmd_install() {
	local release headers
	[ $# -eq 0 ] || usage_error "install takes no arguments"
	need_root install "puts a module and programs onto this machine"
	release=$(uname -r)
	headers=/lib/modules/$release/build
	[ -e "$headers/Makefile" ] ||
		die "the headers of the running kernel are missing ($headers)." \
			"On Debian: apt-get install linux-headers-$release"
	have_module_source || die "there is no module to install: kmod/Kbuild is missing"
	need_packages "${INSTALL_PACKAGES[@]}"
	umask 022 # whatever root's is: all may use what is installed

	rm -rf "$BUILD/install"
	mkdir -p "$BUILD/install/tree"
	say "building the library and the programs…"
	logged install-user lay_out_user
	if command -v dkms >/dev/null; then
		lay_out_dkms "$BUILD/install/tree"
	else
		say "building the module for $release…"
		logged install-module lay_out_module "$release" "$headers"
	fi
	mkdir -p "$BUILD/install/tree/etc/modules-load.d"
	echo fuse_regions >"$BUILD/install/tree/etc/modules-load.d/fuse-regions.conf"

	# Not before there is something to put in its place
	[ ! -e "$MANIFEST" ] || take_back
	copy_tree "$BUILD/install/tree"
	if command -v dkms >/dev/null; then
		say "building the module for $release with DKMS…"
		logged install-dkms dkms install -m fuse-regions -v "$(project_version)" -k "$release"
	fi
	depmod "$release"
	ldconfig
	load_installed_module
	say "installed below $PREFIX; the module is loaded, now and at boot. './run uninstall' takes it back"
}

cmd_uninstall() {
	[ $# -eq 0 ] || usage_error "uninstall takes no arguments"
	need_root uninstall "removes a module and programs from this machine"
	[ -e "$MANIFEST" ] || die "nothing to uninstall: there is no $MANIFEST"
	take_back
	say "uninstalled"
}

project_version() {
	sed -nE 's/^project\(fuse_regions VERSION ([0-9.]+).*/\1/p' "$REPO/CMakeLists.txt"
}

lay_out_user() {
	local out=$BUILD/install/user
	cmake -S "$REPO" -B "$out" -G Ninja -DCMAKE_BUILD_TYPE=Release -DBUILD_TESTING=OFF \
		-DCMAKE_INSTALL_PREFIX="$PREFIX"
	cmake --build "$out"
	DESTDIR="$BUILD/install/tree" cmake --install "$out"
}

lay_out_module() {
	local release=$1 headers=$2 stage=$BUILD/install/kmod
	stage_module "$stage"
	make -C "$headers" M="$stage" -j"$(nproc)" modules
	install -D -m 644 "$stage/fuse_regions.ko" \
		"$BUILD/install/tree/lib/modules/$release/updates/fuse_regions.ko"
}

# DKMS builds again for every new kernel, so its source must need nothing of this repository.
lay_out_dkms() {
	local source
	source=$1/usr/src/fuse-regions-$(project_version)
	stage_module "$source"
	rm "$source/.staged"
	cat >"$source/dkms.conf" <<-END
		PACKAGE_NAME="fuse-regions"
		PACKAGE_VERSION="$(project_version)"
		BUILT_MODULE_NAME[0]="fuse_regions"
		DEST_MODULE_LOCATION[0]="/updates/dkms"
		MAKE[0]="make -C \${kernel_source_dir} M=\${dkms_tree}/\${PACKAGE_NAME}/\${PACKAGE_VERSION}/build modules"
		CLEAN="make -C \${kernel_source_dir} M=\${dkms_tree}/\${PACKAGE_NAME}/\${PACKAGE_VERSION}/build clean"
		BUILD_EXCLUSIVE_CONFIG="CONFIG_FUSE_FS CONFIG_DYNAMIC_FTRACE"
		AUTOINSTALL="yes"
	END
}

# copy_tree DIRECTORY: copy what is below it to /, after writing down what that will create.
copy_tree() {
	local tree=$1 path
	mkdir -p "$(dirname "$MANIFEST")"
	(cd "$tree" && find . -mindepth 1 -type d -printf '%P\n') | sort | while read -r path; do
		[ -d "/$path" ] || echo "d /$path"
	done >"$BUILD/install/manifest"
	(cd "$tree" && find . ! -type d -printf '%P\n') | sort | while read -r path; do
		echo "f /$path"
	done >>"$BUILD/install/manifest"

	sed -n 's/^f //p' "$BUILD/install/manifest" | while read -r path; do
		[ ! -e "$path" ] || die "$path exists and isn't ours: not overwriting it"
	done
	cp "$BUILD/install/manifest" "$MANIFEST"
	# Links to directories, as /lib is one, stay what they are.
	(cd "$tree" && tar -cf - --owner=0 --group=0 .) | tar -xf - -C / --keep-directory-symlink \
		--no-overwrite-dir
}

load_installed_module() {
	local why
	if ! why=$(modprobe fuse_regions 2>&1); then
		printf '%s\n' "$why" >&2
		dmesg 2>/dev/null | tail -n 5 >&2 || true
		case $why in
		*"Key was rejected"* | *"Operation not permitted"* | *"Required key"*)
			die "the kernel takes only signed modules here (Secure Boot). Sign the module with" \
				"a key enrolled by mokutil, or switch Secure Boot off; the files are installed"
			;;
		*) die "the files are installed, but the kernel refused the module (above)" ;;
		esac
	fi
}

# take_back: remove what MANIFEST lists.  The module goes first: while it is in use, all stays.
take_back() {
	local path
	if [ -d /sys/module/fuse_regions ]; then
		modprobe -r fuse_regions ||
			die "the module is in use: unmount the filesystems that use it, then try again"
	fi
	if command -v dkms >/dev/null && [ -d /var/lib/dkms/fuse-regions ]; then
		logged uninstall-dkms dkms remove fuse-regions/"$(installed_dkms_version)" --all
	fi
	sed -n 's/^f //p' "$MANIFEST" | while read -r path; do
		rm -f "$path"
	done
	# The deepest first; one that others have put something into stays.
	sed -n 's/^d //p' "$MANIFEST" | sort -r | while read -r path; do
		rmdir --ignore-fail-on-non-empty "$path" 2>/dev/null || true
	done
	rm "$MANIFEST"
	rmdir "$(dirname "$MANIFEST")"
	depmod "$(uname -r)"
	ldconfig
}

installed_dkms_version() { sed -nE 's,^f /usr/src/fuse-regions-([0-9.]+)/dkms.conf,\1,p' "$MANIFEST"; }
