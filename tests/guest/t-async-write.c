// SPDX-License-Identifier: GPL-2.0
/* R4 and W1 for writes: libaio and io_uring, against a plain array. */
#define _GNU_SOURCE
#include <libaio.h>
#include <liburing.h>
#include <sys/inotify.h>

#include "harness.h"

#define SIZE (128 * PAGE)
#define DEPTH 8
#define SLOT (SIZE / DEPTH) /* each request has a part of the file to itself */

static struct backing *b, *c;

static struct tfile *mixed(const char *dir, struct srv_opts opts)
{
	struct tfile *f = srv_stored(opts, dir, SIZE, &b, &c);

	CHECK_ZERO(region_bind(f, PAGE, 40 * PAGE, b, 8 * PAGE, RW));
	CHECK_ZERO(region_bind(f, 41 * PAGE, 7 * PAGE, c, 1001, RW));
	CHECK_ZERO(region_bind(f, 60 * PAGE + 5, 9999, c, 40 * PAGE, FUSE_REGION_READ));
	CHECK_ZERO(region_bind(f, 80 * PAGE, 30 * PAGE, b, 60 * PAGE, RW));
	return f;
}

struct request {
	uint64_t off;
	size_t len;
	unsigned char *buf;
	bool write;
};

/* A read or a write in the @i-th part of the file */
static void choose(struct request *r, struct oracle *o, int i, bool aligned)
{
	r->off = rnd_below(SLOT - 1);
	r->len = 1 + rnd_below(SLOT - r->off);
	if (aligned) {
		r->off = r->off / 512 * 512;
		r->len = r->len > 512 ? r->len / 512 * 512 : 512;
	}
	r->off += (uint64_t)i * SLOT;
	r->write = rnd_below(2);
	if (r->write)
		oracle_fresh(o, r->buf, r->len);
	else
		memset(r->buf, 0xA7, r->len);
}

static void finish(const struct request *r, struct oracle *o, long res)
{
	if (res != (long)r->len)
		FAIL("%s of %zu at %#llx: %ld", r->write ? "write" : "read", r->len,
		     (unsigned long long)r->off, res);
	if (r->write)
		oracle_note(o, r->buf, r->off, r->len);
	else
		oracle_compare(o, "async read", r->buf, r->off, r->len);
}

static void by_libaio(struct tfile *f, int open_flags, int rounds)
{
	int fd = srv_open(f, O_RDWR | open_flags), in = srv_open(f, O_RDONLY);
	struct request reqs[DEPTH];
	struct iocb cbs[DEPTH], *list[DEPTH];
	struct io_event events[DEPTH];
	io_context_t ctx = NULL;
	struct oracle o;

	oracle_load(&o, f);
	CHECK_ZERO(io_setup(DEPTH, &ctx));
	for (int i = 0; i < DEPTH; i++)
		reqs[i].buf = direct_alloc(SLOT);
	while (rounds--) {
		for (int i = 0; i < DEPTH; i++) {
			struct request *r = &reqs[i];

			choose(r, &o, i, open_flags & O_DIRECT);
			if (r->write)
				io_prep_pwrite(&cbs[i], fd, r->buf, r->len, (long long)r->off);
			else
				io_prep_pread(&cbs[i], fd, r->buf, r->len, (long long)r->off);
			cbs[i].data = r;
			list[i] = &cbs[i];
		}
		CHECK_EQ(io_submit(ctx, DEPTH, list), DEPTH);
		CHECK_EQ(io_getevents(ctx, DEPTH, DEPTH, events, NULL), DEPTH);
		for (int i = 0; i < DEPTH; i++)
			finish(events[i].data, &o, (long)events[i].res);
		if (rounds % 4 == 0)
			oracle_check(&o, in, 0, SIZE);
	}
	CHECK_OK(fsync(fd));
	expect_file(f, in, SIZE);
	CHECK_ZERO(io_destroy(ctx));
}

static void by_uring(struct tfile *f, int open_flags, int sqe_flags, int rounds)
{
	int fd = srv_open(f, O_RDWR | open_flags), in = srv_open(f, O_RDONLY);
	struct request reqs[DEPTH];
	struct io_uring_cqe *cqe;
	struct io_uring ring;
	struct oracle o;

	if (io_uring_queue_init(DEPTH, &ring, 0))
		SKIP("no io_uring here");
	oracle_load(&o, f);
	for (int i = 0; i < DEPTH; i++)
		reqs[i].buf = direct_alloc(SLOT);
	while (rounds--) {
		for (int i = 0; i < DEPTH; i++) {
			struct io_uring_sqe *sqe = io_uring_get_sqe(&ring);
			struct request *r = &reqs[i];

			choose(r, &o, i, open_flags & O_DIRECT);
			if (r->write)
				io_uring_prep_write(sqe, fd, r->buf, (unsigned int)r->len, r->off);
			else
				io_uring_prep_read(sqe, fd, r->buf, (unsigned int)r->len, r->off);
			io_uring_sqe_set_data(sqe, r);
			sqe->flags |= (unsigned char)sqe_flags;
		}
		CHECK_EQ(io_uring_submit(&ring), DEPTH);
		for (int i = 0; i < DEPTH; i++) {
			CHECK_ZERO(io_uring_wait_cqe(&ring, &cqe));
			finish(io_uring_cqe_get_data(cqe), &o, cqe->res);
			io_uring_cqe_seen(&ring, cqe);
		}
		if (rounds % 4 == 0)
			oracle_check(&o, in, 0, SIZE);
	}
	CHECK_OK(fsync(fd));
	expect_file(f, in, SIZE);
	io_uring_queue_exit(&ring);
}

