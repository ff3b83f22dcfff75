// SPDX-License-Identifier: GPL-2.0
/*
 * L1: whatever ends a connection or an inode releases its regions and backings,
 * once. What is left is seen in the module's counters, and by unmounting the
 * file system that the backings are on.
 */
#define _GNU_SOURCE
#include <sys/mman.h>
#include <sys/mount.h>

#include "harness.h"

#define SIZE (16 * PAGE)

struct life {
	struct srv *s;
	const char *dir; /* where the backings are */
	struct backing *b[4];
	int nr_files;
};

/* A server with @nr files, each bound to two of four backings on a tmpfs of their own */
static void begin(struct life *l, int nr)
{
	char name[16], path[128];
	struct stat st;

	*l = (struct life){ .s = srv_new(&(struct srv_opts){ .model_max = 64 }), .nr_files = nr };
	for (int i = 0; i < nr; i++) {
		snprintf(name, sizeof(name), "f%d", i);
		srv_file(l->s, name, SIZE);
	}
	srv_start(l->s);
	l->dir = mount_tmpfs();
	for (int i = 0; i < 4; i++) {
		l->b[i] = backing_new_in(l->dir, SIZE);
		srv_register(l->s, l->b[i]);
	}
	for (int i = 0; i < nr; i++) {
		struct tfile *f = &l->s->files[i];

		srv_path(path, sizeof(path), f);
		CHECK_OK(stat(path, &st));
		CHECK_ZERO(region_bind(f, PAGE + (uint64_t)i % 100, 5000, l->b[i % 4], 7, 0));
		CHECK_ZERO(region_bind(f, 5 * PAGE, 5000, l->b[(i + 1) % 4], 9, 0));
	}
	CHECK_EQ(module_param("live_inodes"), nr);
}

/* Nothing is left in the module, and nothing holds the backings' file system. */
static void all_released(struct life *l)
{
	for (int i = 0; i < 4; i++)
		close(l->b[i]->fd);
	CHECK_SOON(module_param("live_conns") == 0);
	CHECK_SOON(module_param("live_inodes") == 0);
	CHECK_SOON(module_param("live_backings") == 0);
	CHECK_SOON(module_param("live_nodes") == 0);
	unmount_soon(l->dir);
}

static int open_and_read(struct life *l, int i)
{
	int fd = srv_open(&l->s->files[i], O_RDONLY);

	expect_read(&l->s->files[i], fd, 0, SIZE);
	return fd;
}

TEST(l1_unmount)
{
	struct life l;

	begin(&l, 20);
	for (int i = 0; i < 20; i++)
		close(open_and_read(&l, i));
	srv_stop(l.s);
	all_released(&l);
}

TEST(l1_unmount_never_opened)
{
	struct life l;

	begin(&l, 20);
	srv_stop(l.s);
	all_released(&l);
}

TEST(l1_lazy_unmount_with_open_files)
{
	struct life l;
	int fd[4];

	begin(&l, 4);
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
	all_released(&l);
}

/* The detached connection is released though the mount and an open file remain. */
TEST(l1_detach)
{
	struct life l;
	int fd;

	begin(&l, 10);
	fd = open_and_read(&l, 3);
	srv_close_ctl(l.s);
	expect_read(&l.s->files[3], fd, 0, SIZE);
	CHECK_SOON(module_param("live_inodes") <= 1);
	close(fd);
	all_released(&l);
	model_unbind(l.s->files[3].model, 0, 0);
	open_and_read(&l, 3);
}

TEST(l1_abort)
{
	struct life l;
	int fd;

	begin(&l, 10);
	fd = open_and_read(&l, 3);
	srv_abort(l.s);
	close(fd);
	srv_kill(l.s);
	CHECK_OK(umount2(l.s->mnt, 0));
	l.s->mounted = false;
	all_released(&l);
}

