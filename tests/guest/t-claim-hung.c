// SPDX-License-Identifier: GPL-2.0
/*
 * M1, M3: new mappings beside others that are being made, or whose pages are being
 * written or filled, for as long as a backing hangs.
 */
#define _GNU_SOURCE
#include <sys/mman.h>
#include <sys/wait.h>

#include "harness.h"

#define SIZE (64 * PAGE)
#define RDWR (PROT_READ | PROT_WRITE)

static struct backing *hangs, *c;

/* A file whose first 16 pages are in two backings, of which the first is a file of another server: that. */
static struct tfile *two_regions_one_hangs(struct tfile **lower, int *fd)
{
	struct srv *plain = srv_new(&(struct srv_opts){ .no_attach = true, .threads = true });
	struct backing *unused;
	struct tfile *f;

	*lower = srv_store_file(plain, "lower", SIZE);
	(*lower)->keep_cache = true; /* else opening it waits for pages that are read */
	srv_start(plain);
	f = srv_stored((struct srv_opts){ 0 }, NULL, SIZE, &unused, &c);
	hangs = backing_from_fd(srv_open(*lower, O_RDWR));
	srv_register(f->srv, hangs);
	CHECK_ZERO(region_bind(f, 0, 8 * PAGE, hangs, 0, RW));
	CHECK_ZERO(region_bind(f, 8 * PAGE, 8 * PAGE, c, 8 * PAGE, RW));
	*fd = srv_open(f, O_RDWR);
	return f;
}

/*
 * A mapping is gone for MM before all that was stored through it has been written
 * back; here that hangs at its first page, which is on another server. What is stored
 * meanwhile through the backing of the last page stays.
 */
TEST(m1_inner_beside_end_of_spanning_mapping)
{
	struct tfile *lower;
	unsigned char *p;
	pid_t child;
	int fd;

	two_regions_one_hangs(&lower, &fd);
	child = test_fork();
	if (!child) {
		p = map_file(fd, RDWR, MAP_SHARED, 0, 16 * PAGE);
		p[0] = 1;
		p[15 * PAGE + 1] = 1;
		lower->hang = 1u << OP_WRITE;
		munmap(p, 16 * PAGE);
		_exit(0);
	}
	srv_until_hanging(lower);
	p = map_file(fd, RDWR, MAP_SHARED, 8 * PAGE, 8 * PAGE);
	p[7 * PAGE + 2] = 2;
	lower->hang = 0;
	CHECK_EQ(waitpid(child, NULL, 0), child);
	expect_byte(fd, 15 * PAGE + 1, 1);
	expect_byte(fd, 15 * PAGE + 2, 2);
	expect_byte(c->fd, 15 * PAGE + 1, 1);
	expect_byte(c->fd, 15 * PAGE + 2, 2);
}

/* Who hangs while he maps another region, whose backing does not open, is in nobody's way. */
TEST(m3_inner_beside_hung_mapping)
{
	unsigned char *p, *q;
	struct tfile *lower;
	pid_t child;
	int fd;

	two_regions_one_hangs(&lower, &fd);
	p = map_file(fd, RDWR, MAP_SHARED, 8 * PAGE, 8 * PAGE);
	p[0] = 1;
	munmap(map_file(fd, RDWR, MAP_SHARED, 16 * PAGE, 4 * PAGE), 4 * PAGE);
	lower->hang = 1u << OP_OPEN;
	child = test_fork();
	if (!child) {
		map_file(fd, RDWR, MAP_SHARED, 0, 8 * PAGE);
		_exit(0);
	}
	srv_until_hanging(lower);
	q = map_file(fd, RDWR, MAP_SHARED, 8 * PAGE, 8 * PAGE);
	q[1] = 2;
	CHECK_EQ(p[1], 2);
	lower->hang = 0;
	CHECK_EQ(waitpid(child, NULL, 0), child);
}

/*
 * So is who hangs because pages of before are written back, be they stored into while he
 * opened the backing. What others have mapped, in both caches, can be mapped once more.
 */
