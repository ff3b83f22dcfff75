// SPDX-License-Identifier: GPL-2.0
/*
 * M1 for those who store through a mapping with FUSE's page cache behind it,
 * while many others write: appenders, and direct writes that are under way.
 */
#define _GNU_SOURCE
#include <libaio.h>
#include <sys/mman.h>

#include "harness.h"

#define SIZE (32 * PAGE)

static unsigned char *map(int fd)
{
	unsigned char *p = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	CHECK(p != MAP_FAILED);
	return p;
}

/* A mapping of the page that an appender goes on in, which is stored into */
struct growing {
	int fd;
	uint64_t off;
};

static void append_slots(void *arg)
{
	struct growing *w = arg;
	unsigned char buf[16];

	memset(buf, 0xcc, sizeof(buf));
	if (w->off + sizeof(buf) > 20 * PAGE)
		return;
	CHECK_EQ(pwrite(w->fd, buf, sizeof(buf), (off_t)w->off), sizeof(buf));
	__atomic_store_n(&w->off, w->off + sizeof(buf), __ATOMIC_SEQ_CST);
}

TEST(m1_store_beside_growing_writer)
{
	struct srv *s = srv_new(NULL);
	struct tfile *f = srv_store_file(s, "f", 2 * PAGE + 16);
	struct growing w = { .off = 2 * PAGE + 16 };
	unsigned char *p, buf[16];
	struct threads writer;
	struct backing *b;
	uint64_t end;

	f->attr_of_backings = true;
	srv_start(s);
	b = backing_new(PAGE + 16 + 5);
	srv_register(s, b);
	w.fd = srv_open(f, O_RDWR);
	CHECK_ZERO(region_bind(f, PAGE, SIZE, b, 5, RW | FUSE_REGION_GROW));
	p = map(w.fd);
	threads_start(&writer, 1, append_slots, &w);
	do {
		uint64_t pages;

		end = __atomic_load_n(&w.off, __ATOMIC_SEQ_CST);
		/* just before the end: what is stored there comes back with the page */
		p[end - 1] = 0xdd;
		pages = (end + PAGE - 1) / PAGE;
		CHECK_OK(msync(p + (pages - 1) * PAGE, PAGE, MS_SYNC));
	} while (end + 16 <= 20 * PAGE);
	threads_stop(&writer);
	for (uint64_t off = 2 * PAGE + 16; off < end; off += 16) {
		CHECK_EQ(pread(w.fd, buf, 16, (off_t)off), 16);
		for (int i = 0; i < 16; i++)
			if (buf[i] != 0xcc && !(i == 15 && buf[i] == 0xdd))
				FAIL("byte %#llx is %02x", (unsigned long long)(off + (uint64_t)i),
				     buf[i]);
	}
}

static void append_line(void *arg)
{
	int *fd = arg;

	CHECK_EQ(write(*fd, "line", 4), 4);
}

/* Writers whose holds follow each other without a gap don't keep the store out for ever. */
TEST(m1_store_beside_many_appenders)
{
	struct backing *b;
	struct tfile *f = srv_stored((struct srv_opts){ .threads = true }, NULL, SIZE, &b, NULL);
	int fd = srv_open(f, O_RDWR), appender = srv_open(f, O_WRONLY | O_APPEND);
	struct threads writers;
	unsigned char *p;

	CHECK_OK(ftruncate(fd, SIZE - PAGE + 10));
	CHECK_ZERO(region_bind(f, 2 * PAGE, 5 * PAGE, b, 7 * PAGE, RW));
	p = map(fd);
	threads_start(&writers, 4, append_line, &appender);
	for (int i = 0; i < 20; i++) {
		p[SIZE - PAGE + 5] = (unsigned char)i;
		CHECK_OK(msync(p, SIZE, MS_SYNC));
		CHECK_EQ(p[SIZE - PAGE + 5], i);
	}
	threads_stop(&writers);
}

/*
 * Who stores for the first time while many direct writes are under way, waits
 * for them, once: the page has their bytes then, and does not undo them.
 */
