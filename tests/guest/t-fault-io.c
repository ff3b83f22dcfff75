// SPDX-License-Identifier: GPL-2.0
/*
 * Whatever fails for want of memory in reading, writing and mapping: an error
 * comes back or what was done up to there, no byte is wrong, and the next try
 * works.
 */
#define _GNU_SOURCE
#include <libaio.h>
#include <liburing.h>
#include <setjmp.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/uio.h>

#include "fault.h"
#include "harness.h"

#define SIZE (48 * PAGE)

/**
 * struct fault_io - a file of mixed regions, and what is done to it
 * @off:	where the call under test reads or writes
 * @len:	how much
 * @buf:	from or to here
 * @writes:	it does write
 * @cold:	drop what is cached of the backings before each round
 */
struct fault_io {
	struct tfile *f;
	struct backing *b, *c;
	struct oracle o;
	int fd, plain;
	uint64_t off, len;
	unsigned char *buf;
	bool writes, cold;
	long long (*go)(struct fault_io *t);
	io_context_t aio;
	struct io_uring ring;
};

/*
 * Pages 2 to 12 in b, congruent; 12 to 14 a gap; then unaligned 3 pages of c, a gap of 100 bytes,
 * READ-only until page 24, a gap to page 30, and b for the rest and past the end.
 */
static struct fault_io *begin(struct srv_opts opts, const char *dir, int flags)
{
	struct fault_io *t = calloc(1, sizeof(*t));

	t->f = srv_stored(opts, dir, SIZE, &t->b, &t->c);
	CHECK_ZERO(region_bind(t->f, 2 * PAGE, 10 * PAGE, t->b, 5 * PAGE, RW));
	CHECK_ZERO(region_bind(t->f, 14 * PAGE + 5, 3 * PAGE, t->c, 1001, RW));
	CHECK_ZERO(region_bind(t->f, 17 * PAGE + 105, 7 * PAGE - 105, t->c, 20 * PAGE, 0));
	CHECK_ZERO(region_bind(t->f, 30 * PAGE, 18 * PAGE, t->b, 30 * PAGE, RW));
	t->fd = srv_open(t->f, O_RDWR | flags);
	t->plain = srv_open(t->f, O_RDWR);
	t->buf = direct_alloc(SIZE);
	oracle_load(&t->o, t->f);
	test_watchdog(550);
	fault_begin();
	return t;
}

static long long go(void *arg)
{
	struct fault_io *t = arg;

	if (t->writes)
		oracle_fresh(&t->o, t->buf, t->len);
	else
		memset(t->buf, 0xA9, t->len);
	return t->go(t);
}

static void forget_pages(struct fault_io *t)
{
	int fds[] = { t->b->fd, t->c->fd, t->plain };

	for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
		CHECK_OK(fdatasync(fds[i]));
		CHECK_ZERO(posix_fadvise(fds[i], 0, 0, POSIX_FADV_DONTNEED));
	}
}

/* Bytes behind the one that failed may have been written, without being counted (kmod/io.h). */
static void note_rest(struct fault_io *t, uint64_t done)
{
	unsigned char *now = malloc(t->len);

	if (t->off + t->len <= t->o.size) {
		CHECK_EQ(pread(t->plain, now, t->len, (off_t)t->off), t->len);
		for (uint64_t i = done; i < t->len; i++)
			if (now[i] == t->buf[i])
				t->o.bytes[t->off + i] = now[i];
	}
	free(now);
}

/* As many bytes as it says were read or written; each of the others is old or new. */
static void check(void *arg, long long res)
{
	struct fault_io *t = arg;

	CHECK(res <= (long long)t->len);
	if (res > 0 && t->writes)
		oracle_note(&t->o, t->buf, t->off, (uint64_t)res);
	if (t->writes && res < (long long)t->len)
		note_rest(t, res < 0 ? 0 : (uint64_t)res);
	else if (res > 0 && !t->writes)
		oracle_compare(&t->o, "the call", t->buf, t->off, (uint64_t)res);
	oracle_check(&t->o, t->plain, 0, t->o.size + 1);
	if (t->cold)
		forget_pages(t);
}

static void each(struct fault_io *t, long long (*call)(struct fault_io *t), uint64_t off,
		 uint64_t len)
{
	t->go = call;
	t->off = off;
	t->len = len;
	if (t->cold)
		forget_pages(t);
	fault_each(go, check, t);
}

static long long result(long long n)
{
	return n < 0 ? -errno : n;
}

static long long do_read(struct fault_io *t)
{
	return result(pread(t->fd, t->buf, t->len, (off_t)t->off));
}

static long long do_write(struct fault_io *t)
{
	return result(pwrite(t->fd, t->buf, t->len, (off_t)t->off));
}

