// SPDX-License-Identifier: GPL-2.0
/* M1: a page of FUSE's cache whose bytes are of several places, and of both sides of a file's end. */
#define _GNU_SOURCE
#include <pthread.h>
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

/* A started server with a file that ends there, and a registered backing of @size bytes */
static struct tfile *ends_there(struct srv_opts opts, uint64_t size)
{
	struct srv *s = srv_new(&opts);
	struct tfile *f = srv_store_file(s, "f", end);

	srv_start(s);
	b = backing_new(size);
	srv_register(s, b);
	return f;
}

static struct tfile *ends_in_region(struct srv_opts opts, uint32_t flags, unsigned char **p,
				    int *fd)
{
	struct tfile *f = ends_there(opts, SIZE);

	*fd = srv_open(f, O_RDWR);
	CHECK_ZERO(region_bind(f, 0, 4 * PAGE, b, 0, RW | flags));
	*p = mmap(NULL, 3 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, *fd, 0);
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
	struct tfile *f = ends_in_region((struct srv_opts){ 0 }, 0, &p, &fd);

	CHECK_EQ(pwrite(fd, "x", 1, 5 * PAGE), 1);
	expect_grown(f, p, fd, end);
}

TEST(m1_old_end_of_a_file_that_grows_in_its_region)
{
	unsigned char *p;
	int fd;
	struct tfile *f = ends_in_region((struct srv_opts){ 0 }, FUSE_REGION_GROW, &p, &fd);

	f->attr_of_backings = true;
	CHECK_EQ(pwrite(fd, "x", 1, 3 * PAGE), 1);
	f->size = 3 * PAGE + 1;
	expect_grown(f, p, fd, end);
}

TEST(m1_old_end_of_a_file_that_grows_by_truncate)
{
	unsigned char *p;
	int fd;
	struct tfile *f = ends_in_region((struct srv_opts){ 0 }, 0, &p, &fd);

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
	struct tfile *f = ends_in_region((struct srv_opts){ 0 }, 0, &p, &fd);

	p[PAGE] = 'x';
	CHECK_OK(fallocate(fd, 0, 2 * PAGE, PAGE));
	expect_grown(f, p, fd, end);
	CHECK_EQ(p[PAGE], 'x');
}

static void grow_by_copy(bool dirty, uint64_t to)
{
	loff_t in = 0, out = (loff_t)to;
	unsigned char *p;
	int fd;
	struct tfile *f = ends_in_region((struct srv_opts){ .copy = true }, 0, &p, &fd);

	if (dirty)
		p[PAGE] = 'x';
	CHECK_EQ(copy_file_range(fd, &in, fd, &out, 100, 0), 100);
	CHECK_EQ(srv_count(f, OP_COPY), 1);
	expect_grown(f, p, fd, end);
	CHECK_EQ(p[PAGE], dirty ? 'x' : pattern_byte(b->seed, PAGE));
}

TEST(m1_old_end_of_a_file_that_grows_by_copy)
{
	grow_by_copy(false, 5 * PAGE);
}

TEST(m1_old_dirty_end_of_a_file_that_grows_by_copy)
{
	grow_by_copy(true, 5 * PAGE);
}

struct mover {
	int fd;
	volatile unsigned char *p;
};

static void *move_end(void *arg)
{
	const struct mover *m = arg;

	CHECK_EQ(pwrite(m->fd, "x", 1, 8999), 1);
	return NULL;
}

static void *grow(void *arg)
{
	const struct mover *m = arg;

	CHECK_OK(fallocate(m->fd, 0, 0, 5 * PAGE));
	return NULL;
}

static void *store(void *arg)
{
	const struct mover *m = arg;

	m->p[2 * PAGE] = 'y';
	return NULL;
}

static void *copy(void *arg)
{
	const struct mover *m = arg;
	loff_t in = 0, out = 5 * PAGE;

	CHECK_EQ(copy_file_range(m->fd, &in, m->fd, &out, 100, 0), 100);
	return NULL;
}

/* All of its regions are gone: then stores wait for no copy. */
TEST(g6_store_beside_a_copy_into_a_file_without_regions)
{
	pthread_t copier, storer;
	unsigned char *p;
	struct mover m;
	int fd;
	struct tfile *f =
		ends_in_region((struct srv_opts){ .threads = true, .copy = true }, 0, &p, &fd);

	CHECK_ZERO(region_unbind(f, 0, 0));
	CHECK_OK(ftruncate(fd, 3 * PAGE - 100));
	m = (struct mover){ .fd = fd, .p = p };
	f->hang = 1u << OP_COPY;
	CHECK_ZERO(pthread_create(&copier, NULL, copy, &m));
	srv_until_hanging(f);
	CHECK_ZERO(pthread_create(&storer, NULL, store, &m));
	CHECK_ZERO(pthread_join(storer, NULL));
	CHECK_EQ(srv_count(f, OP_COPY), 1);
	CHECK_EQ(f->hanging, 1);
	f->hang = 0;
	CHECK_ZERO(pthread_join(copier, NULL));
}

