// SPDX-License-Identifier: GPL-2.0
/*
 * L1: whatever ends a connection or an inode releases its regions and backings,
 * once. What is left is seen in the module's counters, and by unmounting the
 * file system that the backings are on.
 */
#define _GNU_SOURCE
#include <sys/mman.h>
#include <sys/mount.h>

#include "life.h"

#define SIZE LIFE_SIZE

static int open_and_read(struct life *l, int i)
{
	int fd = srv_open(&l->s->files[i], O_RDONLY);

	expect_read(&l->s->files[i], fd, 0, SIZE);
	return fd;
}

TEST(l1_unmount)
{
	struct life l;

	life_begin(&l, 20);
	for (int i = 0; i < 20; i++)
		close(open_and_read(&l, i));
	srv_stop(l.s);
	life_all_released(&l);
}

/* Old parts of a map, which readers may have been in, keep no file system busy either. */
static void unmount_after_binds(bool unlinked)
{
	struct life l;
	char path[128];

	for (int i = 0; i < 10; i++) {
		life_begin(&l, 1);
		for (int j = 0; j < 4; j++)
			close(l.b[j]->fd);
		CHECK_ZERO(region_bind(&l.s->files[0], 9 * PAGE, 10, l.b[2], 0, 0));
		CHECK_ZERO(region_bind(&l.s->files[0], 10 * PAGE, 10, l.b[3], 0, 0));
		srv_path(path, sizeof(path), &l.s->files[0]);
		if (unlinked)
			CHECK_OK(unlink(path));
		srv_stop(l.s);
		CHECK_OK(umount2(l.dir, 0));
	}
}

TEST(l1_unmount_right_after_a_bind)
{
	unmount_after_binds(false);
}

TEST(l1_unmount_right_after_a_bind_and_unlink)
{
	unmount_after_binds(true);
}

TEST(l1_unmount_never_opened)
{
	struct life l;

	life_begin(&l, 20);
	srv_stop(l.s);
	life_all_released(&l);
}

TEST(l1_lazy_unmount_with_open_files)
{
	struct life l;
	int fd[4];

	life_begin(&l, 4);
	for (int i = 0; i < 4; i++)
		fd[i] = open_and_read(&l, i);
	CHECK_ERR(umount2(l.s->mnt, 0), EBUSY);
	CHECK_OK(umount2(l.s->mnt, MNT_DETACH));
	l.s->mounted = false;
	for (int i = 0; i < 4; i++) {
		expect_read(&l.s->files[i], fd[i], 0, SIZE);
		CHECK_ZERO(region_bind(&l.s->files[i], 10 * PAGE, 5, l.b[0], 0, 0));
		expect_read(&l.s->files[i], fd[i], 0, SIZE);
		close(fd[i]);
	}
	CHECK_EQ(wait_exit(l.s->pid), 0);
	l.s->pid = 0;
	srv_close_ctl(l.s);
	life_all_released(&l);
}

/* The detached connection is released though the mount and an open file remain. */
TEST(l1_detach)
{
	struct life l;
	int fd;

	life_begin(&l, 10);
	fd = open_and_read(&l, 3);
	srv_close_ctl(l.s);
	expect_read(&l.s->files[3], fd, 0, SIZE);
	CHECK_SOON(module_param("live_inodes") <= 1);
	close(fd);
	life_all_released(&l);
	model_unbind(l.s->files[3].model, 0, 0);
	open_and_read(&l, 3);
}

TEST(l1_abort)
{
	struct life l;
	int fd;

	life_begin(&l, 10);
	fd = open_and_read(&l, 3);
	srv_abort(l.s);
	close(fd);
	srv_kill(l.s);
	CHECK_OK(umount2(l.s->mnt, 0));
	l.s->mounted = false;
	life_all_released(&l);
}

/* After an abort, before anything else: closing what is open is enough. */
TEST(l1_abort_then_close)
{
	struct life l;
	int fd;

	life_begin(&l, 10);
	fd = open_and_read(&l, 3);
	srv_abort(l.s);
	close(fd);
	/* the server hears of it, and leaves; the mount stays */
	wait_exit(l.s->pid);
	l.s->pid = 0;
	srv_close_ctl(l.s);
	life_all_released(&l);
}

TEST(l1_server_killed)
{
	struct life l;

	life_begin(&l, 10);
	for (int i = 0; i < 10; i++)
		close(open_and_read(&l, i));
	srv_kill(l.s);
	life_all_released(&l);
	CHECK_OK(umount2(l.s->mnt, 0));
	l.s->mounted = false;
}

TEST(l1_server_killed_with_open_files)
{
	struct life l;
	int fd[10];

	life_begin(&l, 10);
	for (int i = 0; i < 10; i++)
		fd[i] = open_and_read(&l, i);
	srv_kill(l.s);
	for (int i = 0; i < 10; i++) {
		expect_read(&l.s->files[i], fd[i], PAGE + (uint64_t)i, 5000);
		close(fd[i]);
	}
	life_all_released(&l);
}

