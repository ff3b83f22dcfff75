// SPDX-License-Identifier: GPL-2.0
/* R2, R3: short backings, ends of files, whole-file regions, and reads that fail half way. */
#define _GNU_SOURCE
#include <sys/mman.h>
#include <sys/uio.h>

#include "harness.h"

#define SIZE (32 * PAGE)

static struct backing *b;

static struct tfile *file_with_backing(uint64_t size, uint64_t backing_bytes_)
{
	struct tfile *f = srv_simple(size);

	b = backing_new(backing_bytes_);
	close(srv_open(f, O_RDONLY));
	srv_register(f->srv, b);
	return f;
}

static void expect_all(struct tfile *f)
{
	int fd = srv_open(f, O_RDONLY);

	expect_read(f, fd, 0, 2 * SIZE);
	expect_file(f, fd, 3001);
	expect_file(f, fd, PAGE);
	close(fd);
}

TEST(r2_short_backing_reads_zeroes)
{
	struct tfile *f = file_with_backing(SIZE, 5000);

	CHECK_ZERO(region_bind(f, PAGE, 10 * PAGE, b, 100, 0));
	expect_all(f);
	CHECK_EQ(f->asked_bound, 0);
}

TEST(r2_empty_backing_reads_zeroes)
{
	struct tfile *f = file_with_backing(SIZE, 0);

	CHECK_ZERO(region_bind(f, 1, SIZE - 2, b, 0, 0));
	expect_all(f);
}

TEST(r2_region_past_the_backings_end_reads_zeroes)
{
	struct tfile *f = file_with_backing(SIZE, 3 * PAGE);

	CHECK_ZERO(region_bind(f, 100, 5000, b, 3 * PAGE, 0));
	CHECK_ZERO(region_bind(f, 6000, 5000, b, 300 * PAGE, 0));
	CHECK_ZERO(region_bind(f, 12000, 5000, b, 1ull << 50, 0));
	expect_all(f);
}

/* Several short ones in one read: no piece but the last ends the read. */
TEST(r2_short_backings_in_the_middle)
{
	struct tfile *f = file_with_backing(SIZE, 1500);

	for (uint64_t i = 0; i < 12; i++)
		CHECK_ZERO(region_bind(f, 1000 + i * 9001, 4000, b, i * 100, 0));
	expect_all(f);
}

TEST(r2_size_ends_inside_a_region)
{
	struct tfile *f = file_with_backing(10 * PAGE + 77, SIZE);

	CHECK_ZERO(region_bind(f, 9 * PAGE + 5, 20 * PAGE, b, 0, 0));
	expect_all(f);
}

TEST(r2_size_ends_inside_a_short_region)
{
	struct tfile *f = file_with_backing(10 * PAGE + 77, 3);

	CHECK_ZERO(region_bind(f, 9 * PAGE + 5, 20 * PAGE, b, 0, 0));
	expect_all(f);
}

TEST(r2_region_past_the_size)
{
	struct tfile *f = file_with_backing(5 * PAGE, SIZE);

	CHECK_ZERO(region_bind(f, 6 * PAGE, 5 * PAGE, b, 0, 0));
	expect_all(f);
}

/* A file that grows under its region: the server says so, and no open is needed. */
TEST(r2_file_grows)
{
	struct srv *s = srv_new(&(struct srv_opts){ .no_attr_cache = true });
	struct tfile *f = srv_file(s, "f", 5 * PAGE);
	struct stat st;
	int fd;

	srv_start(s);
	b = backing_new(SIZE);
	srv_register(s, b);
	fd = srv_open(f, O_RDONLY);
	CHECK_ZERO(region_bind(f, PAGE, 20 * PAGE, b, 3, 0));
	expect_read(f, fd, 0, SIZE);
	f->size = 12 * PAGE + 5;
	CHECK_OK(fstat(fd, &st));
	CHECK_EQ(st.st_size, f->size);
	expect_read(f, fd, 0, SIZE);
	expect_read(f, fd, 12 * PAGE, PAGE);
}

TEST(r2_backing_grows_and_shrinks)
{
	struct tfile *f = file_with_backing(SIZE, PAGE);

	CHECK_ZERO(region_bind(f, 50, SIZE - 100, b, 0, 0));
	for (int i = 0; i < 8; i++) {
		uint64_t size = rnd_below(SIZE);

		CHECK_OK(ftruncate(b->fd, (off_t)size));
		pattern_write(b->fd, b->seed, 0, size);
		expect_all(f);
	}
}

TEST(r2_whole_file)
{
	struct tfile *f = file_with_backing(SIZE, 7 * PAGE + 123);

	CHECK_ZERO(region_bind(f, 0, 0, b, 0, 0));
	expect_all(f);
	CHECK_EQ(srv_count(f, OP_READ), 0);
}

