// SPDX-License-Identifier: GPL-2.0
/* R4: preadv2 with its flags, libaio and io_uring. */
#define _GNU_SOURCE
#include <libaio.h>
#include <liburing.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include "harness.h"

#define SIZE (64 * PAGE)
#define DEPTH 16

static struct backing *b, *c;

/* Regions with shifts, and gaps between them: pages 0 gap, 1..20 b, 20..30 gap, 30..50 c */
static struct tfile *mixed(const char *dir)
{
	struct tfile *f = srv_simple(SIZE);

	b = backing_new_in(dir, SIZE);
	c = backing_new_in(dir, SIZE);
	srv_register(f->srv, b);
	srv_register(f->srv, c);
	close(srv_open(f, O_RDONLY));
	CHECK_ZERO(region_bind(f, PAGE, 19 * PAGE, b, 8 * PAGE, 0));
	CHECK_ZERO(region_bind(f, 30 * PAGE, 20 * PAGE, c, 1001, 0));
	return f;
}

/* preadv2() with @flags, or the file's position for @off -1 */
static void expect_preadv2(struct tfile *f, int fd, int64_t off, size_t len, int flags)
{
	uint64_t pos = off < 0 ? (uint64_t)CHECK_OK(lseek(fd, 0, SEEK_CUR)) : (uint64_t)off;
	unsigned char *buf = malloc(len);
	struct iovec iov[2] = { { buf, len / 3 }, { buf + len / 3, len - len / 3 } };
	ssize_t n = preadv2(fd, iov, 2, off, flags);

	expect_result(f, "preadv2", pos, len, buf, n);
	CHECK_EQ(lseek(fd, 0, SEEK_CUR), off < 0 ? pos + (uint64_t)n : 0);
	CHECK_EQ(lseek(fd, 0, SEEK_SET), 0);
	free(buf);
}

TEST(r4_preadv2_positions)
{
	struct tfile *f = mixed(NULL);
	int fd = srv_open(f, O_RDONLY);

	for (uint64_t off = 0; off < SIZE; off += 3 * PAGE + 5) {
		expect_preadv2(f, fd, (int64_t)off, 9000, 0);
		CHECK_OK(lseek(fd, (off_t)off, SEEK_SET));
		expect_preadv2(f, fd, -1, 9000, 0);
	}
	expect_preadv2(f, fd, 5000, 9000, RWF_HIPRI);
}

struct request {
	uint64_t off;
	size_t len;
	unsigned char *buf;
	struct iocb cb;
};

/* A place somewhere in the file, aligned if it has to be */
static void choose(struct request *r, bool aligned, uint64_t from, uint64_t span)
{
	r->off = from + rnd_below(span);
	r->len = 1 + rnd_below(6 * PAGE);
	if (aligned) {
		r->off = r->off / 512 * 512;
		r->len = (r->len + 511) / 512 * 512;
	}
	memset(r->buf, 0xA7, 7 * PAGE);
}

static void libaio_reads(struct tfile *f, int open_flags, uint64_t from, uint64_t span, int rounds)
{
	int fd = srv_open(f, O_RDONLY | open_flags);
	struct request reqs[DEPTH];
	struct io_event events[DEPTH];
	struct iocb *list[DEPTH];
	io_context_t ctx = NULL;

	CHECK_ZERO(io_setup(DEPTH, &ctx));
	for (int i = 0; i < DEPTH; i++)
		reqs[i].buf = direct_alloc(7 * PAGE);
	while (rounds--) {
		for (int i = 0; i < DEPTH; i++) {
			choose(&reqs[i], open_flags & O_DIRECT, from, span);
			io_prep_pread(&reqs[i].cb, fd, reqs[i].buf, reqs[i].len,
				      (long long)reqs[i].off);
			reqs[i].cb.data = &reqs[i];
			list[i] = &reqs[i].cb;
		}
		CHECK_EQ(io_submit(ctx, DEPTH, list), DEPTH);
		CHECK_EQ(io_getevents(ctx, DEPTH, DEPTH, events, NULL), DEPTH);
		for (int i = 0; i < DEPTH; i++) {
			struct request *r = events[i].data;

			errno = events[i].res > (unsigned long)-4096 ? -(int)events[i].res : 0;
			expect_result(f, "libaio", r->off, r->len, r->buf,
				      errno ? -1 : (ssize_t)events[i].res);
			CHECK_EQ(events[i].res2, 0);
		}
	}
	CHECK_ZERO(io_destroy(ctx));
	for (int i = 0; i < DEPTH; i++)
		free(reqs[i].buf);
	close(fd);
}

