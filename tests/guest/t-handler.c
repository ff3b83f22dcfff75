// SPDX-License-Identifier: GPL-2.0
/*
 * The first bind of a file comes from inside a handler, as in servers that
 * fetch or copy what is asked for and bind it then. FUSE has pages locked until
 * that handler is done: binding does not wait for them, and nobody sees what
 * was in them.
 */
#define _GNU_SOURCE
#include <sys/mman.h>

#include "harness.h"

#define SIZE (32 * PAGE)
#define FILES 16

/* In shared memory: what the handler binds to, and the milliseconds that this took */
static struct bind_here {
	struct backing *b;
	uint64_t took;
} *here;

static int bind_here(struct srv *s, struct tfile *f, uint64_t off, size_t size)
{
	uint64_t start = now_ms();

	(void)s;
	(void)size;
	CHECK_ZERO(region_bind(f, off / PAGE * PAGE, 4 * PAGE, here->b, off / PAGE * PAGE,
			       RW | FUSE_REGION_REPLACE));
	here->took = now_ms() - start;
	return 0;
}

static struct srv *files(struct srv_opts opts)
{
	struct srv *s = srv_new(&opts);
	char name[8];

	here = shared_alloc(sizeof(*here));
	for (int i = 0; i < FILES; i++) {
		snprintf(name, sizeof(name), "f%d", i);
		srv_store_file(s, name, SIZE);
	}
	srv_start(s);
	here->b = backing_new(SIZE);
	srv_register(s, here->b);
	return s;
}

/* Half a second is what a binder waits for pages that it has to wait for. */
static void expect_quick(void (*touch)(struct tfile *f, int fd), enum srv_op op)
{
	struct srv *s = files((struct srv_opts){ 0 });
	uint64_t best = UINT64_MAX;

	for (int i = 0; i < FILES; i++) {
		struct tfile *f = &s->files[i];
		int fd = srv_open(f, O_RDWR);

		f->keep_cache = true;
		f->hook[op] = bind_here;
		here->took = UINT64_MAX;
		touch(f, fd);
		f->hook[op] = NULL;
		CHECK(here->took != UINT64_MAX);
		if (here->took < best)
			best = here->took;
		expect_file(f, fd, SIZE);
		close(fd);
	}
	note("the quickest of %d binds took %llu ms", FILES, (unsigned long long)best);
	CHECK(best < 100);
}

static void read_some(struct tfile *f, int fd)
{
	unsigned char byte;

	(void)f;
	CHECK_EQ(pread(fd, &byte, 1, 5 * PAGE + 7), 1);
}

/*
 * Not whole pages: FUSE has those locked. The same bytes as the backing has there, for what is
 * written first is the server's.
 */
static void write_some(struct tfile *f, int fd)
{
	unsigned char buf[3 * PAGE - 100];

	(void)f;
	backing_bytes(here->b, buf, 5 * PAGE + 50, sizeof(buf));
	CHECK_EQ(pwrite(fd, buf, sizeof(buf), 5 * PAGE + 50), sizeof(buf));
}

static void write_what_is_cached(struct tfile *f, int fd)
{
	unsigned char buf[8 * PAGE];
	srv_hook hook = f->hook[OP_WRITE];

	f->hook[OP_WRITE] = NULL;
	CHECK_EQ(pread(fd, buf, sizeof(buf), 4 * PAGE), sizeof(buf));
	f->hook[OP_WRITE] = hook;
	write_some(f, fd);
}

static void touch_some(struct tfile *f, int fd)
{
	volatile unsigned char *p = mmap(NULL, SIZE, PROT_READ, MAP_SHARED, fd, 0);

	(void)f;
	CHECK(p != MAP_FAILED);
	CHECK(p[5 * PAGE]);
	CHECK_OK(munmap((void *)p, SIZE));
}

TEST(g6_first_bind_in_read_is_quick)
{
	expect_quick(read_some, OP_READ);
}

TEST(g6_first_bind_in_write_is_quick)
{
	expect_quick(write_some, OP_WRITE);
}

TEST(g6_first_bind_in_write_to_cached_is_quick)
{
	expect_quick(write_what_is_cached, OP_WRITE);
}

TEST(g6_first_bind_in_fault_is_quick)
{
	expect_quick(touch_some, OP_READ);
}

struct toucher {
	struct tfile *f;
	volatile unsigned char *p;
	unsigned char got;
};

static void *toucher(void *arg)
{
	struct toucher *t = arg;

	t->got = t->p[9 * PAGE + 1];
	return NULL;
}

