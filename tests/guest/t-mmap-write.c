// SPDX-License-Identifier: GPL-2.0
/* M1 to M3 for those who store through a mapping. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <sys/mman.h>

#include "harness.h"

#define SIZE (32 * PAGE)

static struct backing *b, *c;

static struct tfile *file(struct srv_opts opts)
{
	return srv_stored(opts, NULL, SIZE, &b, &c);
}

/* Stores at random places between @from and @to of a mapping of [@off, ...) */
static void store(struct oracle *o, unsigned char *p, uint64_t off, uint64_t from, uint64_t to,
		  int nr)
{
	unsigned char buf[300];

	while (nr--) {
		uint64_t at = from + rnd_below(to - from - sizeof(buf));
		uint64_t len = 1 + rnd_below(sizeof(buf));

		oracle_fresh(o, buf, len);
		memcpy(p + (at - off), buf, len);
		oracle_note(o, buf, at, len);
	}
}

/* Everybody who looks sees the stores: reads, mappings, and in the end the files below. */
static void everybody_agrees(struct tfile *f, struct oracle *o, int fd, unsigned char *p,
			     uint64_t off, uint64_t len)
{
	int in = srv_open(f, O_RDONLY);

	oracle_compare(o, "mmap", p, off, len);
	oracle_check(o, fd, 0, SIZE);
	oracle_check(o, in, 0, SIZE);
	CHECK_OK(msync(p, len, MS_SYNC));
	expect_file(f, in, 7 * PAGE);
	oracle_check(o, in, 0, SIZE);
	close(in);
}

/* In one region, page on page: the backing itself is mapped, its bytes change at once. */
TEST(m3_store_in_congruent_region)
{
	struct tfile *f = file((struct srv_opts){ 0 });
	int fd = srv_open(f, O_RDWR);
	unsigned char *p, *q;
	struct oracle o;

	CHECK_ZERO(region_bind(f, 4 * PAGE, 10 * PAGE, b, 7 * PAGE, RW));
	oracle_load(&o, f);
	p = mmap(NULL, 8 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 5 * PAGE);
	CHECK(p != MAP_FAILED);
	q = mmap(NULL, SIZE, PROT_READ, MAP_SHARED, b->fd, 0);
	for (int i = 0; i < 5; i++) {
		store(&o, p, 5 * PAGE, 5 * PAGE, 13 * PAGE, 20);
		CHECK_EQ(memcmp(p, q + 8 * PAGE, 8 * PAGE), 0);
		everybody_agrees(f, &o, fd, p, 5 * PAGE, 8 * PAGE);
	}
	CHECK_EQ(srv_count(f, OP_WRITE), 0);
	oracle_free(&o);
}

/* Over several regions and gaps whose edges lie between pages */
static void store_across(struct srv_opts opts)
{
	struct tfile *f = file(opts);
	int fd = srv_open(f, O_RDWR);
	unsigned char *p;
	struct oracle o;

	CHECK_ZERO(region_bind(f, 2 * PAGE, 5 * PAGE, b, 7 * PAGE, RW));
	CHECK_ZERO(region_bind(f, 7 * PAGE, 5 * PAGE, c, 123, RW));
	CHECK_ZERO(region_bind(f, 20 * PAGE, 5 * PAGE, c, 9 * PAGE, RW));
	oracle_load(&o, f);
	p = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK(p != MAP_FAILED);
	for (int i = 0; i < 6; i++) {
		store(&o, p, 0, 0, SIZE, 20);
		everybody_agrees(f, &o, fd, p, 0, SIZE);
		oracle_write(&o, fd, rnd_below(SIZE - 9000), 9000);
		everybody_agrees(f, &o, fd, p, 0, SIZE);
	}
	/* without a msync in between: the store, then a write over a part of it */
	store(&o, p, 0, 0, SIZE, 30);
	oracle_write(&o, fd, 6 * PAGE + 9, 3 * PAGE);
	store(&o, p, 0, 0, SIZE, 10);
	oracle_check(&o, fd, 0, SIZE);
	munmap(p, SIZE);
	close(fd);
	fd = srv_open(f, O_RDONLY);
	oracle_check(&o, fd, 0, SIZE);
	expect_file(f, fd, SIZE);
	oracle_free(&o);
}

TEST(m3_store_across_aligned_edges)
{
	store_across((struct srv_opts){ 0 });
}

TEST(m3_store_across_aligned_edges_writeback)
{
	store_across((struct srv_opts){ .writeback = true });
}

TEST(m3_unaligned_edges_enodev)
{
	struct tfile *f = file((struct srv_opts){ 0 });
	int rw = srv_open(f, O_RDWR);
	void *p;

	CHECK_ZERO(region_bind(f, 2 * PAGE + 5, 5 * PAGE, b, 0, RW));
	p = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, rw, 0);
	CHECK(p == MAP_FAILED && errno == ENODEV);
	/* elsewhere it works */
	p = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, rw, 10 * PAGE);
	CHECK(p != MAP_FAILED);
	/* and privately, and for reading, also by one who might write */
	p = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE, rw, 0);
	CHECK(p != MAP_FAILED);
	expect_content(f, "mmap", 0, p, SIZE);
	p = mmap(NULL, SIZE, PROT_READ, MAP_SHARED, rw, 0);
	CHECK(p != MAP_FAILED);
	expect_content(f, "mmap", 0, p, SIZE);
	p = mmap(NULL, SIZE, PROT_READ, MAP_SHARED, srv_open(f, O_RDONLY), 0);
	CHECK(p != MAP_FAILED);
	expect_content(f, "mmap", 0, p, SIZE);
}