TEST(r4_libaio_one_region)
{
	libaio_reads(mixed(NULL), 0, PAGE, 12 * PAGE, 10);
}

TEST(r4_libaio_one_region_direct)
{
	libaio_reads(mixed(shared_ext4()), O_DIRECT, PAGE, 12 * PAGE, 10);
}

TEST(r4_libaio_unaligned_region_direct)
{
	libaio_reads(mixed(shared_ext4()), O_DIRECT, 30 * PAGE, 12 * PAGE, 10);
}

TEST(r4_libaio_mixed)
{
	libaio_reads(mixed(NULL), 0, 0, SIZE, 10);
}

TEST(r4_libaio_mixed_direct)
{
	libaio_reads(mixed(shared_ext4()), O_DIRECT, 0, SIZE, 10);
}

static void uring_reads(struct tfile *f, int open_flags, bool fixed, bool async, uint64_t from,
			uint64_t span, int rounds)
{
	int fd = srv_open(f, O_RDONLY | open_flags), res;
	struct request reqs[DEPTH];
	struct iovec iov[DEPTH];
	struct io_uring ring;

	res = io_uring_queue_init(DEPTH, &ring, 0);
	if (res == -ENOSYS || res == -EPERM)
		SKIP("no io_uring here");
	CHECK_ZERO(res);
	for (int i = 0; i < DEPTH; i++) {
		reqs[i].buf = direct_alloc(7 * PAGE);
		iov[i] = (struct iovec){ reqs[i].buf, 7 * PAGE };
	}
	if (fixed)
		CHECK_ZERO(io_uring_register_buffers(&ring, iov, DEPTH));
	while (rounds--) {
		for (int i = 0; i < DEPTH; i++) {
			struct io_uring_sqe *sqe = io_uring_get_sqe(&ring);
			struct request *r = &reqs[i];

			choose(r, open_flags & O_DIRECT, from, span);
			if (fixed)
				io_uring_prep_read_fixed(sqe, fd, r->buf, (unsigned int)r->len,
							 r->off, i);
			else
				io_uring_prep_read(sqe, fd, r->buf, (unsigned int)r->len, r->off);
			io_uring_sqe_set_data(sqe, r);
			if (async)
				sqe->flags |= IOSQE_ASYNC;
		}
		CHECK_EQ(io_uring_submit(&ring), DEPTH);
		for (int i = 0; i < DEPTH; i++) {
			struct io_uring_cqe *cqe;
			struct request *r;

			CHECK_ZERO(io_uring_wait_cqe(&ring, &cqe));
			r = io_uring_cqe_get_data(cqe);
			errno = cqe->res < 0 ? -cqe->res : 0;
			expect_result(f, "io_uring", r->off, r->len, r->buf, cqe->res);
			io_uring_cqe_seen(&ring, cqe);
		}
	}
	io_uring_queue_exit(&ring);
	for (int i = 0; i < DEPTH; i++)
		free(reqs[i].buf);
	close(fd);
}

TEST(r4_uring_one_region)
{
	uring_reads(mixed(NULL), 0, false, false, PAGE, 12 * PAGE, 10);
}

TEST(r4_uring_one_region_direct)
{
	uring_reads(mixed(shared_ext4()), O_DIRECT, false, false, PAGE, 12 * PAGE, 10);
}

TEST(r4_uring_fixed_buffers)
{
	uring_reads(mixed(NULL), 0, true, false, 0, SIZE, 10);
}

TEST(r4_uring_fixed_buffers_direct)
{
	uring_reads(mixed(shared_ext4()), O_DIRECT, true, false, 0, SIZE, 10);
}

TEST(r4_uring_workers)
{
	uring_reads(mixed(NULL), 0, false, true, 0, SIZE, 8);
}

