# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Puts kernels and their headers into the guest's root, and makes what QEMU boots:
#
#   build/guest/NAME/release   what `uname -r` will say
#   build/guest/NAME/kernel    the kernel, unpacked where possible
#   build/guest/NAME/initrd
#
# NAME is `stable` (the suite's kernel), `latest` (its backports'), or `debug` or `kcsan`
# (built-kernel.sh).
# Versions are asked of apt: package lists move.
#
# The packages are unpacked rather than installed.  Installing them would pull in systemd and
# initramfs-tools and make an initramfs that nobody boots.

# Modules that the initramfs loads: what mounts the root, and what carries the command's output.
INITRD_MODULES=(virtio_pci 9pnet_virtio 9p overlay virtio_console)

kernel_suite() {
	case $1 in
	stable) echo "$ROOT_SUITE" ;;
	latest) echo "$ROOT_SUITE-backports" ;;
	*) return 1 ;;
	esac
}

kernel_release() { cat "$BUILD/guest/$1/release"; }

kernel_stamp() {
	{
		! kernel_is_built "$1" || cat "$VM/built.config" "$VM/$1.config"
		cat "$ROOT/.stamp" "$VM/initramfs-init"
		declare -f unpack_kernel kernel_packages unpack_vmlinuz make_initrd
		echo "${INITRD_MODULES[*]}"
	} | digest -
}

# ensure_kernel NAME: the root exists and holds kernel NAME.
ensure_kernel() {
	ensure_root
	[ "$(cat "$BUILD/guest/$1/.stamp" 2>/dev/null)" != "$(kernel_stamp "$1")" ] || return 0
	# Others needn't wait for a kernel that is built, which takes its time.
	if kernel_is_built "$1"; then
		locked "kernel-$1" make_kernel "$1"
	else
		locked kernel make_kernel "$1"
	fi
}

make_kernel() {
	local name=$1 dir=$BUILD/guest/$1 release
	[ "$(cat "$dir/.stamp" 2>/dev/null)" != "$(kernel_stamp "$1")" ] || return 0
	mkdir -p "$dir"
	if kernel_is_built "$name"; then
		make_built_kernel "$name" "$dir"
	elif ! kernel_is_unpacked "$dir"; then
		say "fetching the $name kernel and its headers (once, about half a minute)…"
		logged "kernel-$name" unpack_kernel "$(kernel_suite "$name")" "$dir"
	fi
	release=$(cat "$dir/release")
	logged "initrd-$name" make_initrd "$release" "$dir/initrd"
	kernel_stamp "$name" >"$dir/.stamp"
}

kernel_is_unpacked() {
	[ -s "$1/release" ] && [ -s "$1/kernel" ] &&
		[ -e "$ROOT/usr/lib/modules/$(cat "$1/release")/modules.dep" ]
}

# The image's and headers' packages, however the suite splits them, as NAME=VERSION.
kernel_packages() {
	in_root apt-get -s install -t "$1" linux-image-amd64 linux-headers-amd64 |
		sed -nE 's/^Inst (linux-(image|binary|base|modules|headers|kbuild)-[0-9][^ ]*) (\[[^]]*\] )?\(([^ ]+) .*/\1=\4/p'
}

unpack_kernel() {
	local suite=$1 dir=$2 tmp=$2/tmp packages deb release
	rm -rf "$tmp"
	mkdir -p "$tmp/tree"
	in_root apt-get update
	packages=$(kernel_packages "$suite")
	[ -n "$packages" ] || { echo "no kernel packages in $suite"; return 1; }
	echo "$packages"
	# shellcheck disable=SC2086 # one argument for each package
	root_download "$tmp" $packages
	for deb in "$tmp"/*.deb; do
		dpkg-deb -x "$deb" "$tmp/tree"
	done
	merge_usr "$tmp/tree"
	release=$(ls "$tmp/tree/usr/lib/modules")
	# Older packages put the kernel into /boot, newer ones beside its modules.
	cp "$tmp/tree/boot/vmlinuz-$release" "$dir/kernel.packed" ||
		cp "$tmp/tree/usr/lib/modules/$release/vmlinuz" "$dir/kernel.packed"
	unpack_vmlinuz "$dir/kernel.packed" "$dir/kernel"
	cp "$tmp/tree/boot/config-$release" "$dir/config" ||
		cp "$tmp/tree/usr/lib/modules/$release/config" "$dir/config"
	cp -alf "$tmp/tree/usr/." "$ROOT/usr/"
	rm -rf "$tmp"
	in_root depmod "$release"
	[ -e "$ROOT/usr/src/linux-headers-$release/Makefile" ]
	echo "$release" >"$dir/release"
}

# A vmlinuz unpacks itself, which takes an emulated processor two seconds at every boot.  QEMU can
# start the ELF file inside directly (PVH).  Where that isn't found, the vmlinuz does as well.
unpack_vmlinuz() {
	local offset
	while read -r offset; do
		tail -c +$((offset + 1)) "$1" | zstd -dcq >"$2" 2>/dev/null || true
		if [ "$(head -c 4 "$2" | tr -d '\177')" = ELF ]; then
			rm "$1"
			return
		fi
	done < <(LC_ALL=C grep -abo -P '\x28\xb5\x2f\xfd' "$1" | LC_ALL=C sed 's/:.*//')
	mv "$1" "$2"
}

# Some packages still ship /lib; in the root that is a link which unpacking must not replace.
merge_usr() {
	[ -d "$1/lib" ] || return 0
	mkdir -p "$1/usr/lib"
	cp -al "$1/lib/." "$1/usr/lib/"
	rm -rf "${1:?}/lib"
}

# Not compressed: under emulation, unpacking costs more than reading.
make_initrd() {
	local release=$1 out=$2 tree=$2.tree file n=0
	rm -rf "$tree"
	mkdir -p "$tree"/{bin,dev,proc,sys,modules,root,ro,rw}
	cp "$ROOT/usr/bin/busybox" "$tree/bin/busybox"
	cp "$VM/initramfs-init" "$tree/init"
	chmod 755 "$tree/init"
	while read -r file; do
		n=$((n + 1))
		unpack_module "$ROOT$file" "$tree/modules/$(printf %02d $n)-$(basename "${file%%.ko*}").ko"
	done < <(modules_in_order "$release")
	(cd "$tree" && find . | "$ROOT/usr/bin/busybox" cpio -o -H newc) >"$out.tmp"
	mv "$out.tmp" "$out"
	rm -rf "$tree"
}

# The files to insmod for INITRD_MODULES, dependencies first, each once.
modules_in_order() {
	local m
	for m in "${INITRD_MODULES[@]}"; do
		in_root modprobe --set-version "$1" --show-depends "$m"
	done | sed -n 's/^insmod \([^ ]*\).*/\1/p' | awk '!seen[$0]++'
}

unpack_module() {
	case $1 in
	*.ko.xz) xz -dc "$1" >"$2" ;;
	*.ko.zst) zstd -dcq "$1" >"$2" ;;
	*.ko.gz) gzip -dc "$1" >"$2" ;;
	*) cp "$1" "$2" ;;
	esac
}
