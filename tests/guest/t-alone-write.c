// SPDX-License-Identifier: GPL-2.0
/* G5 for those who write: bound ranges of open files need nothing from the server. */
#define _GNU_SOURCE
#include <sys/mman.h>

#include "harness.h"

#define SIZE (30 * PAGE + 100)
#define TAIL (21 * PAGE) /* from here on the file may grow */

static struct backing *b, *d, *tail;

/* A gap, a region in memory at an odd shift, one on disk page on page, one that grows */
static struct tfile *bound(void)
{
	struct srv *s = srv_new(NULL);
	struct tfile *f = srv_store_file(s, "f", SIZE);

	test_watchdog(60);
	f->attr_of_backings = true;
	srv_start(s);
	b = backing_new(20 * PAGE);
	d = backing_new_in(shared_ext4(), 20 * PAGE);
	tail = backing_new(SIZE - TAIL + 5);
	srv_register(s, b);
	srv_register(s, d);
	srv_register(s, tail);
	close(srv_open(f, O_RDONLY));
	CHECK_ZERO(region_bind(f, PAGE, 10 * PAGE, b, 99, RW));
	CHECK_ZERO(region_bind(f, 11 * PAGE, 10 * PAGE, d, 3 * PAGE, RW));
	CHECK_ZERO(region_bind(f, TAIL, 60 * PAGE, tail, 5, RW | FUSE_REGION_GROW));
	return f;
}

/* A store through a mapping of four pages at @at, then a read of it, and a write beside it */
static void store(struct oracle *o, int fd, uint64_t at)
{
	unsigned char *p = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)at);

	CHECK(p != MAP_FAILED);
	for (uint64_t off = 100; off < 4 * PAGE; off += 5000) {
		oracle_fresh(o, p + off, 20);
		oracle_note(o, p + off, at + off, 20);
		oracle_check(o, fd, at + off - 50, 100);
		oracle_write(o, fd, at + off + 10, 50);
		oracle_compare(o, "mapping", p, at, 4 * PAGE);
	}
	CHECK_OK(munmap(p, 4 * PAGE));
}

/* All ways of writing that must not stall */
static void write_bound(struct oracle *o, const int *fd)
{
	const int plain = fd[0], direct = fd[1], append = fd[2];
	unsigned char buf[300];

	for (uint64_t i = 0; i < 10; i++)
		oracle_write(o, plain, PAGE + rnd_below(25 * PAGE), 1 + rnd_below(4 * PAGE));
	/* over the edges of two regions */
	oracle_write(o, plain, 10 * PAGE + 7, 2 * PAGE);
	oracle_write(o, plain, TAIL - 3, 7);
	oracle_write(o, direct, 12 * PAGE, 2 * PAGE);
	oracle_write(o, direct, 10 * PAGE, 2 * PAGE);
	oracle_write(o, direct, 3 * PAGE, PAGE);
	/* at the end, over it and behind it */
	oracle_fresh(o, buf, sizeof(buf));
	CHECK_EQ(write(append, buf, sizeof(buf)), sizeof(buf));
	oracle_note(o, buf, o->size, sizeof(buf));
	oracle_write(o, plain, o->size - 10, 2 * PAGE);
	oracle_write(o, plain, o->size, 5);
	oracle_write(o, plain, o->size + 777, 100);
	store(o, plain, 2 * PAGE);
	store(o, plain, 13 * PAGE);
	oracle_check(o, plain, PAGE, o->size);
	CHECK_EQ(lseek(plain, 0, SEEK_CUR), 0);
}

static void alone(bool killed)
{
	struct tfile *f = bound();
	const int fd[] = { srv_open(f, O_RDWR), srv_open(f, O_RDWR | O_DIRECT),
			   srv_open(f, O_WRONLY | O_APPEND) };
	struct oracle o;
	uint64_t writes;
	struct stat st;

	oracle_load(&o, f);
	/* the first write asks what privileges the file has */
	oracle_write(&o, fd[0], 5 * PAGE, 10);
	writes = srv_count(f, OP_WRITE);
	if (killed)
		srv_kill(f->srv);
	else
		srv_signal(f->srv, SIGSTOP);
	write_bound(&o, fd);
	if (!killed) {
		srv_signal(f->srv, SIGCONT);
		CHECK_OK(fstat(fd[0], &st));
		CHECK_EQ(st.st_size, o.size);
		CHECK_OK(fsync(fd[0]));
		oracle_check(&o, fd[0], 0, o.size + 1);
		expect_file(f, fd[0], 10 * PAGE);
	}
	CHECK_EQ(srv_count(f, OP_WRITE), writes);
	oracle_free(&o);
}

TEST(g5_writes_with_stopped_server)
{
	alone(false);
}

TEST(g5_writes_with_dead_server)
{
	alone(true);
}
