// SPDX-License-Identifier: GPL-2.0
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "expect.h"

#define SENTINEL 0xC7

uint64_t expected_eof(const struct tfile *f)
{
	uint64_t eof;

	return model_whole_eof(f->model, &eof) ? eof : f->size;
}

static void gap_bytes(const struct tfile *f, void *buf, uint64_t off, size_t len)
{
	if (f->store)
		backing_bytes(f->store, buf, off + f->store_shift, len);
	else
		pattern_fill(buf, f->seed, off, len);
}

size_t expected_bytes(const struct tfile *f, void *buf, uint64_t off, size_t len)
{
	uint64_t eof = expected_eof(f);
	unsigned char *p = buf;
	size_t done, n;

	if (off >= eof)
		return 0;
	if (len > eof - off)
		len = eof - off;
	for (done = 0; done < len; done += n) {
		struct model_op run;
		bool bound = model_find(f->model, off + done, &run);

		n = len - done;
		if (run.last - (off + done) < n)
			n = run.last - (off + done) + 1;
		if (bound && (run.flags & FUSE_REGION_READ))
			backing_bytes(run.b, p + done, run.bstart, n);
		else
			gap_bytes(f, p + done, off + done, n);
	}
	return len;
}

/* Say what is bound at @pos, for a message */
static const char *describe(const struct tfile *f, uint64_t pos)
{
	static char text[256];
	struct model_op run;

	if (model_find(f->model, pos, &run))
		snprintf(text, sizeof(text), "bound to backing %u (seed %llu) at %#llx, flags %#x",
			 run.b->id, (unsigned long long)run.b->seed, (unsigned long long)run.bstart,
			 run.flags);
	else
		snprintf(text, sizeof(text), "in a gap (seed %llu)", (unsigned long long)f->seed);
	return text;
}

void expect_content(const struct tfile *f, const char *how, uint64_t off, const void *buf,
		    size_t len)
{
	const unsigned char *got = buf;
	unsigned char *want = malloc(len + 1);
	size_t i;

	CHECK(want);
	if (expected_bytes(f, want, off, len) < len)
		FAIL("%s at %#llx: %zu bytes reach past the end of the file", how,
		     (unsigned long long)off, len);
	if (memcmp(got, want, len)) {
		for (i = 0; got[i] == want[i]; i++)
			;
		FAIL("%s of %zu bytes at %#llx: byte %#zx (file %#llx) is %02x, expected %02x; "
		     "it is %s%s",
		     how, len, (unsigned long long)off, i, (unsigned long long)(off + i), got[i],
		     want[i], describe(f, off + i),
		     got[i] == pattern_byte(f->seed, off + i) ? "; that is the server's byte" : "");
	}
	free(want);
}

void expect_result(const struct tfile *f, const char *how, uint64_t off, size_t len,
		   const void *buf, ssize_t got)
{
	uint64_t eof = expected_eof(f);
	size_t want = off >= eof ? 0 : eof - off < len ? eof - off : len;

	if (got < 0)
		FAIL("%s of %zu bytes at %#llx: errno %d (%m)", how, len, (unsigned long long)off,
		     errno);
	if ((size_t)got != want)
		FAIL("%s of %zu bytes at %#llx returned %zd, expected %zu (eof %#llx)", how, len,
		     (unsigned long long)off, got, want, (unsigned long long)eof);
	expect_content(f, how, off, buf, want);
}

void *direct_alloc(size_t len)
{
	void *p;

	CHECK_ZERO(posix_memalign(&p, ALIGN_DIRECT, len + 1));
	return p;
}

void expect_read_shifted(const struct tfile *f, int fd, uint64_t off, size_t len, size_t shift)
{
	unsigned char *base = direct_alloc(len + shift + 16), *buf = base + shift;
	ssize_t n;

	memset(base, SENTINEL, len + shift + 16);
	n = pread(fd, buf, len, (off_t)off);
	expect_result(f, "pread", off, len, buf, n);
	for (size_t i = (size_t)n; i < len + 16; i++)
		if (buf[i] != SENTINEL && i >= len)
			FAIL("pread of %zu bytes at %#llx wrote past its buffer", len,
			     (unsigned long long)off);
	free(base);
}

void expect_byte(int fd, uint64_t off, unsigned char want)
{
	unsigned char got;

	CHECK_EQ(pread(fd, &got, 1, (off_t)off), 1);
	CHECK_EQ(got, want);
}

unsigned char *map_file(int fd, int prot, int flags, uint64_t off, size_t len)
{
	unsigned char *p = mmap(NULL, len, prot, flags, fd, (off_t)off);

	if (p == MAP_FAILED)
		FAIL("mmap of %zu bytes at %#llx: %m", len, (unsigned long long)off);
	return p;
}

void expect_read(const struct tfile *f, int fd, uint64_t off, size_t len)
{
	expect_read_shifted(f, fd, off, len, 0);
}

void expect_file(const struct tfile *f, int fd, size_t chunk)
{
	uint64_t eof = expected_eof(f);

	for (uint64_t off = 0; off <= eof; off += chunk)
		expect_read(f, fd, off, chunk);
}

void expect_random_reads(const struct tfile *f, int fd, unsigned int nr, uint64_t from,
			 uint64_t span, size_t max)
{
	while (nr--)
		expect_read(f, fd, from + rnd_below(span), 1 + rnd_below(max));
}
