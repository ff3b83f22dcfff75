// SPDX-License-Identifier: GPL-2.0
/*
 * W5 beside writers: a truncation comes before a write or after it, though the
 * server has shortened its files already, and the kernel does not know yet.
 */
#define _GNU_SOURCE
#include <libaio.h>

#include "async.h"
#include "harness.h"

#define SIZE (32 * PAGE)

static struct backing *b;
static uint64_t region; /* where b is bound to; 0 to all of the file */

/* The process that truncates the file, and waits for a server that hangs */
static pid_t truncating_to(struct tfile *f, uint64_t size, uint32_t *hang)
{
	char path[128];
	pid_t pid;

	srv_path(path, sizeof(path), f);
	*hang = 1u << OP_SETATTR;
	pid = test_fork();
	if (!pid) {
		CHECK_OK(truncate(path, (off_t)size));
		_exit(0);
	}
	srv_until_hanging(f);
	return pid;
}

/* To nothing; the server has done so, and does not say it. */
static pid_t truncating(struct tfile *f)
{
	pid_t pid = truncating_to(f, 0, &f->hang_late);

	CHECK_OK(ftruncate(b->fd, 0));
	return pid;
}

struct writer {
	int fd;
	uint64_t off;
	size_t len;
	async_write_fn write;
	unsigned char *buf;
	long res;
};

static void *write_one(void *arg)
{
	struct writer *w = arg;

	w->res = w->write(w->fd, w->buf, w->len, w->off);
	return NULL;
}

/* The write begins while @truncater waits for the server, who then goes on; both end well. */
static void write_meanwhile(struct writer *w, pid_t truncater, uint32_t *hang)
{
	pthread_t thread;

	CHECK_ZERO(pthread_create(&thread, NULL, write_one, w));
	sleep_ms(200);
	*hang = 0;
	CHECK_EQ(wait_exit(truncater), 0);
	CHECK_ZERO(pthread_join(thread, NULL));
	CHECK_EQ(w->res, w->len);
}

/* Afterwards the file is as long as the write made it, or as the truncation did, and no other. */
static void write_beside(struct tfile *f, async_write_fn fn, int open_flags, uint64_t off)
{
	struct writer w = { .write = fn, .off = off, .len = PAGE, .buf = direct_alloc(PAGE) };
	unsigned char got[PAGE], zero[PAGE] = { 0 };
	struct stat st;
	char path[128];
	int in;

	memset(w.buf, 0xEE, PAGE);
	w.fd = srv_open(f, O_RDWR | open_flags);
	in = srv_open(f, O_RDONLY);
	/* what there is to ask the server before the first write */
	CHECK_EQ(pwrite(w.fd, w.buf, PAGE, (off_t)off), PAGE);
	write_meanwhile(&w, truncating(f), &f->hang_late);
	CHECK_OK(fstat(in, &st));
	note("the file has %lld bytes", (long long)st.st_size);
	if (st.st_size) {
		CHECK_EQ(st.st_size, off + PAGE);
		CHECK_EQ(pread(in, got, PAGE, (off_t)off), PAGE);
		CHECK_EQ(memcmp(got, w.buf, PAGE), 0);
	} else {
		CHECK_EQ(pread(in, got, PAGE, (off_t)off), 0);
		/* It grows again, and so does the backing, which is bound again */
		srv_path(path, sizeof(path), f);
		CHECK_OK(ftruncate(b->fd, SIZE));
		CHECK_OK(truncate(path, SIZE));
		if (region)
			CHECK_ZERO(
				region_bind(f, region, 20 * PAGE, b, 0, RW | FUSE_REGION_REPLACE));
		CHECK_EQ(pread(in, got, PAGE, (off_t)off), PAGE);
		CHECK_EQ(memcmp(got, zero, PAGE), 0);
	}
	free(w.buf);
}

static struct tfile *file(const char *dir, struct srv_opts opts, uint64_t off, uint64_t len)
{
	struct tfile *f;

	opts.threads = true;
	f = srv_stored(opts, dir, SIZE, &b, NULL);
	f->attr_of_backings = true;
	region = off;
	CHECK_ZERO(region_bind(f, off, len, b, 0, RW));
	return f;
}

