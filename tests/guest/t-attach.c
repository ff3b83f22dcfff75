// SPDX-License-Identifier: GPL-2.0
/* I1: handing a connection to the module, and every way in which it refuses. */
#define _GNU_SOURCE
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>

#include "harness.h"

/* A server that did not attach; its control channel is a clone all the same */
static struct srv *detached(void)
{
	struct srv *s = srv_new(&(struct srv_opts){ .no_attach = true, .keep_session = true });

	close(raw_device());
	srv_file(s, "f", 4 * PAGE);
	srv_start(s);
	return s;
}

static int attach(int fd)
{
	struct fuse_regions_attach arg = raw_attach_arg(fd);

	return raw_attach(&arg);
}

TEST(i1_attach_ok)
{
	CHECK_NEG(attach(detached()->ctl), 0);
}

TEST(i1_attach_from_init)
{
	struct tfile *f = srv_simple(PAGE);

	CHECK_EQ(f->srv->attach_res, 0);
	expect_file(f, srv_open(f, O_RDONLY), PAGE);
}

TEST(i1_attach_says_what_there_is)
{
	struct fuse_regions_attach arg = raw_attach_arg(detached()->ctl);

	CHECK_ZERO(raw_attach(&arg));
	CHECK_EQ(arg.abi_version, FUSE_REGIONS_ABI_VERSION);
	/* what other tests take for granted */
	CHECK_EQ(arg.features, FUSE_REGIONS_FEATURE_READ | FUSE_REGIONS_FEATURE_WRITE |
				       FUSE_REGIONS_FEATURE_MMAP);
	CHECK_EQ(arg.max_backings, module_param("max_backings"));
	CHECK_EQ(arg.max_regions, module_param("max_regions"));
	CHECK_EQ(arg.max_records, module_param("max_records"));
	CHECK_EQ(arg.notify_code, FUSE_NOTIFY_PASSTHROUGH);
	CHECK_EQ(arg.reserved[0] | arg.reserved[1], 0);
}

TEST(i1_attach_twice_ebusy)
{
	struct srv *s = detached();

	CHECK_ZERO(attach(s->ctl));
	CHECK_NEG(attach(s->ctl), EBUSY);
}

TEST(i1_attach_second_clone_ebusy)
{
	struct srv *s = detached();
	int second = raw_dev_fuse();

	CHECK_ZERO(raw_clone(second, s->session));
	CHECK_ZERO(attach(s->ctl));
	CHECK_NEG(attach(second), EBUSY);
}

TEST(i1_attach_two_connections_ok)
{
	struct srv *a = detached(), *b = detached();

	CHECK_ZERO(attach(a->ctl));
	CHECK_ZERO(attach(b->ctl));
}

TEST(i1_attach_cuse_eopnotsupp)
{
	int fd;

	if (sh("modprobe cuse"))
		SKIP("this kernel has no CUSE");
	CHECK_SOON((fd = open("/dev/cuse", O_RDWR | O_CLOEXEC)) >= 0);
	CHECK_NEG(attach(fd), EOPNOTSUPP);
}

TEST(i1_attach_foreign_file_einval)
{
	CHECK_NEG(attach(backing_new(PAGE)->fd), EINVAL);
	CHECK_NEG(attach((int)CHECK_OK(open("/dev/null", O_RDWR))), EINVAL);
	CHECK_NEG(attach(raw_device()), EINVAL);
}

TEST(i1_attach_directory_einval)
{
	CHECK_NEG(attach((int)CHECK_OK(open("/", O_RDONLY))), EINVAL);
}

TEST(i1_attach_bad_fd_ebadf)
{
	CHECK_NEG(attach(-1), EBADF);
	CHECK_NEG(attach(999), EBADF);
}

TEST(i1_attach_o_path_ebadf)
{
	CHECK_NEG(attach((int)CHECK_OK(open("/dev/fuse", O_PATH))), EBADF);
}

TEST(i1_attach_unmounted_enotconn)
{
	CHECK_NEG(attach(raw_dev_fuse()), ENOTCONN);
}

