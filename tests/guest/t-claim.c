// SPDX-License-Identifier: GPL-2.0
/* M1: bytes that are stored into through mappings are in one cache. */
#define _GNU_SOURCE
#include <sched.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "harness.h"

#define SIZE (64 * PAGE)

static struct backing *b, *c;

static struct tfile *file(void)
{
	return srv_stored((struct srv_opts){ 0 }, NULL, SIZE, &b, &c);
}

/* A file whose first 16 pages are in two backings */
static struct tfile *two_regions(int *fd)
{
	struct tfile *f = file();

	CHECK_ZERO(region_bind(f, 0, 8 * PAGE, b, 0, RW));
	CHECK_ZERO(region_bind(f, 8 * PAGE, 8 * PAGE, c, 8 * PAGE, RW));
	*fd = srv_open(f, O_RDWR);
	return f;
}

/* One mapping spans an edge, the other does not: each sees what the other stores. */
TEST(m1_spanning_mapping_beside_inner)
{
	unsigned char *outer, *inner, byte;
	int fd;

	two_regions(&fd);
	outer = map_file(fd, PROT_READ | PROT_WRITE, MAP_SHARED, 0, 16 * PAGE);
	outer[0] = 1;
	inner = map_file(fd, PROT_READ | PROT_WRITE, MAP_SHARED, 0, 8 * PAGE);
	CHECK_EQ(inner[0], 1);
	inner[100] = 2;
	CHECK_EQ(outer[100], 2);
	outer[200] = 3;
	CHECK_EQ(inner[200], 3);
	CHECK_OK(msync(outer, 16 * PAGE, MS_SYNC));
	for (unsigned char i = 0; i < 3; i++) {
		CHECK_EQ(pread(fd, &byte, 1, i * 100), 1);
		CHECK_EQ(byte, i + 1);
		CHECK_EQ(pread(b->fd, &byte, 1, i * 100), 1);
		CHECK_EQ(byte, i + 1);
	}
}

/* The server binds lazily: one mapping is older than the first region. */
TEST(m1_old_mapping_beside_new)
{
	struct tfile *f = file();
	int fd = srv_open(f, O_RDWR);
	unsigned char *old = map_file(fd, PROT_READ | PROT_WRITE, MAP_SHARED, 0, 8 * PAGE), *new;

	CHECK_ZERO(region_bind(f, 0, 8 * PAGE, b, 0, RW));
	old[0] = 1;
	new = map_file(fd, PROT_READ | PROT_WRITE, MAP_SHARED, 0, 8 * PAGE);
	new[100] = 2;
	CHECK_EQ(old[100], 2);
	CHECK_EQ(new[0], 1);
	CHECK_OK(msync(old, 8 * PAGE, MS_SYNC));
	CHECK_EQ(new[100], 2);
	CHECK_EQ(new[0], 1);
}

