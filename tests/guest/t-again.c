// SPDX-License-Identifier: GPL-2.0
/* R4: RWF_NOWAIT does what can be done at once, and says EAGAIN of the rest. */
#define _GNU_SOURCE
#include <sys/mman.h>
#include <sys/uio.h>

#include "harness.h"

#define SIZE (64 * PAGE)

static struct backing *b, *c;

/* Page 0 gap, 1..19 b, 20..29 gap, 30..49 c at a shift, then gap; b is on disk, c in memory */
static struct tfile *mixed(struct srv *s)
{
	struct tfile *f = srv_store_file(s, "f", SIZE);

	srv_start(s);
	b = backing_new_in(shared_ext4(), SIZE);
	c = backing_new(SIZE);
	test_watchdog(60); /* not for the file system, which the first test makes */
	srv_register(s, b);
	srv_register(s, c);
	close(srv_open(f, O_RDONLY));
	CHECK_ZERO(region_bind(f, PAGE, 19 * PAGE, b, 8 * PAGE, RW));
	CHECK_ZERO(region_bind(f, 30 * PAGE, 20 * PAGE, c, 1001, RW));
	return f;
}

/* Nothing is waited for: what there is at once, or EAGAIN; never a wrong byte. */
static ssize_t nowait(struct tfile *f, int fd, uint64_t off, size_t len)
{
	unsigned char *buf = direct_alloc(len);
	struct iovec iov = { buf, len };
	ssize_t n = preadv2(fd, &iov, 1, (off_t)off, RWF_NOWAIT);

	if (n > 0)
		expect_content(f, "RWF_NOWAIT", off, buf, (size_t)n);
	free(buf);
	return n;
}

static ssize_t nowait_write(int fd, uint64_t off, size_t len)
{
	unsigned char *buf = direct_alloc(len);
	struct iovec iov = { buf, len };
	ssize_t n;

	memset(buf, 0xEE, len);
	n = pwritev2(fd, &iov, 1, (off_t)off, RWF_NOWAIT);
	free(buf);
	return n;
}

TEST(r4_nowait)
{
	struct tfile *f = mixed(srv_new(NULL));
	int fd = srv_open(f, O_RDONLY);

	CHECK_EQ(nowait(f, fd, 2 * PAGE, 3 * PAGE), 3 * PAGE);
	CHECK_EQ(nowait(f, fd, 2 * PAGE + 5, 100), 100);
	/* a gap needs the server */
	CHECK_ERR(nowait(f, fd, 25 * PAGE, PAGE), EAGAIN);
	CHECK_ERR(nowait(f, fd, 0, 4 * PAGE), EAGAIN);
	/* up to the gap, without waiting for it */
	CHECK_EQ(nowait(f, fd, 19 * PAGE, 4 * PAGE), PAGE);
	CHECK_EQ(nowait(f, fd, SIZE, PAGE), 0);
	CHECK_EQ(srv_count(f, OP_READ), 0);
}

/* A disk is not waited for. Now and then it has answered before anybody looks. */
TEST(r4_nowait_cold_backing)
{
	struct tfile *f = mixed(srv_new(NULL));
	int fd = srv_open(f, O_RDONLY), again = 0;

	CHECK_OK(fsync(b->fd));
	for (int i = 0; i < 20; i++) {
		ssize_t n;

		CHECK_OK(posix_fadvise(b->fd, 0, 0, POSIX_FADV_DONTNEED));
		CHECK_EQ(backing_pages(b, 9 * PAGE, 3 * PAGE).cached, 0);
		n = nowait(f, fd, 2 * PAGE, 3 * PAGE);
		if (n < 0)
			CHECK_EQ(errno, EAGAIN);
		again += n < 0;
		expect_read(f, fd, 2 * PAGE, 3 * PAGE);
		CHECK_EQ(nowait(f, fd, 2 * PAGE, 3 * PAGE), 3 * PAGE);
	}
	note("EAGAIN in %d of 20 rounds", again);
	CHECK(again > 0);
}

/* The server is stopped: who waited for it would hang. */
TEST(r4_nowait_reads_say_eagain)
{
	struct srv *s = srv_new(NULL);
	struct tfile *g = srv_store_file(s, "g", SIZE), *f = mixed(s);
	int fd = srv_open(f, O_RDONLY), direct = srv_open(f, O_RDONLY | O_DIRECT);
	int plain = srv_open(g, O_RDONLY);
	struct iovec iov = { direct_alloc(PAGE), PAGE };

	expect_read(f, fd, 2 * PAGE, 18 * PAGE);
	srv_signal(s, SIGSTOP);
	CHECK_EQ(nowait(f, fd, 2 * PAGE, 3 * PAGE), 3 * PAGE);
	CHECK_ERR(nowait(f, fd, 0, 3 * PAGE), EAGAIN);
	CHECK_ERR(nowait(f, fd, 25 * PAGE, PAGE), EAGAIN);
	CHECK_ERR(nowait(f, fd, 60 * PAGE, PAGE), EAGAIN);
	CHECK_ERR(nowait(f, direct, 25 * PAGE, PAGE), EAGAIN);
	CHECK_EQ(nowait(f, fd, 19 * PAGE, 4 * PAGE), PAGE);
	CHECK_EQ(nowait(f, fd, 20 * PAGE - 7, PAGE), 7);
	/* a file of a server that has regions, but this one has none */
	CHECK_ERR(nowait(g, plain, PAGE, PAGE), EAGAIN);
	/* a file system that knows no such thing */
	if (preadv2(c->fd, &iov, 1, 0, RWF_NOWAIT) < 0) {
		CHECK_EQ(errno, EOPNOTSUPP);
		CHECK_ERR(nowait(f, fd, 31 * PAGE, PAGE), EAGAIN);
		CHECK_ERR(nowait(f, direct, 31 * PAGE, PAGE), EAGAIN);
	} else {
		note("tmpfs does it");
	}
	srv_signal(s, SIGCONT);
	expect_file(f, fd, 10 * PAGE);
	free(iov.iov_base);
}

