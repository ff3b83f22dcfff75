// SPDX-License-Identifier: GPL-2.0
/* ESTALE is an errno like any other when a server or a backing says it: told once, not tried again. */
#define _GNU_SOURCE
#include <sys/mman.h>

#include "async.h"
#include "harness.h"

#define SIZE (32 * PAGE)
#define TRIES 20 /* after that it is answered, so that who tries again fails, and does not hang */

static int stale(struct srv *s, struct tfile *f, uint64_t off, size_t size)
{
	(void)s, (void)off, (void)size;
	return srv_count(f, OP_WRITE) <= TRIES ? ESTALE : 0;
}

/* One request for the write that ends so, whatever way it was asked for */
static void write_is_stale(struct tfile *f, async_write_fn write_fn, uint64_t off, size_t len)
{
	unsigned char *buf = direct_alloc(len);
	uint64_t before = srv_count(f, OP_WRITE);
	int fd = srv_open(f, O_RDWR);

	memset(buf, 'x', len);
	CHECK_EQ(write_fn(fd, buf, len, off), -ESTALE);
	CHECK_EQ(srv_count(f, OP_WRITE) - before, 1);
	close(fd);
	free(buf);
}

TEST(w1_server_says_estale)
{
	struct backing *b;
	struct tfile *f = srv_stored((struct srv_opts){ 0 }, NULL, SIZE, &b, NULL);
	static const async_write_fn ways[] = { plain_write, libaio_write, uring_write };

	CHECK_ZERO(region_bind(f, 4 * PAGE, 8 * PAGE, b, 123, RW));
	CHECK_ZERO(region_bind(f, 20 * PAGE, 2 * PAGE, b, 0, FUSE_REGION_READ));
	f->hook[OP_WRITE] = stale;
	for (size_t i = 0; i < ARRAY_SIZE(ways); i++) {
		write_is_stale(f, ways[i], 0, 100); /* a gap */
		write_is_stale(f, ways[i], 4 * PAGE - 50, 100); /* a gap, then a region */
		write_is_stale(f, ways[i], 20 * PAGE, 100); /* a region for reading */
		write_is_stale(f, ways[i], SIZE, 100); /* past the end */
		write_is_stale(f, ways[i], SIZE - 50, 100); /* over it */
	}
	f->hook[OP_WRITE] = NULL;
	expect_file(f, srv_open(f, O_RDWR), SIZE);
}

/* A file that is bound all over to one of another server, which says ESTALE to writes from now on */
static struct tfile *on_stale_backing(struct tfile **lower)
{
	struct backing *b;
	struct tfile *f = srv_on_lower(SIZE, true, lower, &b);

	CHECK_ZERO(region_bind(f, PAGE, 2 * SIZE, b, PAGE, RW | FUSE_REGION_GROW));
	(*lower)->hook[OP_WRITE] = stale;
	return f;
}

TEST(w1_backing_says_estale)
{
	struct tfile *lower, *f = on_stale_backing(&lower);
	int fd = srv_open(f, O_RDWR);

	CHECK_ERR(pwrite(fd, "x", 1, 5 * PAGE), ESTALE);
	CHECK_ERR(pwrite(fd, "x", 1, SIZE), ESTALE);
	/* What fails on the short way is tried on the long one */
	CHECK(srv_count(lower, OP_WRITE) <= 4);
}

/* What was stored into FUSE's cache, and no backing takes: fsync says so. */
TEST(w4_stored_bytes_and_a_backing_that_says_estale)
{
	struct tfile *lower, *f = on_stale_backing(&lower);
	int fd = srv_open(f, O_RDWR);
	unsigned char *p = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	CHECK(p != MAP_FAILED);
	p[5 * PAGE] = 'x';
	if (!fsync(fd))
		FAIL("fsync said nothing of a page that is nowhere");
	CHECK(errno == ESTALE || errno == EIO);
}

/* The nodeid is another file's by now: its server must not be asked for bytes of the old one. */
TEST(g6_gap_of_an_inode_that_has_gone_bad)
{
	struct backing *b;
	struct tfile *f = srv_stored((struct srv_opts){ 0 }, NULL, 16 * PAGE, &b, NULL);
	int fd = srv_open(f, O_RDONLY), ends[2];
	unsigned char *p, buf[10];
	uint64_t reads;
	struct stat st;
	char path[128];

	CHECK_ZERO(region_bind(f, 0, PAGE + 100, b, 0, RW));
	p = mmap(NULL, 2 * PAGE, PROT_READ, MAP_SHARED, fd, 0);
	CHECK(p != MAP_FAILED);
	f->generation++;
	strcpy(f->name, "again");
	srv_path(path, sizeof(path), f);
	CHECK_OK(stat(path, &st));
	reads = srv_count(f, OP_READ);
	CHECK_ERR(pread(fd, buf, 10, 4 * PAGE), EIO);
	CHECK_EQ(pread(fd, buf, 10, PAGE + 95), 5);
	CHECK_EQ(pattern_differs(buf, b->seed, PAGE + 95, 5), 5);
	CHECK_OK(pipe(ends));
	CHECK_ERR(write(ends[1], p + PAGE, 1), EFAULT);
	CHECK_EQ(srv_count(f, OP_READ), reads);
}