TEST(w1_libaio)
{
	by_libaio(mixed(NULL, (struct srv_opts){ 0 }), 0, 15);
}

TEST(w1_libaio_direct)
{
	by_libaio(mixed(shared_ext4(), (struct srv_opts){ 0 }), O_DIRECT, 15);
}

TEST(w1_libaio_direct_tmpfs)
{
	by_libaio(mixed(NULL, (struct srv_opts){ 0 }), O_DIRECT, 15);
}

TEST(w1_libaio_writeback)
{
	by_libaio(mixed(NULL, (struct srv_opts){ .writeback = true }), 0, 15);
}

TEST(w1_libaio_direct_sync)
{
	by_libaio(mixed(shared_ext4(), (struct srv_opts){ 0 }), O_DIRECT | O_DSYNC, 6);
}

TEST(w1_uring)
{
	by_uring(mixed(NULL, (struct srv_opts){ 0 }), 0, 0, 15);
}

TEST(w1_uring_on_disk)
{
	by_uring(mixed(shared_ext4(), (struct srv_opts){ 0 }), 0, 0, 10);
}

TEST(w1_uring_direct)
{
	by_uring(mixed(shared_ext4(), (struct srv_opts){ 0 }), O_DIRECT, 0, 15);
}

TEST(w1_uring_workers)
{
	by_uring(mixed(NULL, (struct srv_opts){ 0 }), 0, IOSQE_ASYNC, 10);
}

TEST(w1_uring_writeback)
{
	by_uring(mixed(NULL, (struct srv_opts){ .writeback = true }), 0, 0, 10);
}

/* Buffered and direct, synchronous and not, on one file (generic/451 in spirit) */
struct halves {
	int fd;
	uint64_t page;
};

static void direct_to_even_pages(void *arg)
{
	struct halves *h = arg;
	unsigned char *buf = direct_alloc(PAGE), *got = direct_alloc(PAGE);
	uint64_t off = 2 * rnd_below(SIZE / PAGE / 2) * PAGE;

	pattern_fill(buf, rnd(), 0, PAGE);
	CHECK_EQ(pwrite(h->fd, buf, PAGE, (off_t)off), PAGE);
	CHECK_EQ(pread(h->fd, got, PAGE, (off_t)off), PAGE);
	if (memcmp(buf, got, PAGE))
		FAIL("page at %#llx: not what was written", (unsigned long long)off);
	free(buf);
	free(got);
}

static void direct_beside_buffered(struct srv_opts opts)
{
	struct tfile *f = mixed(shared_ext4(), opts);
	struct halves h = { .fd = srv_open(f, O_RDWR | O_DIRECT) };
	int fd = srv_open(f, O_RDWR);
	unsigned char *buf = malloc(PAGE), *got = malloc(PAGE);
	struct threads direct;

	/* one writer of each kind, so that each knows what it must find */
	threads_start(&direct, 1, direct_to_even_pages, &h);
	for (uint64_t until = now_ms() + test_storm_ms(2000); now_ms() < until;) {
		uint64_t off = (1 + 2 * rnd_below(SIZE / PAGE / 2)) * PAGE;

		pattern_fill(buf, rnd(), 0, PAGE);
		CHECK_EQ(pwrite(fd, buf, PAGE, (off_t)off), PAGE);
		CHECK_EQ(pread(fd, got, PAGE, (off_t)off), PAGE);
		if (memcmp(buf, got, PAGE))
			FAIL("page at %#llx: not what was written", (unsigned long long)off);
		if (off > PAGE)
			CHECK_EQ(pread(fd, got, PAGE, (off_t)(off - PAGE)), PAGE);
	}
	threads_stop(&direct);
	CHECK_OK(fsync(fd));
	expect_file(f, fd, SIZE);
}

TEST(w1_direct_beside_buffered)
{
	direct_beside_buffered((struct srv_opts){ 0 });
}

TEST(w1_direct_beside_buffered_writeback)
{
	direct_beside_buffered((struct srv_opts){ .writeback = true });
}

/* How many of the @nr events are of writes in the region, not @other? They were complete. */
static int ended(const struct io_event *events, int nr, const struct iocb *other)
{
	int n = 0;

	for (int i = 0; i < nr; i++) {
		if (events[i].obj == other)
			continue;
		CHECK_EQ((long)events[i].res, SLOT);
		n++;
	}
	return n;
}

/*
 * G2 for writes in flight: submit, then remove what they go to. They are over
 * then; telling so may take a moment longer, of some of them. The backing is
 * written anew, and stays as it is.
 */