TEST(l1_server_killed_with_mapping)
{
	struct life l;
	unsigned char *p;
	int fd;

	life_begin(&l, 4);
	CHECK_ZERO(region_bind(&l.s->files[0], 8 * PAGE, 4 * PAGE, l.b[2], 0, 0));
	fd = open_and_read(&l, 0);
	p = mmap(NULL, 2 * PAGE, PROT_READ, MAP_SHARED, fd, 9 * PAGE);
	CHECK(p != MAP_FAILED);
	expect_content(&l.s->files[0], "mmap", 9 * PAGE, p, 2 * PAGE);
	close(fd);
	srv_kill(l.s);
	expect_content(&l.s->files[0], "mmap", 9 * PAGE, p, 2 * PAGE);
	CHECK_OK(munmap(p, 2 * PAGE));
	life_all_released(&l);
}

TEST(l1_server_killed_with_1000_inodes)
{
	struct life l;
	int fd[10];

	life_begin(&l, 1000);
	for (int i = 0; i < 10; i++)
		fd[i] = open_and_read(&l, i * 99);
	srv_kill(l.s);
	CHECK_SOON(module_param("live_inodes") <= 10);
	for (int i = 0; i < 10; i++)
		close(fd[i]);
	life_all_released(&l);
}

/* Inodes that the kernel forgets lose their regions; the server binds them anew. */
TEST(l1_forget)
{
	struct life l;

	life_begin(&l, 50);
	CHECK_SOON((drop_caches(), module_param("live_inodes") == 0));
	CHECK_EQ(module_param("live_backings"), 4);
	for (int i = 0; i < 50; i++) {
		model_unbind(l.s->files[i].model, 0, 0);
		close(open_and_read(&l, i));
		CHECK_ZERO(region_bind(&l.s->files[i], 0, 100, l.b[0], 0, 0));
		close(open_and_read(&l, i));
	}
	srv_stop(l.s);
	life_all_released(&l);
}

/* Open files keep theirs. */
TEST(l1_forget_spares_open_files)
{
	struct life l;
	int fd;

	life_begin(&l, 50);
	fd = open_and_read(&l, 7);
	CHECK_SOON((drop_caches(), module_param("live_inodes") == 1));
	l.s->files[7].asked_bound = 0;
	expect_read(&l.s->files[7], fd, 0, SIZE);
	CHECK_EQ(l.s->files[7].asked_bound, 0);
	close(fd);
	srv_stop(l.s);
	life_all_released(&l);
}

TEST(l1_unlink)
{
	struct life l;
	char path[128];
	int fd;

	life_begin(&l, 4);
	fd = open_and_read(&l, 0);
	for (int i = 0; i < 2; i++) {
		srv_path(path, sizeof(path), &l.s->files[i]);
		CHECK_OK(unlink(path));
	}
	CHECK_SOON(module_param("live_inodes") == 3);
	expect_read(&l.s->files[0], fd, 0, SIZE);
	close(fd);
	CHECK_SOON(module_param("live_inodes") == 2);
	srv_stop(l.s);
	life_all_released(&l);
}

TEST(l1_unregister_then_unbind)
{
	struct life l;
	int fd;

	life_begin(&l, 4);
	fd = open_and_read(&l, 0);
	for (int i = 0; i < 4; i++)
		CHECK_ZERO(raw_backing_close(l.s->ctl, l.b[i]->id));
	CHECK_EQ(module_param("live_backings"), 4);
	for (int i = 0; i < 4; i++)
		CHECK_ZERO(region_unbind(&l.s->files[i], 0, 0));
	CHECK_SOON(module_param("live_backings") == 0);
	expect_read(&l.s->files[0], fd, 0, SIZE);
	close(fd);
	srv_stop(l.s);
	life_all_released(&l);
}

TEST(l1_messages_that_failed)
{
	struct fuse_passthrough_region recs[300];
	struct life l;

	life_begin(&l, 1);
	for (int i = 0; i < 300; i++)
		recs[i] = REC((uint64_t)i * 200, 150, l.b[i % 4]->id, 0,
			      FUSE_REGION_READ | FUSE_REGION_REPLACE);
	recs[299].backing_id = 4242;
	for (int i = 0; i < 10; i++)
		CHECK_NEG(region_msg(l.s->ctl, 2, recs, 300), ENOENT);
	open_and_read(&l, 0);
	close(l.s->ctl);
	l.s->ctl = -1;
	srv_kill(l.s);
}

/*
 * The server dies while a reader waits for it with pages locked, and a bind
 * that could not drop these pages is not forgotten.
 */
TEST(l1_killed_with_locked_pages)
{
	struct life l;
	struct tfile *f;
	char buf[100];
	pid_t pid;
	int fd;

	test_watchdog(60);
	life_begin(&l, 4);
	f = &l.s->files[0];
	CHECK_ZERO(region_unbind(f, 0, 0));
	fd = srv_open(f, O_RDONLY);
	f->hang = 1u << OP_READ;
	pid = test_fork();
	if (pid == 0) {
		close(l.s->ctl);
		/* The server's pages fail; read again, they come from the region bound since. */
		if (pread(fd, buf, 100, 0) != -1)
			expect_content(f, "read", 0, (unsigned char *)buf, 100);
		_exit(0);
	}
	srv_until_hanging(f);
	CHECK_ZERO(region_bind(f, 0, 2 * PAGE, l.b[0], 0, 0));
	CHECK_ZERO(region_bind(f, 3 * PAGE, PAGE, l.b[0], 0, 0));
	srv_kill(l.s);
	CHECK_EQ(wait_exit(pid), 0);
	expect_read(f, fd, 0, 2 * PAGE);
	close(fd);
	life_all_released(&l);
}
