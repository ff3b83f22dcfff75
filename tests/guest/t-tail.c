// SPDX-License-Identifier: GPL-2.0
/*
 * M1: the page of FUSE's cache that a whole file ends in, while others append to its
 * backing, and FUSE's size lags behind.
 */
#define _GNU_SOURCE
#include <sys/mman.h>
#include <sys/stat.h>

#include "harness.h"

static const uint64_t end = 5000;
static const uint64_t shift = 100, stored_at = 5500;
static struct backing *b;

static void append(size_t len)
{
	pattern_write(b->fd, b->seed, end, len);
}

/*
 * The backing has become longer before the page is filled, which shows what is there;
 * and it is stored into behind the end that FUSE knows. The caller writes it back.
 */
static struct tfile *stored_behind_the_end(unsigned char **p, int *fd)
{
	struct tfile *f = srv_stored((struct srv_opts){ 0 }, NULL, end, &b, NULL);

	*fd = srv_open(f, O_RDWR);
	append(shift);
	CHECK_ZERO(region_bind(f, 0, 0, b, shift, RW));
	append(shift + 1000);
	/* not a page-congruent shift, so it is FUSE's cache */
	*p = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, *fd, 0);
	CHECK(*p != MAP_FAILED);
	(*p)[stored_at] = 'x';
	CHECK_EQ((*p)[stored_at + 1], pattern_byte(b->seed, stored_at + shift + 1));
	return f;
}

static void expect_stored(const unsigned char *p, int fd)
{
	unsigned char got[1000];

	backing_bytes(b, got, end + shift, 1000);
	CHECK_EQ(got[stored_at - end], 'x');
	got[stored_at - end] = pattern_byte(b->seed, stored_at + shift);
	CHECK_EQ(pattern_differs(got, b->seed, end + shift, 1000), 1000);
	expect_byte(fd, stored_at, 'x');
	CHECK_EQ(p[stored_at], 'x');
}

TEST(m1_store_behind_a_size_that_lags)
{
	unsigned char *p;
	int fd;

	stored_behind_the_end(&p, &fd);
	CHECK_OK(msync(p, 2 * PAGE, MS_SYNC));
	expect_stored(p, fd);
}

/* The answer tells FUSE of the size, which then zeroes what is behind the old one. */
TEST(m1_store_behind_a_size_that_lags_beside_chmod)
{
	unsigned char *p;
	int fd;
	struct tfile *f = stored_behind_the_end(&p, &fd);

	f->size = end + 1000;
	CHECK_OK(fchmod(fd, 0600));
	CHECK_OK(msync(p, 2 * PAGE, MS_SYNC));
	expect_stored(p, fd);
}

/*
 * A mapping over a region's edge of a file whose second page is the end of a whole
 * file's backing: it has FUSE's cache behind it, and is stored into at @at.
 */
static void stored_before_the_end(uint64_t at, unsigned char **p, int *fd)
{
	struct tfile *f = srv_stored((struct srv_opts){ 0 }, NULL, end, &b, NULL);
	struct backing *head = backing_new(PAGE);

	srv_register(f->srv, head);
	*fd = srv_open(f, O_RDWR);
	CHECK_ZERO(region_bind(f, 0, 0, b, 0, RW));
	CHECK_ZERO(region_bind(f, 0, PAGE, head, 0, RW | FUSE_REGION_REPLACE));
	*p = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, *fd, 0);
	CHECK(*p != MAP_FAILED);
	(*p)[at] = 'x';
}

/* Of the backing, @len bytes at its old end are what somebody appended, and @at was stored into. */
static void expect_appended(uint64_t at, size_t len)
{
	unsigned char got[PAGE];

	backing_bytes(b, got, end, len);
	CHECK_EQ(pattern_differs(got, b->seed, end, len), len);
	backing_bytes(b, got, at, 1);
	CHECK_EQ(got[0], 'x');
}

TEST(m1_stored_page_beside_what_others_append)
{
	unsigned char *p;
	int fd;

	stored_before_the_end(PAGE + 100, &p, &fd);
	append(1000);
	CHECK_OK(msync(p, 2 * PAGE, MS_SYNC));
	expect_appended(PAGE + 100, 1000);
}

/* The page is full, and then its end is cut off. */
TEST(m1_stored_page_of_a_shorter_file_beside_what_others_append)
{
	struct tfile *f = srv_stored((struct srv_opts){ 0 }, NULL, end, &b, NULL);
	int fd = srv_open(f, O_RDWR);
	unsigned char *p;

	append(3 * PAGE - end);
	/* not a page-congruent shift, so it is FUSE's cache */
	CHECK_ZERO(region_bind(f, 0, 0, b, 100, RW));
	p = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK(p != MAP_FAILED);
	CHECK_EQ(p[PAGE], pattern_byte(b->seed, PAGE + 100));
	CHECK_OK(ftruncate(fd, end - 100));
	CHECK_OK(ftruncate(b->fd, end));
	p[PAGE + 100] = 'x';
	append(1000);
	CHECK_OK(msync(p, 2 * PAGE, MS_SYNC));
	expect_appended(PAGE + 200, 1000);
}

/* The size that FUSE knows moves on to where the backing ends, before the page is written back. */
TEST(m1_stored_page_beside_what_others_and_we_append)
{
	unsigned char *p;
	int fd;

	stored_before_the_end(PAGE + 100, &p, &fd);
	append(1000);
	CHECK_EQ(pwrite(fd, "y", 1, (off_t)end + 1000), 1);
	CHECK_OK(msync(p, 2 * PAGE, MS_SYNC));
	expect_appended(PAGE + 100, 1000);
	CHECK_EQ(pattern_differs(p + end, b->seed, end, 1000), 1000);
	CHECK_EQ(p[end + 1000], 'y');
}

