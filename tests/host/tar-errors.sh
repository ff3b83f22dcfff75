#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# What is no whole, uncompressed tar archive is refused with a sentence that says why and where.

# shellcheck source=tests/host/common.sh
. "$(dirname "$0")/common.sh"
need tar gzip

mkdir src
head -c 100000 /dev/urandom >src/first
head -c 100000 /dev/urandom >src/second
tar -cf good.tar -C src first second

# compressed PROGRAM SUFFIX COMMAND
compressed() {
	command -v "$1" >/dev/null || return 0
	"$1" -c good.tar >"bad.tar.$2"
	refused 1 "bad.tar.$2 is compressed ($1); regionfs needs a plain tar: $3 it first" \
		regionfs tar "bad.tar.$2" "$mnt"
	equal "number of lines that say so" "$(wc -l <said)" 1
}
compressed gzip gz 'gzip -d'
compressed bzip2 bz2 'bzip2 -d'
compressed xz xz 'xz -d'
compressed zstd zst 'zstd -d'
compressed lz4 lz4 'lz4 -d'

printf 'PK\003\004and so on' >bad.zip
refused 1 'bad.zip is a zip archive; regionfs needs a plain tar' regionfs tar bad.zip "$mnt"

: >empty
refused 1 'empty is empty; regionfs needs a tar archive' regionfs tar empty "$mnt"
refused 1 'src/first is not a tar archive' regionfs tar src/first "$mnt"
refused 1 'src is not a regular file' regionfs tar src "$mnt"
refused 1 'nowhere: No such file or directory' regionfs tar nowhere "$mnt"

# Cut off in the data of the second member: 512 + 100352 + 512 is where these begin.
head -c 150000 good.tar >cut.tar
refused 1 "cut.tar: offset 101376, member 'second'" regionfs tar cut.tar "$mnt"
# Cut off in its header.
head -c 101000 good.tar >cut.tar
refused 1 "cut.tar: offset 100864, member 'first': the header after it:" \
	regionfs tar cut.tar "$mnt"

# A header that was overwritten.
cp good.tar damaged.tar
printf 'garbage' | dd of=damaged.tar bs=1 seek=$((100864 + 120)) conv=notrunc status=none
refused 1 "damaged.tar: offset 100864, member 'first': the header after it:" \
	regionfs tar damaged.tar "$mnt"

# Nothing can be changed.
mounted tar good.tar "$mnt"
for command in "touch $mnt/new" "rm $mnt/first" "mkdir $mnt/new" "mv $mnt/first $mnt/new" \
	"truncate -s 1 $mnt/first" "chmod 777 $mnt/first" "ln $mnt/first $mnt/new"; do
	! $command 2>said || fail "$command worked"
	grep -q 'Read-only file system' said || fail "$command: $(cat said)"
done
unmounted
