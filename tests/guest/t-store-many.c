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

/* Who stores for the first time while many direct writes are under way, waits for them, once. */
TEST(m1_first_store_beside_many_async_writes)
{
	enum { NR = 600 };
	static struct iocb iocbs[NR];
	struct backing *b;
	struct tfile *f = srv_stored((struct srv_opts){ 0 }, NULL, SIZE, NULL, NULL);
	struct iocb *ptrs[NR];
	io_context_t ctx = NULL;
	unsigned char *p = NULL, *buf;
	const uint64_t at = 3 * PAGE + 700;
	int direct, nr = 0, fd;

	b = backing_new_in(shared_ext4(), SIZE);
	srv_register(f->srv, b);
	direct = srv_open(f, O_RDWR | O_DIRECT);
	CHECK_ZERO(region_bind(f, 2 * PAGE, 20 * PAGE, b, 512, RW));
	buf = direct_alloc(PAGE);
	memset(buf, 0x77, PAGE);
	CHECK_ZERO(io_setup(NR, &ctx));
	for (int i = 0; i < NR; i++) {
		io_prep_pwrite(&iocbs[i], direct, buf, 512,
			       (long long)(2 * PAGE + 512 * (uint64_t)(i % 160)));
		ptrs[i] = &iocbs[i];
	}
	while (nr < NR) {
		int n = io_submit(ctx, NR - nr, ptrs + nr);

		CHECK(n > 0);
		nr += n;
		if (nr >= NR / 2 && !(nr % 2)) {
			p = map(direct);
			p[at] = 1;
		}
	}
	for (int i = 0; i < NR;) {
		struct io_event events[64];
		int n = io_getevents(ctx, 1, 64, events, NULL);

		CHECK(n > 0);
		for (int k = 0; k < n; k++)
			CHECK_EQ(events[k].res, 512);
		i += n;
	}
	CHECK_ZERO(io_destroy(ctx));
	CHECK_OK(msync(p, SIZE, MS_SYNC));
	/* all of the region was written; the store came before or after that */
	fd = srv_open(f, O_RDONLY);
	buf = realloc(buf, 20 * PAGE);
	CHECK_EQ(pread(fd, buf, 20 * PAGE, 2 * PAGE), 20 * PAGE);
	for (uint64_t i = 0; i < 20 * PAGE; i++)
		if (buf[i] != 0x77 && (2 * PAGE + i != at || buf[i] != 1))
			FAIL("byte %#llx is %02x", (unsigned long long)(2 * PAGE + i), buf[i]);
	expect_content(f, "mapping", 0, p, SIZE);
	expect_file(f, fd, SIZE);
	free(buf);
}
