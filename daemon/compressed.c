// SPDX-License-Identifier: GPL-2.0
/* What a file that is no tar archive seems to be, by its first bytes. */

#include <string.h>
#include <unistd.h>

#include "compressed.h"

#define MAGIC_MAX 8

struct magic {
	const char *bytes;
	unsigned int len;
	struct compressed is;
};

static const struct magic magics[] = {
	{ "\x1f\x8b", 2, { "gzip", "gzip -d" } },
	{ "BZh", 3, { "bzip2", "bzip2 -d" } },
	{ "\3757zXZ", 5, { "xz", "xz -d" } },
	{ "\x28\xb5\x2f\xfd", 4, { "zstd", "zstd -d" } },
	{ "\x04\x22\x4d\x18", 4, { "lz4", "lz4 -d" } },
	{ "LZIP", 4, { "lzip", "lzip -d" } },
	{ "\x89LZO", 4, { "lzop", "lzop -d" } },
	{ "\x5d\x00\x00", 3, { "lzma", "unlzma" } },
	{ "\x1f\x9d", 2, { "compress", "uncompress" } },
	{ "PK\x03\x04", 4, { "zip", NULL } },
	{ "7z\xbc\xaf", 4, { "7z", NULL } },
	{ "Rar!", 4, { "rar", NULL } },
	{ "070701", 6, { "cpio", NULL } },
};

bool compressed_detect(int fd, struct compressed *compressed)
{
	char head[MAGIC_MAX] = "";

	if (pread(fd, head, sizeof(head), 0) <= 0)
		return false;
	for (size_t i = 0; i < sizeof(magics) / sizeof(magics[0]); i++) {
		if (!memcmp(head, magics[i].bytes, magics[i].len)) {
			*compressed = magics[i].is;
			return true;
		}
	}
	return false;
}
