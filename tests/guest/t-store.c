// SPDX-License-Identifier: GPL-2.0
/*
 * M1 for those who store through a mapping while others write, open or wait.
 *
 * The mappings here have FUSE's page cache behind them: of gaps, and of
 * regions that do not lie page on page in their backings.
 */
#define _GNU_SOURCE
#include <sched.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "harness.h"

#define SIZE (32 * PAGE)

static struct backing *b, *c;

static struct tfile *file(struct srv_opts opts)
{
	return srv_stored(opts, NULL, SIZE, &b, &c);
}

static unsigned char *map(int fd)
{
	unsigned char *p = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	CHECK(p != MAP_FAILED);
	return p;
}

/* Whoever stores and whoever writes to other bytes of the same pages don't undo each other. */
struct halves {
	struct tfile *f;
	int fd;
};

static void write_odd(void *arg)
{
	struct halves *h = arg;
	uint64_t page = rnd_below(SIZE / PAGE);
	unsigned char buf[64], got[64];

	memset(buf, (int)(1 + rnd_below(255)), sizeof(buf));
	CHECK_EQ(pwrite(h->fd, buf, sizeof(buf), (off_t)(page * PAGE + 2048)), sizeof(buf));
	CHECK_EQ(pread(h->fd, got, sizeof(got), (off_t)(page * PAGE + 2048)), sizeof(got));
	if (memcmp(got, buf, sizeof(buf)))
		FAIL("page %llu: written %02x, read %02x", (unsigned long long)page, buf[0],
		     got[0]);
}

static void store_beside_writer(struct srv_opts opts, int open_flags)
{
	struct tfile *f = file(opts);
	struct halves h = { .f = f, .fd = srv_open(f, O_RDWR | open_flags) };
	unsigned char want[SIZE / PAGE], *p;
	struct threads writer;

	CHECK_ZERO(region_bind(f, 2 * PAGE, 5 * PAGE, b, 7 * PAGE, RW));
	CHECK_ZERO(region_bind(f, 7 * PAGE, 5 * PAGE, c, 123, RW));
	p = map(h.fd);
	for (uint64_t i = 0; i < SIZE / PAGE; i++)
		want[i] = p[i * PAGE];
	threads_start(&writer, 1, write_odd, &h);
	for (uint64_t until = now_ms() + test_storm_ms(2500), n = 0; now_ms() < until; n++) {
		uint64_t page = rnd_below(SIZE / PAGE);

		want[page]++;
		p[page * PAGE] = want[page];
		if (n % 64 == 0)
			CHECK_OK(msync(p, SIZE, MS_SYNC));
		page = rnd_below(SIZE / PAGE);
		if (p[page * PAGE] != want[page])
			FAIL("a store to page %llu was undone", (unsigned long long)page);
	}
	threads_stop(&writer);
	CHECK_OK(msync(p, SIZE, MS_SYNC));
	for (uint64_t i = 0; i < SIZE / PAGE; i++) {
		unsigned char byte;

		CHECK_EQ(pread(h.fd, &byte, 1, (off_t)(i * PAGE)), 1);
		CHECK_EQ(byte, want[i]);
	}
	expect_file(f, h.fd, SIZE);
}

TEST(m1_store_beside_writer)
{
	store_beside_writer((struct srv_opts){ 0 }, 0);
}

TEST(m1_store_beside_writer_writeback)
{
	store_beside_writer((struct srv_opts){ .writeback = true }, 0);
}

/* The same by direct I/O, of which Linux promises less elsewhere */
TEST(m1_store_beside_direct_writer)
{
	store_beside_writer((struct srv_opts){ .threads = true }, O_DIRECT);
}