static long long do_readv(struct fault_io *t)
{
	struct iovec iov[3] = { { t->buf, 100 }, { t->buf + 100, 1 }, { t->buf + 101, t->len - 101 } };

	return result(preadv(t->fd, iov, 3, (off_t)t->off));
}

TEST(r1_fault_read_region)
{
	struct fault_io *t = begin((struct srv_opts){ 0 }, shared_ext4(), 0);

	t->cold = true;
	each(t, do_read, 3 * PAGE, 5 * PAGE);
}

TEST(r2_fault_read_mixed)
{
	struct fault_io *t = begin((struct srv_opts){ 0 }, NULL, 0);

	each(t, do_read, PAGE + 7, 30 * PAGE);
	each(t, do_readv, 11 * PAGE, 8 * PAGE);
}

TEST(r4_fault_read_direct)
{
	struct fault_io *t = begin((struct srv_opts){ 0 }, shared_ext4(), O_DIRECT);

	each(t, do_read, 3 * PAGE, 5 * PAGE);
	each(t, do_read, 10 * PAGE, 12 * PAGE);
}

TEST(w1_fault_write_region)
{
	struct fault_io *t = begin((struct srv_opts){ 0 }, NULL, 0);

	t->writes = true;
	each(t, do_write, 3 * PAGE + 9, 5 * PAGE);
}

TEST(w1_fault_write_cold_ext4)
{
	struct fault_io *t = begin((struct srv_opts){ 0 }, shared_ext4(), 0);

	t->writes = t->cold = true;
	each(t, do_write, 3 * PAGE + 9, 2 * PAGE);
}

TEST(w1_fault_write_mixed)
{
	struct fault_io *t = begin((struct srv_opts){ 0 }, NULL, 0);

	t->writes = true;
	each(t, do_write, 11 * PAGE + 9, 15 * PAGE);
}

TEST(w1_fault_write_mixed_writeback)
{
	struct fault_io *t = begin((struct srv_opts){ .writeback = true }, NULL, 0);

	t->writes = true;
	each(t, do_write, 11 * PAGE + 9, 15 * PAGE);
}

TEST(w4_fault_write_direct)
{
	struct fault_io *t = begin((struct srv_opts){ 0 }, shared_ext4(), O_DIRECT);

	t->writes = true;
	each(t, do_write, 3 * PAGE, 5 * PAGE);
	each(t, do_write, 10 * PAGE, 12 * PAGE);
}

TEST(w3_fault_write_sync)
{
	struct fault_io *t = begin((struct srv_opts){ 0 }, shared_ext4(), O_SYNC);

	t->writes = true;
	each(t, do_write, 3 * PAGE, PAGE);
}

/* Each append goes where the last one ended, also where that one ended early. */
static long long do_append(struct fault_io *t)
{
	t->off = t->o.size;
	return result(write(t->fd, t->buf, t->len));
}

TEST(w2_fault_append)
{
	struct fault_io *t = begin((struct srv_opts){ 0 }, NULL, O_APPEND);

	t->writes = true;
	CHECK_ZERO(region_bind(t->f, 30 * PAGE, 10000 * PAGE, t->b, 30 * PAGE,
			       RW | FUSE_REGION_GROW | FUSE_REGION_REPLACE));
	each(t, do_append, 0, 2 * PAGE + 77);
}

/* What a fault needs it gets, or the touch of a page ends in SIGBUS. */
static sigjmp_buf on_bus;

static void bus(int sig)
{
	(void)sig;
	siglongjmp(on_bus, 1);
}

static void catch_bus(void)
{
	struct sigaction sa = { .sa_handler = bus };

	CHECK_OK(sigaction(SIGBUS, &sa, NULL));
}

/* Map, touch, and unmap: all of that may fail. */
static long long touch(struct fault_io *t, int prot)
{
	uint64_t head = t->off % PAGE;
	unsigned char *p = mmap(NULL, t->len + head, prot, MAP_SHARED, t->fd, (off_t)(t->off - head));
	volatile long long res = (long long)t->len; /* across the jump */

	if (p == MAP_FAILED)
		return -errno;
	if (sigsetjmp(on_bus, 1))
		res = -EFAULT;
	else if (prot & PROT_WRITE)
		for (uint64_t i = 0; i < t->len; i++) {
			*(volatile unsigned char *)&p[head + i] = t->buf[i];
			t->o.bytes[t->off + i] = t->buf[i];
		}
	else
		memcpy(t->buf, p + head, t->len);
	munmap(p, t->len + head);
	return res;
}

static long long do_touch(struct fault_io *t)
{
	return touch(t, PROT_READ);
}

static long long do_store(struct fault_io *t)
{
	return touch(t, PROT_READ | PROT_WRITE);
}