TEST(i1_attach_after_umount_enotconn)
{
	struct srv *s = detached();

	s->mounted = false;
	CHECK_OK(umount2(s->mnt, 0));
	CHECK_EQ(wait_exit(s->pid), 0);
	s->pid = 0;
	CHECK_NEG(attach(s->ctl), ENOTCONN);
}

TEST(i1_attach_wrong_abi_eprotonosupport)
{
	struct srv *s = detached();
	static const uint32_t wrong[] = { 0, FUSE_REGIONS_ABI_VERSION + 1, UINT32_MAX };

	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		struct fuse_regions_attach arg = raw_attach_arg(s->ctl);

		arg.abi_version = wrong[i];
		CHECK_NEG(raw_attach(&arg), EPROTONOSUPPORT);
		CHECK_EQ(arg.abi_version, FUSE_REGIONS_ABI_VERSION);
	}
	CHECK_ZERO(attach(s->ctl));
}

TEST(i1_attach_flags_einval)
{
	struct srv *s = detached();

	for (int bit = 0; bit < 32; bit++) {
		struct fuse_regions_attach arg = raw_attach_arg(s->ctl);

		arg.flags = 1u << bit;
		CHECK_NEG(raw_attach(&arg), EINVAL);
	}
}

TEST(i1_attach_reserved_einval)
{
	struct srv *s = detached();

	for (int i = 0; i < 2; i++) {
		struct fuse_regions_attach arg = raw_attach_arg(s->ctl);

		arg.reserved[i] = 1ull << 63;
		CHECK_NEG(raw_attach(&arg), EINVAL);
	}
}

TEST(i1_attach_stack_depth_einval)
{
	struct srv *s = detached();
	struct fuse_regions_attach arg = raw_attach_arg(s->ctl);

	arg.max_stack_depth = 3;
	CHECK_NEG(raw_attach(&arg), EINVAL);
	arg = raw_attach_arg(s->ctl);
	arg.max_stack_depth = UINT32_MAX;
	CHECK_NEG(raw_attach(&arg), EINVAL);
}

/* Somebody's overlay may lie on the mount by now, and has counted it as less deep. */
TEST(i1_attach_stack_depth_late_ebusy)
{
	struct srv *s = detached();
	struct fuse_regions_attach arg = raw_attach_arg(s->ctl);

	arg.max_stack_depth = 2;
	CHECK_NEG(raw_attach(&arg), EBUSY);
	arg = raw_attach_arg(s->ctl);
	arg.max_stack_depth = 1;
	CHECK_ZERO(raw_attach(&arg));
}

/* From INIT on it is that deep: coming back later is no problem. */
TEST(i1_attach_again_with_stack_depth)
{
	struct srv *s = srv_new(&(struct srv_opts){ .max_stack_depth = 2, .keep_session = true });
	struct fuse_regions_attach arg;

	srv_start(s);
	srv_close_ctl(s);
	s->ctl = raw_dev_fuse();
	CHECK_ZERO(raw_clone(s->ctl, s->session));
	arg = raw_attach_arg(s->ctl);
	arg.max_stack_depth = 2;
	CHECK_ZERO(raw_attach(&arg));
}