TEST(w5_write_beside_truncation)
{
	write_beside(file(NULL, (struct srv_opts){ 0 }, PAGE, 20 * PAGE), plain_write, 0, 3 * PAGE);
}

TEST(w5_write_over_edges_beside_truncation)
{
	write_beside(file(NULL, (struct srv_opts){ 0 }, PAGE, 20 * PAGE), plain_write, 0,
		     PAGE - 100);
}

TEST(w5_write_beside_truncation_whole_file)
{
	write_beside(file(NULL, (struct srv_opts){ 0 }, 0, 0), plain_write, 0, 3 * PAGE);
}

TEST(w5_write_beside_truncation_writeback_cache)
{
	write_beside(file(NULL, (struct srv_opts){ .writeback = true }, 0, 0), plain_write, 0,
		     3 * PAGE);
}

TEST(w5_libaio_write_beside_truncation)
{
	write_beside(file(shared_ext4(), (struct srv_opts){ 0 }, PAGE, 20 * PAGE), libaio_write,
		     O_DIRECT, 3 * PAGE);
}

TEST(w5_uring_write_beside_truncation)
{
	write_beside(file(NULL, (struct srv_opts){ 0 }, PAGE, 20 * PAGE), uring_write, 0, 3 * PAGE);
}

/* A write that is under way when the truncation begins is over before the server hears of it. */
TEST(w5_truncation_waits_for_writes_under_way)
{
	struct srv *other = srv_new(&(struct srv_opts){ .no_attach = true, .threads = true });
	struct tfile *lower = srv_store_file(other, "lower", SIZE), *f;
	unsigned char *buf = direct_alloc(PAGE);
	struct iocb cb, *list = &cb;
	struct io_event event;
	io_context_t ctx = NULL;
	uint64_t asked;
	char path[128];
	pid_t pid;
	int fd;

	srv_start(other);
	f = srv_stored((struct srv_opts){ .threads = true }, NULL, SIZE, NULL, NULL);
	b = backing_from_fd(srv_open(lower, O_RDWR));
	srv_register(f->srv, b);
	fd = srv_open(f, O_RDWR | O_DIRECT);
	CHECK_ZERO(region_bind(f, PAGE, 19 * PAGE, b, 0, RW));
	CHECK_EQ(pwrite(fd, buf, PAGE, PAGE), PAGE);
	CHECK_ZERO(io_setup(1, &ctx));
	io_prep_pwrite(&cb, fd, buf, PAGE, 2 * PAGE);
	lower->hang = 1u << OP_WRITE;
	CHECK_EQ(io_submit(ctx, 1, &list), 1);
	srv_until_hanging(lower);
	asked = srv_count(f, OP_SETATTR);
	srv_path(path, sizeof(path), f);
	pid = test_fork();
	if (!pid) {
		CHECK_OK(truncate(path, 0));
		_exit(0);
	}
	sleep_ms(200);
	CHECK_EQ(srv_count(f, OP_SETATTR), asked);
	lower->hang = 0;
	CHECK_EQ(io_getevents(ctx, 1, 1, &event, NULL), 1);
	CHECK_EQ((long)event.res, PAGE);
	CHECK_EQ(wait_exit(pid), 0);
	CHECK_EQ(srv_count(f, OP_SETATTR), asked + 1);
	CHECK_ZERO(io_destroy(ctx));
	free(buf);
}

/* What many a server does at each OPEN */
static int bind_again(struct srv *s, struct tfile *f, uint64_t off, size_t size)
{
	const struct fuse_passthrough_region rec =
		REC(0, 8 * PAGE, b->id, 100, FUSE_REGION_READ | FUSE_REGION_WRITE);

	(void)off, (void)size;
	CHECK_NEG(region_msg(s->ctl, f->nodeid, &rec, 1), EEXIST);
	return 0;
}

/* O_TRUNC, done by the server in OPEN, which says something that changes nothing */
TEST(w5_open_with_truncation_and_a_bind_that_fails)
{
	struct srv *s = srv_new(NULL);
	struct tfile *f = srv_store_file(s, "f", SIZE);
	int fd;

	b = backing_new(SIZE);
	srv_start(s);
	srv_register(s, b);
	close(srv_open(f, O_RDONLY));
	CHECK_ZERO(region_bind(f, 0, 8 * PAGE, b, 100, RW));
	f->hook[OP_OPEN] = bind_again;
	fd = srv_open(f, O_RDWR | O_TRUNC);
	f->hook[OP_OPEN] = NULL;
	CHECK_OK(ftruncate(fd, SIZE));
	expect_read(f, fd, 0, SIZE);
}