/* After an abort, before anything else: closing what is open is enough. */
TEST(l1_abort_then_close)
{
	struct life l;
	int fd;

	begin(&l, 10);
	fd = open_and_read(&l, 3);
	srv_abort(l.s);
	close(fd);
	/* the server hears of it, and leaves; the mount stays */
	wait_exit(l.s->pid);
	l.s->pid = 0;
	srv_close_ctl(l.s);
	all_released(&l);
}

TEST(l1_server_killed)
{
	struct life l;

	begin(&l, 10);
	for (int i = 0; i < 10; i++)
		close(open_and_read(&l, i));
	srv_kill(l.s);
	all_released(&l);
	CHECK_OK(umount2(l.s->mnt, 0));
	l.s->mounted = false;
}

TEST(l1_server_killed_with_open_files)
{
	struct life l;
	int fd[10];

	begin(&l, 10);
	for (int i = 0; i < 10; i++)
		fd[i] = open_and_read(&l, i);
	srv_kill(l.s);
	for (int i = 0; i < 10; i++) {
		expect_read(&l.s->files[i], fd[i], PAGE + (uint64_t)i, 5000);
		close(fd[i]);
	}
	all_released(&l);
}

TEST(l1_server_killed_with_mapping)
{
	struct life l;
	unsigned char *p;
	int fd;

	begin(&l, 4);
	CHECK_ZERO(region_bind(&l.s->files[0], 8 * PAGE, 4 * PAGE, l.b[2], 0, 0));
	fd = open_and_read(&l, 0);
	p = mmap(NULL, 2 * PAGE, PROT_READ, MAP_SHARED, fd, 9 * PAGE);
	CHECK(p != MAP_FAILED);
	expect_content(&l.s->files[0], "mmap", 9 * PAGE, p, 2 * PAGE);
	close(fd);
	srv_kill(l.s);
	expect_content(&l.s->files[0], "mmap", 9 * PAGE, p, 2 * PAGE);
	CHECK_OK(munmap(p, 2 * PAGE));
	all_released(&l);
}

TEST(l1_server_killed_with_1000_inodes)
{
	struct life l;
	int fd[10];

	begin(&l, 1000);
	for (int i = 0; i < 10; i++)
		fd[i] = open_and_read(&l, i * 99);
	srv_kill(l.s);
	CHECK_SOON(module_param("live_inodes") <= 10);
	for (int i = 0; i < 10; i++)
		close(fd[i]);
	all_released(&l);
}

/* Inodes that the kernel forgets lose their regions; the server binds them anew. */
TEST(l1_forget)
{
	struct life l;

	begin(&l, 50);
	CHECK_SOON((drop_caches(), module_param("live_inodes") == 0));
	CHECK_EQ(module_param("live_backings"), 4);
	for (int i = 0; i < 50; i++) {
		model_unbind(l.s->files[i].model, 0, 0);
		close(open_and_read(&l, i));
		CHECK_ZERO(region_bind(&l.s->files[i], 0, 100, l.b[0], 0, 0));
		close(open_and_read(&l, i));
	}
	srv_stop(l.s);
	all_released(&l);
}

/* Open files keep theirs. */
TEST(l1_forget_spares_open_files)
{
	struct life l;
	int fd;

	begin(&l, 50);
	fd = open_and_read(&l, 7);
	CHECK_SOON((drop_caches(), module_param("live_inodes") == 1));
	l.s->files[7].asked_bound = 0;
	expect_read(&l.s->files[7], fd, 0, SIZE);
	CHECK_EQ(l.s->files[7].asked_bound, 0);
	close(fd);
	srv_stop(l.s);
	all_released(&l);
}

TEST(l1_unlink)
{
	struct life l;
	char path[128];
	int fd;

	begin(&l, 4);
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
	all_released(&l);
}

TEST(l1_unregister_then_unbind)
{
	struct life l;
	int fd;

	begin(&l, 4);
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
	all_released(&l);
}

