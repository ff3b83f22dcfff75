// SPDX-License-Identifier: GPL-2.0
/* W1, W2, W6: where written bytes go, and that the next read sees them. */
#define _GNU_SOURCE
#include <sys/resource.h>
#include <sys/uio.h>

#include "harness.h"

#define SIZE (64 * PAGE)

static struct backing *b, *c;

/* A file of the server's own bytes, with regions of all kinds */
static struct tfile *mixed(struct srv_opts opts, bool direct_io)
{
	struct tfile *f = srv_stored(opts, NULL, SIZE, &b, &c);

	f->direct_io = direct_io;
	CHECK_ZERO(region_bind(f, PAGE, 10 * PAGE, b, 3 * PAGE, RW));
	CHECK_ZERO(region_bind(f, 12 * PAGE, 5 * PAGE, b, 20 * PAGE + 7, FUSE_REGION_READ));
	CHECK_ZERO(region_bind(f, 20 * PAGE + 100, 9999, c, 1, RW));
	CHECK_ZERO(region_bind(f, 30 * PAGE + 5, 3, c, 20000, RW));
	CHECK_ZERO(region_bind(f, 40 * PAGE, 4 * PAGE, c, 30 * PAGE, FUSE_REGION_WRITE));
	CHECK_ZERO(region_bind(f, 44 * PAGE, 4 * PAGE, c, 40 * PAGE, RW));
	return f;
}

/* Random writes and reads, in a write-only region excepted: those bytes can't be read back */
static void write_and_read(struct tfile *f, int open_flags, int rounds, bool aligned)
{
	int fd = srv_open(f, O_RDWR | open_flags), other = srv_open(f, O_RDONLY);
	struct oracle o;

	CHECK_ZERO(region_unbind(f, 40 * PAGE, 4 * PAGE));
	oracle_load(&o, f);
	for (int i = 0; i < rounds; i++) {
		uint64_t off = rnd_below(SIZE - 1), len = 1 + rnd_below(i % 3 ? 300 : 6 * PAGE);

		if (aligned) {
			off = off / PAGE * PAGE;
			len = (len + PAGE - 1) / PAGE * PAGE;
		}
		if (off + len > SIZE)
			len = SIZE - off;
		oracle_write(&o, fd, off, len);
		oracle_check(&o, fd, off > 50 ? off - 50 : 0, len + 100);
		if (i % 4 == 0)
			oracle_check(&o, other, 0, SIZE);
	}
	oracle_check(&o, other, 0, SIZE);
	/* the same bytes by the test's own account of who has them */
	CHECK_OK(fsync(fd));
	expect_file(f, other, 7 * PAGE);
	oracle_free(&o);
}

TEST(w1_write_then_read)
{
	write_and_read(mixed((struct srv_opts){ 0 }, false), 0, 40, false);
}

TEST(w1_write_then_read_writeback)
{
	write_and_read(mixed((struct srv_opts){ .writeback = true }, false), 0, 40, false);
}

TEST(w1_write_then_read_server_direct_io)
{
	write_and_read(mixed((struct srv_opts){ 0 }, true), 0, 30, false);
}

TEST(w1_write_then_read_direct)
{
	write_and_read(mixed((struct srv_opts){ 0 }, false), O_DIRECT, 30, true);
}

TEST(w1_write_then_read_direct_writeback)
{
	write_and_read(mixed((struct srv_opts){ .writeback = true }, false), O_DIRECT, 30, true);
}

TEST(w1_write_then_read_threads)
{
	write_and_read(mixed((struct srv_opts){ .threads = true }, false), 0, 30, false);
}

TEST(w1_write_then_read_sync)
{
	write_and_read(mixed((struct srv_opts){ 0 }, false), O_SYNC, 20, false);
}

TEST(w1_write_then_read_no_attr_cache)
{
	write_and_read(mixed((struct srv_opts){ .no_attr_cache = true }, false), 0, 20, false);
}

