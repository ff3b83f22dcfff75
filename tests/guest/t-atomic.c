// SPDX-License-Identifier: GPL-2.0
/* I4, I5: a message that fails leaves nothing behind, whatever it fails for; and the limits. */
#define _GNU_SOURCE
#include "harness.h"

#define SIZE (128 * PAGE)
#define FILLER 20 /* good records before the bad one */

static struct backing *b, *c;

static struct tfile *some_regions(void)
{
	struct tfile *f = srv_simple(SIZE);

	b = backing_new(SIZE);
	c = backing_new(SIZE);
	close(srv_open(f, O_RDONLY));
	srv_register(f->srv, b);
	srv_register(f->srv, c);
	for (uint64_t i = 0; i < 10; i++)
		CHECK_ZERO(region_bind(f, i * 3 * PAGE, 2 * PAGE + i, b, i * 100, 0));
	return f;
}

static void expect_all(struct tfile *f)
{
	int fd = srv_open(f, O_RDONLY);

	expect_file(f, fd, SIZE);
	expect_random_reads(f, fd, 20, 0, SIZE, 3 * PAGE);
	close(fd);
}

/*
 * A message whose first records replace, cut and unbind nearly everything, and
 * whose last one fails. Nothing of it may show, nor be left in the way.
 */
static void fails_at_the_end(struct tfile *f, int err, struct fuse_passthrough_region bad)
{
	struct fuse_passthrough_region recs[FILLER + 1];

	for (uint64_t i = 0; i < FILLER; i++) {
		uint64_t off = i * 5 * PAGE + rnd_below(PAGE), len = 1 + rnd_below(4 * PAGE);

		if (i % 4 == 3)
			recs[i] = REC(off, len, 0, 0, FUSE_REGION_UNBIND);
		else
			recs[i] = REC(off, len, c->id, i, FUSE_REGION_READ | FUSE_REGION_REPLACE);
	}
	recs[FILLER] = bad;
	CHECK_NEG(region_msg(f->srv->ctl, f->nodeid, recs, FILLER + 1), err);
	expect_all(f);
	/* What the message would have bound is still free, what it would have freed still taken. */
	CHECK_ZERO(region_bind(f, 120 * PAGE, PAGE, c, 0, 0));
	CHECK_NEG(region_bind(f, 0, 1, c, 0, 0), EEXIST);
	expect_all(f);
}

TEST(i3_atomic_eexist)
{
	struct tfile *f = some_regions();

	/* overlaps a region that was there, and then one of the message itself */
	fails_at_the_end(f, EEXIST, REC(5 * PAGE, SIZE - 5 * PAGE, c->id, 0, FUSE_REGION_READ));
}

TEST(i3_atomic_eexist_within_the_message)
{
	struct tfile *f = some_regions();
	struct fuse_passthrough_region recs[2];

	recs[0] = REC(100 * PAGE, PAGE, c->id, 0, FUSE_REGION_READ);
	recs[1] = REC(100 * PAGE + 5, 1, c->id, 0, FUSE_REGION_READ);
	CHECK_NEG(region_msg(f->srv->ctl, f->nodeid, recs, 2), EEXIST);
	expect_all(f);
}

TEST(i3_atomic_einval)
{
	struct tfile *f = some_regions();

	fails_at_the_end(f, EINVAL, REC(1, 0, c->id, 0, FUSE_REGION_READ));
}

TEST(i3_atomic_einval_wrap)
{
	struct tfile *f = some_regions();

	fails_at_the_end(f, EINVAL, REC(UINT64_MAX, 2, c->id, 0, FUSE_REGION_READ));
}

TEST(i3_atomic_einval_reserved)
{
	struct fuse_passthrough_region bad;
	struct tfile *f = some_regions();

	bad = REC(0, 1, c->id, 0, FUSE_REGION_READ | FUSE_REGION_REPLACE);
	bad.reserved = 1;
	fails_at_the_end(f, EINVAL, bad);
}

TEST(i3_atomic_enoent_backing)
{
	struct tfile *f = some_regions();

	fails_at_the_end(f, ENOENT, REC(0, 1, 9999, 0, FUSE_REGION_READ | FUSE_REGION_REPLACE));
}

TEST(i3_atomic_ebadf)
{
	struct tfile *f = some_regions();
	int ro = raw_backing_open(f->srv->ctl, backing_reopen(b, O_RDONLY));

	fails_at_the_end(f, EBADF,
			 REC(0, 1, (uint32_t)ro, 0, FUSE_REGION_WRITE | FUSE_REGION_REPLACE));
}

TEST(i3_atomic_enospc)
{
	struct tfile *f;

	close(raw_device());
	module_param_set("max_regions", 54);
	f = some_regions();
	for (uint64_t i = 0; i < 40; i++)
		CHECK_ZERO(region_bind(f, 110 * PAGE + i * 20, 10, b, i, 0));
	/* the filler makes more than ten; the last record is good, but one too many */
	fails_at_the_end(f, ENOSPC, REC(121 * PAGE, 1, c->id, 0, FUSE_REGION_READ));
}

TEST(i5_limits_readable_and_settable)
{
	static const char *const names[] = { "max_backings", "max_regions", "max_records" };

	close(raw_device());
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		CHECK(module_param(names[i]) > 0);
		module_param_set(names[i], 17);
		CHECK_EQ(module_param(names[i]), 17);
	}
}