TEST(r4_nowait_writes_say_eagain)
{
	struct srv *s = srv_new(NULL);
	struct tfile *g = srv_store_file(s, "g", SIZE), *f = mixed(s);
	int fd = srv_open(f, O_RDWR), direct = srv_open(f, O_RDWR | O_DIRECT);
	int append = srv_open(f, O_WRONLY | O_APPEND), plain = srv_open(g, O_RDWR);
	struct stat st;
	struct oracle o;

	/* the first write asks what privileges the file has */
	CHECK_EQ(pwrite(fd, "x", 1, 2 * PAGE), 1);
	oracle_load(&o, f);
	srv_signal(s, SIGSTOP);
	CHECK_ERR(nowait_write(fd, 0, PAGE), EAGAIN);
	CHECK_ERR(nowait_write(fd, 25 * PAGE, PAGE), EAGAIN);
	CHECK_ERR(nowait_write(direct, 25 * PAGE, PAGE), EAGAIN);
	CHECK_ERR(nowait_write(fd, PAGE - 5, 10), EAGAIN);
	CHECK_ERR(nowait_write(fd, 19 * PAGE, 2 * PAGE), EAGAIN);
	CHECK_ERR(nowait_write(direct, 19 * PAGE, 2 * PAGE), EAGAIN);
	CHECK_ERR(nowait_write(fd, SIZE, PAGE), EAGAIN);
	CHECK_ERR(nowait_write(fd, SIZE - 5, PAGE), EAGAIN);
	CHECK_ERR(nowait_write(append, 0, PAGE), EAGAIN);
	CHECK_ERR(nowait_write(plain, PAGE, PAGE), EAGAIN);
	srv_signal(s, SIGCONT);
	CHECK_OK(fstat(fd, &st));
	CHECK_EQ(st.st_size, SIZE);
	oracle_check(&o, fd, 0, SIZE + PAGE);
	expect_file(f, fd, 10 * PAGE);
	expect_file(g, plain, 10 * PAGE);
	CHECK_EQ(srv_count(f, OP_WRITE) + srv_count(g, OP_WRITE), 0);
	oracle_free(&o);
}

/*
 * XFS waits where a file's times have to change, as they do once in a tick: change
 * them just before.
 */
static ssize_t nowait_write_soon(int fd, uint64_t off, size_t len)
{
	ssize_t n = -1;

	for (int tries = 0; n < 0 && tries < 200; tries++) {
		CHECK_EQ(pwrite(b->fd, "t", 1, 0), 1);
		n = nowait_write(fd, off, len);
		CHECK(n > 0 || errno == EAGAIN);
	}
	return n;
}

/* Where the backing's file system writes without waiting, so does a region, and the server sleeps. */
TEST(r4_nowait_writes_in_a_region)
{
	struct tfile *f;
	struct oracle o;
	int fd;

	f = srv_stored((struct srv_opts){ 0 }, mount_xfs(), SIZE, &b, NULL);
	CHECK_ZERO(region_bind(f, PAGE + 7, 19 * PAGE, b, 5, RW));
	fd = srv_open(f, O_RDWR);
	CHECK_EQ(pwrite(fd, "x", 1, 2 * PAGE), 1);
	oracle_load(&o, f);
	srv_signal(f->srv, SIGSTOP);
	for (uint64_t off = PAGE + 7; off < 19 * PAGE; off += 3 * PAGE + 1) {
		CHECK_EQ(nowait_write_soon(fd, off, 2 * PAGE), 2 * PAGE);
		memset(o.bytes + off, 0xEE, 2 * PAGE);
	}
	/* not one byte behind its end */
	CHECK_ERR(nowait_write(fd, 20 * PAGE, 8), EAGAIN);
	CHECK_EQ(nowait_write_soon(fd, 20 * PAGE, 7), 7);
	memset(o.bytes + 20 * PAGE, 0xEE, 7);
	srv_signal(f->srv, SIGCONT);
	oracle_check(&o, fd, 0, SIZE);
	CHECK_EQ(srv_count(f, OP_WRITE), 0);
	oracle_free(&o);
}

/* What was stored and is not yet where reads get it takes time to get there. */
TEST(r4_nowait_after_store_says_eagain)
{
	struct tfile *f = mixed(srv_new(NULL));
	int fd = srv_open(f, O_RDWR);
	unsigned char *p;

	CHECK_ZERO(region_bind(f, 50 * PAGE, 10 * PAGE, b, 33, RW));
	expect_read(f, fd, 50 * PAGE, 10 * PAGE);
	p = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 52 * PAGE);
	CHECK(p != MAP_FAILED);
	srv_signal(f->srv, SIGSTOP);
	p[PAGE] ^= 0xff;
	CHECK_ERR(nowait(f, fd, 53 * PAGE, 100), EAGAIN);
	CHECK_ERR(nowait_write(fd, 53 * PAGE + 5, 100), EAGAIN);
	expect_read(f, fd, 50 * PAGE, 10 * PAGE);
	CHECK_EQ(nowait(f, fd, 53 * PAGE, 100), 100);
	srv_signal(f->srv, SIGCONT);
}