/* FUSE reads a page for a mapping; meanwhile it is bound; then the server answers, too late. */
static void old_page(bool private)
{
	struct srv *s = files((struct srv_opts){ .threads = true });

	for (int i = 0; i < FILES; i++) {
		struct toucher t = { .f = &s->files[i] };
		int fd = srv_open(t.f, O_RDONLY);
		uint64_t start;
		pthread_t tid;

		t.p = mmap(NULL, SIZE, PROT_READ, private ? MAP_PRIVATE : MAP_SHARED, fd, 0);
		CHECK(t.p != MAP_FAILED);
		t.f->hang = 1 << OP_READ;
		CHECK_ZERO(pthread_create(&tid, NULL, toucher, &t));
		srv_until_hanging(t.f);
		start = now_ms();
		CHECK_ZERO(region_bind(t.f, 2 * PAGE, 20 * PAGE, here->b, 2 * PAGE + 5, 0));
		note("a bind took %llu ms", (unsigned long long)(now_ms() - start));
		t.f->hang = 0;
		CHECK_ZERO(pthread_join(tid, NULL));
		CHECK_EQ(t.got, pattern_byte(here->b->seed, 9 * PAGE + 6));
		for (uint64_t page = 2; page < 22; page++)
			CHECK_EQ(t.p[page * PAGE], pattern_byte(here->b->seed, page * PAGE + 5));
		CHECK_OK(munmap((void *)t.p, SIZE));
		close(fd);
	}
}

TEST(m3_old_page_is_not_mapped)
{
	old_page(false);
}

TEST(m3_old_page_is_not_mapped_privately)
{
	old_page(true);
}

/* The byte that is stored into a page */
static unsigned char mark(uint64_t page)
{
	return (unsigned char)(100 + page);
}

static bool has_mark(const struct backing *b, uint64_t at, uint64_t page)
{
	unsigned char byte;

	backing_bytes(b, &byte, at * PAGE + 7, 1);
	return byte == mark(page);
}

/*
 * Pages 10 to 29 of a file, of which each @step'th was stored into, become @b's. How long the bind
 * took; false: none was dirty.
 */
static bool bind_over_stored(struct tfile *f, unsigned char *p, uint64_t step, struct backing *b,
			     uint64_t *took)
{
	unsigned char before[20 * PAGE], after[20 * PAGE];
	uint64_t start;
	bool dirty;

	backing_bytes(b, before, 0, sizeof(before));
	for (uint64_t page = 0; page < SIZE / PAGE; page += step)
		p[page * PAGE + 7] = mark(page);
	f->hang = 1 << OP_WRITE;
	start = now_ms();
	CHECK_ZERO(region_bind(f, 10 * PAGE, 20 * PAGE, b, 0, RW));
	*took = now_ms() - start;
	/* The flusher may have been quick. */
	for (start = now_ms(); !f->hanging && now_ms() - start < 1000;)
		usleep(1000);
	dirty = f->hanging;
	backing_bytes(b, after, 0, sizeof(after));
	CHECK_ZERO(memcmp(before, after, sizeof(after)));
	f->hang = 0;
	CHECK_OK(msync(p, SIZE, MS_SYNC));
	for (uint64_t page = 0; page < SIZE / PAGE; page += step)
		CHECK(has_mark(f->store, page, page) ||
		      (page >= 10 && page < 30 && has_mark(b, page - 10, page)));
	return dirty;
}

/*
 * What was stored before is the server's, and on its way there. The binder does not wait until the
 * server has it, who may not take it before the bind has returned; and nobody but the server puts it
 * anywhere, into what is bound now for example.
 */
static void over_stored(uint64_t step)
{
	struct srv *s = files((struct srv_opts){ .threads = true });
	uint64_t best = UINT64_MAX, took;

	for (int i = 0; i < FILES; i++) {
		struct tfile *f = &s->files[i];
		struct backing *b = backing_new(SIZE);
		int fd = srv_open(f, O_RDWR);
		unsigned char *p = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

		CHECK(p != MAP_FAILED);
		srv_register(s, b);
		if (bind_over_stored(f, p, step, b, &took) && took < best)
			best = took;
		expect_file(f, fd, SIZE);
		expect_content(f, "mmap", 0, p, SIZE);
		CHECK_OK(munmap(p, SIZE));
		close(fd);
	}
	note("the quickest of %d binds took %llu ms", FILES, (unsigned long long)best);
	CHECK(best < 100);
}

