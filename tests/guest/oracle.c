// SPDX-License-Identifier: GPL-2.0
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "expect.h"
#include "oracle.h"

static void reserve(struct oracle *o, uint64_t max)
{
	if (max <= o->max)
		return;
	o->bytes = realloc(o->bytes, max);
	CHECK(o->bytes);
	memset(o->bytes + o->max, 0, max - o->max);
	o->max = max;
}

void oracle_load(struct oracle *o, const struct tfile *f)
{
	uint64_t size = expected_eof(f);

	memset(o, 0, sizeof(*o));
	reserve(o, size + 1);
	o->size = size;
	CHECK_EQ(expected_bytes(f, o->bytes, 0, size), size);
}

void oracle_free(struct oracle *o)
{
	free(o->bytes);
	memset(o, 0, sizeof(*o));
}

void oracle_note(struct oracle *o, const void *bytes, uint64_t off, uint64_t len)
{
	if (!len)
		return;
	reserve(o, off + len);
	memcpy(o->bytes + off, bytes, len);
	if (off + len > o->size)
		o->size = off + len;
}

void oracle_truncate(struct oracle *o, uint64_t size)
{
	reserve(o, size);
	if (size < o->size)
		memset(o->bytes + size, 0, o->size - size);
	o->size = size;
}

void oracle_fresh(struct oracle *o, void *buf, uint64_t len)
{
	pattern_fill(buf, 1000000 + ++o->writes, 0, len);
}

void oracle_write(struct oracle *o, int fd, uint64_t off, uint64_t len)
{
	unsigned char *buf = direct_alloc(len);
	ssize_t n;

	oracle_fresh(o, buf, len);
	n = pwrite(fd, buf, len, (off_t)off);
	if (n != (ssize_t)len)
		FAIL("pwrite of %llu bytes at %#llx: %zd, errno %d (%m)", (unsigned long long)len,
		     (unsigned long long)off, n, errno);
	oracle_note(o, buf, off, len);
	free(buf);
}

void oracle_compare(const struct oracle *o, const char *how, const void *buf, uint64_t off,
		    uint64_t len)
{
	const unsigned char *got = buf;

	CHECK(off + len <= o->size);
	if (!memcmp(got, o->bytes + off, len))
		return;
	for (uint64_t i = 0; i < len; i++)
		if (got[i] != o->bytes[off + i])
			FAIL("%s of %llu bytes at %#llx: byte %#llx is %02x, but %02x was written",
			     how, (unsigned long long)len, (unsigned long long)off,
			     (unsigned long long)(off + i), got[i], o->bytes[off + i]);
}

void oracle_check(const struct oracle *o, int fd, uint64_t off, uint64_t len)
{
	uint64_t want = off >= o->size ? 0 : o->size - off < len ? o->size - off : len;
	unsigned char *buf = direct_alloc(len);
	ssize_t n;

	memset(buf, 0xA9, len);
	n = pread(fd, buf, len, (off_t)off);
	if (n != (ssize_t)want)
		FAIL("pread of %llu bytes at %#llx: %zd, expected %llu (errno %d)",
		     (unsigned long long)len, (unsigned long long)off, n, (unsigned long long)want,
		     errno);
	oracle_compare(o, "pread", buf, off, want);
	free(buf);
}