/* Bytes of a WRITE region reach the backing without the server. */
TEST(w1_bound_writes_bypass_the_server)
{
	struct tfile *f = mixed((struct srv_opts){ 0 }, false);
	int fd = srv_open(f, O_RDWR);
	unsigned char buf[3 * PAGE];

	pattern_fill(buf, 77, 0, sizeof(buf));
	CHECK_EQ(pwrite(fd, buf, sizeof(buf), 2 * PAGE + 5), sizeof(buf));
	CHECK_EQ(pwrite(fd, buf, 3, 30 * PAGE + 5), 3);
	CHECK_EQ(pwrite(fd, buf, 500, 42 * PAGE), 500);
	CHECK_EQ(srv_count(f, OP_WRITE), 0);
	backing_bytes(b, buf, 4 * PAGE + 5, sizeof(buf));
	CHECK_EQ(pattern_differs(buf, 77, 0, sizeof(buf)), sizeof(buf));
	backing_bytes(c, buf, 32 * PAGE, 500);
	CHECK_EQ(pattern_differs(buf, 77, 0, 500), 500);
	expect_file(f, fd, 10 * PAGE);
}

/* One write over a gap, regions and a READ-only region: the server gets its own parts only. */
TEST(w1_one_write_many_pieces)
{
	struct tfile *f = mixed((struct srv_opts){ 0 }, false);
	int fd = srv_open(f, O_RDWR);
	struct oracle o;

	CHECK_ZERO(region_unbind(f, 40 * PAGE, 4 * PAGE));
	oracle_load(&o, f);
	oracle_write(&o, fd, 0, SIZE);
	oracle_check(&o, fd, 0, SIZE);
	CHECK_EQ(f->wrote_bound, 0);
	CHECK_EQ(lseek(fd, 0, SEEK_CUR), 0);
	expect_file(f, fd, SIZE);
	oracle_free(&o);
}

/* Copy on write: the server moves the range to a backing of its own before it stores the bytes. */
static struct backing *cow_to;

static int copy_on_write(struct srv *s, struct tfile *f, uint64_t off, size_t size)
{
	uint64_t start = off / PAGE * PAGE, end = (off + size + PAGE - 1) / PAGE * PAGE;
	unsigned char *old = malloc(end - start);
	int fd = (int)CHECK_OK(backing_reopen(cow_to, O_WRONLY));

	(void)s;
	CHECK_EQ(expected_bytes(f, old, start, end - start), end - start);
	CHECK_EQ(pwrite(fd, old, end - start, (off_t)start), end - start);
	close(fd);
	free(old);
	if (region_bind(f, start, end - start, cow_to, start, RW | FUSE_REGION_REPLACE))
		return EIO;
	return 0;
}

static void cow(struct srv_opts opts)
{
	struct srv *s = srv_new(&opts);
	struct tfile *f = srv_file(s, "f", SIZE);
	struct oracle o;
	uint64_t writes;
	int fd;

	cow_to = backing_new(SIZE);
	f->hook[OP_WRITE] = copy_on_write;
	srv_start(s);
	b = backing_new(SIZE);
	srv_register(s, b);
	srv_register(s, cow_to);
	fd = srv_open(f, O_RDWR);
	CHECK_ZERO(region_bind(f, 0, SIZE, b, 0, FUSE_REGION_READ));
	oracle_load(&o, f);
	for (int i = 0; i < 20; i++) {
		oracle_write(&o, fd, rnd_below(SIZE - 5000), 1 + rnd_below(5000));
		oracle_check(&o, fd, 0, SIZE);
	}
	CHECK_OK(fsync(fd));
	oracle_check(&o, fd, 0, SIZE);
	/* the original is as it was */
	CHECK_EQ(backing_size(b), SIZE);
	{
		unsigned char *buf = malloc(SIZE);

		backing_bytes(b, buf, 0, SIZE);
		CHECK_EQ(pattern_differs(buf, b->seed, 0, SIZE), SIZE);
		free(buf);
	}
	/* and a place once copied is written without asking */
	writes = srv_count(f, OP_WRITE);
	CHECK(writes > 0);
	oracle_write(&o, fd, 0, 100);
	writes = srv_count(f, OP_WRITE);
	oracle_write(&o, fd, 0, 100);
	if (!opts.writeback)
		CHECK_EQ(srv_count(f, OP_WRITE), writes);
	oracle_check(&o, fd, 0, SIZE);
	oracle_free(&o);
}

