// SPDX-License-Identifier: GPL-2.0
/* W2, W6: writes at and past the end of a file. */
#define _GNU_SOURCE
#include <libaio.h>
#include <sys/mman.h>
#include <sys/uio.h>

#include "harness.h"

#define SIZE (32 * PAGE)

static struct backing *b;

/* The file ends inside a region, which goes on for long */
static struct tfile *ends_in_region(struct srv_opts opts, uint64_t size, uint32_t flags)
{
	struct srv *s = srv_new(&opts);
	struct tfile *f = srv_store_file(s, "f", size);

	f->attr_of_backings = true;
	srv_start(s);
	b = backing_new(SIZE);
	srv_register(s, b);
	close(srv_open(f, O_RDONLY));
	CHECK_ZERO(region_bind(f, 2 * PAGE, SIZE, b, 100, flags));
	if (flags & FUSE_REGION_GROW)
		CHECK_OK(ftruncate(b->fd, (off_t)(size - 2 * PAGE + 100)));
	return f;
}

static uint64_t size_of(int fd)
{
	struct stat st;

	CHECK_OK(fstat(fd, &st));
	return (uint64_t)st.st_size;
}

/* Appends of all lengths, from two descriptors in turn; each lands at the end, whole. */
static void appends(struct tfile *f, int open_flags)
{
	int fd[2] = { srv_open(f, O_RDWR | O_APPEND | open_flags),
		      srv_open(f, O_WRONLY | O_APPEND) };
	int in = srv_open(f, O_RDONLY);
	uint64_t backing_bytes_before = backing_size(b);
	unsigned char *buf = direct_alloc(2 * PAGE);
	struct oracle o;

	oracle_load(&o, f);
	for (int i = 0; i < 30; i++) {
		uint64_t len = open_flags & O_DIRECT ? 512 * (1 + rnd_below(8))
						     : 1 + rnd_below(2 * PAGE);
		uint64_t at = o.size;

		oracle_fresh(&o, buf, len);
		/* an appender's position does not matter */
		CHECK_OK(lseek(fd[i % 2], (off_t)rnd_below(SIZE), SEEK_SET));
		CHECK_EQ(write(fd[i % 2], buf, len), len);
		oracle_note(&o, buf, at, len);
		CHECK_EQ(lseek(fd[i % 2], 0, SEEK_CUR), o.size);
		CHECK_EQ(size_of(in), o.size);
		oracle_check(&o, in, at > 100 ? at - 100 : 0, len + 200);
	}
	oracle_check(&o, in, 0, o.size + 1);
	/* nothing went to the backing's own end */
	CHECK(backing_size(b) <= backing_bytes_before || backing_size(b) <= o.size + 100);
	oracle_free(&o);
	free(buf);
}

TEST(w2_append_in_region)
{
	appends(ends_in_region((struct srv_opts){ 0 }, 10 * PAGE + 5, RW), 0);
}

TEST(w2_append_in_growing_region)
{
	appends(ends_in_region((struct srv_opts){ 0 }, 10 * PAGE + 5, RW | FUSE_REGION_GROW), 0);
}

TEST(w2_append_in_region_writeback)
{
	appends(ends_in_region((struct srv_opts){ .writeback = true }, 10 * PAGE + 5, RW), 0);
}

TEST(w2_append_in_growing_region_writeback)
{
	appends(ends_in_region((struct srv_opts){ .writeback = true }, 10 * PAGE + 5,
			       RW | FUSE_REGION_GROW),
		0);
}

TEST(w2_append_direct)
{
	appends(ends_in_region((struct srv_opts){ 0 }, 10 * PAGE, RW | FUSE_REGION_GROW), O_DIRECT);
}

TEST(w2_append_in_gap)
{
	struct tfile *f = ends_in_region((struct srv_opts){ 0 }, 10 * PAGE + 5, RW);

	CHECK_ZERO(region_unbind(f, 8 * PAGE, SIZE));
	appends(f, 0);
}

TEST(w2_append_whole_file)
{
	struct tfile *f = ends_in_region((struct srv_opts){ 0 }, 10 * PAGE + 5, RW);

	CHECK_ZERO(region_bind(f, 0, 0, b, 77, RW | FUSE_REGION_REPLACE));
	appends(f, 0);
}

