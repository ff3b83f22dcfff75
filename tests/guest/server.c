// SPDX-License-Identifier: GPL-2.0
/* Starting, steering and stopping test servers. */
#define _GNU_SOURCE
#define FUSE_USE_VERSION 317
#include <fcntl.h>
#include <fuse3/fuse_lowlevel.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "server.h"
#include "world.h"

struct srv *srv_new(const struct srv_opts *opts)
{
	struct srv *s = shared_alloc(sizeof(*s));

	if (opts)
		s->opts = *opts;
	if (!s->opts.model_max)
		s->opts.model_max = 4096;
	s->ctl = -1;
	s->session = -1;
	strcpy(s->mnt, "/tmp/fr-test-XXXXXX");
	return s;
}

struct tfile *srv_file(struct srv *s, const char *name, uint64_t size)
{
	static uint64_t seeds;
	struct tfile *f = &s->files[s->nr_files];

	CHECK(s->nr_files < SRV_MAX_FILES && !s->pid);
	f->srv = s;
	f->nodeid = 2 + (uint64_t)s->nr_files++;
	snprintf(f->name, sizeof(f->name), "%s", name);
	f->seed = ++seeds;
	f->size = size;
	f->mode = S_IFREG | 0644;
	f->mtime.tv_sec = f->ctime.tv_sec = 1000000000;
	f->model = model_new(s->opts.model_max);
	return f;
}

struct tfile *srv_store_file(struct srv *s, const char *name, uint64_t size)
{
	struct tfile *f = srv_file(s, name, size);

	f->store = backing_new(size);
	f->store->seed = f->seed;
	backing_reseed(f->store, f->seed);
	return f;
}

/* Of what the test has open, the server keeps only what it needs: else it would hold files and
 * connections of its own making open. */
static void close_others(const struct srv *s)
{
	int low = s->session < s->ctl ? s->session : s->ctl;
	int high = s->session < s->ctl ? s->ctl : s->session;

	if (low > 3)
		close_range(3, (unsigned int)low - 1, 0);
	if (high > low + 1)
		close_range((unsigned int)low + 1, (unsigned int)high - 1, 0);
	close_range((unsigned int)high + 1, ~0u, 0);
}

static _Noreturn void serve(struct srv *s, struct fuse_session *se)
{
	int res;

	close_others(s);
	if (s->opts.threads) {
		struct fuse_loop_config *config = fuse_loop_cfg_create();

		res = fuse_session_loop_mt(se, config);
	} else {
		res = fuse_session_loop(se);
	}
	_exit(res ? TEST_FAIL : TEST_PASS);
}

static bool try_abort(const struct srv *s)
{
	char path[128];
	bool done;
	int fd;

	snprintf(path, sizeof(path), "/sys/fs/fuse/connections/%u/abort", minor(s->dev));
	fd = open(path, O_WRONLY | O_CLOEXEC);
	done = fd >= 0 && write(fd, "1", 1) == 1;
	close(fd);
	return done;
}

static void stop_at_end(void *arg)
{
	struct srv *s = arg;

	if (s->pid > 0) {
		kill(s->pid, SIGKILL);
		waitpid(s->pid, NULL, 0);
		s->pid = 0;
	}
	/* Else a child in the middle of something could wait for an answer for ever. */
	if (test_failing() && s->mounted)
		try_abort(s);
	if (s->ctl >= 0)
		close(s->ctl);
	s->ctl = -1;
	/* Left open, it would keep a connection alive that nobody serves. */
	if (s->opts.keep_session)
		close(s->session);
	if (s->mounted)
		umount2(s->mnt, MNT_DETACH);
	s->mounted = false;
	rmdir(s->mnt);
}

/*
 * The session is the child's now. What libfuse has of it here would pile up with each restart: one of
 * some thousand keys for data of threads, for example. Its descriptor keeps its number.
 */
static void forget_session(struct srv *s, struct fuse_session *se)
{
	int fd = (int)CHECK_OK(fcntl(s->session, F_DUPFD_CLOEXEC, 3));

	fuse_session_destroy(se);
	if (s->opts.keep_session)
		CHECK_OK(dup3(fd, s->session, O_CLOEXEC));
	close(fd);
}

void srv_start(struct srv *s)
{
	struct fuse_session *se;
	struct stat st;
	pid_t pid;

	if (!s->opts.no_attach)
		close(raw_device());
	CHECK(mkdtemp(s->mnt));
	test_at_end(stop_at_end, s);
	se = srv_session_new(s);
	CHECK_ZERO(fuse_session_mount(se, s->mnt));
	s->mounted = true;
	s->session = fuse_session_fd(se);
	s->ctl = raw_dev_fuse();
	pid = (pid_t)CHECK_OK(test_fork());
	if (pid == 0)
		serve(s, se);
	s->pid = pid;
	forget_session(s, se);
	CHECK_OK(stat(s->mnt, &st));
	s->dev = st.st_dev;
	if (s->attach_res && !s->opts.no_attach)
		FAIL("cannot attach: %s", strerror(-s->attach_res));
}

struct tfile *srv_simple(uint64_t size)
{
	struct srv *s = srv_new(NULL);
	struct tfile *f = srv_file(s, "f", size);

	srv_start(s);
	return f;
}

struct tfile *srv_stored(struct srv_opts opts, const char *dir, uint64_t size, struct backing **b,
			 struct backing **c)
{
	struct backing **backings[] = { b, c };
	struct srv *s = srv_new(&opts);
	struct tfile *f = srv_store_file(s, "f", size);