/* The file ends elsewhere when it is fallocate()'s turn: then that page is the one. */
TEST(m1_old_end_that_moves_before_the_file_grows)
{
	const uint64_t moved = 9000;
	pthread_t mover, grower, storer;
	unsigned char got[PAGE], *p;
	struct mover m;
	int fd;
	struct tfile *f = ends_in_region((struct srv_opts){ .threads = true }, 0, &p, &fd);

	m = (struct mover){ .fd = fd, .p = p };
	p[0] = 'x'; /* the first store waits for nothing else then */
	f->hang = 1u << OP_WRITE;
	CHECK_ZERO(pthread_create(&mover, NULL, move_end, &m));
	srv_until_hanging(f);
	CHECK_ZERO(pthread_create(&grower, NULL, grow, &m));
	sleep_ms(200);
	f->hang = 1u << OP_FALLOCATE;
	CHECK_SOON(srv_count(f, OP_FALLOCATE) == 1);
	CHECK_ZERO(pthread_join(mover, NULL));
	CHECK_ZERO(pthread_create(&storer, NULL, store, &m));
	sleep_ms(200);
	f->hang = 0;
	CHECK_ZERO(pthread_join(grower, NULL));
	CHECK_ZERO(pthread_join(storer, NULL));
	CHECK_EQ(f->size, 5 * PAGE);
	CHECK_OK(msync(p, 3 * PAGE, MS_SYNC));
	CHECK_EQ(pattern_differs(p + moved, b->seed, moved, 3 * PAGE - moved), 3 * PAGE - moved);
	backing_bytes(b, got, moved, 3 * PAGE - moved);
	CHECK_EQ(pattern_differs(got, b->seed, moved, 3 * PAGE - moved), 3 * PAGE - moved);
	CHECK_EQ(p[2 * PAGE], 'y');
}

static int interrupted(struct srv *s, struct tfile *f, uint64_t off, size_t size)
{
	(void)s, (void)f, (void)off, (void)size;
	return EINTR;
}

/* The page that the file ends in cannot be written, and its server says that somebody was interrupted. */
TEST(m1_old_end_that_cannot_be_written_is_fsyncs_matter)
{
	struct tfile *f = ends_there((struct srv_opts){ 0 }, SIZE);
	int fd = srv_open(f, O_RDWR);
	unsigned char *p;

	CHECK_ZERO(region_bind(f, 0, PAGE, b, 0, RW));
	p = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK(p != MAP_FAILED);
	p[PAGE] = 'x';
	f->hook[OP_WRITE] = interrupted;
	CHECK_OK(ftruncate(fd, SIZE));
	CHECK_EQ(f->size, SIZE);
	CHECK_ERR(fsync(fd), EINTR);
	f->hook[OP_WRITE] = NULL;
}

/* The page that the file ends in is the server's, who does not answer. */
TEST(g5_write_that_grows_beside_a_dirty_gap)
{
	struct tfile *f = ends_there((struct srv_opts){ .threads = true }, 2 * PAGE);
	unsigned char *p;
	int fd;

	f->attr_of_backings = true;
	fd = srv_open(f, O_RDWR);
	CHECK_ZERO(region_bind(f, 2 * PAGE, 14 * PAGE, b, 2 * PAGE, RW | FUSE_REGION_GROW));
	p = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK(p != MAP_FAILED);
	srv_keep_dirty(f->srv);
	p[PAGE] = 'x';
	f->hang = 1u << OP_WRITE;
	CHECK_EQ(pwrite(fd, "y", 1, 2 * PAGE), 1);
	CHECK_EQ(f->hanging, 0);
	f->hang = 0;
	CHECK_OK(msync(p, 2 * PAGE, MS_SYNC));
	expect_byte(fd, PAGE, 'x');
	expect_byte(fd, 2 * PAGE, 'y');
}

static int no_space(struct srv *s, struct tfile *f, uint64_t off, size_t size)
{
	(void)s, (void)f, (void)off, (void)size;
	return ENOSPC;
}

/* Bytes of another page could not be written: fsync says so, and not who reads, or makes the file longer. */
TEST(w4_lost_bytes_are_fsyncs_matter)
{
	struct tfile *lower, *f = on_two_pages(&lower);
	int fd = srv_open(f, O_RDWR);
	unsigned char *p;

	CHECK_OK(ftruncate(fd, 3 * PAGE + 100));
	p = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK(p != MAP_FAILED);
	srv_keep_dirty(f->srv);
	lower->hook[OP_WRITE] = no_space;
	p[0] = 'x';
	CHECK_ERR(sync_file_range(fd, 0, PAGE, SYNC_FILE_RANGE_WRITE), ENOSPC);
	p[3 * PAGE] = 'y';
	expect_byte(fd, 3 * PAGE, 'y');
	p[3 * PAGE] = 'z';
	CHECK_OK(ftruncate(fd, SIZE));
	expect_byte(fd, 3 * PAGE, 'z');
	CHECK_ERR(fsync(fd), ENOSPC);
	lower->hook[OP_WRITE] = NULL;
}

/* The region ends with the file, in the middle of a page that is stored into; then the file grows behind it. */
TEST(m1_stored_page_whose_end_was_the_files)
{
	struct tfile *f = ends_there((struct srv_opts){ .threads = true }, 4 * PAGE);
	unsigned char *p, got;
	int fd;

	f->attr_of_backings = true;
	fd = srv_open(f, O_RDWR);
	CHECK_ZERO(region_bind(f, 0, end, b, 0, RW));
	CHECK_ZERO(region_bind(f, 2 * PAGE, PAGE, b, 2 * PAGE, RW | FUSE_REGION_GROW));
	p = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK(p != MAP_FAILED);
	p[end - 500] = 'x';
	CHECK_EQ(pwrite(fd, "y", 1, 2 * PAGE), 1);
	f->hang = 1u << OP_WRITE;
	CHECK_OK(sync_file_range(fd, 0, 2 * PAGE, SYNC_FILE_RANGE_WRITE));
	expect_byte(fd, end - 500, 'x');
	CHECK_EQ(f->hanging, 0);
	CHECK_EQ(pwrite(fd, "z", 1, (off_t)end - 500), 1);
	f->hang = 0;
	CHECK_OK(msync(p, 2 * PAGE, MS_SYNC));
	backing_bytes(b, &got, end - 500, 1);
	CHECK_EQ(got, 'z');
	expect_byte(fd, 2 * PAGE, 'y');
}