TEST(l1_messages_that_failed)
{
	struct fuse_passthrough_region recs[300];
	struct life l;

	begin(&l, 1);
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
 * Ends while others are busy: threads bind, register, open and read, until
 * their calls fail because what they use is gone.
 */
static void keep_busy(void *arg)
{
	struct life *l = arg;
	struct tfile *f = &l->s->files[rnd_below((uint64_t)l->nr_files)];
	uint64_t off = rnd_below(SIZE);
	char path[128], buf[PAGE];
	struct fuse_passthrough_region rec;
	int fd, id, ctl = l->s->ctl; /* whose number another file may get, when it is closed */

	rec = REC(off, 1 + rnd_below(PAGE), l->b[off % 4]->id, off,
		  FUSE_REGION_READ | FUSE_REGION_REPLACE);
	if (rnd_below(4) == 0)
		rec = REC(0, 0, 0, 0, FUSE_REGION_UNBIND);
	region_msg(ctl, f->nodeid, &rec, 1);
	if (rnd_below(8) == 0) {
		id = raw_backing_open(ctl, l->b[0]->fd);
		if (id > 0)
			raw_backing_close(ctl, (uint32_t)id);
	}
	srv_path(path, sizeof(path), f);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		if (pread(fd, buf, sizeof(buf), (off_t)off) < 0 && errno != ENOTCONN &&
		    errno != ECONNABORTED && errno != EIO)
			FAIL("pread: %m");
		close(fd);
	} else if (errno != ENOTCONN && errno != ENOENT && errno != ECONNABORTED && errno != EIO) {
		FAIL("open: %m");
	}
}

static void end_while_busy(void (*finish)(struct srv *s))
{
	for (unsigned int round = 0; round < test_scaled(4); round++) {
		struct threads threads;
		struct life l;

		begin(&l, 8);
		threads_start(&threads, 4, keep_busy, &l);
		threads_progress(&threads, 30 + rnd_below(100));
		finish(l.s);
		threads_progress(&threads, 30);
		threads_stop(&threads);
		if (l.s->pid)
			srv_kill(l.s);
		if (l.s->mounted)
			CHECK_OK(umount2(l.s->mnt, MNT_DETACH));
		l.s->mounted = false;
		all_released(&l);
	}
}

static void lazy_unmount(struct srv *s)
{
	CHECK_OK(umount2(s->mnt, MNT_DETACH));
	s->mounted = false;
}

TEST(l1_killed_while_busy)
{
	end_while_busy(srv_kill);
}

TEST(l1_aborted_while_busy)
{
	end_while_busy(srv_abort);
}

TEST(l1_unmounted_while_busy)
{
	end_while_busy(lazy_unmount);
}

static void detach_and_attach(void *arg)
{
	struct srv *s = arg;
	struct fuse_regions_attach a;
	int fd = raw_dev_fuse();

	CHECK_ZERO(raw_clone(fd, s->session));
	a = raw_attach_arg(fd);
	if (raw_attach(&a) == 0) {
		struct fuse_passthrough_region rec = REC(0, 10, 1, 0, FUSE_REGION_READ);

		raw_backing_open(fd, fd);
		region_msg(fd, 2, &rec, 1);
	}
	close(fd);
}

/* Attached and detached again and again while files are opened and read */
TEST(l1_detached_while_busy)
{
	struct srv *s = srv_new(&(struct srv_opts){ .keep_session = true, .no_attach = true });
	struct tfile *f = srv_file(s, "f", SIZE);
	uint64_t until = now_ms() + test_storm_ms(3000);
	struct threads threads;
	char buf[PAGE];

	close(raw_device());
	srv_start(s);
	threads_start(&threads, 1, detach_and_attach, s);
	while (now_ms() < until) {
		int fd = srv_open(f, O_RDONLY);

		CHECK_EQ(pread(fd, buf, PAGE, PAGE), PAGE);
		CHECK_EQ(pattern_differs(buf, f->seed, PAGE, PAGE), PAGE);
		close(fd);
	}
	threads_stop(&threads);
	note("%llu attaches", (unsigned long long)threads.rounds);
}