/* One after the other, all of a page and often the page that was stored into */
TEST(m1_store_then_direct_write)
{
	struct tfile *f = file((struct srv_opts){ .threads = true });
	int fd = srv_open(f, O_RDWR), direct = srv_open(f, O_RDWR | O_DIRECT);
	unsigned char *p = map(fd);
	struct oracle o;

	CHECK_ZERO(region_bind(f, 2 * PAGE, 5 * PAGE, b, 100, RW));
	oracle_load(&o, f);
	for (int i = 0; i < 60; i++) {
		uint64_t off = rnd_below(10 * PAGE);

		oracle_fresh(&o, p + off, 1);
		oracle_note(&o, p + off, off, 1);
		oracle_write(&o, direct, rnd_below(10) * PAGE, PAGE);
		oracle_check(&o, i % 2 ? fd : direct, off, 1);
		oracle_compare(&o, "mapping", p, 0, 10 * PAGE);
	}
	oracle_check(&o, fd, 0, SIZE);
	CHECK_OK(msync(p, SIZE, MS_SYNC));
	expect_file(f, fd, SIZE);
	oracle_free(&o);
}

struct slow_write {
	int fd;
	uint64_t off;
	unsigned char byte;
	unsigned int done;
};

static void write_slowly(void *arg)
{
	struct slow_write *w = arg;

	if (w->done)
		return;
	CHECK_EQ(pwrite(w->fd, &w->byte, 1, (off_t)w->off), 1);
	w->done = 1;
}

static void hang_at(struct tfile *f, enum srv_op op, bool hang)
{
	if (hang)
		__atomic_or_fetch(&f->hang, 1u << op, __ATOMIC_SEQ_CST);
	else
		__atomic_and_fetch(&f->hang, ~(1u << op), __ATOMIC_SEQ_CST);
}

/*
 * Stores to @p[@off]; another process, so that it may wait. It closes no file
 * on its way out, for FUSE's flush waits for writes.
 */
static pid_t store_in_child(unsigned char *p, uint64_t off, unsigned char byte)
{
	pid_t pid = (pid_t)syscall(SYS_clone, CLONE_FILES | SIGCHLD, NULL, NULL, NULL, NULL);

	if (!pid) {
		p[off] = byte;
		_exit(0);
	}
	return pid;
}

/* A write is under way when the first store to its page comes: both count. */
static void first_store_beside_writer(struct srv_opts opts)
{
	struct tfile *f = file(opts);
	int fd = srv_open(f, O_RDWR), status;
	struct slow_write w = { .fd = fd, .off = 20 * PAGE + 2000, .byte = 0xa5 };
	struct threads writer;
	unsigned char *p, got;
	pid_t pid;

	CHECK_ZERO(region_bind(f, 2 * PAGE, 5 * PAGE, b, 7 * PAGE, RW));
	hang_at(f, OP_WRITE, true);
	threads_start(&writer, 1, write_slowly, &w);
	srv_until_hanging(f);
	p = map(fd);
	pid = store_in_child(p, 20 * PAGE + 5, 0x5a);
	sleep_ms(100);
	hang_at(f, OP_WRITE, false);
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK_EQ(status, 0);
	threads_stop(&writer);
	CHECK_EQ(p[20 * PAGE + 5], 0x5a);
	CHECK_EQ(p[20 * PAGE + 2000], 0xa5);
	CHECK_OK(msync(p, SIZE, MS_SYNC));
	CHECK_EQ(pread(fd, &got, 1, 20 * PAGE + 5), 1);
	CHECK_EQ(got, 0x5a);
	CHECK_EQ(pread(fd, &got, 1, 20 * PAGE + 2000), 1);
	CHECK_EQ(got, 0xa5);
	expect_file(f, fd, SIZE);
}

TEST(m1_first_store_beside_writer)
{
	first_store_beside_writer((struct srv_opts){ .threads = true });
}

TEST(m1_first_store_beside_writer_writeback)
{
	first_store_beside_writer((struct srv_opts){ .threads = true, .writeback = true });
}

