# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Builds the kernel called `debug`: the source of the stable one, with what finds mistakes switched on
# (debug.config).  Everything is built in; what is left of the build tree serves as its headers.

DEBUG_TREE=$BUILD/debug-kernel

# make_debug_kernel DIRECTORY: puts release, kernel and config there.
make_debug_kernel() {
	local dir=$1 version stamp
	# The source's version follows the stable kernel's.
	ensure_kernel stable
	version=$(kernel_release stable)
	stamp=$version-$(digest "$VM/debug.config" "$VM/debug-kernel.sh")
	if [ "$(cat "$DEBUG_TREE/.stamp" 2>/dev/null)" != "$stamp" ]; then
		say "building the debug kernel (once, about 20 minutes)…"
		if [ "$(cat "$DEBUG_TREE/.source" 2>/dev/null)" != "$version" ]; then
			logged debug-source unpack_debug_source
			echo "$version" >"$DEBUG_TREE/.source"
		fi
		logged debug-kernel build_debug_kernel
		echo "$stamp" >"$DEBUG_TREE/.stamp"
	fi
	logged debug-install install_debug_kernel "$dir"
}

unpack_debug_source() {
	local version package
	# 6.12.107+deb13-amd64 comes from linux-source-6.12.
	version=$(kernel_release stable | sed -E 's/^([0-9]+\.[0-9]+).*/\1/')
	package=linux-source-$version
	rm -rf "$DEBUG_TREE"
	mkdir -p "$DEBUG_TREE/deb"
	root_download "$DEBUG_TREE/deb" "$package/$ROOT_SUITE"
	dpkg-deb -x "$DEBUG_TREE"/deb/*.deb "$DEBUG_TREE/deb"
	mkdir "$DEBUG_TREE/linux"
	tar -xJf "$DEBUG_TREE/deb/usr/src/$package.tar.xz" -C "$DEBUG_TREE/linux" --strip-components=1
	rm -rf "$DEBUG_TREE/deb"
}

build_debug_kernel() {
	local make=(in_root make -C "$DEBUG_TREE/linux" -j"$(nproc)" KBUILD_BUILD_TIMESTAMP=0)
	cp "$VM/debug.config" "$DEBUG_TREE/linux/debug.config"
	"${make[@]}" KCONFIG_ALLCONFIG=debug.config allnoconfig
	check_debug_config "$DEBUG_TREE/linux/.config"
	"${make[@]}" bzImage modules
}

# An option that a newer source renamed would silently be off.
check_debug_config() {
	local missing
	missing=$(grep '^CONFIG_.*=[^n]' "$VM/debug.config" | grep -vxFf "$1" || true)
	[ -z "$missing" ] || { echo "not taken over from debug.config:" "$missing"; return 1; }
}

install_debug_kernel() {
	local dir=$1 tree=$DEBUG_TREE/linux release modules
	release=$(cat "$tree/include/config/kernel.release")
	modules=$ROOT/usr/lib/modules/$release
	mkdir -p "$modules"
	cp "$tree"/modules.builtin{,.modinfo} "$modules/"
	cp "$tree/modules.order" "$modules/" 2>/dev/null || true
	ln -sfn "$tree" "$modules/build"
	in_root depmod "$release"
	cp "$tree/.config" "$dir/config"
	# Not the ELF file, as for the others: what PVH runs first is older than KASAN's shadow memory.
	cp "$tree/arch/x86/boot/bzImage" "$dir/kernel"
	echo "$release" >"$dir/release"
}