TEST(g2_async_writes_in_flight_at_unbind)
{
	struct tfile *f = srv_stored((struct srv_opts){ 0 }, shared_ext4(), SIZE, &b, NULL);
	const size_t busy = 16 * MIB, rounds = test_scaled(20);
	unsigned char *poison = direct_alloc(busy), *good = malloc(SIZE), *buf = malloc(SIZE);
	struct backing *other = backing_new_in(shared_ext4(), 0);
	int direct = (int)CHECK_OK(backing_reopen(other, O_RDWR | O_DIRECT));
	int fd = srv_open(f, O_RDWR | O_DIRECT);
	struct iocb cbs[DEPTH + 1], *list[DEPTH + 1];
	struct io_event events[DEPTH + 1];
	struct timespec at_once = { 0 };
	io_context_t ctx = NULL;
	size_t over = 0;

	memset(poison, 0xEE, busy);
	CHECK_EQ(pwrite(direct, poison, busy, 0), busy);
	CHECK_OK(fsync(direct));
	CHECK_OK(fsync(b->fd));
	CHECK_ZERO(io_setup(DEPTH + 1, &ctx));
	pattern_fill(good, b->seed, 0, SIZE);
	for (size_t round = 0; round < rounds; round++) {
		int nr, n;

		CHECK_ZERO(region_bind(f, 0, SIZE, b, 0, RW));
		/* the first asks for the file's privileges, and waits for that */
		CHECK_EQ(pwrite(fd, poison, PAGE, 0), PAGE);
		/* what keeps the disk busy for a while, so that the rest is yet to come */
		io_prep_pwrite(&cbs[DEPTH], direct, poison, busy, 0);
		list[0] = &cbs[DEPTH];
		for (uint64_t i = 0; i < DEPTH; i++) {
			io_prep_pwrite(&cbs[i], fd, poison, SLOT, (long long)(i * SLOT));
			list[i + 1] = &cbs[i];
		}
		CHECK_EQ(io_submit(ctx, DEPTH + 1, list), DEPTH + 1);
		CHECK_ZERO(region_unbind(f, 0, 0));
		nr = io_getevents(ctx, 0, DEPTH + 1, events, &at_once);
		CHECK(nr >= 0);
		n = ended(events, nr, &cbs[DEPTH]);
		over += (size_t)n;
		CHECK_EQ(pwrite(b->fd, good, SIZE, 0), SIZE);
		CHECK_EQ(io_getevents(ctx, DEPTH + 1 - nr, DEPTH + 1 - nr, events, NULL),
			 DEPTH + 1 - nr);
		CHECK_EQ(n + ended(events, DEPTH + 1 - nr, &cbs[DEPTH]), DEPTH);
		CHECK_OK(fsync(b->fd));
		backing_bytes(b, buf, 0, SIZE);
		CHECK_EQ(memcmp(buf, good, SIZE), 0);
	}
	note("%zu of %zu writes were over when the unbind was", over, rounds * DEPTH);
	CHECK(over > rounds * DEPTH / 2);
	CHECK_ZERO(io_destroy(ctx));
	free(poison);
	free(good);
	free(buf);
}

/* Who watches a backing is told, also where its file system does all of it at once. */
TEST(r4_who_watches_a_backing_is_told_of_async_io)
{
	struct tfile *f = srv_stored((struct srv_opts){ 0 }, NULL, SIZE, NULL, NULL);
	const char *dir = mount_tmpfs();
	int note_fd = inotify_init1(IN_NONBLOCK), fd;
	unsigned char *buf = direct_alloc(PAGE);
	struct iocb cb, *list = &cb;
	struct io_event event;
	io_context_t ctx = NULL;
	char path[128], told[4096];

	snprintf(path, sizeof(path), "%s/watched-XXXXXX", dir);
	b = backing_from_fd((int)CHECK_OK(mkstemp(path)));
	CHECK_OK(ftruncate(b->fd, SIZE));
	srv_register(f->srv, b);
	fd = srv_open(f, O_RDWR | O_DIRECT);
	CHECK_ZERO(region_bind(f, 0, SIZE, b, 0, RW));
	CHECK_EQ(pwrite(fd, buf, PAGE, 0), PAGE);
	CHECK_ZERO(io_setup(1, &ctx));
	CHECK_OK(inotify_add_watch(note_fd, path, IN_ACCESS | IN_MODIFY));
	for (int write = 0; write < 2; write++) {
		if (write)
			io_prep_pwrite(&cb, fd, buf, PAGE, PAGE);
		else
			io_prep_pread(&cb, fd, buf, PAGE, PAGE);
		CHECK_EQ(io_submit(ctx, 1, &list), 1);
		CHECK_EQ(io_getevents(ctx, 1, 1, &event, NULL), 1);
		CHECK_EQ((long)event.res, PAGE);
		CHECK(read(note_fd, told, sizeof(told)) > 0);
	}
	CHECK_ZERO(io_destroy(ctx));
	close(note_fd);
	close(fd);
	free(buf);
}