/* Who waits for the page of a write that the server does not end can be killed. */
TEST(m1_store_beside_hung_write_is_killable)
{
	struct tfile *f = file((struct srv_opts){ .threads = true });
	int fd = srv_open(f, O_RDWR), status;
	struct slow_write w = { .fd = fd, .off = 20 * PAGE, .byte = 1 };
	struct threads writer;
	unsigned char *p = map(fd);
	pid_t pid;

	CHECK_ZERO(region_bind(f, 2 * PAGE, 5 * PAGE, b, 7 * PAGE, RW));
	hang_at(f, OP_WRITE, true);
	threads_start(&writer, 1, write_slowly, &w);
	srv_until_hanging(f);
	pid = store_in_child(p, 20 * PAGE + 5, 0x5a);
	sleep_ms(50);
	CHECK_EQ(waitpid(pid, &status, WNOHANG), 0);
	CHECK_OK(kill(pid, SIGKILL));
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK(WIFSIGNALED(status));
	hang_at(f, OP_WRITE, false);
	threads_stop(&writer);
}

/* G5 for pages: a write of a gap that the server does not end holds up no store elsewhere. */
TEST(g5_store_beside_hung_write)
{
	struct tfile *f = file((struct srv_opts){ .threads = true });
	int fd = srv_open(f, O_RDWR);
	struct slow_write w = { .fd = fd, .off = 20 * PAGE, .byte = 1 };
	struct threads writer;
	unsigned char *p = map(fd), got;

	CHECK_ZERO(region_bind(f, 2 * PAGE, 5 * PAGE, b, 123, RW));
	hang_at(f, OP_WRITE, true);
	threads_start(&writer, 1, write_slowly, &w);
	srv_until_hanging(f);
	for (int i = 0; i < 20; i++) {
		uint64_t off = 2 * PAGE + rnd_below(5 * PAGE);

		p[off] = (unsigned char)i;
		CHECK_EQ(pread(fd, &got, 1, (off_t)off), 1);
		CHECK_EQ(got, i);
		CHECK_EQ(pwrite(fd, "x", 1, (off_t)off), 1);
		CHECK_EQ(p[off], 'x');
	}
	hang_at(f, OP_WRITE, false);
	threads_stop(&writer);
	CHECK_EQ(f->wrote_bound, 0);
}

/* A fault in a gap that the server does not answer: bound bytes are written all the same. */
TEST(g5_write_beside_hung_fault)
{
	struct tfile *f = file((struct srv_opts){ .threads = true });
	int fd = srv_open(f, O_RDWR), status;
	unsigned char *p = map(fd);
	pid_t pid;

	CHECK_ZERO(region_bind(f, 2 * PAGE, 5 * PAGE, b, 123, RW));
	hang_at(f, OP_READ, true);
	pid = store_in_child(p, 20 * PAGE, 1);
	srv_until_hanging(f);
	for (int i = 0; i < 20; i++) {
		uint64_t off = 2 * PAGE + rnd_below(5 * PAGE);

		CHECK_EQ(pwrite(fd, "x", 1, (off_t)off), 1);
		CHECK_EQ(p[off], 'x');
	}
	hang_at(f, OP_READ, false);
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK_EQ(status, 0);
}

/*
 * FUSE drops pages when a file is opened again, and writes dirty ones back
 * first: those of a region to its backing.
 */
static void store_then_open(struct srv_opts opts)
{
	struct tfile *f = file(opts);
	int fd = srv_open(f, O_RDWR);
	unsigned char *p = map(fd), got;

	CHECK_ZERO(region_bind(f, 2 * PAGE, 5 * PAGE, b, 123, RW));
	for (unsigned int i = 0; i < 20; i++) {
		uint64_t off = 2 * PAGE + rnd_below(5 * PAGE);

		p[off] = (unsigned char)i;
		close(srv_open(f, O_RDWR));
		CHECK_EQ(p[off], i);
		CHECK_EQ(pread(fd, &got, 1, (off_t)off), 1);
		CHECK_EQ(got, i);
		CHECK_OK(msync(p, SIZE, MS_SYNC));
		backing_bytes(b, &got, off - 2 * PAGE + 123, 1);
		CHECK_EQ(got, i);
	}
	CHECK_EQ(f->wrote_bound, 0);
}

TEST(m1_store_then_open)
{
	store_then_open((struct srv_opts){ 0 });
}

TEST(m1_store_then_open_writeback)
{
	store_then_open((struct srv_opts){ .writeback = true });
}