/* The server's idea of the size does not matter, whichever is larger. */
TEST(r2_whole_file_size_is_the_backings)
{
	static const uint64_t sizes[] = { 0, 1, 7 * PAGE, 9 * PAGE };

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct tfile *f = file_with_backing(sizes[i], 7 * PAGE + 123);

		CHECK_ZERO(region_bind(f, 0, 0, b, 0, 0));
		expect_all(f);
		CHECK_EQ(srv_count(f, OP_READ), 0);
	}
}

TEST(r2_whole_file_with_offset)
{
	struct tfile *f = file_with_backing(SIZE, 7 * PAGE + 123);

	CHECK_ZERO(region_bind(f, 0, 0, b, 5001, 0));
	expect_all(f);
	CHECK_ZERO(region_bind(f, 0, 0, b, 7 * PAGE + 122, FUSE_REGION_REPLACE));
	expect_all(f);
	CHECK_ZERO(region_bind(f, 0, 0, b, 9 * PAGE, FUSE_REGION_REPLACE));
	expect_all(f);
	CHECK_ZERO(region_bind(f, 0, 0, b, INT64_MAX, FUSE_REGION_REPLACE));
	expect_all(f);
}

TEST(r2_whole_file_backing_grows_and_shrinks)
{
	struct tfile *f = file_with_backing(SIZE, PAGE);
	int fd = srv_open(f, O_RDONLY);

	CHECK_ZERO(region_bind(f, 0, 0, b, 100, 0));
	for (int i = 0; i < 8; i++) {
		uint64_t size = i == 5 ? 0 : rnd_below(2 * SIZE);

		CHECK_OK(ftruncate(b->fd, (off_t)size));
		pattern_write(b->fd, b->seed, 0, size);
		expect_read(f, fd, 0, 3 * SIZE);
		expect_read(f, fd, size, 100);
	}
}

/* tail -f on a log: bytes appended to the backing arrive at the position that was the end. */
TEST(r2_whole_file_follows_appends)
{
	struct tfile *f = file_with_backing(0, 0);
	int fd = srv_open(f, O_RDONLY);
	unsigned char buf[1000];
	uint64_t size = 0;

	CHECK_ZERO(region_bind(f, 0, 0, b, 0, 0));
	for (unsigned int i = 1; i < 200; i += 20, size += i - 20) {
		CHECK_EQ(read(fd, buf, sizeof(buf)), 0);
		pattern_write(b->fd, b->seed, size, i);
		CHECK_EQ(read(fd, buf, sizeof(buf)), i);
		CHECK_EQ(pattern_differs(buf, b->seed, size, i), i);
	}
}

/* Cut in the middle, its far part still says where the end is. */
TEST(r2_whole_file_cut_in_the_middle)
{
	struct tfile *f = file_with_backing(SIZE, 20 * PAGE + 99);
	struct backing *c = backing_new(SIZE);

	srv_register(f->srv, c);
	CHECK_ZERO(region_bind(f, 0, 0, b, 10, 0));
	CHECK_ZERO(region_unbind(f, 3 * PAGE + 1, PAGE));
	expect_all(f);
	CHECK_ZERO(region_bind(f, 10 * PAGE, 100, c, 0, FUSE_REGION_REPLACE));
	expect_all(f);
	CHECK_ZERO(region_unbind(f, 0, 1));
	expect_all(f);
}

/* Cut at its far end, the inode's size counts again. */
TEST(r2_whole_file_cut_at_the_end)
{
	struct tfile *f = file_with_backing(SIZE, 20 * PAGE + 99);

	CHECK_ZERO(region_bind(f, 0, 0, b, 0, 0));
	CHECK_ZERO(region_unbind(f, 15 * PAGE + 5, INT64_MAX - (15 * PAGE + 5)));
	expect_all(f);
	CHECK_ZERO(region_bind(f, 0, 0, b, 0, FUSE_REGION_REPLACE));
	expect_all(f);
	CHECK_ZERO(region_unbind(f, INT64_MAX - 1, 1));
	expect_all(f);
}

TEST(r2_whole_file_unbound)
{
	struct tfile *f = file_with_backing(SIZE, 3);

	CHECK_ZERO(region_bind(f, 0, 0, b, 0, 0));
	expect_all(f);
	CHECK_ZERO(region_unbind(f, 0, 0));
	expect_all(f);
	CHECK_ZERO(region_bind(f, 5, 5, b, 0, 0));
	expect_all(f);
}

/* 0 to the last byte by name is no whole-file region. */
TEST(r2_long_region_is_not_whole_file)
{
	struct tfile *f = file_with_backing(SIZE, 3 * PAGE);

	CHECK_ZERO(region_bind(f, 0, INT64_MAX, b, 0, 0));
	expect_all(f);
}

