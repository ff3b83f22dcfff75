// SPDX-License-Identifier: GPL-2.0
/* W4: O_SYNC and O_DSYNC hold whichever way one writes. */
#define _GNU_SOURCE
#include <sys/uio.h>

#include "async.h"
#include "harness.h"

#define SIZE (32 * PAGE)

static struct backing *b, *c;

/* Page 1..9 in b, 10..19 in c, both on disk; the rest is the server's */
static struct tfile *two_regions(void)
{
	struct tfile *f = srv_stored((struct srv_opts){ 0 }, shared_ext4(), SIZE, &b, &c);

	CHECK_ZERO(region_bind(f, PAGE, 9 * PAGE, b, 3 * PAGE, RW));
	CHECK_ZERO(region_bind(f, 10 * PAGE, 10 * PAGE, c, 77, RW));
	CHECK_OK(fsync(b->fd));
	CHECK_OK(fsync(c->fd));
	return f;
}

static void expect_clean(const char *way)
{
	struct backing *both[] = { b, c };

	for (size_t i = 0; i < ARRAY_SIZE(both); i++)
		if (backing_pages(both[i], 0, 0).dirty)
			FAIL("%s: pages of backing %zu are dirty", way, i);
}

/* That the tests below could fail */
TEST(w4_without_o_sync_pages_are_dirty)
{
	struct tfile *f = two_regions();
	int fd = srv_open(f, O_RDWR);

	CHECK_EQ(pwrite(fd, "0123456789", 10, 10 * PAGE - 5), 10);
	CHECK(backing_pages(b, 0, 0).dirty && backing_pages(c, 0, 0).dirty);
	CHECK_EQ(libaio_write(fd, "0123456789", 10, 5 * PAGE), 10);
	CHECK_OK(fsync(fd));
	expect_clean("fsync");
}

TEST(w4_o_sync_over_edges)
{
	static const int flags[] = { O_SYNC, O_DSYNC };
	struct tfile *f = two_regions();
	static char buf[SIZE];

	for (size_t i = 0; i < ARRAY_SIZE(flags); i++) {
		int fd = srv_open(f, O_RDWR | flags[i]);
		uint64_t synced = srv_count(f, OP_FSYNC);

		CHECK_EQ(pwrite(fd, "0123456789", 10, 10 * PAGE - 5), 10);
		expect_clean("two regions");
		CHECK_EQ(pwrite(fd, buf, SIZE, 0), SIZE);
		expect_clean("regions and gaps");
		/* of the gaps' bytes the server is told, as ever */
		CHECK(srv_count(f, OP_FSYNC) > synced);
		close(fd);
	}
}

TEST(w4_o_sync_of_each_call)
{
	static const int flags[] = { RWF_SYNC, RWF_DSYNC };
	struct tfile *f = two_regions();
	int fd = srv_open(f, O_RDWR);
	char text[] = "0123456789";
	struct iovec iov[] = { { text, 3 }, { text + 3, 7 } };

	for (size_t i = 0; i < ARRAY_SIZE(flags); i++) {
		CHECK_EQ(pwritev2(fd, iov, 2, 10 * PAGE - 5, flags[i]), 10);
		expect_clean("vectors over an edge");
		CHECK_EQ(pwritev2(fd, iov, 2, 3 * PAGE, flags[i]), 10);
		expect_clean("vectors in a region");
	}
}

static void async_ways(async_write_fn write_fn, int open_flags)
{
	struct tfile *f = two_regions();
	int fd = srv_open(f, O_RDWR | open_flags);
	unsigned char *buf = direct_alloc(2 * PAGE);

	pattern_fill(buf, 4711, 0, 2 * PAGE);
	CHECK_EQ(write_fn(fd, buf, PAGE, 5 * PAGE), PAGE);
	expect_clean("in a region");
	CHECK_EQ(write_fn(fd, buf, 2 * PAGE, 9 * PAGE), 2 * PAGE);
	expect_clean("over an edge");
	/* direct I/O does not suit c's shift, and is buffered there */
	CHECK_EQ(write_fn(fd, buf, PAGE, 15 * PAGE), PAGE);
	expect_clean("with a shift");
	CHECK_EQ(write_fn(fd, buf, 2 * PAGE, 19 * PAGE), 2 * PAGE);
	expect_clean("into a gap");
	close(fd);
	expect_file(f, srv_open(f, O_RDONLY), SIZE);
	free(buf);
}

TEST(w4_o_sync_libaio)
{
	async_ways(libaio_write, O_SYNC);
}

TEST(w4_o_sync_libaio_direct)
{
	async_ways(libaio_write, O_DSYNC | O_DIRECT);
}

TEST(w4_o_sync_uring)
{
	async_ways(uring_write, O_DSYNC);
}

TEST(w4_o_sync_uring_direct)
{
	async_ways(uring_write, O_SYNC | O_DIRECT);
}

/* Where the kernel extends the file, its new size is on disk too: another mount of it would see that. */
TEST(w4_o_sync_append)
{
	struct tfile *f = srv_stored((struct srv_opts){ 0 }, shared_ext4(), SIZE, &b, &c);
	int fd = srv_open(f, O_WRONLY | O_APPEND | O_SYNC);

	CHECK_ZERO(region_bind(f, 0, 0, b, 0, RW));
	CHECK_OK(fsync(b->fd));
	for (int i = 0; i < 5; i++) {
		CHECK_EQ(write(fd, "more", 4), 4);
		if (backing_pages(b, 0, 0).dirty)
			FAIL("append %d is dirty", i);
	}
	CHECK_EQ(backing_size(b), SIZE + 20);
	CHECK_EQ(srv_count(f, OP_WRITE), 0);
}
