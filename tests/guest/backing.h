/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Bytes that give themselves away, and files full of them.
 *
 * Each file has a seed, and the byte at each offset is a hash of seed and
 * offset: bytes from a wrong place or a wrong file are wrong with a
 * probability of 254/255 each. No such byte is ever zero, for zeroes have a
 * meaning of their own.
 */
#ifndef FR_TEST_BACKING_H
#define FR_TEST_BACKING_H

#include "check.h"

unsigned char pattern_byte(uint64_t seed, uint64_t off);
void pattern_fill(void *buf, uint64_t seed, uint64_t off, size_t len);

/* First index at which @buf is not @seed's bytes from @off on, or @len */
size_t pattern_differs(const void *buf, uint64_t seed, uint64_t off, size_t len);

/* Write [@off, @off + @len) of @fd with @seed's bytes */
void pattern_write(int fd, uint64_t seed, uint64_t off, uint64_t len);

/**
 * struct backing - a regular file to bind to, known to tests and servers alike
 * @fd:		open for reading and writing in process @owner
 * @id:		what registering it last returned; 0 before
 * @seed:	of its bytes, unless a test overwrote them
 */
struct backing {
	int fd;
	pid_t owner;
	uint32_t id;
	uint64_t seed;
};

/* An unnamed file in @dir (NULL: /dev/shm) with @len bytes of a seed of its own */
struct backing *backing_new_in(const char *dir, uint64_t len);
struct backing *backing_new(uint64_t len);

/* The same for a file that is open already */
struct backing *backing_from_fd(int fd);

/* A descriptor of the file in whatever process calls; -1 with errno */
int backing_reopen(const struct backing *b, int flags);

/* Its size now */
uint64_t backing_size(const struct backing *b);

/* The largest that its file system lets it be; not for other processes than the owner */
uint64_t backing_limit(const struct backing *b);

/* Bytes [@off, @off + @len) as they are now; zeroes past the end */
void backing_bytes(const struct backing *b, void *buf, uint64_t off, size_t len);

/* Pages of its cache */
struct backing_pages {
	uint64_t cached;
	uint64_t dirty; /* not on disk yet, though maybe on the way there */
};

/* Those that hold bytes [@off, @off + @len), or from @off on if @len is 0; skips the test if it can't tell */
struct backing_pages backing_pages(const struct backing *b, uint64_t off, uint64_t len);

/* Overwrite all of it with another seed's bytes, then that is its seed */
void backing_reseed(struct backing *b, uint64_t seed);

/* Memory that forked servers share with the test; zeroes; never fails */
void *shared_alloc(size_t size);
void shared_free(void *p, size_t size);

#endif