/* pread() of @len at @off with errno @err, or if @good > 0 with that many good bytes */
static void expect_partial(struct tfile *f, int fd, uint64_t off, size_t len, size_t good, int err)
{
	unsigned char *buf = calloc(1, len);
	ssize_t n;

	errno = 0;
	n = pread(fd, buf, len, (off_t)off);
	if (good) {
		CHECK_EQ(n, good);
		expect_content(f, "partial pread", off, buf, good);
	} else {
		CHECK_ERR(n, err);
	}
	free(buf);
}

TEST(r3_gap_fails_after_good_bytes)
{
	struct tfile *f = file_with_backing(SIZE, SIZE);
	int fd = srv_open(f, O_RDONLY);

	CHECK_ZERO(region_bind(f, 0, 10000, b, 0, 0));
	CHECK_ZERO(region_bind(f, 20000, 10000, b, 0, 0));
	f->bad_start = 10000;
	f->bad_last = 19999;
	f->bad_errno = EIO;
	expect_partial(f, fd, 0, SIZE, 10000, 0);
	expect_partial(f, fd, 5000, 6000, 5000, 0);
	expect_partial(f, fd, 9999, 100, 1, 0);
	expect_partial(f, fd, 10000, 1, 0, EIO);
	expect_partial(f, fd, 12345, SIZE, 0, EIO);
	expect_partial(f, fd, 19999, 2, 0, EIO);
	expect_read(f, fd, 0, 10000);
	expect_read(f, fd, 20000, 10000);
	/* and after the failure everything works again */
	f->bad_errno = 0;
	expect_read(f, fd, 0, SIZE);
}

TEST(r3_first_errno_is_the_servers)
{
	struct tfile *f = file_with_backing(SIZE, SIZE);
	int fd = srv_open(f, O_RDONLY);
	static const int errs[] = { ENODATA, EACCES, ESTALE, EIO };

	CHECK_ZERO(region_bind(f, 20000, 10000, b, 0, 0));
	f->bad_start = 0;
	f->bad_last = SIZE;
	for (size_t i = 0; i < ARRAY_SIZE(errs); i++) {
		f->bad_errno = errs[i];
		expect_partial(f, fd, 0, SIZE, 0, errs[i]);
		expect_partial(f, fd, 20000, SIZE, 10000, 0);
		expect_partial(f, fd, 30000, 10, 0, errs[i]);
	}
}

/* A backing whose reads fail: a file of a plain FUSE server that says so */
TEST(r3_backing_fails)
{
	struct srv *plain = srv_new(&(struct srv_opts){ .no_attach = true });
	struct tfile *lower = srv_file(plain, "lower", SIZE), *f;
	struct backing *bad;
	int fd;

	lower->direct_io = true;
	srv_start(plain);
	f = file_with_backing(SIZE, SIZE);
	bad = backing_from_fd(srv_open(lower, O_RDONLY));
	srv_register(f->srv, bad);
	CHECK_ZERO(region_bind(f, 0, 10000, b, 0, 0));
	CHECK_ZERO(region_bind(f, 15000, 10000, bad, 0, 0));
	fd = srv_open(f, O_RDONLY);
	expect_read(f, fd, 0, SIZE);
	lower->bad_last = SIZE;
	lower->bad_errno = EUCLEAN;
	/* the model reads the backing too, so compare only what is not its */
	f->model->nr--;
	expect_partial(f, fd, 0, SIZE, 15000, 0);
	expect_partial(f, fd, 15000, 10, 0, EUCLEAN);
	expect_partial(f, fd, 14999, 10, 1, 0);
	expect_partial(f, fd, 20000, SIZE, 0, EUCLEAN);
	expect_read(f, fd, 25000, 1000);
}

/* A buffer that ends in nowhere: what was copied before is returned, as on any file. */
TEST(r3_buffer_fault)
{
	struct tfile *f = file_with_backing(SIZE, SIZE);
	int fd = srv_open(f, O_RDONLY), ref = b->fd;
	char *map = direct_alloc(4 * PAGE);
	void *nowhere = mmap(NULL, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ssize_t n;

	CHECK_ZERO(region_bind(f, 0, 2 * PAGE, b, 0, 0));
	CHECK_ZERO(region_bind(f, 3 * PAGE, 2 * PAGE, b, 3 * PAGE, 0));
	errno = 0;
	CHECK_ERR(pread(fd, nowhere, 100, 0), EFAULT);
	CHECK_ERR(pread(fd, nowhere, 100, 2 * PAGE + 5), EFAULT);
	CHECK_ERR(pread(ref, nowhere, 100, 0), EFAULT);
	{
		struct iovec iov[2] = { { map, 1000 }, { nowhere, 100 } };

		n = preadv(fd, iov, 2, 0);
		CHECK_EQ(n, 1000);
		expect_content(f, "preadv into nowhere", 0, map, 1000);
		iov[0].iov_len = 2 * PAGE + 500;
		n = preadv(fd, iov, 2, 0);
		CHECK(n >= (ssize_t)(2 * PAGE));
		expect_content(f, "preadv into nowhere", 0, map, (size_t)n);
	}
	free(map);
}
