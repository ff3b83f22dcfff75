// SPDX-License-Identifier: GPL-2.0
/*
 * Chaos. Workers write to and read from parts of one file that are theirs
 * alone, and know each byte of them, while regions come and go, memory is
 * short, somebody tries to unload the module, and the server is killed and
 * started again.
 *
 * That no byte ever changes by a bind is the server's doing: what it answers
 * for a gap is in the very file, at the very place, that regions are bound to.
 */
#define _GNU_SOURCE
#include <sys/mman.h>
#include <sys/mount.h>

#include "harness.h"

#define WORKERS 8
#define PART (24 * PAGE - 777) /* so that workers share pages */
#define SIZE (WORKERS * PART)
#define SHIFT 1001

static struct backing *store;

struct chaos {
	struct srv *volatile s;
	struct tfile *f;
	struct srv_opts opts;
	bool mapped; /* workers use mappings as well */
	bool deadly; /* the server may die */
	uint64_t shift;
	uint64_t generation;
	uint64_t ios, binds, deaths;
	pthread_rwlock_t world; /* held for writing while the server is replaced */
};

struct worker {
	struct chaos *c;
	int nr;
	uint64_t generation;
	int fd, direct;
	unsigned char *bytes, *buf, *map;
	uint64_t unsure_from, unsure_to; /* a write failed there */
};

static void start_server(struct chaos *c)
{
	struct srv *s = srv_new(&c->opts);

	c->f = srv_file(s, "f", SIZE);
	c->f->store = store;
	c->f->store_shift = c->shift;
	srv_start(s);
	srv_register(s, store);
	close(srv_open(c->f, O_RDONLY));
	c->s = s;
	c->generation++;
}

/* The connection went away under a call: that is no wrong byte. */
static bool excused(const struct chaos *c, ssize_t n)
{
	return n < 0 && c->deadly && (errno == ENOTCONN || errno == ECONNABORTED || errno == EIO);
}

/* Open the file on the server that runs now; false if that is gone already. */
static bool reopen(struct worker *w)
{
	char path[128];

	if (w->generation == w->c->generation)
		return true;
	if (w->fd > 0)
		close(w->fd);
	if (w->direct > 0)
		close(w->direct);
	if (w->map)
		munmap(w->map, SIZE);
	w->map = NULL;
	srv_path(path, sizeof(path), w->c->f);
	w->fd = open(path, O_RDWR | O_CLOEXEC);
	w->direct = open(path, O_RDWR | O_DIRECT | O_CLOEXEC);
	if (w->fd < 0 || w->direct < 0) {
		if (!excused(w->c, -1))
			FAIL("open: %m");
		return false;
	}
	if (w->c->mapped) {
		w->map = mmap(NULL, SIZE, PROT_READ, MAP_SHARED, w->fd, 0);
		CHECK(w->map != MAP_FAILED);
	}
	w->generation = w->c->generation;
	return true;
}

static void check(struct worker *w, const char *how, uint64_t off, const unsigned char *got,
		  size_t len)
{
	uint64_t base = (uint64_t)w->nr * PART;

	for (size_t i = 0; i < len; i++)
		if (got[i] != w->bytes[off + i] &&
		    (off + i < w->unsure_from || off + i >= w->unsure_to))
			FAIL("worker %d, %s of %zu at %#llx: byte %#llx is %02x, expected %02x",
			     w->nr, how, len, (unsigned long long)(base + off),
			     (unsigned long long)(base + off + i), got[i], w->bytes[off + i]);
}

static void do_write(struct worker *w, uint64_t off, size_t len)
{
	int fd = rnd_below(4) ? w->fd : w->direct;
	ssize_t n;

	pattern_fill(w->buf, rnd(), 0, len);
	n = pwrite(fd, w->buf, len, (off_t)((uint64_t)w->nr * PART + off));
	if (n != (ssize_t)len && !excused(w->c, n) && !(n > 0 && w->c->deadly))
		FAIL("worker %d, write of %zu at %#llx: %zd (errno %d)", w->nr, len,
		     (unsigned long long)off, n, errno);
	memcpy(w->bytes + off, w->buf, len);
	if (n == (ssize_t)len) {
		/* now it is certain again, if it is all of it */
		if (off <= w->unsure_from && off + len >= w->unsure_to)
			w->unsure_from = w->unsure_to = 0;
	} else {
		w->unsure_from = 0;
		w->unsure_to = PART;
	}
}

static void do_read(struct worker *w, uint64_t off, size_t len)
{
	int fd = rnd_below(4) ? w->fd : w->direct;
	ssize_t n;

	memset(w->buf, 0xA5, len);
	n = pread(fd, w->buf, len, (off_t)((uint64_t)w->nr * PART + off));
	if (n != (ssize_t)len && !excused(w->c, n) && !(n > 0 && w->c->deadly))
		FAIL("worker %d, read of %zu at %#llx: %zd (errno %d)", w->nr, len,
		     (unsigned long long)off, n, errno);
	if (n > 0)
		check(w, "read", off, w->buf, (size_t)n);
}

static void work(struct worker *w)
{
	uint64_t off = rnd_below(PART), len = 1 + rnd_below(rnd_below(2) ? 200 : 6 * PAGE);

	if (off + len > PART)
		len = PART - off;
	if (w->unsure_to) {
		do_write(w, 0, PART);
		return;
	}
	switch (rnd_below(w->map ? 4 : 3)) {
	case 0:
		do_write(w, off, len);
		break;
	case 3:
		/* never while the server may die: a fault would end in SIGBUS */
		check(w, "mapping", off, w->map + (uint64_t)w->nr * PART + off, len);
		break;
	default:
		do_read(w, off, len);
	}
}

