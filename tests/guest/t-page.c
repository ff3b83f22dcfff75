// SPDX-License-Identifier: GPL-2.0
/* M1: a page of FUSE's cache whose bytes are of several places, and of both sides of a file's end. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "harness.h"

#define SIZE (16 * PAGE)

static sigjmp_buf on_sigbus;

static void sigbus(int sig)
{
	(void)sig;
	siglongjmp(on_sigbus, 1);
}

/* The byte, or -1: reading it ended in SIGBUS */
static int byte_at(const volatile unsigned char *p)
{
	signal(SIGBUS, sigbus);
	return sigsetjmp(on_sigbus, 1) ? -1 : *p;
}

/* A file whose first page is half of one page of a backing on another FUSE mount, half of the next */
static struct tfile *on_two_pages(struct tfile **lower)
{
	struct backing *on_lower;
	struct tfile *f = srv_on_lower(SIZE, false, lower, &on_lower);

	CHECK_ZERO(region_bind(f, 0, 2 * PAGE, on_lower, 100, RW));
	return f;
}

TEST(m1_page_that_is_read_in_part)
{
	struct tfile *lower, *f = on_two_pages(&lower);
	int fd = srv_open(f, O_RDWR);
	unsigned char *p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	CHECK(p != MAP_FAILED);
	lower->bad_start = PAGE;
	lower->bad_last = SIZE;
	lower->bad_errno = EIO;
	CHECK_EQ(byte_at(p + PAGE - 1), -1);
	/* and the other half is not taken for good either */
	CHECK_EQ(byte_at(p), -1);
	lower->bad_errno = 0;
	expect_content(f, "mapping", 0, p, PAGE);
}

/*
 * A region that goes on where the file ends, in the middle of a page that is
 * mapped: what is bound there comes to light when the file grows.
 */
static const uint64_t end = 5000;
static struct backing *b;

static struct tfile *ends_in_region(uint32_t flags, unsigned char **p, int *fd)
{
	struct srv *s = srv_new(NULL);
	struct tfile *f = srv_store_file(s, "f", end);

	srv_start(s);
	b = backing_new(SIZE);
	srv_register(s, b);
	*fd = srv_open(f, O_RDWR);
	CHECK_ZERO(region_bind(f, 0, 4 * PAGE, b, 0, RW | flags));
	*p = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, *fd, 0);
	CHECK(*p != MAP_FAILED);
	CHECK_EQ((*p)[PAGE], pattern_byte(b->seed, PAGE));
	CHECK_EQ((*p)[end], 0);
	return f;
}

/* It has grown: the mapping shows what reads show, and what is stored elsewhere in the page undoes nothing. */
static void expect_grown(struct tfile *f, unsigned char *p, int fd, uint64_t from)
{
	const size_t len = 2 * PAGE - from;
	unsigned char got[PAGE];

	CHECK(f->size > from);
	CHECK_EQ(pread(fd, got, len, (off_t)from), len);
	CHECK_EQ(pattern_differs(got, b->seed, from, len), len);
	CHECK_EQ(pattern_differs(p + from, b->seed, from, len), len);
	p[PAGE + 1] = 'y';
	CHECK_OK(msync(p, 2 * PAGE, MS_SYNC));
	backing_bytes(b, got, from, len);
	CHECK_EQ(pattern_differs(got, b->seed, from, len), len);
	CHECK_EQ(pread(fd, got, 1, PAGE + 1), 1);
	CHECK_EQ(got[0], 'y');
}

TEST(m1_old_end_of_a_file_that_grows_by_write)
{
	unsigned char *p;
	int fd;
	struct tfile *f = ends_in_region(0, &p, &fd);

	CHECK_EQ(pwrite(fd, "x", 1, 5 * PAGE), 1);
	expect_grown(f, p, fd, end);
}

TEST(m1_old_end_of_a_file_that_grows_in_its_region)
{
	unsigned char *p;
	int fd;
	struct tfile *f = ends_in_region(FUSE_REGION_GROW, &p, &fd);

	f->attr_of_backings = true;
	CHECK_EQ(pwrite(fd, "x", 1, 3 * PAGE), 1);
	f->size = 3 * PAGE + 1;
	expect_grown(f, p, fd, end);
}

TEST(m1_old_end_of_a_file_that_grows_by_truncate)
{
	unsigned char *p;
	int fd;
	struct tfile *f = ends_in_region(0, &p, &fd);

	/* dirty when it grows */
	p[PAGE] = 'x';
	CHECK_OK(ftruncate(fd, SIZE));
	expect_grown(f, p, fd, end);
	CHECK_EQ(p[PAGE], 'x');
}

TEST(m1_old_end_of_a_file_that_grows_by_fallocate)
{
	unsigned char *p;
	int fd;
	struct tfile *f = ends_in_region(0, &p, &fd);

	p[PAGE] = 'x';
	CHECK_OK(fallocate(fd, 0, 2 * PAGE, PAGE));
	expect_grown(f, p, fd, end);
	CHECK_EQ(p[PAGE], 'x');
}
