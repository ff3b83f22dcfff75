// SPDX-License-Identifier: GPL-2.0
/* M1: a page of FUSE's cache whose bytes are of several places, and of both sides of a file's end. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "harness.h"

#define SIZE (16 * PAGE)

static sigjmp_buf on_sigbus;

static void sigbus(int sig)
{
	(void)sig;
	siglongjmp(on_sigbus, 1);
}

/* The byte, or -1: reading it ended in SIGBUS */
static int byte_at(const volatile unsigned char *p)
{
	signal(SIGBUS, sigbus);
	return sigsetjmp(on_sigbus, 1) ? -1 : *p;
}

/* A file whose first page is half of one page of a backing on another FUSE mount, half of the next */
static struct tfile *on_two_pages(struct tfile **lower)
{
	struct srv *disk = srv_new(&(struct srv_opts){ .no_attach = true });
	struct tfile *f;
	struct backing *b;

	*lower = srv_store_file(disk, "lower", SIZE);
	srv_start(disk);
	f = srv_stored((struct srv_opts){ 0 }, NULL, SIZE, NULL, NULL);
	b = backing_from_fd(srv_open(*lower, O_RDWR));
	srv_register(f->srv, b);
	CHECK_ZERO(region_bind(f, 0, 2 * PAGE, b, 100, RW));
	return f;
}

TEST(m1_page_that_is_read_in_part)
{
	struct tfile *lower, *f = on_two_pages(&lower);
	int fd = srv_open(f, O_RDWR);
	unsigned char *p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	CHECK(p != MAP_FAILED);
	lower->bad_start = PAGE;
	lower->bad_last = SIZE;
	lower->bad_errno = EIO;
	CHECK_EQ(byte_at(p + PAGE - 1), -1);
	/* and the other half is not taken for good either */
	CHECK_EQ(byte_at(p), -1);
	lower->bad_errno = 0;
	expect_content(f, "mapping", 0, p, PAGE);
}