TEST(r4_uring_mixed)
{
	uring_reads(mixed(NULL), 0, false, false, 0, SIZE, 10);
}

TEST(r4_uring_mixed_cold)
{
	struct tfile *f = mixed(shared_ext4());

	for (int i = 0; i < 4; i++) {
		CHECK_OK(fsync(b->fd));
		CHECK_OK(posix_fadvise(b->fd, 0, 0, POSIX_FADV_DONTNEED));
		uring_reads(f, 0, false, false, 0, SIZE, 2);
	}
}

/* Through the file's own position */
TEST(r4_uring_position)
{
	struct tfile *f = mixed(NULL);
	int fd = srv_open(f, O_RDONLY);
	unsigned char *buf = malloc(5000);
	struct io_uring_cqe *cqe;
	struct io_uring ring;
	uint64_t pos = 0;

	if (io_uring_queue_init(4, &ring, 0))
		SKIP("no io_uring here");
	while (pos < SIZE) {
		struct io_uring_sqe *sqe = io_uring_get_sqe(&ring);

		io_uring_prep_read(sqe, fd, buf, 5000, (uint64_t)-1);
		CHECK_EQ(io_uring_submit(&ring), 1);
		CHECK_ZERO(io_uring_wait_cqe(&ring, &cqe));
		CHECK(cqe->res > 0);
		expect_content(f, "io_uring read", pos, buf, (size_t)cqe->res);
		pos += (uint64_t)cqe->res;
		io_uring_cqe_seen(&ring, cqe);
		CHECK_EQ(lseek(fd, 0, SEEK_CUR), pos);
	}
	io_uring_queue_exit(&ring);
	free(buf);
}

/* G2 for reads in flight: submit, then remove what they read; then it may be overwritten. */
TEST(g2_async_in_flight_at_unbind)
{
	struct tfile *f = mixed(shared_ext4());
	int fd = srv_open(f, O_RDONLY | O_DIRECT);
	struct iocb cbs[DEPTH], *list[DEPTH];
	unsigned char *bufs[DEPTH];
	struct io_event events[DEPTH];
	io_context_t ctx = NULL;

	CHECK_ZERO(io_setup(DEPTH, &ctx));
	for (int i = 0; i < DEPTH; i++)
		bufs[i] = direct_alloc(4 * PAGE);
	for (unsigned int round = 0; round < test_scaled(15); round++) {
		uint64_t seed = b->seed;

		CHECK_ZERO(region_bind(f, PAGE, 19 * PAGE, b, 8 * PAGE, FUSE_REGION_REPLACE));
		for (int i = 0; i < DEPTH; i++) {
			io_prep_pread(&cbs[i], fd, bufs[i], 4 * PAGE, (long long)((1 + i) * PAGE));
			list[i] = &cbs[i];
		}
		CHECK_EQ(io_submit(ctx, DEPTH, list), DEPTH);
		CHECK_ZERO(region_unbind(f, 0, 20 * PAGE));
		pattern_write(b->fd, 31337, 0, SIZE);
		CHECK_EQ(io_getevents(ctx, DEPTH, DEPTH, events, NULL), DEPTH);
		for (int i = 0; i < DEPTH; i++) {
			uint64_t off = (1 + (uint64_t)i) * PAGE;

			for (uint64_t j = 0; j < 4 * PAGE && off + j < 20 * PAGE; j++)
				if (bufs[i][j] != pattern_byte(seed, off + j + 7 * PAGE) &&
				    bufs[i][j] != pattern_byte(f->seed, off + j))
					FAIL("round %u: byte %llu of %d is from after the unbind",
					     round, (unsigned long long)j, i);
		}
		backing_reseed(b, seed);
		CHECK_OK(fsync(b->fd));
	}
	CHECK_ZERO(io_destroy(ctx));
	for (int i = 0; i < DEPTH; i++)
		free(bufs[i]);
}

/* A thread: the server goes on after some seconds, so that who waits for it fails, and not hangs. */
static void *go_on_in_the_end(void *arg)
{
	struct tfile *f = arg;

	sleep_ms(5000);
	f->hang = 0;
	return NULL;
}

