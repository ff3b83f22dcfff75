// SPDX-License-Identifier: GPL-2.0
/* I2: registering and unregistering backings. */
#define _GNU_SOURCE
#include <linux/capability.h>
#include <pthread.h>
#include <sched.h>
#include <sys/fanotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/mount.h>

#include "harness.h"

static struct srv *attached(void)
{
	return srv_simple(16 * PAGE)->srv;
}

static int open_and_register(struct srv *s, const char *path, int flags)
{
	int fd = (int)CHECK_OK(open(path, flags | O_CLOEXEC));
	int res = raw_backing_open(s->ctl, fd);

	close(fd);
	return res;
}

TEST(i2_register_ok)
{
	struct srv *s = attached();
	struct backing *b = backing_new(PAGE);
	uint32_t ids[8];

	for (int i = 0; i < 8; i++) {
		ids[i] = srv_register(s, b);
		for (int j = 0; j < i; j++)
			CHECK(ids[i] != ids[j]);
	}
	for (int i = 0; i < 8; i++)
		CHECK_ZERO(raw_backing_close(s->ctl, ids[i]));
}

TEST(i2_register_fd_may_be_closed)
{
	struct tfile *f = srv_simple(16 * PAGE);
	struct backing *b = backing_new(16 * PAGE);
	int fd = srv_open(f, O_RDONLY);
	int copy = backing_reopen(b, O_RDONLY);

	b->id = (uint32_t)raw_backing_open(f->srv->ctl, copy);
	close(copy);
	CHECK_ZERO(region_bind(f, 0, 4 * PAGE, b, 100, 0));
	expect_file(f, fd, PAGE);
}

TEST(i2_register_eperm_without_cap_sys_admin)
{
	struct srv *s = attached();
	struct backing *b = backing_new(PAGE);
	pid_t pid = test_fork();

	if (pid == 0) {
		drop_capability(CAP_SYS_ADMIN);
		CHECK_NEG(raw_backing_open(s->ctl, b->fd), EPERM);
		_exit(0);
	}
	CHECK_EQ(wait_exit(pid), 0);
	CHECK(raw_backing_open(s->ctl, b->fd) > 0);
}

TEST(i2_unregister_needs_no_capability)
{
	struct srv *s = attached();
	struct backing *b = backing_new(PAGE);
	int id = raw_backing_open(s->ctl, b->fd);
	pid_t pid;

	CHECK(id > 0);
	pid = test_fork();
	if (pid == 0) {
		drop_capability(CAP_SYS_ADMIN);
		CHECK_ZERO(raw_backing_close(s->ctl, (uint32_t)id));
		CHECK_NEG(raw_backing_close(s->ctl, (uint32_t)id), ENOENT);
		_exit(0);
	}
	CHECK_EQ(wait_exit(pid), 0);
}

/* All capabilities in a user namespace of one's own are worth nothing here. */
TEST(i2_register_eperm_in_user_namespace)
{
	struct srv *s = attached();
	struct backing *b = backing_new(PAGE);
	pid_t pid = test_fork();

	if (pid == 0) {
		CHECK_OK(unshare(CLONE_NEWUSER));
		CHECK_NEG(raw_backing_open(s->ctl, b->fd), EPERM);
		_exit(0);
	}
	CHECK_EQ(wait_exit(pid), 0);
}

TEST(i2_register_ebadf)
{
	struct srv *s = attached();

	CHECK_NEG(raw_backing_open(s->ctl, -1), EBADF);
	CHECK_NEG(raw_backing_open(s->ctl, 999), EBADF);
	CHECK_NEG(open_and_register(s, "/proc/self/exe", O_PATH), EBADF);
}

TEST(i2_register_eisdir)
{
	CHECK_NEG(open_and_register(attached(), "/tmp", O_RDONLY), EISDIR);
}