/* A write decided that it lies inside the file, and then waits for the truncation that makes that untrue. */
static const uint64_t was = 10000, cut = 5000, at = 8000, len = 1000;

/* @asked: what the server does when it is asked about privileges */
static void write_that_waits(struct tfile *f, srv_hook asked)
{
	struct writer w = {
		.write = plain_write, .off = at, .len = len, .buf = direct_alloc(PAGE)
	};
	unsigned char got[PAGE];
	struct stat st;
	pid_t pid;

	memset(w.buf, 0xEE, PAGE);
	w.fd = srv_open(f, O_RDWR);
	/* After that the server is asked about privileges, with the inode locked. */
	CHECK_OK(fstat(w.fd, &st));
	CHECK_EQ(st.st_size, was);
	pid = truncating_to(f, cut, &f->hang);
	f->hook[OP_GETXATTR] = asked;
	write_meanwhile(&w, pid, &f->hang);
	CHECK_OK(fstat(w.fd, &st));
	CHECK_EQ(st.st_size, at + len);
	CHECK_EQ(pread(w.fd, got, PAGE, (off_t)at), len);
	CHECK_EQ(memcmp(got, w.buf, len), 0);
	CHECK_EQ(pread(w.fd, got, at - cut, (off_t)cut), at - cut);
	for (size_t i = 0; i < at - cut; i++)
		CHECK_EQ(got[i], 0);
	free(w.buf);
}

static struct tfile *waited_for(bool writeback)
{
	struct srv *s = srv_new(
		&(struct srv_opts){ .threads = true, .writeback = writeback, .xattrs = true });
	struct tfile *f = srv_store_file(s, "f", was);

	b = backing_new(was);
	srv_start(s);
	srv_register(s, b);
	close(srv_open(f, O_RDONLY));
	return f;
}

/* The server binds it again, when it is asked about privileges. */
static int bind_all(struct srv *s, struct tfile *f, uint64_t off, size_t size)
{
	int fd = (int)CHECK_OK(backing_reopen(b, O_WRONLY));

	(void)s, (void)off, (void)size;
	CHECK_OK(ftruncate(fd, (off_t)cut));
	close(fd);
	CHECK_ZERO(region_bind(f, 0, 4 * PAGE, b, 0, RW | FUSE_REGION_REPLACE));
	f->hook[OP_GETXATTR] = NULL;
	return 0;
}

TEST(w6_write_that_waited_for_a_truncation)
{
	struct tfile *f = waited_for(false);

	CHECK_ZERO(region_bind(f, 0, 4 * PAGE, b, 0, RW));
	write_that_waits(f, bind_all);
}

TEST(w3_write_that_waited_for_a_truncation_of_a_whole_file)
{
	struct tfile *f = waited_for(true);

	CHECK_ZERO(region_bind(f, 0, 0, b, 0, RW));
	write_that_waits(f, NULL);
}

/*
 * O_TRUNC, done by the server in OPEN, after another truncation that came meanwhile:
 * what that one trims is nothing that the server said in OPEN.
 */
TEST(w5_open_with_truncation_beside_another)
{
	struct tfile *f = waited_for(false);
	char path[128];
	pid_t opener;
	int fd;

	srv_path(path, sizeof(path), f);
	CHECK_ZERO(region_bind(f, 0, was, b, 0, RW));
	f->hang = 1u << OP_OPEN;
	opener = test_fork();
	if (!opener) {
		close((int)CHECK_OK(open(path, O_RDWR | O_TRUNC)));
		_exit(0);
	}
	srv_until_hanging(f);
	CHECK_OK(truncate(path, (off_t)cut));
	f->hang = 0;
	CHECK_EQ(wait_exit(opener), 0);
	fd = srv_open(f, O_RDWR);
	CHECK_OK(ftruncate(fd, (off_t)was));
	expect_read(f, fd, 0, was);
}