	srv_start(s);
	for (size_t i = 0; i < ARRAY_SIZE(backings); i++) {
		if (!backings[i])
			continue;
		*backings[i] = backing_new_in(dir, size);
		srv_register(s, *backings[i]);
	}
	close(srv_open(f, O_RDONLY));
	return f;
}

struct tfile *srv_on_lower(uint64_t size, bool direct, struct tfile **lower, struct backing **b)
{
	struct srv *disk = srv_new(&(struct srv_opts){ .no_attach = true });
	struct tfile *f;

	*lower = srv_store_file(disk, "lower", size);
	srv_start(disk);
	f = srv_stored((struct srv_opts){ 0 }, NULL, size, NULL, NULL);
	(*lower)->direct_io = direct;
	*b = backing_from_fd(srv_open(*lower, O_RDWR));
	(*b)->seed = (*lower)->seed;
	srv_register(f->srv, *b);
	return f;
}

void srv_stop(struct srv *s)
{
	pid_t pid = s->pid;

	if (!s->mounted)
		return;
	s->mounted = false;
	CHECK_OK(umount2(s->mnt, 0));
	s->pid = 0;
	if (pid > 0)
		CHECK_EQ(wait_exit(pid), TEST_PASS);
	srv_close_ctl(s);
}

void srv_close_ctl(struct srv *s)
{
	char path[128];
	struct stat st;

	snprintf(path, sizeof(path), "%s/" SRV_DROP_CTL, s->mnt);
	if (s->pid > 0)
		CHECK_ERR(stat(path, &st), ENOENT);
	if (s->ctl >= 0)
		close(s->ctl);
	s->ctl = -1;
}

void srv_signal(struct srv *s, int sig)
{
	CHECK_OK(kill(s->pid, sig));
	/* From when this returns it takes no more requests. */
	if (sig == SIGSTOP)
		CHECK_EQ(waitpid(s->pid, NULL, WUNTRACED), s->pid);
}

void srv_kill(struct srv *s)
{
	pid_t pid = s->pid;

	s->pid = 0;
	CHECK_OK(kill(pid, SIGKILL));
	CHECK_EQ(waitpid(pid, NULL, 0), pid);
	if (s->ctl >= 0)
		close(s->ctl);
	s->ctl = -1;
	if (s->opts.keep_session)
		close(s->session);
}

void srv_drop(struct srv *s)
{
	CHECK(!s->pid);
	test_not_at_end(stop_at_end, s);
	stop_at_end(s);
	for (int i = 0; i < s->nr_files; i++)
		model_free(s->files[i].model);
	shared_free(s, sizeof(*s));
}

void srv_abort(struct srv *s)
{
	if (!try_abort(s))
		FAIL("cannot abort the connection: %m");
}

void srv_keep_dirty(const struct srv *s)
{
	CHECK_ZERO(sh("echo 0 >/sys/class/bdi/%u:%u/strict_limit", major(s->dev), minor(s->dev)));
}

void srv_until_hanging(struct tfile *f)
{
	CHECK_SOON(__atomic_load_n(&f->hanging, __ATOMIC_SEQ_CST));
}

void srv_path(char *buf, size_t size, const struct tfile *f)
{
	snprintf(buf, size, "%s/%s", f->srv->mnt, f->name);
}

int srv_open(const struct tfile *f, int flags)
{
	char path[128];

	srv_path(path, sizeof(path), f);
	return (int)CHECK_OK(open(path, flags | O_CLOEXEC, 0644));
}

uint64_t srv_count(const struct tfile *f, enum srv_op op)
{
	return __atomic_load_n(&f->nr[op], __ATOMIC_SEQ_CST);
}

uint32_t srv_register(struct srv *s, struct backing *b)
{
	int fd = b->owner == getpid() ? b->fd : (int)CHECK_OK(backing_reopen(b, O_RDWR));
	int id = raw_backing_open(s->ctl, fd);

	if (fd != b->fd)
		close(fd);
	if (id <= 0)
		FAIL("cannot register a backing: %d", id);
	b->id = (uint32_t)id;
	return b->id;
}

int region_send(struct tfile *f, const struct fuse_passthrough_region *recs, uint32_t nr,
		struct backing *const *backings)
{
	int res = region_msg(f->srv->ctl, f->nodeid, recs, nr);

	for (uint32_t i = 0; !res && i < nr; i++) {
		const struct fuse_passthrough_region *r = &recs[i];

		if (r->flags & FUSE_REGION_UNBIND)
			model_unbind(f->model, r->offset, r->length);
		else
			model_bind(f->model, r->offset, r->length, backings[i], r->backing_offset,
				   r->flags);
	}
	return res;
}

int region_bind(struct tfile *f, uint64_t off, uint64_t len, struct backing *b, uint64_t boff,
		uint32_t flags)
{
	struct fuse_passthrough_region rec;

	if (!(flags & (FUSE_REGION_READ | FUSE_REGION_WRITE)))
		flags |= FUSE_REGION_READ;
	rec = REC(off, len, b->id, boff, flags);
	return region_send(f, &rec, 1, &b);
}

int region_unbind(struct tfile *f, uint64_t off, uint64_t len)
{
	struct fuse_passthrough_region rec = REC(off, len, 0, 0, FUSE_REGION_UNBIND);

	return region_send(f, &rec, 1, NULL);
}