TEST(i1_attach_efault)
{
	int dev = raw_device();
	void *page = mmap(NULL, 2 * PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CHECK_ERR(ioctl(dev, FUSE_REGIONS_IOC_ATTACH, NULL), EFAULT);
	CHECK_OK(munmap((char *)page + PAGE, PAGE));
	CHECK_ERR(ioctl(dev, FUSE_REGIONS_IOC_ATTACH, (char *)page + PAGE - 8), EFAULT);
}

/* What the kernel could not report back must not be attached either. */
TEST(i1_attach_read_only_argument)
{
	struct srv *s = detached();
	struct fuse_regions_attach *arg =
		mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int dev = raw_device();

	*arg = raw_attach_arg(s->ctl);
	CHECK_OK(mprotect(arg, PAGE, PROT_READ));
	CHECK_ERR(ioctl(dev, FUSE_REGIONS_IOC_ATTACH, arg), EFAULT);
	CHECK_ZERO(attach(s->ctl));
}

TEST(i1_device_unknown_ioctl)
{
	int dev = raw_device();
	uint32_t id = 1;

	CHECK_ERR(ioctl(dev, _IO(FUSE_REGIONS_IOC_MAGIC, 99)), ENOTTY);
	CHECK_ERR(ioctl(dev, FUSE_REGIONS_IOC_BACKING_CLOSE, &id), ENOTTY);
	CHECK_ERR(ioctl(dev, FUSE_DEV_IOC_CLONE, &id), ENOTTY);
}

TEST(i1_unattached_fd_knows_no_calls)
{
	struct srv *s = detached();
	struct backing *b = backing_new(PAGE);

	CHECK_NEG(raw_backing_open(s->ctl, b->fd), ENOTTY);
	CHECK_NEG(raw_backing_close(s->ctl, 1), ENOTTY);
}

TEST(i1_control_fd_unknown_ioctl)
{
	struct srv *s = detached();

	CHECK_ZERO(attach(s->ctl));
	CHECK_ERR(ioctl(s->ctl, _IO(FUSE_REGIONS_IOC_MAGIC, 99)), ENOTTY);
	CHECK_ERR(ioctl(s->ctl, _IO('x', 1)), ENOTTY);
	CHECK_ERR(ioctl(s->ctl, FUSE_REGIONS_IOC_ATTACH, NULL), ENOTTY);
}

TEST(i1_session_can_be_cloned_after_attach)
{
	struct srv *s = detached();

	CHECK_ZERO(attach(s->ctl));
	for (int i = 0; i < 3; i++) {
		int fd = raw_dev_fuse();

		CHECK_ZERO(raw_clone(fd, s->session));
		close(fd);
	}
}

/* libfuse with a thread per clone is such a server; it starts threads as it needs them. */
TEST(i1_threads_with_clones_serve_after_attach)
{
	struct srv *s = srv_new(&(struct srv_opts){ .threads = true });
	struct tfile *f = srv_file(s, "f", 64 * PAGE);
	struct backing *b = backing_new(8 * PAGE);
	int fd;

	srv_start(s);
	srv_register(s, b);
	fd = srv_open(f, O_RDONLY);
	CHECK_ZERO(region_bind(f, 5000, 9000, b, 77, 0));
	expect_file(f, fd, 10000);
}

TEST(i1_reattach_after_close)
{
	struct srv *s = detached();

	CHECK_ZERO(attach(s->ctl));
	for (int i = 0; i < 5; i++) {
		int fd = raw_dev_fuse();

		CHECK_ZERO(raw_clone(fd, s->session));
		if (i == 0)
			CHECK_NEG(attach(fd), EBUSY);
		srv_close_ctl(s);
		CHECK_ZERO(attach(fd));
		s->ctl = fd;
	}
}

TEST(i1_dup_keeps_attachment)
{
	struct srv *s = detached();
	int again = raw_dev_fuse(), copy;

	CHECK_ZERO(raw_clone(again, s->session));
	CHECK_ZERO(attach(s->ctl));
	copy = dup(s->ctl);
	srv_close_ctl(s);
	CHECK_NEG(attach(again), EBUSY);
	CHECK_ZERO(raw_backing_open(copy, backing_new(PAGE)->fd) > 0 ? 0 : 1);
	close(copy);
	CHECK_ZERO(attach(again));
}

/* Closing the control channel leaves regions on open files; the server gets the other files back. */
TEST(i1_regions_stay_on_open_files_after_detach)
{
	struct srv *s = srv_new(NULL);
	struct tfile *f = srv_file(s, "f", 16 * PAGE), *g = srv_file(s, "g", 16 * PAGE);
	struct backing *b = backing_new(16 * PAGE);
	int fd;

	srv_start(s);
	srv_register(s, b);
	fd = srv_open(f, O_RDONLY);
	close(srv_open(g, O_RDONLY));
	CHECK_ZERO(region_bind(f, 1000, 10000, b, 0, 0));
	CHECK_ZERO(region_bind(g, 1000, 10000, b, 0, 0));
	srv_close_ctl(s);
	expect_file(f, fd, 3000);
	CHECK_EQ(f->asked_bound, 0);

	model_unbind(g->model, 0, 0);
	expect_file(g, srv_open(g, O_RDONLY), 3000);
}