/* How the backing was opened is not how it is written to: bytes have their places in it. */
TEST(w2_backing_opened_for_appending)
{
	static const int open_flags[] = { 0, O_DIRECT, O_SYNC };
	struct tfile *f = srv_stored((struct srv_opts){ 0 }, NULL, SIZE, NULL, NULL);
	unsigned char *buf = direct_alloc(2 * PAGE);
	io_context_t ctx = NULL;
	struct iocb cb, *list = &cb;
	struct io_event event;
	struct oracle o;
	int append, id;

	b = backing_new_in(shared_ext4(), SIZE);
	CHECK_OK(fsync(b->fd));
	append = (int)CHECK_OK(backing_reopen(b, O_RDWR | O_APPEND));
	id = raw_backing_open(f->srv->ctl, append);
	CHECK(id > 0);
	b->id = (uint32_t)id;
	CHECK_ZERO(region_bind(f, 2 * PAGE, 20 * PAGE, b, PAGE, RW));
	oracle_load(&o, f);
	CHECK_ZERO(io_setup(1, &ctx));
	for (size_t i = 0; i < ARRAY_SIZE(open_flags); i++) {
		int fd = srv_open(f, O_RDWR | open_flags[i]);

		oracle_write(&o, fd, 3 * PAGE, PAGE);
		/* in several pieces, and by a way of its own */
		oracle_write(&o, fd, PAGE, 3 * PAGE);
		oracle_fresh(&o, buf, 2 * PAGE);
		io_prep_pwrite(&cb, fd, buf, 2 * PAGE, 8 * PAGE);
		CHECK_EQ(io_submit(ctx, 1, &list), 1);
		CHECK_EQ(io_getevents(ctx, 1, 1, &event, NULL), 1);
		CHECK_EQ((long)event.res, 2 * PAGE);
		oracle_note(&o, buf, 8 * PAGE, 2 * PAGE);
		oracle_check(&o, fd, 0, SIZE);
		CHECK_EQ(backing_size(b), SIZE);
		close(fd);
	}
	CHECK_ZERO(io_destroy(ctx));
	expect_file(f, srv_open(f, O_RDONLY), 10 * PAGE);
	close(append);
	oracle_free(&o);
	free(buf);
}

/* A flag of one call */
TEST(w2_rwf_append)
{
	struct tfile *f =
		ends_in_region((struct srv_opts){ 0 }, 10 * PAGE + 5, RW | FUSE_REGION_GROW);
	int fd = srv_open(f, O_RDWR);
	struct iovec iov = { (void *)"0123456789", 10 };
	char buf[16];

	CHECK_EQ(pwritev2(fd, &iov, 1, 0, RWF_APPEND), 10);
	CHECK_EQ(size_of(fd), 10 * PAGE + 15);
	CHECK_EQ(pread(fd, buf, 16, 10 * PAGE + 5), 10);
	CHECK_EQ(memcmp(buf, "0123456789", 10), 0);
	CHECK_EQ(lseek(fd, 0, SEEK_CUR), 0);
}

/* Several processes append records at once: none is lost or torn. */
static void many_appenders(uint32_t flags)
{
	struct tfile *f = ends_in_region((struct srv_opts){ 0 }, 10 * PAGE, flags);
	enum { WRITERS = 4, RECORDS = 60, LEN = 117 };
	int fd = srv_open(f, O_RDONLY), seen[WRITERS] = { 0 };
	char rec[LEN];
	pid_t pid[WRITERS];

	for (int w = 0; w < WRITERS; w++) {
		pid[w] = test_fork();
		if (pid[w] == 0) {
			int out = srv_open(f, O_WRONLY | O_APPEND);

			for (int i = 0; i < RECORDS; i++) {
				memset(rec, 'A' + w, LEN);
				snprintf(rec, LEN, "%d:%d", w, i);
				CHECK_EQ(write(out, rec, LEN), LEN);
			}
			_exit(0);
		}
	}
	for (int w = 0; w < WRITERS; w++)
		CHECK_EQ(wait_exit(pid[w]), 0);
	CHECK_EQ(size_of(fd), 10 * PAGE + WRITERS * RECORDS * LEN);
	for (uint64_t off = 10 * PAGE; off < size_of(fd); off += LEN) {
		int w, i;

		CHECK_EQ(pread(fd, rec, LEN, (off_t)off), LEN);
		CHECK_EQ(sscanf(rec, "%d:%d", &w, &i), 2);
		CHECK_EQ(i, seen[w]++);
		for (int j = (int)strlen(rec) + 1; j < LEN; j++)
			CHECK_EQ(rec[j], 'A' + w);
	}
}

TEST(w2_many_appenders)
{
	many_appenders(RW);
}

TEST(w2_many_appenders_growing)
{
	many_appenders(RW | FUSE_REGION_GROW);
}

