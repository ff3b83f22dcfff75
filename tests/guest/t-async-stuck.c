// SPDX-License-Identifier: GPL-2.0
/* Asynchronous reads that are done, but for a page of their buffers that somebody else has locked. */
#define _GNU_SOURCE
#include <libaio.h>
#include <sys/mman.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>

#include "harness.h"

#define NR 1200 /* more than a workqueue does at once */

/* Let the kernel have as many requests of this server under way as it wants. */
static void allow_many_requests(const struct srv *s)
{
	CHECK_ZERO(
		sh("echo %d >/sys/fs/fuse/connections/%u/max_background", 2 * NR, minor(s->dev)));
}

/* A page of the cache of a file */
static unsigned char *page_of(struct tfile *hung)
{
	int fd = srv_open(hung, O_RDWR);
	unsigned char *p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	CHECK(p != MAP_FAILED);
	*p = 1;
	return p;
}

/* Opening a file writes back what its cache has, with each page locked until that is over. */
static pid_t lock_page(struct tfile *hung, unsigned char *p)
{
	pid_t pid;

	*p = 1;
	hung->hang = 1u << OP_WRITE;
	pid = test_fork();
	if (!pid) {
		close(srv_open(hung, O_RDONLY));
		_exit(0);
	}
	srv_until_hanging(hung);
	return pid;
}

static void read_many(io_context_t ctx, int fd, unsigned char *to)
{
	struct iocb *cb = calloc(NR, sizeof(*cb)), **list = calloc(NR, sizeof(*list));

	CHECK(cb && list);
	for (int i = 0; i < NR; i++) {
		list[i] = &cb[i];
		io_prep_pread(&cb[i], fd, to, PAGE, 0);
	}
	CHECK_EQ(io_submit(ctx, NR, list), NR);
}

TEST(g4_unbind_beside_completions_that_wait)
{
	const struct srv_opts plain = { .no_attach = true, .threads = true };
	struct srv *disk = srv_new(&plain), *dead = srv_new(&plain);
	struct tfile *lower = srv_file(disk, "lower", 8 * PAGE), *f;
	struct tfile *hung = srv_store_file(dead, "hung", PAGE);
	struct io_event *events = calloc(NR, sizeof(*events));
	io_context_t ctx = NULL;
	pid_t opener, unbinder;
	struct backing *b;
	unsigned char *p;
	bool *unbound = shared_alloc(sizeof(*unbound)), soon;
	int fd;

	srv_start(disk);
	srv_start(dead);
	f = srv_simple(8 * PAGE);
	b = backing_from_fd(srv_open(lower, O_RDONLY));
	srv_register(f->srv, b);
	allow_many_requests(disk);
	fd = srv_open(f, O_RDONLY | O_DIRECT);
	CHECK_ZERO(region_bind(f, 0, 8 * PAGE, b, 0, 0));
	p = page_of(hung);
	CHECK_ZERO(io_setup(NR, &ctx));

	srv_signal(disk, SIGSTOP);
	read_many(ctx, fd, p);
	opener = lock_page(hung, p);
	srv_signal(disk, SIGCONT);
	unbinder = test_fork();
	if (!unbinder) {
		CHECK_ZERO(region_unbind(f, 0, 0));
		__atomic_store_n(unbound, true, __ATOMIC_SEQ_CST);
		_exit(0);
	}
	for (int i = 0; i < 500 && !__atomic_load_n(unbound, __ATOMIC_SEQ_CST); i++)
		sleep_ms(10);
	soon = *unbound;
	hung->hang = 0;
	CHECK_EQ(io_getevents(ctx, NR, NR, events, NULL), NR);
	for (int i = 0; i < NR; i++)
		CHECK_EQ((long)events[i].res, PAGE);
	CHECK_EQ(wait_exit(opener), 0);
	CHECK_EQ(wait_exit(unbinder), 0);
	CHECK_ZERO(io_destroy(ctx));
	if (!soon)
		FAIL("an unbind waits for pages of somebody else's buffer");
}