/* Whatever a system's administrator sets there, the module survives it. */
TEST(i5_limits_extremes)
{
	close(raw_device());
	module_param_set("max_records", 0);
	module_param_set("max_regions", 0);
	module_param_set("max_backings", 0);
	{
		struct tfile *f = srv_simple(SIZE);

		b = backing_new(PAGE);
		close(srv_open(f, O_RDONLY));
		CHECK_NEG(raw_backing_open(f->srv->ctl, b->fd), ENOSPC);
		b->id = 1;
		CHECK(region_bind(f, 0, 1, b, 0, 0) < 0);
		expect_all(f);
	}
	CHECK_ZERO(sh("for p in max_records max_regions max_backings; do "
		      "echo 4294967295 >/sys/module/fuse_regions/parameters/$p; done; true"));
	expect_all(some_regions());
}

TEST(i5_max_regions_enospc)
{
	struct tfile *f;

	close(raw_device());
	module_param_set("max_regions", 13);
	f = some_regions(); /* ten of them */
	CHECK_EQ(f->srv->attach.max_regions, 13);
	for (uint64_t i = 0; i < 3; i++)
		CHECK_ZERO(region_bind(f, 100 * PAGE + 2 * i, 1, b, 0, 0));
	CHECK_NEG(region_bind(f, 110 * PAGE, 1, b, 0, 0), ENOSPC);
	expect_all(f);
	/* one makes room for one */
	CHECK_ZERO(region_unbind(f, 100 * PAGE, 1));
	CHECK_ZERO(region_bind(f, 110 * PAGE, 1, b, 0, 0));
	CHECK_NEG(region_bind(f, 111 * PAGE, 1, b, 0, 0), ENOSPC);
	expect_all(f);
}

/* A cut in the middle makes one more of them, though it asks for less. */
TEST(i5_max_regions_counts_cuts)
{
	struct tfile *f;

	close(raw_device());
	module_param_set("max_regions", 10);
	f = some_regions();
	CHECK_NEG(region_unbind(f, PAGE, 10), ENOSPC);
	CHECK_NEG(region_bind(f, PAGE, 10, c, 0, FUSE_REGION_REPLACE), ENOSPC);
	expect_all(f);
	CHECK_ZERO(region_unbind(f, 0, 10));
	CHECK_ZERO(region_bind(f, 0, 30 * PAGE, c, 0, FUSE_REGION_REPLACE));
	expect_all(f);
}

/* What counts is how many there are after the message, not on the way. */
TEST(i5_max_regions_counts_the_outcome)
{
	struct fuse_passthrough_region recs[3];
	struct backing *bs[3];
	struct tfile *f;

	close(raw_device());
	module_param_set("max_regions", 10);
	f = some_regions();
	recs[0] = REC(100 * PAGE, PAGE, c->id, 0, FUSE_REGION_READ);
	recs[1] = REC(102 * PAGE, PAGE, c->id, 0, FUSE_REGION_READ);
	recs[2] = REC(0, 6 * PAGE, 0, 0, FUSE_REGION_UNBIND);
	bs[0] = bs[1] = c;
	CHECK_ZERO(region_send(f, recs, 3, bs));
	expect_all(f);
}

/* Who has more than a limit that was lowered can give some up, one by one. */
TEST(i5_max_regions_lowered)
{
	struct tfile *f = some_regions(); /* ten of them */

	module_param_set("max_regions", 5);
	CHECK_NEG(region_unbind(f, PAGE, 10), ENOSPC);
	CHECK_NEG(region_bind(f, 100 * PAGE, 1, b, 0, 0), ENOSPC);
	CHECK_ZERO(region_unbind(f, 0, 2 * PAGE));
	CHECK_ZERO(region_bind(f, 0, 0, b, 0, FUSE_REGION_REPLACE));
	expect_all(f);
}

TEST(i5_limit_is_per_inode)
{
	struct srv *s;
	struct tfile *f, *g;

	close(raw_device());
	module_param_set("max_regions", 2);
	s = srv_new(NULL);
	f = srv_file(s, "f", SIZE);
	g = srv_file(s, "g", SIZE);
	srv_start(s);
	b = backing_new(SIZE);
	srv_register(s, b);
	close(srv_open(f, O_RDONLY));
	close(srv_open(g, O_RDONLY));
	for (uint64_t i = 0; i < 2; i++) {
		CHECK_ZERO(region_bind(f, 2 * i, 1, b, 0, 0));
		CHECK_ZERO(region_bind(g, 2 * i, 1, b, 0, 0));
	}
	CHECK_NEG(region_bind(f, 10, 1, b, 0, 0), ENOSPC);
	CHECK_NEG(region_bind(g, 10, 1, b, 0, 0), ENOSPC);
}

/* Bytes that this control group is charged for now */
static long long charged(const char *dir)
{
	char path[256];
	long long n = -1;
	FILE *file;

	snprintf(path, sizeof(path), "%s/memory.current", dir);
	file = fopen(path, "r");
	CHECK(file);
	CHECK_EQ(fscanf(file, "%lld", &n), 1);
	fclose(file);
	return n;
}

/* A server can't make the kernel keep more regions than its memory limit has room for. */
TEST(i5_memory_is_charged)
{
	struct fuse_passthrough_region *recs = malloc(1000 * sizeof(*recs));
	long long before, after;
	const char *dir = join_memory_group(NULL);
	struct tfile *f = some_regions();

	before = charged(dir);
	for (uint64_t i = 0; i < 50; i++) {
		for (uint64_t j = 0; j < 1000; j++)
			recs[j] = REC((i * 1000 + j) * 10 + SIZE, 5, b->id, 0, FUSE_REGION_READ);
		CHECK_ZERO(region_msg(f->srv->ctl, f->nodeid, recs, 1000));
	}
	after = charged(dir);
	note("%lld bytes charged for each region", (after - before) / 50000);
	/* Some 35; but each processor has up to 64 pages in hand, charged before they are wanted */
	CHECK(after - before > 50000ll * 35 - 2 * 64 * 4096 - 64 * 4096);
	free(recs);
}