TEST(w1_copy_on_write)
{
	cow((struct srv_opts){ 0 });
}

TEST(w1_copy_on_write_writeback)
{
	cow((struct srv_opts){ .writeback = true });
}

TEST(w1_read_only_file_descriptor)
{
	struct tfile *f = mixed((struct srv_opts){ 0 }, false);
	int fd = srv_open(f, O_RDONLY);

	CHECK_ERR(pwrite(fd, "x", 1, 2 * PAGE), EBADF);
	fd = srv_open(f, O_WRONLY);
	CHECK_EQ(pwrite(fd, "x", 1, 2 * PAGE), 1);
	CHECK_ERR(pread(fd, &fd, 1, 2 * PAGE), EBADF);
}

TEST(w1_vectors_and_position)
{
	struct tfile *f = mixed((struct srv_opts){ 0 }, false);
	int fd = srv_open(f, O_RDWR);
	unsigned char *buf = malloc(SIZE), *got = malloc(SIZE);
	struct iovec iov[3] = { { buf, 5000 }, { buf + 5000, 1 }, { buf + 5001, 20000 } };

	pattern_fill(buf, 5, 0, SIZE);
	CHECK_OK(lseek(fd, PAGE - 10, SEEK_SET));
	CHECK_EQ(writev(fd, iov, 3), 25001);
	CHECK_EQ(lseek(fd, 0, SEEK_CUR), PAGE - 10 + 25001);
	CHECK_EQ(write(fd, buf + 25001, 7), 7);
	CHECK_EQ(lseek(fd, 0, SEEK_CUR), PAGE - 10 + 25008);
	CHECK_EQ(pread(fd, got, 25008, PAGE - 10), 25008);
	CHECK_EQ(pattern_differs(got, 5, 0, 25008), 25008);
	CHECK_EQ(pwritev2(fd, iov, 3, 3 * PAGE, RWF_DSYNC), 25001);
	expect_file(f, fd, 10 * PAGE);
	free(buf);
	free(got);
}

/* Nothing of a write that the server refuses is left in a cache. */
TEST(w1_server_refuses)
{
	struct srv *s = srv_new(NULL);
	struct tfile *f = srv_file(s, "f", SIZE); /* a gap of it is EROFS */
	unsigned char buf[100] = "";
	int fd;

	srv_start(s);
	b = backing_new(SIZE);
	srv_register(s, b);
	fd = srv_open(f, O_RDWR);
	CHECK_ZERO(region_bind(f, PAGE, PAGE, b, 0, RW));
	CHECK_ERR(pwrite(fd, buf, 100, 10 * PAGE), EROFS);
	expect_file(f, fd, PAGE);
	/* a region, then the refusal: what was written is counted */
	CHECK_EQ(pwrite(fd, buf, 100, 2 * PAGE - 30), 30);
	expect_file(f, fd, PAGE);
	CHECK_ERR(pwrite(fd, buf, 100, PAGE - 30), EROFS);
	expect_file(f, fd, PAGE);
}

TEST(m1_writes_agree_with_the_backing)
{
	struct tfile *f = mixed((struct srv_opts){ 0 }, false);
	int fd = srv_open(f, O_RDWR);
	unsigned char x;

	for (uint64_t i = 0; i < 100; i++) {
		uint64_t off = PAGE + rnd_below(10 * PAGE);

		x = (unsigned char)i;
		CHECK_EQ(pwrite(fd, &x, 1, (off_t)off), 1);
		CHECK_EQ(pread(b->fd, &x, 1, (off_t)(off + 2 * PAGE)), 1);
		CHECK_EQ(x, (unsigned char)i);
		x = (unsigned char)(i + 100);
		CHECK_EQ(pwrite(b->fd, &x, 1, (off_t)(off + 2 * PAGE)), 1);
		CHECK_EQ(pread(fd, &x, 1, (off_t)off), 1);
		CHECK_EQ(x, (unsigned char)(i + 100));
	}
}