/*
 * The backing is a file of another server, which takes its time: the caller does
 * not wait for it, but who removes the region does.
 */
static void truly_async(enum srv_op op)
{
	struct srv *plain = srv_new(&(struct srv_opts){ .no_attach = true, .threads = true });
	struct tfile *lower = srv_store_file(plain, "lower", SIZE), *f;
	struct iocb cb, *list = &cb;
	struct timespec at_once = { 0 };
	unsigned char *buf = direct_alloc(4 * PAGE), *got = malloc(4 * PAGE);
	struct io_event event;
	io_context_t ctx = NULL;
	pthread_t thread;
	int fd, status;
	pid_t pid;

	srv_start(plain);
	f = srv_simple(SIZE);
	b = backing_from_fd(srv_open(lower, O_RDWR));
	srv_register(f->srv, b);
	fd = srv_open(f, O_RDWR | O_DIRECT);
	CHECK_ZERO(region_bind(f, PAGE, 19 * PAGE, b, 8 * PAGE, RW));
	CHECK_ZERO(io_setup(1, &ctx));
	pattern_fill(buf, 77, 0, 4 * PAGE);
	if (op == OP_READ) {
		io_prep_pread(&cb, fd, buf, 4 * PAGE, 2 * PAGE);
	} else {
		io_prep_pwrite(&cb, fd, buf, 4 * PAGE, 2 * PAGE);
		/* the first asks for the file's privileges, and waits for that */
		CHECK_EQ(pwrite(fd, buf, PAGE, PAGE), PAGE);
	}

	lower->hang = 1u << op;
	CHECK_ZERO(pthread_create(&thread, NULL, go_on_in_the_end, lower));
	CHECK_EQ(io_submit(ctx, 1, &list), 1);
	srv_until_hanging(lower);
	CHECK_EQ(io_getevents(ctx, 0, 1, &event, &at_once), 0);
	pid = test_fork();
	if (pid == 0) {
		CHECK_ZERO(region_unbind(f, 0, 0));
		_exit(0);
	}
	sleep_ms(300);
	CHECK_EQ(waitpid(pid, &status, WNOHANG), 0);
	CHECK_EQ(lower->hanging, 1);
	lower->hang = 0;
	CHECK_EQ(io_getevents(ctx, 1, 1, &event, NULL), 1);
	CHECK_EQ((long)event.res, 4 * PAGE);
	CHECK_EQ(wait_exit(pid), 0);
	backing_bytes(lower->store, got, 9 * PAGE, 4 * PAGE);
	CHECK_EQ(memcmp(got, buf, 4 * PAGE), 0);
	CHECK_EQ(pattern_differs(buf, op == OP_READ ? lower->seed : 77,
				 op == OP_READ ? 9 * PAGE : 0, 4 * PAGE),
		 4 * PAGE);
	CHECK_ZERO(io_destroy(ctx));
	free(buf);
	free(got);
}

TEST(r4_async_is_truly_async)
{
	truly_async(OP_READ);
}

TEST(r4_async_write_is_truly_async)
{
	truly_async(OP_WRITE);
}

/* The file is closed, its process gone, while its reads are under way */
TEST(l1_async_in_flight_at_close)
{
	struct tfile *f = mixed(shared_ext4());

	for (int round = 0; round < 5; round++) {
		pid_t pid = test_fork();

		if (pid == 0) {
			int fd = srv_open(f, O_RDONLY | O_DIRECT);
			struct iocb cbs[DEPTH], *list[DEPTH];
			io_context_t ctx = NULL;

			CHECK_ZERO(io_setup(DEPTH, &ctx));
			for (int i = 0; i < DEPTH; i++) {
				io_prep_pread(&cbs[i], fd, direct_alloc(16 * PAGE), 16 * PAGE,
					      (long long)((uint64_t)i * 3 * PAGE));
				list[i] = &cbs[i];
			}
			CHECK_EQ(io_submit(ctx, DEPTH, list), DEPTH);
			_exit(0);
		}
		CHECK_EQ(wait_exit(pid), 0);
	}
	CHECK_ZERO(region_unbind(f, 0, 0));
}