/* A reader beside an appender sees a file that grows with its data, never data without size. */
struct growing {
	struct tfile *f;
	int fd;
	bool over;
};

static void read_the_end(void *arg)
{
	struct growing *g = arg;
	uint64_t size = size_of(g->fd), from = size > 3000 ? size - 3000 : 0;
	unsigned char *buf = malloc(4000);
	ssize_t n = pread(g->fd, buf, 4000, (off_t)from);

	CHECK(n >= (ssize_t)(size - from));
	if (pattern_differs(buf, 4242, from, (size_t)n) != (size_t)n && from >= 2 * PAGE)
		FAIL("byte %#zx of %#llx is wrong", pattern_differs(buf, 4242, from, (size_t)n),
		     (unsigned long long)from);
	free(buf);
}

static void append_beside_reader(uint32_t flags)
{
	struct tfile *f = ends_in_region((struct srv_opts){ 0 }, 2 * PAGE, flags);
	struct growing g = { .f = f, .fd = srv_open(f, O_RDONLY) };
	int out = srv_open(f, O_WRONLY | O_APPEND);
	unsigned char buf[3000];
	struct threads readers;

	threads_start(&readers, 2, read_the_end, &g);
	for (uint64_t pos = 2 * PAGE, n; pos < 2 * PAGE + SIZE - 3000; pos += n) {
		n = 1 + rnd_below(sizeof(buf));
		pattern_fill(buf, 4242, pos, n);
		CHECK_EQ(write(out, buf, n), n);
	}
	threads_stop(&readers);
}

TEST(w6_append_beside_reader)
{
	append_beside_reader(RW);
}

TEST(w6_append_beside_reader_growing)
{
	append_beside_reader(RW | FUSE_REGION_GROW);
}

/* Past the size, leaving a hole, or partly past it */
static void extend(struct srv_opts opts, uint32_t flags)
{
	struct tfile *f = ends_in_region(opts, 10 * PAGE + 5, flags);
	int fd = srv_open(f, O_RDWR), in = srv_open(f, O_RDONLY);
	struct oracle o;

	oracle_load(&o, f);
	oracle_write(&o, fd, 10 * PAGE, 100);
	oracle_check(&o, in, 9 * PAGE, 3 * PAGE);
	CHECK_EQ(size_of(in), o.size);
	oracle_write(&o, fd, o.size, 5000);
	oracle_check(&o, in, 9 * PAGE, 5 * PAGE);
	CHECK_EQ(size_of(in), o.size);
	if (flags & FUSE_REGION_GROW) {
		/* what lies between is whatever the backing has there: nothing */
		oracle_write(&o, fd, o.size + 3 * PAGE + 1, 777);
		oracle_check(&o, in, 0, o.size);
		CHECK_EQ(size_of(in), o.size);
	}
	oracle_write(&o, fd, 0, o.size + 50);
	oracle_check(&o, in, 0, o.size + 1);
	CHECK_EQ(size_of(in), o.size);
	CHECK_OK(fsync(fd));
	oracle_check(&o, in, 0, o.size + 1);
	oracle_free(&o);
}

TEST(w6_extend_through_server)
{
	struct srv_opts opts = { 0 };

	extend(opts, RW);
}

TEST(w6_extend_growing)
{
	struct srv_opts opts = { 0 };

	extend(opts, RW | FUSE_REGION_GROW);
}

TEST(w6_extend_writeback)
{
	extend((struct srv_opts){ .writeback = true }, RW);
}

TEST(w6_extend_growing_writeback)
{
	extend((struct srv_opts){ .writeback = true }, RW | FUSE_REGION_GROW);
}

TEST(w6_extend_no_attr_cache)
{
	extend((struct srv_opts){ .no_attr_cache = true }, RW | FUSE_REGION_GROW);
}

/* A file of a bit more than three pages, opened: the server won't notice that it gets longer. */
static struct tfile *short_file(struct srv_opts opts, int *fd, struct oracle *o)
{
	struct srv *s = srv_new(&opts);
	struct tfile *f = srv_store_file(s, "f", 3 * PAGE + 77);

	srv_start(s);
	b = backing_new(SIZE);
	srv_register(s, b);
	*fd = srv_open(f, O_RDWR);
	oracle_load(o, f);
	return f;
}

/*
 * A hole between where the server thinks that the file ends and what the kernel
 * wrote behind that: until a stat() asks the server, it reads as zeroes.
 */