TEST(m1_first_store_beside_many_async_writes)
{
	enum { NR = 592, BLOCK = 1024 };
	const uint64_t size = 160 * PAGE, start = 2 * PAGE, len = NR * BLOCK;
	const uint64_t at = start + len - 2 * PAGE + 700; /* written late */
	const size_t busy = 16 * MIB;
	static struct iocb iocbs[NR + 1];
	struct tfile *f = srv_stored((struct srv_opts){ 0 }, NULL, size, NULL, NULL);
	struct backing *b = backing_new_in(shared_ext4(), size);
	struct backing *other = backing_new_in(shared_ext4(), 0);
	struct iocb *ptrs[NR + 1];
	io_context_t ctx = NULL;
	unsigned char *p, *buf = direct_alloc(busy);
	int direct, nr = 0, fd;

	memset(buf, 0x77, busy);
	fd = (int)CHECK_OK(backing_reopen(other, O_RDWR | O_DIRECT));
	CHECK_EQ(pwrite(fd, buf, busy, 0), busy);
	CHECK_OK(fsync(fd));
	CHECK_OK(fsync(b->fd));
	srv_register(f->srv, b);
	direct = srv_open(f, O_RDWR | O_DIRECT);
	/* page on page it is not: FUSE's page cache is behind the mapping */
	CHECK_ZERO(region_bind(f, start, len, b, BLOCK, RW));
	p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, direct, 0);
	CHECK(p != MAP_FAILED);
	CHECK_ZERO(io_setup(NR + 1, &ctx));
	/* what keeps the disk busy for a while, so that the rest is yet to come */
	io_prep_pwrite(&iocbs[NR], fd, buf, busy, 0);
	ptrs[0] = &iocbs[NR];
	for (int i = 0; i < NR; i++) {
		io_prep_pwrite(&iocbs[i], direct, buf, BLOCK,
			       (long long)(start + BLOCK * (uint64_t)i));
		ptrs[i + 1] = &iocbs[i];
	}
	while (nr <= NR) {
		int n = io_submit(ctx, NR + 1 - nr, ptrs + nr);

		CHECK(n > 0);
		nr += n;
	}
	p[at] = 1;
	for (int i = 0; i <= NR;) {
		struct io_event events[64];
		int n = io_getevents(ctx, 1, 64, events, NULL);

		CHECK(n > 0);
		for (int k = 0; k < n; k++)
			CHECK_EQ(events[k].res, events[k].obj == &iocbs[NR] ? busy : BLOCK);
		i += n;
	}
	CHECK_ZERO(io_destroy(ctx));
	CHECK_OK(msync(p, size, MS_SYNC));
	fd = srv_open(f, O_RDONLY);
	free(buf);
	buf = malloc(len);
	CHECK_EQ(pread(fd, buf, len, (off_t)start), len);
	/* the store came before or after the write of its byte */
	for (uint64_t i = 0; i < len; i++)
		if (buf[i] != 0x77 && (start + i != at || buf[i] != 1))
			FAIL("byte %#llx is %02x", (unsigned long long)(start + i), buf[i]);
	expect_content(f, "mapping", 0, p, size);
	expect_file(f, fd, SIZE);
	free(buf);
}

static void *go_on_soon(void *arg)
{
	struct tfile *f = arg;

	sleep_ms(300);
	f->hang = 0;
	return NULL;
}

/* The same of one write that takes long: its backing is a file of another server. */
TEST(m1_first_store_beside_slow_async_write)
{
	struct srv *plain = srv_new(&(struct srv_opts){ .no_attach = true, .threads = true });
	struct tfile *lower = srv_store_file(plain, "lower", SIZE), *f;
	unsigned char *buf = direct_alloc(PAGE), *p;
	struct iocb cb, *list = &cb;
	struct io_event event;
	io_context_t ctx = NULL;
	pthread_t thread;
	struct backing *b;
	struct oracle o;
	int direct;

	/* 6.12's FUSE does not drop its own pages when such a write is over */
	lower->direct_io = true;
	srv_start(plain);
	f = srv_stored((struct srv_opts){ 0 }, NULL, SIZE, NULL, NULL);
	b = backing_from_fd(srv_open(lower, O_RDWR));
	srv_register(f->srv, b);
	direct = srv_open(f, O_RDWR | O_DIRECT);
	CHECK_ZERO(region_bind(f, 2 * PAGE, 20 * PAGE, b, 1024, RW));
	oracle_load(&o, f);
	/* the first write asks for the file's privileges, and waits for that */
	oracle_write(&o, direct, 9 * PAGE, PAGE);
	p = map(direct);
	CHECK_ZERO(io_setup(1, &ctx));
	oracle_fresh(&o, buf, PAGE);
	io_prep_pwrite(&cb, direct, buf, PAGE, 3 * PAGE);
	lower->hang = 1u << OP_WRITE;
	CHECK_EQ(io_submit(ctx, 1, &list), 1);
	srv_until_hanging(lower);
	CHECK_ZERO(pthread_create(&thread, NULL, go_on_soon, lower));
	p[3 * PAGE + 700] = (unsigned char)~buf[700];
	CHECK_EQ(io_getevents(ctx, 1, 1, &event, NULL), 1);
	CHECK_EQ((long)event.res, PAGE);
	CHECK_ZERO(pthread_join(thread, NULL));
	buf[700] = (unsigned char)~buf[700];
	oracle_note(&o, buf, 3 * PAGE, PAGE);
	oracle_compare(&o, "mapping", p, 0, SIZE);
	CHECK_OK(msync(p, SIZE, MS_SYNC));
	oracle_check(&o, direct, 0, SIZE);
	expect_file(f, direct, SIZE);
	CHECK_ZERO(io_destroy(ctx));
	oracle_free(&o);
	free(buf);
}
