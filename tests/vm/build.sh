# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Compiles, inside the guest's root, what a guest needs: the module for one kernel, and user space.
#
#   build/kmod/RELEASE/    kmod/ and uapi/ staged, and what kbuild makes of them
#   build/user/            CMake's build; programs in bin/, the library in lib/

module_path() { echo "$BUILD/kmod/$(kernel_release "$1")/fuse_regions.ko"; }

have_module_source() { [ -e "$REPO/kmod/Kbuild" ]; }

# build_module NAME: bring the module for kernel NAME up to date.
build_module() { locked "module-$1" make_module "$1"; }

make_module() {
	local name=$1 release stage
	release=$(kernel_release "$name")
	stage=$BUILD/kmod/$release
	stage_module "$stage"
	[ "$(cat "$stage/.built" 2>/dev/null)" != "$(staged_digest "$stage" "$name")" ] || return 0
	say "building the module for $name ($release)…"
	rm -f "$stage/.built"
	logged "module-$name" in_root make -C "/lib/modules/$release/build" M="$stage" \
		W="${KBUILD_W:-}" -j"$(nproc)" modules
	# Warnings are for reading.
	grep -A6 'warning:' "$LOGS/module-$name.log" | grep -v 'the compiler differs' >&2 || true
	staged_digest "$stage" "$name" >"$stage/.built"
}

staged_digest() {
	(cd "$1" && xargs -d '\n' cat -- <.staged | digest "$VM/build.sh" -)
	kernel_stamp "$2"
}

# stage_module DIRECTORY: copy what changed, so that kbuild compiles only that, and drop what is
# gone, so that nothing builds that is no longer there.
stage_module() {
	local stage=$1 file
	mkdir -p "$stage"
	touch "$stage/.staged"
	{
		(cd "$REPO/kmod" && find . -type f -printf '%P\n')
		(cd "$REPO" && find uapi -type f)
	} | grep -vE '(^|/)\.|~$|\.(o|ko|mod|cmd)$' | sort >"$stage/.staged.new"
	comm -23 "$stage/.staged" "$stage/.staged.new" | while read -r file; do
		rm -f "$stage/$file"
	done
	while read -r file; do
		stage_file "$file" "$stage/$file"
	done <"$stage/.staged.new"
	mv "$stage/.staged.new" "$stage/.staged"
}

stage_file() {
	local from=$REPO/kmod/$1
	case $1 in uapi/*) from=$REPO/$1 ;; esac
	if ! cmp -s "$from" "$2"; then
		mkdir -p "$(dirname "$2")"
		cp "$from" "$2"
	fi
}

# build_user: bring user space in build/user up to date.
build_user() {
	[ -e "$REPO/CMakeLists.txt" ] || return 0
	locked user make_user
}

make_user() {
	local out=$BUILD/user parts
	mkdir -p "$out"
	# CMake itself doesn't notice a part that wasn't there before.
	parts=$(find "$REPO" -mindepth 2 -maxdepth 2 -name CMakeLists.txt | sort | digest - "$VM/build.sh")
	if [ ! -e "$out/build.ninja" ] || [ "$(cat "$out/.parts" 2>/dev/null)" != "$parts" ]; then
		say "configuring user space for the guest…"
		logged user-configure in_root cmake -S "$REPO" -B "$out" -G Ninja \
			-DCMAKE_BUILD_TYPE=RelWithDebInfo -DCMAKE_C_COMPILER=gcc-14 \
			-DFUSE_REGIONS_GUEST_KERNELS= \
			-DCMAKE_RUNTIME_OUTPUT_DIRECTORY="$out/bin" \
			-DCMAKE_LIBRARY_OUTPUT_DIRECTORY="$out/lib" \
			-DCMAKE_ARCHIVE_OUTPUT_DIRECTORY="$out/lib"
		echo "$parts" >"$out/.parts"
	fi
	logged user in_root cmake --build "$out"
	grep -A6 'warning:' "$LOGS/user.log" >&2 || true
}