static sigjmp_buf on_signal;

static void caught(int sig)
{
	siglongjmp(on_signal, sig);
}

/* 0, or the signal that the store ended in */
static int try_store(volatile unsigned char *p, unsigned char value)
{
	int sig;

	signal(SIGBUS, caught);
	sig = sigsetjmp(on_signal, 1);
	if (!sig)
		*p = value;
	return sig;
}

/*
 * Mapped for storing while the edges were aligned; then an unaligned one comes.
 * A store to its page may be refused, but bytes next to it must not be undone.
 */
TEST(m2_edge_comes_after_the_mapping)
{
	struct tfile *f = file((struct srv_opts){ 0 });
	int fd = srv_open(f, O_RDWR), sig;
	unsigned char *p = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), buf[100];

	CHECK(p != MAP_FAILED);
	p[5 * PAGE] ^= 1; /* dirty before */
	CHECK_ZERO(region_bind(f, 5 * PAGE + 1000, PAGE, b, 0, RW));
	sig = try_store(p + 5 * PAGE + 10, 'A');
	note("storing next to the edge: signal %d", sig);
	/* a write to the region meanwhile, then all dirty pages are written back */
	pattern_fill(buf, 99, 0, 100);
	CHECK_EQ(pwrite(fd, buf, 100, 5 * PAGE + 1000), 100);
	CHECK_OK(msync(p, SIZE, MS_SYNC));
	CHECK_OK(fsync(fd));
	{
		unsigned char got[100];

		CHECK_EQ(pread(fd, got, 100, 5 * PAGE + 1000), 100);
		CHECK_EQ(memcmp(got, buf, 100), 0);
		backing_bytes(b, got, 0, 100);
		CHECK_EQ(memcmp(got, buf, 100), 0);
		if (!sig) {
			CHECK_EQ(pread(fd, got, 1, 5 * PAGE + 10), 1);
			CHECK_EQ(got[0], 'A');
		}
	}
	expect_file(f, fd, SIZE);
}

/* The bytes next to it are not the server's either: it would get them, as they were, with the page. */
TEST(m2_edge_of_a_read_only_region)
{
	struct tfile *f = file((struct srv_opts){ 0 });
	int fd = srv_open(f, O_RDWR);
	unsigned char *p = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), *q;

	CHECK(p != MAP_FAILED);
	CHECK_ZERO(region_bind(f, 2 * PAGE + 5, PAGE - 5, b, 1000, FUSE_REGION_READ));
	CHECK_EQ(try_store(p + 2 * PAGE, 'x'), SIGBUS);
	CHECK_EQ(try_store(p + 3 * PAGE, 'x'), 0);
	q = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK(q == MAP_FAILED && errno == ENODEV);
	q = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 2 * PAGE);
	CHECK(q == MAP_FAILED && errno == ENODEV);
	q = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 3 * PAGE);
	CHECK(q != MAP_FAILED);
	CHECK_OK(msync(p, SIZE, MS_SYNC));
	expect_file(f, fd, SIZE);
}

/* What was stored before a bind is not lost: the server gets it, and puts it where it thinks fit. */
TEST(m4_dirty_pages_at_bind)
{
	struct tfile *f = file((struct srv_opts){ 0 });
	int fd = srv_open(f, O_RDWR);
	unsigned char *p = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	unsigned char stored, bound = 0;

	CHECK(p != MAP_FAILED);
	for (uint64_t i = 0; i < SIZE / PAGE; i++)
		p[i * PAGE + 7] = (unsigned char)(100 + i);
	CHECK_ZERO(region_bind(f, 10 * PAGE, 10 * PAGE, b, 0, RW));
	CHECK_OK(msync(p, SIZE, MS_SYNC));
	CHECK_OK(fsync(fd));
	for (uint64_t i = 0; i < SIZE / PAGE; i++) {
		backing_bytes(f->store, &stored, i * PAGE + 7, 1);
		if (i >= 10 && i < 20)
			backing_bytes(b, &bound, (i - 10) * PAGE + 7, 1);
		if (i < 10 || i >= 20 || bound != 100 + i)
			CHECK_EQ(stored, 100 + i);
	}
	expect_file(f, fd, SIZE);
	expect_content(f, "mmap", 0, p, SIZE);
}

/* A mapping of region and end of file: what the backing holds behind the file is nobody's. */
TEST(m3_backing_goes_on_behind_the_file)
{
	struct srv *s = srv_new(NULL);
	struct tfile *f = srv_store_file(s, "f", 2 * PAGE + 100);
	unsigned char *p;
	int fd;

	srv_start(s);
	b = backing_new(2 * PAGE + 100);
	srv_register(s, b);
	fd = srv_open(f, O_RDWR);
	CHECK_ZERO(region_bind(f, 0, 2 * PAGE + 100, b, 0, RW));
	p = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK(p != MAP_FAILED);
	expect_content(f, "mmap", 0, p, 2 * PAGE + 100);
	/* the server appends another file's bytes to its backing */
	pattern_write(b->fd, 666, 2 * PAGE + 100, 4 * PAGE);
	expect_content(f, "mmap", 0, p, 2 * PAGE + 100);
	CHECK_EQ(try_store(p + 3 * PAGE, 'X'), SIGBUS);
	for (uint64_t i = 2 * PAGE + 100; i < 3 * PAGE; i++)
		if (p[i] == pattern_byte(666, i))
			FAIL("byte %#llx, past the end, shows what the backing holds there",
			     (unsigned long long)i);
}
