// SPDX-License-Identifier: GPL-2.0
/* R5: O_DIRECT, wherever the shift, the memory or the backing's file system makes it awkward. */
#define _GNU_SOURCE
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/uio.h>

#include "harness.h"

#define SIZE (64 * PAGE)

static struct backing *b;

static struct tfile *file_on(const char *dir, struct srv_opts opts, bool direct_io)
{
	struct srv *s = srv_new(&opts);
	struct tfile *f = srv_file(s, "f", SIZE);

	f->direct_io = direct_io;
	srv_start(s);
	b = backing_new_in(dir, SIZE);
	CHECK_OK(fsync(b->fd));
	srv_register(s, b);
	return f;
}

/* Every mix of aligned and not: file offset, shift, length, memory */
static void alignments(struct tfile *f)
{
	static const uint64_t shifts[] = { 0, 512, PAGE, 1, 511, PAGE + 8 };
	static const uint64_t starts[] = { 0, 512, 3, PAGE - 1 };
	int fd = srv_open(f, O_RDONLY | O_DIRECT);

	for (size_t i = 0; i < ARRAY_SIZE(shifts); i++) {
		CHECK_ZERO(region_bind(f, PAGE, 30 * PAGE, b, shifts[i], FUSE_REGION_REPLACE));
		for (size_t j = 0; j < ARRAY_SIZE(starts); j++) {
			uint64_t off = 4 * PAGE + starts[j];

			expect_read(f, fd, off, 2 * PAGE);
			expect_read(f, fd, off, 512);
			expect_read(f, fd, off, 1000);
			expect_read_shifted(f, fd, off, 2 * PAGE, 8);
			expect_read_shifted(f, fd, off, PAGE, 512);
			expect_read_shifted(f, fd, off, 777, 3);
		}
	}
	CHECK_EQ(srv_count(f, OP_READ), 0);
	expect_read(f, fd, 0, SIZE);
}

TEST(r5_tmpfs_alignments)
{
	alignments(file_on(NULL, (struct srv_opts){ 0 }, false));
}

TEST(r5_ext4_alignments)
{
	alignments(file_on(shared_ext4(), (struct srv_opts){ 0 }, false));
}

TEST(r5_ext4_direct_io_file)
{
	alignments(file_on(shared_ext4(), (struct srv_opts){ 0 }, true));
}

/* The server asked for direct I/O of its own: the regions' caching is not its business. */
TEST(r5_server_direct_io_reads_buffered)
{
	struct tfile *f = file_on(NULL, (struct srv_opts){ 0 }, true);
	int fd = srv_open(f, O_RDONLY);

	CHECK_ZERO(region_bind(f, 100, 9000, b, 3, 0));
	expect_file(f, fd, 1234);
}

TEST(r5_flag_set_later)
{
	struct tfile *f = file_on(shared_ext4(), (struct srv_opts){ 0 }, false);
	int fd = srv_open(f, O_RDONLY);

	CHECK_ZERO(region_bind(f, PAGE, 30 * PAGE, b, 512, 0));
	expect_file(f, fd, 7 * PAGE);
	CHECK_OK(fcntl(fd, F_SETFL, O_DIRECT));
	CHECK(fcntl(fd, F_GETFL) & O_DIRECT);
	expect_file(f, fd, 8 * PAGE);
	CHECK_OK(fcntl(fd, F_SETFL, 0));
	expect_file(f, fd, 7 * PAGE);
}

/* Pieces of several regions and gaps, none of them aligned */
TEST(r5_many_pieces)
{
	struct tfile *f = file_on(shared_ext4(), (struct srv_opts){ 0 }, false);
	int fd = srv_open(f, O_RDONLY | O_DIRECT);

	for (uint64_t off = 100; off < SIZE - 6000; off += 6000 + rnd_below(100))
		CHECK_ZERO(region_bind(f, off, 1 + rnd_below(6000), b, rnd_below(SIZE / 2), 0));
	expect_file(f, fd, 16 * PAGE);
	expect_random_reads(f, fd, 30, 0, SIZE, 10 * PAGE);
	CHECK_EQ(f->asked_bound, 0);
}

