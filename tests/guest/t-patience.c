// SPDX-License-Identifier: GPL-2.0
/* What one user of a mount does slowly does not hold up the others, nor the server. */
#define _GNU_SOURCE
#include <sys/mman.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include "harness.h"

#define SIZE (32 * PAGE)
#define LONG (16 * MIB)

/* A disk that takes its time */
static int slow(struct srv *s, struct tfile *f, uint64_t off, size_t size)
{
	(void)s, (void)f, (void)off, (void)size;
	sleep_ms(150);
	return 0;
}

/* Two files of one server, and a backing of the first that takes @ms for each request */
static struct tfile *on_slow_backing(struct backing **b)
{
	struct srv *disk = srv_new(&(struct srv_opts){ .no_attach = true });
	struct tfile *lower = srv_file(disk, "lower", LONG), *f;
	struct srv *s = srv_new(NULL);

	srv_start(disk);
	lower->direct_io = true;
	lower->hook[OP_READ] = slow;
	f = srv_file(s, "f", 2 * LONG);
	srv_file(s, "g", SIZE);
	srv_start(s);
	*b = backing_from_fd(srv_open(lower, O_RDONLY));
	(*b)->seed = lower->seed;
	srv_register(s, *b);
	return f;
}

/* All of a file in one call, which takes seconds; the other file's region goes meanwhile. */
TEST(g2_unbind_beside_a_long_read)
{
	struct backing *b;
	struct tfile *f = on_slow_backing(&b), *g = f + 1;
	uint64_t begun, took;
	unsigned char *buf;
	int fd, in, status;
	pid_t pid;

	fd = srv_open(f, O_RDONLY);
	in = srv_open(g, O_RDONLY);
	CHECK_ZERO(region_bind(f, 5, LONG - 5, b, 5, 0));
	CHECK_ZERO(region_bind(g, 0, SIZE, b, 0, 0));
	pid = test_fork();
	if (!pid) {
		buf = direct_alloc(LONG);
		CHECK_EQ(pread(fd, buf, LONG - 10, 10), LONG - 10);
		CHECK_EQ(pattern_differs(buf, b->seed, 10, LONG - 10), LONG - 10);
		_exit(0);
	}
	sleep_ms(300);
	begun = now_ms();
	CHECK_ZERO(region_unbind(g, 0, 0));
	took = now_ms() - begun;
	note("the unbind took %llu ms", (unsigned long long)took);
	CHECK_EQ(waitpid(pid, &status, WNOHANG), 0);
	CHECK(took < 1000);
	CHECK_EQ(wait_exit(pid), 0);
	expect_read(g, in, 0, SIZE);
}

/* It sees one state of the map, though that changes in the middle of it. */
TEST(g3_long_read_beside_replacements)
{
	struct backing *b[2];
	struct tfile *f = srv_simple(LONG);
	unsigned char *buf = direct_alloc(LONG);
	int fd = srv_open(f, O_RDONLY);
	int changes = 0;
	bool *stop = shared_alloc(sizeof(*stop));
	pid_t pid;

	for (int i = 0; i < 2; i++) {
		b[i] = backing_new(LONG);
		srv_register(f->srv, b[i]);
	}
	CHECK_ZERO(region_bind(f, 0, LONG, b[0], 0, 0));
	pid = test_fork();
	if (!pid) {
		for (; !__atomic_load_n(stop, __ATOMIC_SEQ_CST); changes++) {
			CHECK_ZERO(region_bind(f, 0, LONG, b[changes % 2], 0,
					       FUSE_REGION_READ | FUSE_REGION_REPLACE));
			sleep_ms((unsigned int)rnd_below(20));
		}
		_exit(changes > 3 ? 0 : 1);
	}
	for (uint64_t until = now_ms() + test_storm_ms(4000); now_ms() < until;) {
		CHECK_EQ(pread(fd, buf, LONG, 0), LONG);
		if (pattern_differs(buf, b[0]->seed, 0, LONG) != LONG)
			CHECK_EQ(pattern_differs(buf, b[1]->seed, 0, LONG), LONG);
	}
	__atomic_store_n(stop, true, __ATOMIC_SEQ_CST);
	CHECK_EQ(wait_exit(pid), 0);
	free(buf);
}
