# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Builds the kernels called `debug` and `kcsan`: the source of the stable one, with what finds mistakes
# switched on (built.config, and debug.config or kcsan.config).  Everything is built in; what is left
# of the build tree, build/NAME-kernel, serves as its headers.

# kernel_is_built NAME: is it one of those that are built here?
kernel_is_built() { [ "$1" = debug ] || [ "$1" = kcsan ]; }

# make_built_kernel NAME DIRECTORY: puts release, kernel and config there.
make_built_kernel() {
	local name=$1 dir=$2 tree=$BUILD/$1-kernel version stamp
	# The source's version follows the stable kernel's.
	ensure_kernel stable
	version=$(kernel_release stable)
	stamp=$version-$(digest "$VM/built.config" "$VM/$name.config" "$VM/built-kernel.sh")
	if [ "$(cat "$tree/.stamp" 2>/dev/null)" != "$stamp" ]; then
		say "building the $name kernel (once, 10 to 20 minutes)…"
		if [ "$(cat "$tree/.source" 2>/dev/null)" != "$version" ]; then
			logged "$name-source" unpack_source "$tree"
			echo "$version" >"$tree/.source"
		fi
		logged "$name-kernel" build_kernel "$name" "$tree/linux"
		echo "$stamp" >"$tree/.stamp"
	fi
	logged "$name-install" install_built_kernel "$tree/linux" "$dir"
}

unpack_source() {
	local tree=$1 version package
	# 6.12.107+deb13-amd64 comes from linux-source-6.12.
	version=$(kernel_release stable | sed -E 's/^([0-9]+\.[0-9]+).*/\1/')
	package=linux-source-$version
	rm -rf "$tree"
	mkdir -p "$tree/deb"
	root_download "$tree/deb" "$package/$ROOT_SUITE"
	dpkg-deb -x "$tree"/deb/*.deb "$tree/deb"
	mkdir "$tree/linux"
	tar -xJf "$tree/deb/usr/src/$package.tar.xz" -C "$tree/linux" --strip-components=1
	rm -rf "$tree/deb"
}

build_kernel() {
	local name=$1 linux=$2 make
	make=(in_root make -C "$linux" -j"$(nproc)" KBUILD_BUILD_TIMESTAMP=0)
	cat "$VM/built.config" "$VM/$name.config" >"$linux/wanted.config"
	"${make[@]}" KCONFIG_ALLCONFIG=wanted.config allnoconfig
	check_config "$linux/wanted.config" "$linux/.config"
	"${make[@]}" bzImage modules
}

# An option that a newer source renamed would silently be off.
check_config() {
	local missing
	missing=$(grep '^CONFIG_.*=[^n]' "$1" | grep -vxFf "$2" || true)
	[ -z "$missing" ] || { echo "not taken over from $1:" "$missing"; return 1; }
}

install_built_kernel() {
	local tree=$1 dir=$2 release modules
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
