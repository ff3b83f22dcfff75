// SPDX-License-Identifier: GPL-2.0
/* G2 for writes: what an unbind or a replace removed is written to no more. */
#define _GNU_SOURCE
#include "harness.h"

#define SIZE (32 * PAGE)
#define LEN (4 * PAGE)
#define POISON 0xEE

static struct backing *b, *c;

struct writer {
	int fd;
	unsigned char *poison;
};

static void write_poison(void *arg)
{
	const struct writer *w = arg;
	uint64_t off = rnd_below((SIZE - LEN) / PAGE + 1) * PAGE;

	CHECK_EQ(pwrite(w->fd, w->poison, LEN, (off_t)off), LEN);
}

/*
 * Writers are at it all the time. What they wrote to the backing before it was
 * removed is overwritten then, and must not come again. A late direct write is
 * seen where it finds clean pages, which it drops.
 */
static void unbind_and_restore(const char *dir, int open_flags, bool by_replace)
{
	struct tfile *f = srv_stored((struct srv_opts){ 0 }, dir, SIZE, &b, &c);
	struct writer w = { .fd = srv_open(f, O_RDWR | open_flags), .poison = direct_alloc(LEN) };
	const uint32_t flags = RW | FUSE_REGION_REPLACE;
	unsigned char *good = malloc(SIZE), *buf = malloc(SIZE);
	uint64_t until = now_ms() + test_storm_ms(2500);
	struct threads writers;
	int rounds;

	memset(w.poison, POISON, LEN);
	pattern_fill(good, b->seed, 0, SIZE);
	threads_start(&writers, 3, write_poison, &w);
	for (rounds = 0; now_ms() < until; rounds++) {
		/* not in the model: whatever comes to the server is its store's */
		struct fuse_passthrough_region rec = REC(0, SIZE, b->id, 0, flags);
		size_t right;

		CHECK_ZERO(region_msg(f->srv->ctl, f->nodeid, &rec, 1));
		threads_progress(&writers, 3);
		rec = REC(0, 0, 0, 0, FUSE_REGION_UNBIND);
		if (by_replace)
			rec = REC(0, SIZE, c->id, 0, flags);
		CHECK_ZERO(region_msg(f->srv->ctl, f->nodeid, &rec, 1));
		CHECK_EQ(pwrite(b->fd, good, SIZE, 0), SIZE);
		threads_progress(&writers, 6);
		CHECK_OK(fsync(b->fd));
		backing_bytes(b, buf, 0, SIZE);
		right = pattern_differs(buf, b->seed, 0, SIZE);
		if (right < SIZE)
			FAIL("round %d: byte %#zx of the backing is %02x, written after it was %s",
			     rounds, right, buf[right], by_replace ? "replaced" : "unbound");
	}
	threads_stop(&writers);
	note("%d rounds, %llu writes", rounds, (unsigned long long)writers.rounds);
	free(w.poison);
	free(good);
	free(buf);
}

TEST(g2_no_write_after_unbind)
{
	unbind_and_restore(NULL, 0, false);
}

TEST(g2_no_write_after_replace)
{
	unbind_and_restore(NULL, 0, true);
}

TEST(g2_no_direct_write_after_unbind)
{
	unbind_and_restore(shared_ext4(), O_DIRECT, false);
}