TEST(i2_register_einval_not_regular)
{
	struct srv *s = attached();
	int fds[2];

	CHECK_OK(pipe(fds));
	CHECK_NEG(raw_backing_open(s->ctl, fds[0]), EINVAL);
	CHECK_OK(socketpair(AF_UNIX, SOCK_STREAM, 0, fds));
	CHECK_NEG(raw_backing_open(s->ctl, fds[0]), EINVAL);
	CHECK_NEG(open_and_register(s, "/dev/null", O_RDWR), EINVAL);
	CHECK_NEG(raw_backing_open(s->ctl, s->ctl), EINVAL);
}

/* A regular file all right, but one that only knows read() */
TEST(i2_register_einval_no_read_iter)
{
	CHECK_NEG(open_and_register(attached(), "/proc/self/mem", O_RDONLY), EINVAL);
}

TEST(i2_register_einval_flags)
{
	struct srv *s = attached();
	int fd = backing_new(PAGE)->fd;

	for (int bit = 0; bit < 32; bit++) {
		struct fuse_regions_backing arg = { .fd = fd, .flags = 1u << bit };

		CHECK_NEG(raw_backing_open_arg(s->ctl, &arg), EINVAL);
	}
}

TEST(i2_register_einval_reserved)
{
	struct fuse_regions_backing arg = { .fd = backing_new(PAGE)->fd, .reserved = 1ull << 40 };

	CHECK_NEG(raw_backing_open_arg(attached()->ctl, &arg), EINVAL);
}

TEST(i2_register_efault)
{
	struct srv *s = attached();

	CHECK_ERR(ioctl(s->ctl, FUSE_REGIONS_IOC_BACKING_OPEN, NULL), EFAULT);
	CHECK_ERR(ioctl(s->ctl, FUSE_REGIONS_IOC_BACKING_CLOSE, NULL), EFAULT);
}

TEST(i2_register_eloop_own_file)
{
	struct tfile *f = srv_simple(PAGE);

	CHECK_NEG(raw_backing_open(f->srv->ctl, srv_open(f, O_RDONLY)), ELOOP);
}

TEST(i2_register_other_fuse_ok)
{
	struct srv *plain = srv_new(&(struct srv_opts){ .no_attach = true });
	struct tfile *lower = srv_file(plain, "lower", 16 * PAGE), *f;
	struct backing *b;
	int fd;

	srv_start(plain);
	f = srv_simple(16 * PAGE);
	b = backing_from_fd(srv_open(lower, O_RDONLY));
	srv_register(f->srv, b);
	fd = srv_open(f, O_RDONLY);
	CHECK_ZERO(region_bind(f, 1, 9000, b, 333, 0));
	expect_file(f, fd, 10 * PAGE);
	CHECK(srv_count(lower, OP_READ) > 0);
}

/* Two connections that are each other's backing would read each other for ever. */
TEST(i2_register_eloop_mutual)
{
	struct tfile *f = srv_simple(PAGE), *g = srv_simple(PAGE);

	CHECK_NEG(raw_backing_open(f->srv->ctl, srv_open(g, O_RDONLY)), ELOOP);
	CHECK_NEG(raw_backing_open(g->srv->ctl, srv_open(f, O_RDONLY)), ELOOP);
}

/* The same by way of an attach that comes after the first registration */
TEST(i2_register_eloop_attached_later)
{
	struct srv *late = srv_new(&(struct srv_opts){ .no_attach = true });
	struct tfile *g = srv_file(late, "g", 4 * PAGE),
		     *f = srv_file(srv_new(NULL), "f", 4 * PAGE);
	struct fuse_regions_attach arg;
	struct backing *on_late;
	char byte;
	int id, fd;

	srv_start(late);
	srv_start(f->srv);
	on_late = backing_from_fd(srv_open(g, O_RDONLY));
	fd = srv_open(f, O_RDONLY);
	id = raw_backing_open(f->srv->ctl, on_late->fd);
	note("registering a file of a plain FUSE mount: %d", id);
	if (id < 0) {
		CHECK_EQ(id, -ELOOP);
		return;
	}
	on_late->id = (uint32_t)id;
	CHECK_ZERO(region_bind(f, 0, PAGE, on_late, 0, 0));
	arg = raw_attach_arg(late->ctl);
	CHECK_ZERO(raw_attach(&arg));
	id = raw_backing_open(late->ctl, fd);
	if (id > 0) {
		struct fuse_passthrough_region rec =
			REC(0, PAGE, (uint32_t)id, 0, FUSE_REGION_READ);

		CHECK_ZERO(region_msg(late->ctl, g->nodeid, &rec, 1));
		if (pread(fd, &byte, 1, 0) < 0)
			FAIL("two connections are each other's backings; reading: %m");
	}
	CHECK_EQ(id, -ELOOP);
}