TEST(r5_aligned_pieces)
{
	struct tfile *f = file_on(shared_ext4(), (struct srv_opts){ 0 }, false);
	int fd = srv_open(f, O_RDONLY | O_DIRECT);

	for (uint64_t i = 0; i < 8; i++)
		CHECK_ZERO(region_bind(f, i * 8 * PAGE, 4 * PAGE, b, (7 - i) * 4 * PAGE, 0));
	expect_file(f, fd, 16 * PAGE);
	expect_file(f, fd, 3 * PAGE);
}

/* The end of the backing inside a block, and of the file */
TEST(r5_short_backing)
{
	struct tfile *f = file_on(shared_ext4(), (struct srv_opts){ 0 }, false);
	int fd = srv_open(f, O_RDONLY | O_DIRECT);

	CHECK_OK(ftruncate(b->fd, 10 * PAGE + 700));
	CHECK_ZERO(region_bind(f, PAGE, 30 * PAGE, b, 0, 0));
	expect_read(f, fd, 8 * PAGE, 8 * PAGE);
	expect_read(f, fd, 11 * PAGE, PAGE);
	expect_read(f, fd, 11 * PAGE + 512, 512);
	expect_read(f, fd, 20 * PAGE, PAGE);
	CHECK_ZERO(region_bind(f, 0, 0, b, 0, FUSE_REGION_REPLACE));
	expect_read(f, fd, 8 * PAGE, 8 * PAGE);
	expect_read(f, fd, 10 * PAGE, PAGE);
	expect_read(f, fd, 11 * PAGE, PAGE);
}

/* Vectors whose parts are aligned, but not the middle's edges */
TEST(r5_vectors)
{
	struct tfile *f = file_on(shared_ext4(), (struct srv_opts){ 0 }, false);
	int fd = srv_open(f, O_RDONLY | O_DIRECT);
	unsigned char *buf = direct_alloc(16 * PAGE);
	struct iovec iov[4] = {
		{ buf, PAGE },
		{ buf + 2 * PAGE, 512 },
		{ buf + 5 * PAGE, 1000 },
		{ buf + 8 * PAGE + 3, 4000 },
	};
	uint64_t pos;

	CHECK_ZERO(region_bind(f, PAGE, 2 * PAGE, b, PAGE, 0));
	CHECK_ZERO(region_bind(f, 3 * PAGE, 20 * PAGE, b, 512, 0));
	for (uint64_t off = 0; off < 6 * PAGE; off += 512) {
		memset(buf, 0, 16 * PAGE);
		CHECK_EQ(preadv(fd, iov, 4, (off_t)off), PAGE + 512 + 1000 + 4000);
		pos = off;
		for (int i = 0; i < 4; pos += iov[i++].iov_len)
			expect_content(f, "direct preadv", pos, iov[i].iov_base, iov[i].iov_len);
	}
	free(buf);
}

/* A backing that was itself opened with O_DIRECT serves readers that were not */
TEST(r5_direct_backing_buffered_reader)
{
	struct tfile *f = file_on(shared_ext4(), (struct srv_opts){ 0 }, false);
	int fd = srv_open(f, O_RDONLY), direct = backing_reopen(b, O_RDONLY | O_DIRECT);

	CHECK_OK(direct);
	b->id = (uint32_t)raw_backing_open(f->srv->ctl, direct);
	CHECK_ZERO(region_bind(f, 1000, 30 * PAGE, b, 77, 0));
	expect_file(f, fd, 1234);
	expect_read(f, fd, 0, SIZE);
	close(fd);
	fd = srv_open(f, O_RDONLY | O_DIRECT);
	expect_file(f, fd, 5 * PAGE);
}