static void *worker(void *arg)
{
	struct worker *w = arg;

	while (true) {
		pthread_rwlock_rdlock(&w->c->world);
		if (!w->c->s) {
			pthread_rwlock_unlock(&w->c->world);
			return NULL;
		}
		if (reopen(w))
			work(w);
		pthread_rwlock_unlock(&w->c->world);
		__atomic_add_fetch(&w->c->ios, 1, __ATOMIC_RELAXED);
	}
}

/* Any regions at all: where the bytes are does not change. */
static void bind_something(struct chaos *c)
{
	static const uint32_t access[] = { RW, RW, RW, FUSE_REGION_READ, FUSE_REGION_WRITE };
	struct fuse_passthrough_region recs[8];
	uint32_t nr = 1 + (uint32_t)rnd_below(ARRAY_SIZE(recs));
	int res;

	for (uint32_t i = 0; i < nr; i++) {
		uint64_t off = rnd_below(SIZE), len = 1 + rnd_below(rnd_below(3) ? 9000 : SIZE / 2);

		if (rnd_below(2)) {
			off = off / PAGE * PAGE;
			len = (len + PAGE - 1) / PAGE * PAGE;
		}
		if (off + len > SIZE)
			len = SIZE - off;
		if (rnd_below(3) == 0)
			recs[i] = REC(off, len, 0, 0, FUSE_REGION_UNBIND);
		else
			recs[i] = REC(off, len, store->id, off + c->shift,
				      access[rnd_below(ARRAY_SIZE(access))] | FUSE_REGION_REPLACE);
	}
	res = region_msg(c->s->ctl, c->f->nodeid, recs, nr);
	if (res && !(c->deadly && (res == -ENOTCONN || res == -ENOENT)))
		FAIL("bind: %d", res);
	c->binds++;
}

static void restart(struct chaos *c)
{
	/* among all that is under way */
	srv_kill(c->s);
	sleep_ms((unsigned int)rnd_below(20));
	pthread_rwlock_wrlock(&c->world);
	srv_drop(c->s);
	start_server(c);
	pthread_rwlock_unlock(&c->world);
	c->deaths++;
}

static void run(struct chaos *c, uint64_t ms)
{
	struct worker w[WORKERS] = { 0 };
	pthread_t tid[WORKERS];
	pthread_rwlockattr_t attr;
	uint64_t until;

	test_watchdog(60 + (unsigned int)(ms / 1000));
	/* or eight workers would never let anyone in */
	pthread_rwlockattr_init(&attr);
	pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	pthread_rwlock_init(&c->world, &attr);
	store = backing_new(SIZE + c->shift);
	start_server(c);
	for (int i = 0; i < WORKERS; i++) {
		w[i] = (struct worker){ .c = c, .nr = i };
		w[i].bytes = malloc(PART);
		w[i].buf = direct_alloc(PART);
		backing_bytes(store, w[i].bytes, (uint64_t)i * PART + c->shift, PART);
		CHECK_ZERO(pthread_create(&tid[i], NULL, worker, &w[i]));
	}
	for (until = now_ms() + test_storm_ms(ms); now_ms() < until;) {
		bind_something(c);
		if (rnd_below(50) == 0)
			drop_caches();
		if (c->deadly && rnd_below(40) == 0)
			restart(c);
		if (rnd_below(30) == 0 && module_unload() == 0)
			FAIL("the module could be unloaded");
		sleep_ms((unsigned int)rnd_below(3));
	}
	pthread_rwlock_wrlock(&c->world);
	c->s = NULL;
	pthread_rwlock_unlock(&c->world);
	for (int i = 0; i < WORKERS; i++)
		CHECK_ZERO(pthread_join(tid[i], NULL));
	note("%llu reads and writes, %llu messages, %llu deaths of the server",
	     (unsigned long long)c->ios, (unsigned long long)c->binds,
	     (unsigned long long)c->deaths);
}

TEST(w1_chaos)
{
	run(&(struct chaos){ .shift = SHIFT }, 5000);
}

TEST(w1_chaos_writeback)
{
	run(&(struct chaos){ .shift = SHIFT, .opts.writeback = true }, 5000);
}

TEST(w1_chaos_with_mappings)
{
	run(&(struct chaos){ .shift = SHIFT, .mapped = true }, 4000);
}

/* A mapping of a backing stays one when the region goes: docs/architecture.md, "Mappings". */
TEST(w1_chaos_with_mappings_congruent)
{
	if (!getenv("FR_TEST_KNOWN"))
		SKIP("known miss: mappings of a backing don't follow a rebind");
	run(&(struct chaos){ .shift = 2 * PAGE, .mapped = true }, 4000);
}

TEST(w1_chaos_threads)
{
	run(&(struct chaos){ .shift = 512, .opts.threads = true }, 4000);
}

TEST(l1_chaos_with_dying_server)
{
	run(&(struct chaos){ .shift = SHIFT, .deadly = true }, 8000);
}

/* 10 minutes of it: FUSE_REGIONS_TEST_SCALE=75. Memory is what 24 MiB of a control group leave. */
TEST(l1_chaos_without_memory)
{
	join_memory_group("memory.high=24M");
	run(&(struct chaos){ .shift = SHIFT, .deadly = true }, 5000);
}