/* Files that are open have regions, also when nobody is attached any more. */
TEST(i2_register_eloop_detached_with_regions)
{
	struct srv *above = srv_new(&(struct srv_opts){ .max_stack_depth = 2 });
	struct tfile *f = srv_file(srv_new(NULL), "f", 4 * PAGE);
	struct backing *b = backing_new(PAGE);
	int fd, id;

	srv_start(above);
	srv_start(f->srv);
	srv_register(f->srv, b);
	fd = srv_open(f, O_RDONLY);
	CHECK_ZERO(region_bind(f, 0, PAGE, b, 0, 0));
	srv_close_ctl(f->srv);
	CHECK_NEG(raw_backing_open(above->ctl, fd), ELOOP);
	close(fd);
	CHECK_SOON((fd = srv_open(f, O_RDONLY), id = raw_backing_open(above->ctl, fd), close(fd),
		    id > 0));
}

static int register_overlay_file(struct srv *s, const char *overlay)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/file", overlay);
	CHECK_ZERO(sh("head -c 50000 /dev/zero | tr '\\0' x >%s", path));
	return open_and_register(s, path, O_RDWR);
}

TEST(i2_register_eloop_overlay)
{
	const char *overlay = mount_overlay(mount_tmpfs());

	CHECK(overlay);
	CHECK_NEG(register_overlay_file(attached(), overlay), ELOOP);
}

TEST(i2_register_overlay_ok_with_depth_2)
{
	struct srv *s = srv_new(&(struct srv_opts){ .max_stack_depth = 2 });
	const char *overlay = mount_overlay(mount_tmpfs());
	struct tfile *f = srv_file(s, "f", 20000);
	struct backing b = { 0 };
	char buf[100];
	int fd;

	CHECK(overlay);
	srv_start(s);
	b.id = (uint32_t)CHECK_OK(register_overlay_file(s, overlay));
	fd = srv_open(f, O_RDONLY);
	CHECK_ZERO(region_bind(f, 0, 10000, &b, 0, 0));
	CHECK_EQ(pread(fd, buf, 100, 5000), 100);
	for (int i = 0; i < 100; i++)
		CHECK_EQ(buf[i], 'x');
}

/* The way round: an overlay on this very mount must not come back as its backing. */
TEST(i2_no_recursion_through_overlay)
{
	for (uint32_t depth = 1; depth <= 2; depth++) {
		struct srv *s = srv_new(&(struct srv_opts){ .max_stack_depth = depth });
		const char *overlay;
		char path[128];

		srv_file(s, "f", PAGE);
		srv_start(s);
		overlay = mount_overlay(s->mnt);
		/* what is as deep as can be has no overlay on it */
		CHECK_EQ(!overlay, depth == 2);
		if (!overlay)
			continue;
		snprintf(path, sizeof(path), "%s/f", overlay);
		CHECK_NEG(open_and_register(s, path, O_RDONLY), ELOOP);
	}
}

/* One that was there before counts this mount as less deep than it would like to be. */
TEST(i2_no_recursion_through_older_overlay)
{
	struct srv *s = srv_new(&(struct srv_opts){ .no_attach = true });
	struct fuse_regions_attach arg;
	const char *overlay;
	char path[128];

	srv_file(s, "f", PAGE);
	srv_start(s);
	overlay = mount_overlay(s->mnt);
	CHECK(overlay);
	arg = raw_attach_arg(s->ctl);
	arg.max_stack_depth = 2;
	CHECK_NEG(raw_attach(&arg), EBUSY);
	arg = raw_attach_arg(s->ctl);
	CHECK_ZERO(raw_attach(&arg));
	snprintf(path, sizeof(path), "%s/f", overlay);
	CHECK_NEG(open_and_register(s, path, O_RDONLY), ELOOP);
}