/* The other way round: nobody may store into a copy of what is stored into already. */
TEST(m2_spanning_mapping_behind_inner)
{
	unsigned char *inner, *outer;
	int fd;

	two_regions(&fd);
	inner = map_file(fd, PROT_READ | PROT_WRITE, MAP_SHARED, 0, 8 * PAGE);
	inner[0] = 1;
	outer = mmap(NULL, 16 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK(outer == MAP_FAILED && errno == ENODEV);
	outer = map_file(fd, PROT_READ, MAP_SHARED, 0, 16 * PAGE);
	CHECK_EQ(outer[0], 1);
	CHECK_ERR(mprotect(outer, PAGE, PROT_READ | PROT_WRITE), EACCES);
	munmap(outer, 16 * PAGE);
	munmap(inner, 8 * PAGE);
	outer = map_file(fd, PROT_READ | PROT_WRITE, MAP_SHARED, 0, 16 * PAGE);
	outer[1] = 2;
	CHECK_EQ(outer[0], 1);
}

/* FUSE's cache has the pages since before they were stored into through the backing. */
static void spanning_after_inner(int prot, bool gone)
{
	unsigned char *outer, *inner;
	int fd;

	two_regions(&fd);
	outer = map_file(fd, prot, MAP_SHARED, 0, 16 * PAGE);
	for (uint64_t i = 0; i < 16; i++)
		CHECK_EQ(outer[i * PAGE], pattern_byte((i < 8 ? b : c)->seed, i * PAGE));
	munmap(outer, 16 * PAGE);
	inner = map_file(fd, PROT_READ | PROT_WRITE, MAP_SHARED, 2 * PAGE, 4 * PAGE);
	for (uint64_t i = 0; i < 4; i++)
		inner[i * PAGE + 100] = (unsigned char)i;
	if (gone)
		munmap(inner, 4 * PAGE);
	outer = map_file(fd, prot, MAP_SHARED, 0, 16 * PAGE);
	for (uint64_t i = 0; i < 4; i++)
		CHECK_EQ(outer[(2 + i) * PAGE + 100], i);
	if (!(prot & PROT_WRITE))
		return;
	for (uint64_t i = 0; i < 16; i++)
		outer[i * PAGE] = 77;
	CHECK_OK(msync(outer, 16 * PAGE, MS_SYNC));
	for (uint64_t i = 0; i < 4; i++) {
		unsigned char byte;

		CHECK_EQ(pread(fd, &byte, 1, (off_t)((2 + i) * PAGE + 100)), 1);
		CHECK_EQ(byte, i);
	}
}

TEST(m1_spanning_mapping_after_inner)
{
	spanning_after_inner(PROT_READ | PROT_WRITE, true);
}

TEST(m1_spanning_reader_after_inner)
{
	spanning_after_inner(PROT_READ, true);
}

TEST(m1_new_spanning_reader_beside_inner)
{
	spanning_after_inner(PROT_READ, false);
}

/*
 * A mapping of FUSE's cache, which ends where a region begins that is stored into
 * through its backing. Behind the mapping the address space is free.
 */
static unsigned char *spanning_below_inner(int *fd, unsigned char **inner)
{
	unsigned char *outer = map_file(-1, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, 0, 32 * PAGE);
	struct tfile *f = two_regions(fd);

	CHECK_ZERO(region_bind(f, 24 * PAGE, 8 * PAGE, b, 24 * PAGE, RW));
	*inner = map_file(*fd, PROT_READ | PROT_WRITE, MAP_SHARED, 24 * PAGE, 8 * PAGE);
	(*inner)[0] = 1;
	munmap(outer, 32 * PAGE);
	outer = map_file(*fd, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, 4 * PAGE, 20 * PAGE);
	outer[0] = 1;
	return outer;
}

/* MM asks nobody when it makes a mapping longer: it must not reach those pages. */
TEST(m1_spanning_mapping_grows_over_inner)
{
	unsigned char *outer, *inner;
	int fd;

	outer = spanning_below_inner(&fd, &inner);
	CHECK(mremap(outer, 20 * PAGE, 28 * PAGE, MREMAP_MAYMOVE) == MAP_FAILED);
	CHECK(mremap(outer, 0, 28 * PAGE, MREMAP_MAYMOVE) == MAP_FAILED);
	CHECK_EQ(outer[0], 1);
}

TEST(m1_spanning_mapping_merges_over_inner)
{
	unsigned char *outer, *inner, *p;
	int fd;

	outer = spanning_below_inner(&fd, &inner);
	/* It spans an edge, too, so that it can only be FUSE's cache. */
	p = mmap(outer + 20 * PAGE, 12 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd,
		 24 * PAGE);
	CHECK(p == MAP_FAILED && errno == ENODEV);
	CHECK_EQ(outer[0], 1);
}

/* Here it is the other mapping that grows, as that of a whole file may. */
TEST(m1_spanning_mapping_behind_whole_one_that_grew)
{
	struct tfile *f = file();
	int fd = srv_open(f, O_RDWR);
	unsigned char *p;

	CHECK_ZERO(region_bind(f, 0, 0, b, 0, RW));
	p = map_file(fd, PROT_READ | PROT_WRITE, MAP_SHARED, 0, 4 * PAGE);
	p = mremap(p, 4 * PAGE, 16 * PAGE, MREMAP_MAYMOVE);
	CHECK(p != MAP_FAILED);
	p[8 * PAGE] = 1;
	CHECK_ZERO(region_unbind(f, 10 * PAGE, PAGE));
	p = mmap(NULL, 8 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 6 * PAGE);
	CHECK(p == MAP_FAILED && errno == ENODEV);
}

/* And it may be moved to pages in front of its own. */
TEST(m1_spanning_mapping_beside_whole_one_that_moves)
{
	struct tfile *f = file();
	int fd = srv_open(f, O_RDWR);
	unsigned char *p;

	CHECK_ZERO(region_bind(f, 0, 0, b, 0, RW));
	p = map_file(fd, PROT_READ | PROT_WRITE, MAP_SHARED, 4 * PAGE, 2 * PAGE);
	CHECK_ZERO(region_unbind(f, 2 * PAGE, PAGE));
	CHECK(mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED);
	CHECK_EQ(errno, ENODEV);
	CHECK_ZERO(remap_file_pages(p, PAGE, 0, 0, 0));
	CHECK_EQ(p[5], pattern_byte(b->seed, 5));
}

/* A process that maps at the same instant as another one, again and again */
struct mapper {
	int fd;
	size_t len;
	int prot;
	bool failed, wrong; /* as of now */
	unsigned int maps; /* turns in which it has */
};

static void *shared(size_t len)
{
	return map_file(-1, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, 0, len);
}

/* Both processes are here. */
static void meet(atomic_int *met)
{
	int turn = atomic_fetch_add(met, 1) / 2;

	while (atomic_load(met) / 2 == turn)
		sched_yield();
}

/* One turn of it: what the other one stores is seen. */
static void map_beside(struct mapper *me, const struct mapper *other, atomic_int *met, int delay,
		       unsigned char value)
{
	size_t mine = (size_t)(me > other) + 1, its = 3 - mine;
	unsigned char *p;

	meet(met);
	for (volatile int spin = delay; spin > 0; spin--)
		;
	p = mmap(NULL, me->len, me->prot, MAP_SHARED, me->fd, 0);
	me->failed = p == MAP_FAILED;
	me->maps += !me->failed;
	if (!me->failed)
		(void)*(volatile unsigned char *)p;
	meet(met);
	if (!me->failed && (me->prot & PROT_WRITE))
		p[mine] = value;
	meet(met);
	me->wrong = !me->failed && !other->failed && (other->prot & PROT_WRITE) && p[its] != value;
	meet(met);
	if (!me->failed)
		munmap(p, me->len);
}

static struct mapper *map_at_once(struct mapper first, struct mapper second)
{
	struct mapper *m = shared(2 * sizeof(*m));
	atomic_int *met = shared(sizeof(*met));
	unsigned int me;
	pid_t child;

	m[0] = first;
	m[1] = second;
	child = (pid_t)CHECK_OK(fork());
	me = child == 0;
	for (int i = 1; i <= 400 && !m[0].wrong && !m[1].wrong; i++) {
		/* Each is the later one at times. */
		map_beside(&m[me], &m[!me], met, i % 2 == (int)me ? i % 50 * 20 : 0,
			   (unsigned char)i);
		meet(met);
	}
	if (!child)
		_exit(0);
	CHECK_EQ(waitpid(child, NULL, 0), child);
	CHECK(!m[0].wrong && !m[1].wrong);
	return m;
}

#define RDWR (PROT_READ | PROT_WRITE)

TEST(m1_spanning_mapping_and_inner_at_once)
{
	struct mapper *m;
	int fd;

	two_regions(&fd);
	m = map_at_once((struct mapper){ .fd = fd, .len = 16 * PAGE, .prot = RDWR },
			(struct mapper){ .fd = fd, .len = 8 * PAGE, .prot = RDWR });
	/* The other one may be refused. */
	CHECK(m[0].maps);
	CHECK_EQ(m[1].maps, 400);
}

/* Both map the backing, and so does a third all the time. */
TEST(m3_inner_mappings_at_once)
{
	struct mapper *m;
	int fd;

	two_regions(&fd);
	map_file(fd, RDWR, MAP_SHARED, 0, 8 * PAGE)[0] = 1;
	m = map_at_once((struct mapper){ .fd = fd, .len = 8 * PAGE, .prot = RDWR },
			(struct mapper){ .fd = fd, .len = 8 * PAGE, .prot = RDWR });
	CHECK_EQ(m[0].maps, 400);
	CHECK_EQ(m[1].maps, 400);
}

TEST(m1_reader_and_inner_at_once)
{
	struct mapper *m;
	struct tfile *f;
	int fd;

	f = two_regions(&fd);
	m = map_at_once(
		(struct mapper){ .fd = srv_open(f, O_RDONLY), .len = 8 * PAGE, .prot = PROT_READ },
		(struct mapper){ .fd = fd, .len = 8 * PAGE, .prot = RDWR });
	CHECK_EQ(m[0].maps, 400);
	CHECK_EQ(m[1].maps, 400);
}

/* A window of FUSE's cache elsewhere keeps nobody from what he has mapped already. */
TEST(m3_inner_mapping_again_beside_spanning_one)
{
	unsigned char *outer, *inner, *again;
	int fd;

	outer = spanning_below_inner(&fd, &inner);
	again = map_file(fd, RDWR, MAP_SHARED, 24 * PAGE, 8 * PAGE);
	again[1] = 2;
	CHECK_EQ(inner[1], 2);
	CHECK_EQ(outer[0], 1);
}

/* Who only reads the whole file keeps nobody from mapping, and storing into, a region of it. */
TEST(m3_region_beside_reader_of_all)
{
	unsigned char *all, *p, *q;
	int fd;

	two_regions(&fd);
	p = map_file(fd, PROT_READ | PROT_WRITE, MAP_SHARED, 0, 8 * PAGE);
	all = map_file(fd, PROT_READ, MAP_PRIVATE, 0, 16 * PAGE);
	CHECK_EQ(all[0], p[0]);
	q = map_file(fd, PROT_READ | PROT_WRITE, MAP_SHARED, 0, 8 * PAGE);
	q[0] = 9;
	CHECK_EQ(p[0], 9);
}
