// SPDX-License-Identifier: GPL-2.0
/* G5: bound ranges of open files need nothing from the server. */
#define _GNU_SOURCE
#include <sys/mount.h>

#include "harness.h"

#define SIZE (64 * PAGE)
#define BOUND (40 * PAGE) /* the first of them are bound, from PAGE on */

static struct backing *b;

static struct tfile *half_bound(struct srv_opts opts)
{
	struct srv *s = srv_new(&opts);
	struct tfile *f = srv_file(s, "f", SIZE);

	test_watchdog(60);
	srv_start(s);
	b = backing_new(SIZE);
	srv_register(s, b);
	close(srv_open(f, O_RDONLY));
	CHECK_ZERO(region_bind(f, PAGE, BOUND - PAGE, b, 99, 0));
	return f;
}

/* All ways of reading that must not stall */
static void read_bound(struct tfile *f, int fd)
{
	uint64_t reads = srv_count(f, OP_READ);

	expect_read(f, fd, PAGE, BOUND - PAGE);
	expect_random_reads(f, fd, 20, PAGE, 30 * PAGE, 9 * PAGE);
	CHECK_EQ(lseek(fd, 2 * PAGE, SEEK_SET), 2 * PAGE);
	CHECK_EQ(lseek(fd, PAGE, SEEK_CUR), 3 * PAGE);
	CHECK_EQ(srv_count(f, OP_READ), reads);
}

/* A child that reads @len bytes at @off; when it could, it sees the right ones */
static pid_t reader(struct tfile *f, int fd, uint64_t off, size_t len)
{
	pid_t pid = test_fork();

	if (pid == 0) {
		close(f->srv->ctl);
		expect_read(f, fd, off, len);
		_exit(0);
	}
	return pid;
}

static void frozen(struct srv_opts opts, int open_flags)
{
	struct tfile *f = half_bound(opts);
	int fd = srv_open(f, O_RDONLY | open_flags);
	pid_t pid;

	srv_signal(f->srv, SIGSTOP);
	read_bound(f, fd);
	pid = reader(f, fd, BOUND - PAGE, 5 * PAGE); /* region, then gap: waits */
	sleep_ms(50);
	read_bound(f, fd);
	srv_signal(f->srv, SIGCONT);
	CHECK_EQ(wait_exit(pid), 0);
	expect_read(f, fd, 0, SIZE);
}

TEST(g5_stopped_server)
{
	frozen((struct srv_opts){ 0 }, 0);
}

TEST(g5_stopped_server_direct)
{
	frozen((struct srv_opts){ 0 }, O_DIRECT);
}

/* Plain FUSE asks for attributes at a read; a bound read must not. */
TEST(g5_stopped_server_no_attr_cache)
{
	frozen((struct srv_opts){ .no_attr_cache = true }, 0);
}

TEST(g5_stopped_server_writeback)
{
	frozen((struct srv_opts){ .writeback = true, .no_attr_cache = true }, 0);
}

TEST(g5_stopped_server_whole_file)
{
	struct tfile *f = half_bound((struct srv_opts){ .no_attr_cache = true });
	int fd = srv_open(f, O_RDONLY);

	CHECK_ZERO(region_bind(f, 0, 0, b, 0, FUSE_REGION_REPLACE));
	srv_signal(f->srv, SIGSTOP);
	expect_file(f, fd, 10 * PAGE + 1);
	expect_read(f, fd, SIZE, PAGE);
	srv_signal(f->srv, SIGCONT);
}

/* One thread hangs in a gap; the file's other bytes, and its other readers, do not care. */
TEST(g5_hung_in_gap)
{
	struct tfile *f = half_bound((struct srv_opts){ 0 });
	int fd = srv_open(f, O_RDONLY), other = srv_open(f, O_RDONLY);
	pid_t pid;

	f->hang = 1u << OP_READ;
	pid = reader(f, fd, 0, 10 * PAGE);
	srv_until_hanging(f);
	read_bound(f, fd);
	read_bound(f, other);
	CHECK_ZERO(region_bind(f, 50 * PAGE, 5000, b, 1, 0));
	expect_read(f, other, 50 * PAGE, 5000);
	f->hang = 0;
	CHECK_EQ(wait_exit(pid), 0);
	expect_read(f, fd, 0, SIZE);
}