TEST(i2_register_enospc)
{
	struct srv *s;
	struct backing *b = backing_new(PAGE);
	uint32_t first;

	close(raw_device());
	module_param_set("max_backings", 3);
	s = attached();
	CHECK_EQ(s->attach.max_backings, 3);
	first = srv_register(s, b);
	srv_register(s, b);
	srv_register(s, b);
	CHECK_NEG(raw_backing_open(s->ctl, b->fd), ENOSPC);
	CHECK_ZERO(raw_backing_close(s->ctl, first));
	CHECK(raw_backing_open(s->ctl, b->fd) > 0);
	CHECK_NEG(raw_backing_open(s->ctl, b->fd), ENOSPC);
}

static void *deny_all(void *arg)
{
	const int fan = *(int *)arg;
	struct fanotify_event_metadata event[8];
	ssize_t n;

	while ((n = read(fan, event, sizeof(event))) > 0) {
		for (struct fanotify_event_metadata *e = event; FAN_EVENT_OK(e, n);
		     e = FAN_EVENT_NEXT(e, n)) {
			struct fanotify_response no = { .fd = e->fd, .response = FAN_DENY };

			CHECK_EQ(write(fan, &no, sizeof(no)), sizeof(no));
			close(e->fd);
		}
	}
	return NULL;
}

/* Whoever watches the file is asked when it is registered, and may refuse. */
TEST(i2_register_refused_by_a_watcher)
{
	struct srv *s = attached();
	struct backing *b = backing_new_in(shared_ext4(), PAGE);
	unsigned long live = module_param("live_backings");
	int fan = fanotify_init(FAN_CLASS_CONTENT | FAN_CLOEXEC, O_RDONLY | O_LARGEFILE), fd;
	pthread_t watcher;
	char path[64];

	if (fan < 0)
		SKIP("no fanotify that is asked for permission: %m");
	snprintf(path, sizeof(path), "/proc/self/fd/%d", b->fd);
	if (fanotify_mark(fan, FAN_MARK_ADD, FAN_ACCESS_PERM, AT_FDCWD, path))
		SKIP("nobody is asked for permission on this kernel: %m");
	CHECK_ZERO(pthread_create(&watcher, NULL, deny_all, &fan));
	/* opened under watch, for kernels note that in the file */
	fd = (int)CHECK_OK(backing_reopen(b, O_RDWR));
	CHECK_NEG(raw_backing_open(s->ctl, fd), EPERM);
	CHECK_EQ(module_param("live_backings"), live);
	CHECK_OK(fanotify_mark(fan, FAN_MARK_REMOVE, FAN_ACCESS_PERM, AT_FDCWD, path));
	CHECK(raw_backing_open(s->ctl, fd) > 0);
	CHECK_EQ(module_param("live_backings"), live + 1);
	close(fd);
	CHECK_ZERO(pthread_cancel(watcher));
	CHECK_ZERO(pthread_join(watcher, NULL));
	close(fan);
}

TEST(i2_register_enotconn_after_abort)
{
	struct srv *s = attached();

	srv_abort(s);
	CHECK_NEG(raw_backing_open(s->ctl, backing_new(PAGE)->fd), ENOTCONN);
}

TEST(i2_register_enotconn_after_umount)
{
	struct srv *s = attached();
	int ctl = dup(s->ctl);

	srv_stop(s);
	CHECK_NEG(raw_backing_open(ctl, backing_new(PAGE)->fd), ENOTCONN);
}