/* FUSE learns of the new size before the page is written back. */
TEST(m1_stored_page_beside_what_others_append_and_stat)
{
	struct statx stx;
	unsigned char *p;
	int fd;

	stored_before_the_end(PAGE + 100, &p, &fd);
	append(1000);
	CHECK_OK(statx(fd, "", AT_EMPTY_PATH | AT_STATX_FORCE_SYNC, STATX_SIZE, &stx));
	CHECK_EQ(stx.stx_size, end + 1000);
	CHECK_OK(msync(p, 2 * PAGE, MS_SYNC));
	expect_appended(PAGE + 100, 1000);
}

/* It is cut behind the end that FUSE knows, and before the one that it has. */
TEST(m1_stored_page_beside_what_others_append_and_truncate)
{
	unsigned char *p;
	int fd;

	stored_before_the_end(PAGE + 100, &p, &fd);
	append(1000);
	CHECK_OK(ftruncate(fd, (off_t)end + 500));
	CHECK_OK(msync(p, 2 * PAGE, MS_SYNC));
	expect_appended(PAGE + 100, 500);
	CHECK_EQ(pattern_differs(p + end, b->seed, end, 500), 500);
}

/* What is stored where the page had zeroes is the file's, for it is that long by now. */
TEST(m1_store_among_what_others_append)
{
	unsigned char *p;
	int fd;

	stored_before_the_end(PAGE + 100, &p, &fd);
	append(1000);
	memset(p + end + 500, 'z', 3);
	CHECK_OK(msync(p, 2 * PAGE, MS_SYNC));
	for (uint64_t i = 0; i < 3; i++)
		expect_byte(b->fd, end + 500 + i, 'z');
	expect_byte(fd, end + 500, 'z');
	expect_appended(PAGE + 100, 500);
	expect_byte(b->fd, end + 503, pattern_byte(b->seed, end + 503));
	expect_byte(b->fd, end + 999, pattern_byte(b->seed, end + 999));
	/* And zeroes are, too. */
	memset(p + end + 500, 0, 3);
	memset(p + end + 600, 0, 3);
	CHECK_OK(msync(p, 2 * PAGE, MS_SYNC));
	for (uint64_t i = 0; i < 3; i++) {
		expect_byte(b->fd, end + 500 + i, 0);
		expect_byte(b->fd, end + 600 + i, 0);
	}
	expect_byte(b->fd, end + 503, pattern_byte(b->seed, end + 503));
}

/* The page that FUSE takes for the last one is the server's, who does not answer. */
TEST(g5_append_behind_a_size_that_lags_beside_a_dirty_gap)
{
	struct tfile *f = srv_stored((struct srv_opts){ .threads = true }, NULL, end, &b, NULL);
	int fd = srv_open(f, O_RDWR), append_fd = srv_open(f, O_RDWR | O_APPEND);
	unsigned char *p;

	append(3 * PAGE - end);
	CHECK_ZERO(region_bind(f, 0, 0, b, 0, RW));
	CHECK_ZERO(region_unbind(f, 0, 2 * PAGE));
	p = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK(p != MAP_FAILED);
	srv_keep_dirty(f->srv);
	p[PAGE] = 'x';
	f->hang = 1u << OP_WRITE;
	CHECK_EQ(write(append_fd, "y", 1), 1);
	f->hang = 0;
	CHECK_OK(msync(p, 2 * PAGE, MS_SYNC));
	expect_byte(fd, PAGE, 'x');
	expect_byte(b->fd, 3 * PAGE, 'y');
}

/* The page shows what its server has behind that end, and undoes none of it when it is stored into. */
static void gap_that_others_made_longer(bool dirty)
{
	const size_t len = 2 * PAGE - end;
	struct tfile *f = srv_stored((struct srv_opts){ 0 }, NULL, end, &b, NULL);
	int fd = srv_open(f, O_RDWR), append_fd = srv_open(f, O_RDWR | O_APPEND);
	unsigned char *p, got[PAGE];

	CHECK_ZERO(region_bind(f, 0, 0, b, 0, RW));
	CHECK_ZERO(region_unbind(f, 0, 2 * PAGE));
	p = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK(p != MAP_FAILED);
	srv_keep_dirty(f->srv);
	CHECK_EQ(p[end], 0);
	if (dirty)
		p[PAGE] = 'x';
	append(3 * PAGE - end);
	f->size = 3 * PAGE;
	pattern_write(f->store->fd, f->seed, end, len);
	CHECK_EQ(write(append_fd, "y", 1), 1);
	CHECK_EQ(pread(fd, got, len, (off_t)end), len);
	CHECK_EQ(pattern_differs(got, f->seed, end, len), len);
	/* nobody waits for the server to take the page */
	CHECK_SOON(pattern_differs(p + end, f->seed, end, len) == len);
	p[PAGE] = 'x';
	CHECK_OK(msync(p, 2 * PAGE, MS_SYNC));
	CHECK_EQ(pread(fd, got, len, (off_t)end), len);
	CHECK_EQ(pattern_differs(got, f->seed, end, len), len);
	expect_byte(fd, PAGE, 'x');
}

TEST(m1_gap_that_others_made_longer)
{
	gap_that_others_made_longer(false);
}

TEST(m1_dirty_gap_that_others_made_longer)
{
	gap_that_others_made_longer(true);
}