static void gap_fails(struct tfile *f, int fd)
{
	unsigned char buf[PAGE];
	(void)f;

	errno = 0;
	CHECK_EQ(pread(fd, buf, PAGE, BOUND + PAGE), -1);
	if (errno != ENOTCONN && errno != ECONNABORTED && errno != EIO)
		FAIL("a gap of a dead server: %m");
	note("a gap of a dead server: %m");
	/* one byte of a region, then nothing */
	CHECK_EQ(pread(fd, buf, 100, BOUND - 1), 1);
	CHECK_EQ(buf[0], pattern_byte(b->seed, BOUND - 1 - PAGE + 99));
}

TEST(g5_killed_server)
{
	struct tfile *f = half_bound((struct srv_opts){ 0 });
	int fd = srv_open(f, O_RDONLY);

	srv_kill(f->srv);
	read_bound(f, fd);
	gap_fails(f, fd);
	read_bound(f, fd);
}

TEST(g5_killed_server_no_attr_cache)
{
	struct tfile *f = half_bound((struct srv_opts){ .no_attr_cache = true });
	int fd = srv_open(f, O_RDONLY);

	srv_kill(f->srv);
	read_bound(f, fd);
	gap_fails(f, fd);
}

TEST(g5_aborted_connection)
{
	struct tfile *f = half_bound((struct srv_opts){ 0 });
	int fd = srv_open(f, O_RDONLY);

	srv_abort(f->srv);
	read_bound(f, fd);
	gap_fails(f, fd);
}

TEST(g5_lazily_unmounted_and_killed)
{
	struct tfile *f = half_bound((struct srv_opts){ 0 });
	int fd = srv_open(f, O_RDONLY);

	CHECK_OK(umount2(f->srv->mnt, MNT_DETACH));
	f->srv->mounted = false;
	read_bound(f, fd);
	expect_read(f, fd, 0, SIZE);
	srv_kill(f->srv);
	read_bound(f, fd);
	gap_fails(f, fd);
}

/* Killed while it holds somebody's request */
TEST(g5_killed_while_hung)
{
	struct tfile *f = half_bound((struct srv_opts){ 0 });
	int fd = srv_open(f, O_RDONLY);
	unsigned char buf[100];
	pid_t pid;

	f->hang = 1u << OP_READ;
	pid = test_fork();
	if (pid == 0) {
		close(f->srv->ctl);
		/* its region's bytes are returned, though the gap after them fails */
		CHECK_EQ(pread(fd, buf, 100, BOUND - 50), 50);
		CHECK_EQ(pattern_differs(buf, b->seed, BOUND - 50 - PAGE + 99, 50), 50);
		_exit(0);
	}
	srv_until_hanging(f);
	srv_kill(f->srv);
	CHECK_EQ(wait_exit(pid), 0);
	read_bound(f, fd);
}

/* Readers run all the time, through the server's death and after it. */
struct running {
	struct tfile *f;
	int fd;
};

static void read_somewhere(void *arg)
{
	struct running *r = arg;
	uint64_t off = PAGE + rnd_below(BOUND - 2 * PAGE);
	size_t len = 1 + rnd_below(BOUND - off);

	expect_read(r->f, r->fd, off, len);
}

TEST(g5_killed_under_readers)
{
	for (int round = 0; round < 3; round++) {
		struct running r = { .f = half_bound((struct srv_opts){ 0 }) };
		struct threads readers;

		r.fd = srv_open(r.f, O_RDONLY);
		threads_start(&readers, 4, read_somewhere, &r);
		threads_progress(&readers, 50);
		srv_kill(r.f->srv);
		threads_progress(&readers, 100);
		threads_stop(&readers);
		close(r.fd);
	}
}

TEST(g5_aborted_under_readers)
{
	struct running r = { .f = half_bound((struct srv_opts){ 0 }) };
	struct threads readers;

	r.fd = srv_open(r.f, O_RDONLY);
	threads_start(&readers, 4, read_somewhere, &r);
	threads_progress(&readers, 50);
	srv_abort(r.f->srv);
	threads_progress(&readers, 100);
	srv_kill(r.f->srv);
	threads_progress(&readers, 100);
	threads_stop(&readers);
}
