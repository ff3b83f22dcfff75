// SPDX-License-Identifier: GPL-2.0
/*
 * G2 for bytes that splice() handed over, in pages of a backing's cache where those can leave it: they
 * are what they were, whatever the server puts in their place after an unbind.
 */
#define _GNU_SOURCE
#include <sys/mman.h>

#include "harness.h"

#define SIZE (64 * PAGE)

static struct backing *b, *c;

/* The backings are in @dir: tmpfs (NULL), or a file system whose cached pages can be dropped. */
static struct tfile *bound_in(const char *dir)
{
	struct srv *s = srv_new(&(struct srv_opts){ .max_stack_depth = dir ? 2 : 0 });
	struct tfile *f = srv_file(s, "f", SIZE);

	srv_start(s);
	b = backing_new_in(dir, SIZE);
	c = backing_new_in(dir, SIZE);
	/* Dirty pages are copied */
	CHECK_OK(fsync(b->fd));
	srv_register(s, b);
	srv_register(s, c);
	close(srv_open(f, O_RDONLY));
	CHECK_ZERO(region_bind(f, PAGE, 19 * PAGE, b, 8 * PAGE, 0));
	return f;
}

/* A pipe with four pages of @f from @pos on */
static int splice_some(struct tfile *f, off_t pos)
{
	int fd = srv_open(f, O_RDONLY), fds[2];

	CHECK_OK(pipe(fds));
	CHECK_EQ(splice(fd, &pos, fds[1], NULL, 4 * PAGE, 0), 4 * PAGE);
	close(fd);
	return fds[0];
}

/* What was unbound from page @page of @b on is used again, and not seen in @pipe. */
static void reuse(int pipe, uint64_t page)
{
	unsigned char buf[4 * PAGE] = { 0 };

	CHECK_EQ(pwrite(b->fd, buf, sizeof(buf), (off_t)(page * PAGE)), (ssize_t)sizeof(buf));
	CHECK_EQ(read(pipe, buf, sizeof(buf)), (ssize_t)sizeof(buf));
	CHECK_EQ(pattern_differs(buf, b->seed, page * PAGE, sizeof(buf)), sizeof(buf));
	/* It is there, too, and not only in a page that nobody knows any more */
	CHECK_EQ(pread(b->fd, buf, sizeof(buf), (off_t)(page * PAGE)), (ssize_t)sizeof(buf));
	for (size_t i = 0; i < sizeof(buf); i++)
		CHECK_EQ(buf[i], 0);
	/* What is spliced next lies beside it, maybe in one large folio, and is not to be copied */
	CHECK_OK(fsync(b->fd));
}

static void reuse_after_splice(const char *dir)
{
	struct tfile *f = bound_in(dir);
	int unbound = splice_some(f, 2 * PAGE);
	int replaced, trimmed;

	CHECK_ZERO(region_unbind(f, PAGE, 5 * PAGE));
	reuse(unbound, 9);
	replaced = splice_some(f, 7 * PAGE);
	CHECK_ZERO(region_bind(f, 7 * PAGE, 4 * PAGE, c, 0, FUSE_REGION_REPLACE));
	reuse(replaced, 14);
	trimmed = splice_some(f, 13 * PAGE);
	CHECK_OK(ftruncate(srv_open(f, O_RDWR), 12 * PAGE));
	reuse(trimmed, 20);
}

TEST(g2_reuse_after_splice)
{
	reuse_after_splice(NULL);
}

TEST(g2_reuse_after_splice_ext4)
{
	reuse_after_splice(shared_ext4());
}

/* Whose pages are in another inode's cache */
TEST(g2_reuse_after_splice_overlay)
{
	reuse_after_splice(mount_overlay(shared_ext4()));
}

/* As a mapping of a neighbour's in the same backing, which goes on */
TEST(g2_reuse_after_splice_keeps_mappings)
{
	struct tfile *f = bound_in(shared_ext4());
	unsigned char *map =
		mmap(NULL, 10 * PAGE, PROT_READ, MAP_SHARED, srv_open(f, O_RDONLY), PAGE);
	int pipe = splice_some(f, 2 * PAGE);

	CHECK(map != MAP_FAILED);
	CHECK_EQ(pattern_differs(map, b->seed, 8 * PAGE, 10 * PAGE), 10 * PAGE);
	CHECK_ZERO(region_unbind(f, PAGE, 5 * PAGE));
	CHECK_EQ(pattern_differs(map, b->seed, 8 * PAGE, 10 * PAGE), 10 * PAGE);
	reuse(pipe, 9);
	for (size_t i = 0; i < 4 * PAGE; i++)
		CHECK_EQ(map[PAGE + i], 0);
}

/* Pages that have to be written before they can leave: with the same bytes, again */
TEST(g2_reuse_after_splice_and_write)
{
	struct tfile *f = bound_in(shared_ext4());
	unsigned char buf[4 * PAGE];
	int pipe = splice_some(f, 2 * PAGE);

	CHECK_EQ(pread(b->fd, buf, sizeof(buf), 9 * PAGE), (ssize_t)sizeof(buf));
	CHECK_EQ(pwrite(b->fd, buf, sizeof(buf), 9 * PAGE), (ssize_t)sizeof(buf));
	CHECK_ZERO(region_unbind(f, 0, 0));
	reuse(pipe, 9);
}

TEST(g2_reuse_after_splice_of_dirty_page)
{
	struct tfile *f = bound_in(shared_ext4());
	unsigned char buf[PAGE];
	int pipe;

	CHECK_EQ(pread(b->fd, buf, sizeof(buf), 10 * PAGE), (ssize_t)sizeof(buf));
	CHECK_EQ(pwrite(b->fd, buf, sizeof(buf), 10 * PAGE), (ssize_t)sizeof(buf));
	pipe = splice_some(f, 2 * PAGE);
	CHECK_ZERO(region_unbind(f, 0, 0));
	reuse(pipe, 9);
}

/* The server dies, or is done with regions, and the next one finds the place free. */
TEST(g2_reuse_after_splice_and_detach)
{
	struct tfile *f = bound_in(shared_ext4());
	int pipe = splice_some(f, 2 * PAGE);

	srv_kill(f->srv);
	usleep(300000);
	reuse(pipe, 9);
}

TEST(g2_reuse_after_splice_and_eviction)
{
	struct tfile *f = bound_in(shared_ext4());
	int pipe = splice_some(f, 2 * PAGE);

	srv_stop(f->srv);
	reuse(pipe, 9);
}

/* What is written to a backing is seen in a pipe, as with a native file: it is the same page. */
TEST(r6_splice_without_copying)
{
	struct tfile *f = bound_in(shared_ext4());
	unsigned char buf[4 * PAGE] = { 0 };
	int pipe = splice_some(f, 2 * PAGE);

	CHECK_EQ(pwrite(b->fd, buf, sizeof(buf), 9 * PAGE), (ssize_t)sizeof(buf));
	memset(buf, 1, sizeof(buf));
	CHECK_EQ(read(pipe, buf, sizeof(buf)), (ssize_t)sizeof(buf));
	for (size_t i = 0; i < sizeof(buf); i++)
		CHECK_EQ(buf[i], 0);
}