TEST(g4_bind_over_stored_pages_is_quick)
{
	over_stored(1);
}

/* Ten requests, which is more than FUSE sends in passing. */
TEST(g4_bind_over_scattered_stores_is_quick)
{
	over_stored(2);
}

static void *let_write(void *arg)
{
	struct tfile *f = arg;

	sleep_ms(100);
	f->hang = 0;
	return NULL;
}

/*
 * Whoever maps the backing instead finds there what was stored before, and what he stores is not undone
 * by it.
 */
TEST(m1_new_mapping_comes_after_older_stores)
{
	struct srv *s = files((struct srv_opts){ .threads = true });
	int late = 0, early = 0;

	for (int i = 0; i < FILES; i++) {
		struct tfile *f = &s->files[i];
		struct backing *b = backing_new(SIZE);
		int fd = srv_open(f, O_RDWR);
		unsigned char *p = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), *q;
		uint64_t writes = srv_count(f, OP_WRITE);
		pthread_t tid;
		bool taken;

		CHECK(p != MAP_FAILED);
		srv_register(s, b);
		/* The store before the hang: it waits for write-back of its page, if the flusher is quick. */
		p[12 * PAGE + 7] = mark(12);
		f->hang = 1 << OP_WRITE;
		taken = srv_count(f, OP_WRITE) != writes;
		early += taken;
		CHECK_ZERO(region_bind(f, 10 * PAGE, 20 * PAGE, b, 0, RW));
		CHECK_ZERO(pthread_create(&tid, NULL, let_write, f));
		q = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 10 * PAGE);
		CHECK(q != MAP_FAILED);
		late += f->hang != 0;
		CHECK(taken || q[2 * PAGE + 7] == mark(12));
		q[2 * PAGE + 7] = 'B';
		CHECK_ZERO(pthread_join(tid, NULL));
		CHECK_OK(msync(p, SIZE, MS_SYNC));
		CHECK_OK(msync(q, 4 * PAGE, MS_SYNC));
		CHECK_EQ(q[2 * PAGE + 7], 'B');
		expect_file(f, fd, SIZE);
		CHECK_OK(munmap(q, 4 * PAGE));
		CHECK_OK(munmap(p, SIZE));
		close(fd);
	}
	note("%d of %d mappings did not wait; %d stores were written before", late, FILES, early);
	CHECK(early < FILES);
}

struct one_byte {
	int fd;
	unsigned char byte;
	off_t off;
};

static void *write_one_byte(void *arg)
{
	struct one_byte *w = arg;

	CHECK_EQ(pwrite(w->fd, &w->byte, 1, w->off), 1);
	return NULL;
}

/*
 * With the write-back cache a write has FUSE read the rest of its page, and all of that goes to the
 * server some time later. It is under way when the file gets its first region: what is written to that
 * is not undone by it.
 */
TEST(w1_write_comes_after_older_cached_write)
{
	struct srv *s = files((struct srv_opts){ .threads = true, .writeback = true });

	for (int i = 0; i < FILES; i++) {
		struct tfile *f = &s->files[i];
		int fd = srv_open(f, O_RDWR);
		struct one_byte old = { fd, 'o', 5 * PAGE + 100 };
		struct one_byte new = { fd, 'n', 5 * PAGE + 2000 };
		unsigned char page[PAGE];
		pthread_t writers[2];

		/* What the first write to a region asks the server for, it asks once. */
		CHECK_ZERO(region_bind(f, 20 * PAGE, PAGE, here->b, 20 * PAGE, RW));
		write_one_byte(&(struct one_byte){ fd, 'x', 20 * PAGE });
		CHECK_ZERO(region_unbind(f, 0, 0));
		f->hang = 1 << OP_READ;
		CHECK_ZERO(pthread_create(&writers[0], NULL, write_one_byte, &old));
		srv_until_hanging(f);
		CHECK_ZERO(region_bind(f, 4 * PAGE, 8 * PAGE, here->b, 4 * PAGE, RW));
		CHECK_ZERO(pthread_create(&writers[1], NULL, write_one_byte, &new));
		sleep_ms(50);
		f->hang = 0;
		for (int k = 0; k < 2; k++)
			CHECK_ZERO(pthread_join(writers[k], NULL));
		CHECK_OK(fsync(fd));
		CHECK_EQ(pread(fd, page, PAGE, 5 * PAGE), PAGE);
		CHECK_EQ(page[100], 'o');
		CHECK_EQ(page[2000], 'n');
		expect_file(f, fd, SIZE);
		close(fd);
	}
}
