// SPDX-License-Identifier: GPL-2.0
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "backing.h"

#define CHUNK (1 << 18)
#define MAX_BACKINGS 8192

static uint64_t mix(uint64_t z)
{
	z = (z ^ (z >> 33)) * 0xff51afd7ed558ccdull;
	z = (z ^ (z >> 33)) * 0xc4ceb9fe1a85ec53ull;
	return z ^ (z >> 33);
}

/* Eight bytes at a time, none of them zero */
static uint64_t pattern_word(uint64_t seed, uint64_t index)
{
	uint64_t w = mix(seed * 0x9e3779b97f4a7c15ull + index + 1);

	for (int i = 0; i < 64; i += 8)
		if (!((w >> i) & 0xff))
			w |= 0x5aull << i;
	return w;
}

unsigned char pattern_byte(uint64_t seed, uint64_t off)
{
	return (unsigned char)(pattern_word(seed, off / 8) >> (off % 8 * 8));
}

void pattern_fill(void *buf, uint64_t seed, uint64_t off, size_t len)
{
	unsigned char *p = buf;

	while (len) {
		uint64_t w = pattern_word(seed, off / 8);
		size_t skip = off % 8, n = 8 - skip;

		w >>= skip * 8;
		if (n > len)
			n = len;
		memcpy(p, &w, n); /* little endian, as everything here */
		p += n;
		off += n;
		len -= n;
	}
}

size_t pattern_differs(const void *buf, uint64_t seed, uint64_t off, size_t len)
{
	const unsigned char *p = buf;
	unsigned char want[4096];

	for (size_t done = 0; done < len;) {
		size_t n = len - done < sizeof(want) ? len - done : sizeof(want);

		pattern_fill(want, seed, off + done, n);
		if (memcmp(p + done, want, n))
			for (size_t i = 0; i < n; i++)
				if (p[done + i] != want[i])
					return done + i;
		done += n;
	}
	return len;
}

void pattern_write(int fd, uint64_t seed, uint64_t off, uint64_t len)
{
	char *buf = malloc(CHUNK);

	CHECK(buf);
	while (len) {
		size_t n = len < CHUNK ? len : CHUNK;

		pattern_fill(buf, seed, off, n);
		CHECK_EQ(pwrite(fd, buf, n, (off_t)off), n);
		off += n;
		len -= n;
	}
	free(buf);
}

void *shared_alloc(size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	CHECK(p != MAP_FAILED);
	return p;
}

void shared_free(void *p, size_t size)
{
	CHECK_OK(munmap(p, size));
}

/* Mapped before any server is forked, so that those see backings that are made later as well */
static struct backing *pool;

__attribute__((constructor)) static void make_pool(void)
{
	pool = shared_alloc(MAX_BACKINGS * sizeof(*pool));
}

struct backing *backing_from_fd(int fd)
{
	static int nr;
	struct backing *b = &pool[nr++];

	CHECK(nr <= MAX_BACKINGS);
	b->fd = fd;
	b->owner = getpid();
	return b;
}

struct backing *backing_new_in(const char *dir, uint64_t len)
{
	static uint64_t seeds = 1000;
	struct backing *b;

	b = backing_from_fd(
		(int)CHECK_OK(open(dir ?: "/dev/shm", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600)));
	b->seed = ++seeds;
	pattern_write(b->fd, b->seed, 0, len);
	return b;
}

struct backing *backing_new(uint64_t len)
{
	return backing_new_in(NULL, len);
}

int backing_reopen(const struct backing *b, int flags)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/fd/%d", b->owner, b->fd);
	return open(path, flags | O_CLOEXEC);
}

/* In the owner, the descriptor itself; elsewhere the caller closes what it gets. */
static int borrow(const struct backing *b)
{
	if (b->owner == getpid())
		return b->fd;
	return (int)CHECK_OK(backing_reopen(b, O_RDONLY));
}

static void give_back(const struct backing *b, int fd)
{
	if (b->owner != getpid())
		close(fd);
}

uint64_t backing_size(const struct backing *b)
{
	struct stat st;
	int fd = borrow(b);

	CHECK_OK(fstat(fd, &st));
	give_back(b, fd);
	return (uint64_t)st.st_size;
}

/* Nobody can seek past it. */
uint64_t backing_limit(const struct backing *b)
{
	uint64_t can = 0, cannot = 1ull << 63;

	while (cannot - can > 1) {
		uint64_t mid = can + (cannot - can) / 2;

		if (lseek(b->fd, (off_t)mid, SEEK_SET) >= 0)
			can = mid;
		else
			cannot = mid;
	}
	return can;
}

void backing_bytes(const struct backing *b, void *buf, uint64_t off, size_t len)
{
	int fd = borrow(b);

	memset(buf, 0, len);
	if (off <= INT64_MAX)
		CHECK_OK(pread(fd, buf, len, (off_t)off));
	give_back(b, fd);
}

struct backing_pages backing_pages(const struct backing *b, uint64_t off, uint64_t len)
{
	struct {
		uint64_t off, len;
	} range = { off, len };
	struct {
		uint64_t nr_cache, nr_dirty, nr_writeback, nr_evicted, nr_recently_evicted;
	} stat;

	if (syscall(451 /* cachestat */, b->fd, &range, &stat, 0))
		SKIP("no cachestat(2): %m");
	return (struct backing_pages){ stat.nr_cache, stat.nr_dirty + stat.nr_writeback };
}

void backing_reseed(struct backing *b, uint64_t seed)
{
	pattern_write(b->fd, seed, 0, backing_size(b));
	b->seed = seed;
}