/*
 * No room in the backing for what FUSE wants to write back before it drops a
 * page: whoever syncs is told.
 */
TEST(m1_store_without_room_then_open)
{
	struct tfile *f;
	struct backing *sparse;
	unsigned char *p;
	char dir[] = "/tmp/fr-full.XXXXXX";
	int fd, again;

	CHECK(mkdtemp(dir));
	CHECK_ZERO(sh("mount -t tmpfs -o size=8k none %s", dir));
	fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	CHECK_OK(ftruncate(fd, SIZE));
	f = file((struct srv_opts){ 0 });
	sparse = backing_from_fd(fd);
	srv_register(f->srv, sparse);
	fd = srv_open(f, O_RDWR);
	CHECK_ZERO(region_bind(f, 2 * PAGE, 8 * PAGE, sparse, 5, RW));
	p = map(fd);
	for (uint64_t i = 2; i < 10; i++)
		p[i * PAGE + 9] = (unsigned char)i;
	again = srv_open(f, O_RDWR);
	CHECK(msync(p, SIZE, MS_SYNC) == -1 && errno == ENOSPC);
	munmap(p, SIZE);
	close(again);
	close(fd);
	srv_stop(f->srv);
	close(sparse->fd);
	sparse->fd = -1;
	CHECK_ZERO(sh("umount %s && rmdir %s", dir, dir));
}

static int slowly(struct srv *s, struct tfile *f, uint64_t off, size_t size)
{
	(void)s;
	(void)f;
	(void)off;
	(void)size;
	sleep_ms(30);
	return 0;
}

/* Bytes that are read from a backing, but written by a server, who takes its time */
static int open_read_only_region(struct srv_opts opts)
{
	struct srv *s = srv_new(&opts);
	struct tfile *f = srv_store_file(s, "f", SIZE);
	int fd;

	f->hook[OP_WRITE] = slowly;
	srv_start(s);
	b = backing_new(SIZE);
	srv_register(s, b);
	fd = srv_open(f, O_RDWR);
	CHECK_ZERO(region_bind(f, 4 * PAGE, 8 * PAGE, b, 0, FUSE_REGION_READ));
	return fd;
}

/* First stored, then read at once */
static void store_and_read(struct srv_opts opts)
{
	int fd = open_read_only_region(opts);
	unsigned char *p, got;

	for (int i = 0; i < 20; i++) {
		uint64_t off = 4 * PAGE + rnd_below(8 * PAGE);

		p = map(fd);
		p[off] = (unsigned char)i;
		munmap(p, SIZE);
		if (i % 2)
			CHECK_OK(sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE));
		if (i % 4 == 3)
			CHECK_ZERO(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED));
		CHECK_EQ(pread(fd, &got, 1, (off_t)off), 1);
		CHECK_EQ(got, i);
	}
}

TEST(m1_store_into_read_only_region)
{
	store_and_read((struct srv_opts){ 0 });
}

TEST(m1_store_into_read_only_region_writeback)
{
	store_and_read((struct srv_opts){ .writeback = true });
}

/* The same, when what was stored is read through a mapping of the region alone */
static void store_and_map(struct srv_opts opts)
{
	int fd = open_read_only_region(opts);
	unsigned char *p;

	for (int i = 0; i < 20; i++) {
		uint64_t off = 4 * PAGE + rnd_below(8 * PAGE);

		p = map(fd);
		p[off] = (unsigned char)i;
		/* on its way before it is unmapped, which then has nothing to write back */
		if (i % 2)
			CHECK_OK(sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE));
		munmap(p, SIZE);
		p = mmap(NULL, 8 * PAGE, PROT_READ, MAP_SHARED, fd, 4 * PAGE);
		CHECK(p != MAP_FAILED);
		CHECK_EQ(p[off - 4 * PAGE], i);
		munmap(p, 8 * PAGE);
	}
}

TEST(m1_store_into_read_only_region_then_map)
{
	store_and_map((struct srv_opts){ 0 });
}

TEST(m1_store_into_read_only_region_then_map_writeback)
{
	store_and_map((struct srv_opts){ .writeback = true });
}