/* What was written to the backing a moment ago, through its page cache */
TEST(r5_coherent_with_backings_cache)
{
	struct tfile *f = file_on(shared_ext4(), (struct srv_opts){ 0 }, false);
	int fd = srv_open(f, O_RDONLY | O_DIRECT);

	CHECK_ZERO(region_bind(f, PAGE, 30 * PAGE, b, 0, 0));
	for (uint64_t i = 0; i < 20; i++) {
		pattern_write(b->fd, 100 + i, i * PAGE + i % 3 * 512, 4 * PAGE);
		expect_read(f, fd, (i + 1) * PAGE, 4 * PAGE);
	}
}

/* Memory that is not there, alone and behind a page that is */
static void bad_buffers(struct tfile *f, int fd)
{
	unsigned char *good = direct_alloc(PAGE);
	void *bad = mmap(NULL, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct iovec iov[2] = { { good, PAGE }, { bad, PAGE } };

	CHECK(bad != MAP_FAILED);
	CHECK_ERR(pread(fd, bad, PAGE, 3 * PAGE), EFAULT);
	CHECK_ERR(pwrite(fd, bad, PAGE, 3 * PAGE), EFAULT);
	CHECK_ERR(pread(fd, bad, 100, 3 * PAGE + 5), EFAULT);
	CHECK_ERR(pwrite(fd, bad, 100, 3 * PAGE + 5), EFAULT);
	expect_read(f, fd, 2 * PAGE, 8 * PAGE);
	CHECK_EQ(preadv(fd, iov, 2, 5 * PAGE), PAGE);
	expect_content(f, "preadv", 5 * PAGE, good, PAGE);
	pattern_fill(good, 99, 0, PAGE);
	CHECK_EQ(pwritev(fd, iov, 2, 5 * PAGE), PAGE);
	expect_read(f, fd, 2 * PAGE, 8 * PAGE);
	CHECK_EQ(pread(fd, good, PAGE, 5 * PAGE), PAGE);
	CHECK_EQ(pattern_differs(good, 99, 0, PAGE), PAGE);
	CHECK_OK(munmap(bad, PAGE));
	free(good);
}

TEST(r5_buffer_fault)
{
	struct tfile *f = file_on(shared_ext4(), (struct srv_opts){ 0 }, false);
	static const uint64_t shifts[] = { 30 * PAGE, 30 * PAGE + 77 };
	int fds[] = { srv_open(f, O_RDWR), srv_open(f, O_RDWR | O_DIRECT) };
	struct rlimit old, r;

	signal(SIGXFSZ, SIG_IGN);
	CHECK_OK(getrlimit(RLIMIT_FSIZE, &old));
	for (size_t i = 0; i < ARRAY_SIZE(shifts) * ARRAY_SIZE(fds); i++) {
		CHECK_ZERO(region_bind(f, 2 * PAGE, 20 * PAGE, b, shifts[i / 2],
				       RW | FUSE_REGION_REPLACE));
		bad_buffers(f, fds[i % 2]);
		/* a limit that the file is below, and the backing's bytes are not */
		r = (struct rlimit){ 20 * PAGE, old.rlim_max };
		CHECK_OK(setrlimit(RLIMIT_FSIZE, &r));
		bad_buffers(f, fds[i % 2]);
		CHECK_OK(setrlimit(RLIMIT_FSIZE, &old));
	}
	CHECK_EQ(srv_count(f, OP_READ) + srv_count(f, OP_WRITE), 0);
}

TEST(r5_huge_read)
{
	struct srv *s = srv_new(NULL);
	struct tfile *f = srv_file(s, "f", 24 * MIB);
	int fd;

	srv_start(s);
	b = backing_new_in(shared_ext4(), 16 * MIB);
	srv_register(s, b);
	fd = srv_open(f, O_RDONLY | O_DIRECT);
	CHECK_ZERO(region_bind(f, 1 * MIB, 8 * MIB, b, 0, 0));
	CHECK_ZERO(region_bind(f, 10 * MIB + 3, 8 * MIB, b, 5, 0));
	expect_read(f, fd, 0, 24 * MIB);
}
