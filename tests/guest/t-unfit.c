// SPDX-License-Identifier: GPL-2.0
/* I2: files that look as if they could be backings. */
#define _GNU_SOURCE
#include <sys/mman.h>

#include "harness.h"

/* MM places mappings of such pages itself, and has to know of them in time. hugetlbfs says that it is too deep. */
TEST(i2_register_eloop_huge_pages)
{
	struct srv *s = srv_simple(16 * PAGE)->srv;
	int fd = memfd_create("huge", MFD_CLOEXEC | MFD_HUGETLB);

	if (fd < 0)
		SKIP("no MFD_HUGETLB: %m");
	CHECK_OK(ftruncate(fd, 2 * MIB));
	CHECK_NEG(raw_backing_open(s->ctl, fd), ELOOP);
}

static int register_with(struct srv *s, const char *path, int flags)
{
	int fd = (int)CHECK_OK(open(path, O_RDWR | flags | O_CLOEXEC));
	int res = raw_backing_open(s->ctl, fd);

	close(fd);
	return res;
}

/* overlayfs has a file of its own to write to, with these flags. */
TEST(i2_register_einval_overlay_append_or_direct)
{
	struct srv *s = srv_new(&(struct srv_opts){ .max_stack_depth = 2 });
	const char *overlay = mount_overlay(mount_tmpfs());
	char path[128];

	CHECK(overlay);
	srv_start(s);
	snprintf(path, sizeof(path), "%s/file", overlay);
	CHECK_ZERO(sh("echo text >%s", path));
	CHECK_NEG(register_with(s, path, O_APPEND), EINVAL);
	CHECK_NEG(register_with(s, path, O_DIRECT), EINVAL);
	CHECK(register_with(s, path, 0) > 0);
}

/* FUSE tells the other server, who may append, or fail what is not aligned. */
TEST(i2_register_einval_fuse_append_or_direct)
{
	struct srv *other = srv_new(&(struct srv_opts){ .no_attach = true });
	struct tfile *lower = srv_store_file(other, "lower", PAGE);
	struct srv *s = srv_new(NULL);
	char path[128];

	srv_start(other);
	srv_start(s);
	srv_path(path, sizeof(path), lower);
	CHECK_NEG(register_with(s, path, O_APPEND), EINVAL);
	CHECK_NEG(register_with(s, path, O_DIRECT), EINVAL);
	CHECK(register_with(s, path, 0) > 0);
}