TEST(m1_fault_mapped_congruent)
{
	struct fault_io *t = begin((struct srv_opts){ 0 }, shared_ext4(), 0);

	catch_bus();
	t->cold = true;
	each(t, do_touch, 3 * PAGE, 5 * PAGE);
	t->writes = true;
	each(t, do_store, 3 * PAGE, 2 * PAGE);
}

TEST(m2_fault_mapped_mixed)
{
	struct fault_io *t = begin((struct srv_opts){ 0 }, NULL, 0);

	catch_bus();
	t->cold = true;
	each(t, do_touch, 0, 24 * PAGE);
}

/* Regions whose edges are those of pages, with a gap: page cache, and stores into it */
TEST(m2_fault_stores_mixed)
{
	struct fault_io *t = begin((struct srv_opts){ 0 }, NULL, 0);

	catch_bus();
	t->cold = t->writes = true;
	CHECK_ZERO(region_unbind(t->f, 14 * PAGE, 14 * PAGE));
	CHECK_ZERO(region_bind(t->f, 14 * PAGE, 3 * PAGE, t->c, 1001, RW));
	oracle_free(&t->o);
	oracle_load(&t->o, t->f);
	each(t, do_store, 10 * PAGE, 6 * PAGE);
}

static long long from_pipe(struct fault_io *t, int in, long long n)
{
	for (long long got = 0; got < n;)
		got += CHECK_OK(read(in, t->buf + got, (size_t)(n - got)));
	return n;
}

static long long do_splice(struct fault_io *t)
{
	off_t at = (off_t)t->off;
	int fds[2];
	long long n;

	CHECK_OK(pipe(fds));
	n = result(splice(t->fd, &at, fds[1], NULL, t->len, 0));
	if (n > 0) {
		CHECK_EQ(at, t->off + (uint64_t)n);
		n = from_pipe(t, fds[0], n);
	}
	close(fds[0]);
	close(fds[1]);
	return n;
}

TEST(r6_fault_splice)
{
	struct fault_io *t = begin((struct srv_opts){ 0 }, shared_ext4(), 0);

	t->cold = true;
	each(t, do_splice, 3 * PAGE, 5 * PAGE);
	each(t, do_splice, 11 * PAGE, 6 * PAGE);
}

static long long do_fsync(struct fault_io *t)
{
	return result(fsync(t->fd));
}

TEST(w5_fault_fsync)
{
	struct fault_io *t = begin((struct srv_opts){ 0 }, shared_ext4(), 0);

	oracle_write(&t->o, t->plain, 3 * PAGE, PAGE);
	oracle_write(&t->o, t->plain, 32 * PAGE, PAGE);
	each(t, do_fsync, 0, 0);
}

/* Async: the submission is what may fail here, and what it does at once. */
static long long do_aio(struct fault_io *t)
{
	struct iocb cb, *cbs = &cb;
	struct io_event event;
	int res;

	if (t->writes)
		io_prep_pwrite(&cb, t->fd, t->buf, t->len, (long long)t->off);
	else
		io_prep_pread(&cb, t->fd, t->buf, t->len, (long long)t->off);
	res = io_submit(t->aio, 1, &cbs);
	if (res < 0)
		return res;
	CHECK_EQ(res, 1);
	CHECK_EQ(io_getevents(t->aio, 1, 1, &event, NULL), 1);
	return (long)event.res;
}

static long long do_uring(struct fault_io *t)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&t->ring);
	struct io_uring_cqe *cqe;
	long long res;

	if (t->writes)
		io_uring_prep_write(sqe, t->fd, t->buf, (unsigned int)t->len, t->off);
	else
		io_uring_prep_read(sqe, t->fd, t->buf, (unsigned int)t->len, t->off);
	CHECK_EQ(io_uring_submit(&t->ring), 1);
	CHECK_ZERO(io_uring_wait_cqe(&t->ring, &cqe));
	res = cqe->res;
	io_uring_cqe_seen(&t->ring, cqe);
	return res;
}

static void each_async(long long (*call)(struct fault_io *t), int flags)
{
	struct fault_io *t = begin((struct srv_opts){ 0 }, shared_ext4(), flags);

	CHECK_ZERO(io_setup(4, &t->aio));
	CHECK_ZERO(io_uring_queue_init(4, &t->ring, 0));
	each(t, call, 3 * PAGE, 5 * PAGE);
	each(t, call, 10 * PAGE, 12 * PAGE);
	t->writes = true;
	each(t, call, 3 * PAGE, 5 * PAGE);
	each(t, call, 10 * PAGE, 12 * PAGE);
	io_uring_queue_exit(&t->ring);
	io_destroy(t->aio);
}

TEST(r5_fault_libaio)
{
	each_async(do_aio, O_DIRECT);
}

TEST(r5_fault_libaio_buffered)
{
	each_async(do_aio, 0);
}

TEST(r5_fault_io_uring)
{
	each_async(do_uring, O_DIRECT);
}
