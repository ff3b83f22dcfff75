// SPDX-License-Identifier: GPL-2.0
/* L1 in the middle of things. */
#define _GNU_SOURCE
#include <sys/mount.h>

#include "life.h"

#define SIZE LIFE_SIZE

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

		life_begin(&l, 8);
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
		life_all_released(&l);
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

struct attaching {
	struct tfile *f;
	struct backing *b; /* the file's own bytes */
	uint64_t bound;
};

static void detach_and_attach(void *arg)
{
	struct attaching *w = arg;
	uint64_t off = rnd_below(SIZE), len = 1 + rnd_below(SIZE - off);
	struct fuse_passthrough_region rec;
	struct fuse_regions_attach a;
	int fd = raw_dev_fuse(), id, res;

	CHECK_ZERO(raw_clone(fd, w->f->srv->session));
	a = raw_attach_arg(fd);
	CHECK_ZERO(raw_attach(&a));
	id = raw_backing_open(fd, w->b->fd);
	CHECK(id > 0);
	rec = REC(off, len, (uint32_t)id, off, FUSE_REGION_READ | FUSE_REGION_REPLACE);
	res = region_msg(fd, w->f->nodeid, &rec, 1);
	/* nobody may have looked the file up yet */
	if (res && res != -ENOENT)
		FAIL("bind: %d", res);
	w->bound += !res;
	close(fd);
}

/* Attached and detached again and again while files are opened and read */
TEST(l1_detached_while_busy)
{
	struct srv *s = srv_new(&(struct srv_opts){ .keep_session = true, .no_attach = true });
	struct tfile *f = srv_file(s, "f", SIZE);
	struct attaching w = { .f = f, .b = backing_new(SIZE) };
	uint64_t until = now_ms() + test_storm_ms(3000);
	struct threads threads;

	backing_reseed(w.b, f->seed);
	close(raw_device());
	srv_start(s);
	threads_start(&threads, 1, detach_and_attach, &w);
	while (now_ms() < until) {
		int fd = srv_open(f, O_RDONLY);

		expect_read(f, fd, rnd_below(SIZE), 1 + rnd_below(2 * PAGE));
		close(fd);
	}
	threads_stop(&threads);
	note("%llu attaches, %llu binds", (unsigned long long)threads.rounds,
	     (unsigned long long)w.bound);
	CHECK(w.bound > 0);
}