TEST(m3_mappings_beside_hung_flush)
{
	struct tfile *lower, *f;
	pid_t unmaps, maps;
	unsigned char *p, *q;
	int fd;

	f = two_regions_one_hangs(&lower, &fd);
	CHECK_ZERO(region_bind(f, 24 * PAGE, 8 * PAGE, c, 24 * PAGE, RW));
	munmap(map_file(fd, RDWR, MAP_SHARED, 24 * PAGE, 8 * PAGE), 8 * PAGE);
	lower->hang = 1u << OP_OPEN;
	maps = test_fork();
	if (!maps) {
		map_file(fd, RDWR, MAP_SHARED, 0, 8 * PAGE);
		_exit(0);
	}
	srv_until_hanging(lower);
	unmaps = test_fork();
	if (!unmaps) {
		p = map_file(fd, RDWR, MAP_SHARED, 0, 16 * PAGE);
		p[0] = 1;
		lower->hang |= 1u << OP_WRITE;
		munmap(p, 16 * PAGE);
		_exit(0);
	}
	CHECK_SOON(lower->hanging == 2);
	lower->hang = 1u << OP_WRITE;
	CHECK_SOON(lower->hanging == 1);
	sleep_ms(200); /* until it hangs once more */
	map_file(fd, RDWR, MAP_SHARED, 20 * PAGE, PAGE);
	p = map_file(fd, RDWR, MAP_SHARED, 24 * PAGE, 8 * PAGE);
	map_file(fd, RDWR, MAP_SHARED, 40 * PAGE, PAGE);
	q = map_file(fd, RDWR, MAP_SHARED, 24 * PAGE, 8 * PAGE);
	p[1] = 2;
	CHECK_EQ(q[1], 2);
	expect_byte(c->fd, 24 * PAGE + 1, 2);
	CHECK_ZERO(waitpid(maps, NULL, WNOHANG));
	lower->hang = 0;
	CHECK_EQ(waitpid(maps, NULL, 0), maps);
	CHECK_EQ(waitpid(unmaps, NULL, 0), unmaps);
}

/* A page that somebody fills has nothing to be written, though others of the file have. */
TEST(m3_inner_beside_page_that_is_filled)
{
	unsigned char *gap, *p;
	struct tfile *lower;
	pid_t reads;
	int fd;

	two_regions_one_hangs(&lower, &fd);
	munmap(map_file(fd, RDWR, MAP_SHARED, 8 * PAGE, 8 * PAGE), 8 * PAGE);
	gap = map_file(fd, RDWR, MAP_SHARED, 20 * PAGE, PAGE);
	gap[0] = 1;
	lower->hang = 1u << OP_READ;
	reads = test_fork();
	if (!reads) {
		p = map_file(fd, PROT_READ, MAP_PRIVATE, 0, 16 * PAGE);
		(void)*(volatile unsigned char *)p;
		_exit(0);
	}
	srv_until_hanging(lower);
	p = map_file(fd, RDWR, MAP_SHARED, 0, 8 * PAGE);
	lower->hang = 0;
	CHECK_ZERO(wait_exit(reads));
	p[1] = 2;
	expect_byte(hangs->fd, 1, 2); /* it is the backing's own page */
	CHECK_EQ(gap[0], 1);
}

/* What can't be written back keeps a mapping from its backing: it has FUSE's cache, and does not wait for itself. */
TEST(m3_whole_file_beside_page_that_the_server_takes)
{
	struct tfile *f = srv_stored((struct srv_opts){ .threads = true }, NULL, SIZE, &hangs, &c);
	int fd = srv_open(f, O_RDWR);
	unsigned char *p;
	pid_t unmaps;

	unmaps = test_fork();
	if (!unmaps) {
		p = map_file(fd, RDWR, MAP_SHARED, 10 * PAGE, PAGE);
		p[0] = 1;
		f->hang = 1u << OP_WRITE;
		munmap(p, PAGE);
		_exit(0);
	}
	srv_until_hanging(f);
	CHECK_ZERO(region_bind(f, 0, 0, hangs, 0, RW));
	p = map_file(fd, RDWR, MAP_SHARED, 0, 4 * PAGE);
	f->hang = 0;
	p[0] = 2;
	CHECK_EQ(waitpid(unmaps, NULL, 0), unmaps);
	CHECK_OK(msync(p, 4 * PAGE, MS_SYNC));
	expect_byte(hangs->fd, 0, 2);
	expect_byte(fd, 10 * PAGE, 1);
}
