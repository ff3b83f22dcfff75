/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What a file must read as, according to its model, and checks against it.
 */
#ifndef FR_TEST_EXPECT_H
#define FR_TEST_EXPECT_H

#include <sys/uio.h>

#include "server.h"

/* Where reads end: the file's size, or what its whole-file region says */
uint64_t expected_eof(const struct tfile *f);

/* The bytes at @off; returns how many there are before the end of the file */
size_t expected_bytes(const struct tfile *f, void *buf, uint64_t off, size_t len);

/* @got bytes in @buf are what a read of @len bytes at @off must have returned */
void expect_result(const struct tfile *f, const char *how, uint64_t off, size_t len,
		   const void *buf, ssize_t got);

/* The @len bytes in @buf are the file's, from @off on */
void expect_content(const struct tfile *f, const char *how, uint64_t off, const void *buf,
		    size_t len);

/* A pread() of one byte, whatever the model says */
void expect_byte(int fd, uint64_t off, unsigned char want);

/* An mmap() that succeeds */
unsigned char *map_file(int fd, int prot, int flags, uint64_t off, size_t len);

/* One pread() */
void expect_read(const struct tfile *f, int fd, uint64_t off, size_t len);

/* The same with memory aligned for O_DIRECT and shifted by @shift */
void expect_read_shifted(const struct tfile *f, int fd, uint64_t off, size_t len, size_t shift);

/* Read the whole file in preads of @chunk bytes */
void expect_file(const struct tfile *f, int fd, size_t chunk);

/* @nr preads at random places within @span bytes from @from on, of up to @max bytes */
void expect_random_reads(const struct tfile *f, int fd, unsigned int nr, uint64_t from,
			 uint64_t span, size_t max);

#define ALIGN_DIRECT 4096

/* Memory for O_DIRECT; free() it */
void *direct_alloc(size_t len);

#endif