static void hole(struct srv_opts opts)
{
	uint64_t end = 10 * PAGE + 500;
	struct oracle o;
	int fd;
	struct tfile *f = short_file(opts, &fd, &o);
	unsigned char *p;

	CHECK_OK(ftruncate(b->fd, 0));
	CHECK_ZERO(region_bind(f, 10 * PAGE + 100, 5 * PAGE, b, 0, RW | FUSE_REGION_GROW));
	oracle_write(&o, fd, 10 * PAGE + 100, 400);
	CHECK_EQ(f->size, 3 * PAGE + 77);
	oracle_check(&o, fd, 0, end);
	oracle_check(&o, fd, 3 * PAGE, 7 * PAGE + 101);
	oracle_check(&o, fd, 3 * PAGE, 100);
	oracle_check(&o, fd, 5 * PAGE, PAGE);
	p = mmap(NULL, 11 * PAGE, PROT_READ, MAP_SHARED, fd, 0);
	CHECK(p != MAP_FAILED);
	oracle_compare(&o, "mapping", p, 0, end);
	oracle_free(&o);
}

TEST(w6_hole_that_the_server_does_not_know_of)
{
	hole((struct srv_opts){ 0 });
}

TEST(w6_hole_that_the_server_does_not_know_of_writeback)
{
	hole((struct srv_opts){ .writeback = true });
}

/* The same where FUSE's cache has what comes behind the hole, and the file a region elsewhere */
TEST(w6_hole_before_what_is_not_written_back)
{
	struct oracle o;
	int fd;
	struct tfile *f = short_file((struct srv_opts){ .writeback = true }, &fd, &o);

	oracle_write(&o, fd, 10 * PAGE, 100);
	CHECK_EQ(f->size, 3 * PAGE + 77);
	CHECK_EQ(pwrite(b->fd, o.bytes, PAGE, 0), PAGE);
	CHECK_ZERO(region_bind(f, 0, PAGE, b, 0, RW));
	oracle_check(&o, fd, 2 * PAGE, 5 * PAGE);
	oracle_check(&o, fd, 0, SIZE);
	oracle_free(&o);
}

/* Who is asked: the server past the size, unless the region grows. */
TEST(w6_who_is_asked)
{
	struct tfile *f = ends_in_region((struct srv_opts){ 0 }, 10 * PAGE, RW);
	int fd = srv_open(f, O_RDWR);

	CHECK_EQ(pwrite(fd, "x", 1, 10 * PAGE - 1), 1);
	CHECK_EQ(srv_count(f, OP_WRITE), 0);
	CHECK_EQ(pwrite(fd, "y", 1, 10 * PAGE), 1);
	CHECK_EQ(srv_count(f, OP_WRITE), 1);
	CHECK_EQ(f->size, 10 * PAGE + 1);
	CHECK_OK(ftruncate(b->fd, 8 * PAGE + 101));
	CHECK_ZERO(region_bind(f, 2 * PAGE, SIZE, b, 100,
			       RW | FUSE_REGION_GROW | FUSE_REGION_REPLACE));
	CHECK_EQ(pwrite(fd, "z", 1, 10 * PAGE + 1), 1);
	CHECK_EQ(srv_count(f, OP_WRITE), 1);
	CHECK_EQ(size_of(fd), 10 * PAGE + 2);
	expect_read(f, fd, 10 * PAGE - 5, 10);
}

/* libaio's appends */
TEST(w2_libaio_append)
{
	struct tfile *f = ends_in_region((struct srv_opts){ 0 }, 10 * PAGE, RW | FUSE_REGION_GROW);
	int fd = srv_open(f, O_RDWR | O_APPEND);
	io_context_t ctx = NULL;
	struct io_event event;
	struct oracle o;
	unsigned char buf[1000];

	oracle_load(&o, f);
	CHECK_ZERO(io_setup(4, &ctx));
	for (int i = 0; i < 10; i++) {
		struct iocb cb, *list = &cb;

		oracle_fresh(&o, buf, sizeof(buf));
		io_prep_pwrite(&cb, fd, buf, sizeof(buf), 5);
		CHECK_EQ(io_submit(ctx, 1, &list), 1);
		CHECK_EQ(io_getevents(ctx, 1, 1, &event, NULL), 1);
		CHECK_EQ((long)event.res, sizeof(buf));
		oracle_note(&o, buf, o.size, sizeof(buf));
		oracle_check(&o, fd, 9 * PAGE, 5 * PAGE);
	}
	CHECK_ZERO(io_destroy(ctx));
	oracle_free(&o);
}