TEST(i2_unregister_enoent)
{
	struct srv *s = attached();
	uint32_t id = srv_register(s, backing_new(PAGE));

	CHECK_NEG(raw_backing_close(s->ctl, 0), ENOENT);
	CHECK_NEG(raw_backing_close(s->ctl, id + 1), ENOENT);
	CHECK_NEG(raw_backing_close(s->ctl, UINT32_MAX), ENOENT);
	CHECK_ZERO(raw_backing_close(s->ctl, id));
	CHECK_NEG(raw_backing_close(s->ctl, id), ENOENT);
}

TEST(i2_unregister_while_bound_keeps_serving)
{
	struct tfile *f = srv_simple(16 * PAGE);
	struct backing *b = backing_new(16 * PAGE);
	int fd = srv_open(f, O_RDONLY);

	srv_register(f->srv, b);
	CHECK_ZERO(region_bind(f, 100, 5 * PAGE, b, 3, 0));
	CHECK_ZERO(raw_backing_close(f->srv->ctl, b->id));
	expect_file(f, fd, 5000);
	CHECK_EQ(f->asked_bound, 0);
	/* ... but nothing new can be bound to it. */
	CHECK_NEG(region_bind(f, 10 * PAGE, 10, b, 0, 0), ENOENT);
	/* Cutting it makes two of one, and needs no id. */
	CHECK_ZERO(region_unbind(f, 2 * PAGE, 100));
	expect_file(f, fd, 5000);
}

TEST(i2_ids_belong_to_one_connection)
{
	struct tfile *f = srv_simple(PAGE), *g = srv_simple(PAGE);
	struct backing *b = backing_new(PAGE);

	srv_open(g, O_RDONLY);
	srv_register(f->srv, b);
	CHECK_NEG(region_bind(g, 0, 10, b, 0, 0), ENOENT);
	CHECK_NEG(raw_backing_close(g->srv->ctl, b->id), ENOENT);
}

/* The reader could not open the backing; the server that registered it could. */
TEST(i2_io_uses_registering_credentials)
{
	struct tfile *f = srv_simple(16 * PAGE);
	struct backing *b = backing_new(16 * PAGE);
	pid_t pid;

	srv_register(f->srv, b);
	close(srv_open(f, O_RDONLY));
	CHECK_ZERO(region_bind(f, 0, 3 * PAGE, b, 5, 0));
	pid = test_fork();
	if (pid == 0) {
		int fd;
		char buf[100];

		fd = srv_open(f, O_RDONLY);
		become_nobody();
		CHECK_EQ(pread(fd, buf, 100, 0), 100);
		close(fd);
		fd = srv_open(f, O_RDONLY);
		CHECK_EQ(pread(fd, buf, 100, 4096), 100);
		CHECK_EQ(pattern_differs(buf, b->seed, 4096 + 5, 100), 100);
		_exit(0);
	}
	CHECK_EQ(wait_exit(pid), 0);
	CHECK_EQ(f->asked_bound, 0);
}

/* A backing that can tell who asks: a file of a second, plain FUSE server */
TEST(i2_io_carries_registering_credentials)
{
	struct srv *plain = srv_new(&(struct srv_opts){ .no_attach = true });
	struct tfile *lower = srv_file(plain, "lower", 16 * PAGE), *f;
	struct backing *b;
	pid_t pid;

	lower->direct_io = true;
	srv_start(plain);
	f = srv_simple(16 * PAGE);
	b = backing_from_fd(srv_open(lower, O_RDONLY));
	srv_register(f->srv, b);
	close(srv_open(f, O_RDONLY));
	CHECK_ZERO(region_bind(f, 0, 9000, b, 333, 0));
	lower->last_uid[OP_READ] = 12345;
	pid = test_fork();
	if (pid == 0) {
		char buf[100];

		become_nobody();
		CHECK_EQ(pread(srv_open(f, O_RDONLY), buf, 100, 0), 100);
		CHECK_EQ(getuid(), 65534);
		_exit(0);
	}
	CHECK_EQ(wait_exit(pid), 0);
	CHECK_EQ(lower->last_uid[OP_READ], 0);
}
