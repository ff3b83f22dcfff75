// SPDX-License-Identifier: GPL-2.0
/* W3: a file's capabilities, an xattr of which only the server knows, go with the first write. */
#define _GNU_SOURCE
#include <linux/capability.h>
#include <sys/uio.h>
#include <sys/xattr.h>

#include "async.h"
#include "harness.h"

#define SIZE (32 * PAGE)
#define CAPS "security.capability"

static struct backing *b;

static struct tfile *bound(struct srv_opts opts, const char *dir, uint64_t off, uint64_t len,
			   uint32_t flags)
{
	struct tfile *f;

	opts.xattrs = true;
	f = srv_stored(opts, dir, SIZE, &b, NULL);
	CHECK_ZERO(region_bind(f, off, len, b, 0, flags));
	return f;
}

/* As setcap(8) does it: CAP_NET_RAW, permitted and effective */
static void give_caps(const struct tfile *f)
{
	struct vfs_cap_data caps = {
		.magic_etc = VFS_CAP_REVISION_2 | VFS_CAP_FLAGS_EFFECTIVE,
		.data[0].permitted = 1u << CAP_NET_RAW,
	};
	char path[128];

	srv_path(path, sizeof(path), f);
	CHECK_OK(setxattr(path, CAPS, &caps, XATTR_CAPS_SZ_2, 0));
	CHECK_EQ(f->nr_caps, XATTR_CAPS_SZ_2);
}

static void expect_no_caps(const struct tfile *f)
{
	unsigned char caps[64];
	char path[128];

	CHECK_EQ(f->nr_caps, 0);
	srv_path(path, sizeof(path), f);
	CHECK_ERR(getxattr(path, CAPS, caps, sizeof(caps)), ENODATA);
}

TEST(w3_file_capabilities_go_with_a_write)
{
	struct tfile *f = bound((struct srv_opts){ 0 }, NULL, PAGE, 20 * PAGE, RW);
	int fd = srv_open(f, O_RDWR), in = srv_open(f, O_RDONLY);
	struct oracle o;

	oracle_load(&o, f);
	/* in a region, over its edges, in a gap */
	for (int i = 0; i < 4; i++) {
		uint64_t removed = srv_count(f, OP_REMOVEXATTR);

		give_caps(f);
		oracle_check(&o, in, 0, SIZE);
		CHECK_EQ(f->nr_caps, XATTR_CAPS_SZ_2);
		oracle_write(&o, fd,
			     (uint64_t[]){ 3 * PAGE, PAGE - 5, 21 * PAGE - 3, 25 * PAGE }[i], 10);
		expect_no_caps(f);
		CHECK_EQ(srv_count(f, OP_REMOVEXATTR), removed + 1);
	}
	oracle_check(&o, in, 0, SIZE);
	oracle_free(&o);
}

/* The server is asked once, and anew when somebody gave the file some. */
TEST(w3_file_capabilities_are_asked_for_once)
{
	struct tfile *f = bound((struct srv_opts){ 0 }, NULL, PAGE, 20 * PAGE, RW);
	int fd = srv_open(f, O_RDWR);
	uint64_t asked;

	CHECK_EQ(pwrite(fd, "x", 1, 3 * PAGE), 1);
	asked = srv_count(f, OP_GETXATTR);
	CHECK(asked > 0);
	for (int i = 0; i < 50; i++)
		CHECK_EQ(pwrite(fd, "y", 1, (4 + i % 10) * PAGE + i), 1);
	CHECK_EQ(srv_count(f, OP_GETXATTR), asked);
	CHECK_EQ(srv_count(f, OP_REMOVEXATTR), 0);
	give_caps(f);
	CHECK_EQ(pwrite(fd, "z", 1, 5 * PAGE), 1);
	expect_no_caps(f);
}

/* The server gives the file some, which the kernel hears of with the next attributes. */
TEST(w3_file_capabilities_that_the_server_gave)
{
	struct tfile *f =
		bound((struct srv_opts){ .no_attr_cache = true }, NULL, PAGE, 20 * PAGE, RW);
	int fd = srv_open(f, O_RDWR);
	struct stat st;

	CHECK_EQ(pwrite(fd, "x", 1, 3 * PAGE), 1);
	f->nr_caps = XATTR_CAPS_SZ_2;
	CHECK_OK(fstat(fd, &st));
	CHECK_EQ(pwrite(fd, "y", 1, 3 * PAGE), 1);
	expect_no_caps(f);
}

TEST(w3_file_capabilities_go_with_an_append)
{
	struct tfile *f = bound((struct srv_opts){ 0 }, NULL, 0, 0, RW);
	int fd = srv_open(f, O_WRONLY | O_APPEND);
	uint64_t size = backing_size(b);

	for (int i = 0; i < 3; i++) {
		give_caps(f);
		CHECK_EQ(write(fd, "more", 4), 4);
		expect_no_caps(f);
	}
	CHECK_EQ(backing_size(b), size + 12);
	CHECK_EQ(srv_count(f, OP_WRITE), 0);
}

/* Those who don't wait wait for this; and no byte is written before it is settled. */
TEST(w3_file_capabilities_go_with_async_writes)
{
	struct tfile *f = bound((struct srv_opts){ 0 }, shared_ext4(), PAGE, 20 * PAGE, RW);
	unsigned char *buf = direct_alloc(PAGE);

	pattern_fill(buf, b->seed, 5 * PAGE, PAGE);
	for (int direct = 0; direct < 2; direct++) {
		int fd = srv_open(f, O_RDWR | (direct ? O_DIRECT : 0));

		give_caps(f);
		CHECK_EQ(libaio_write(fd, buf, PAGE, 6 * PAGE), PAGE);
		expect_no_caps(f);
		give_caps(f);
		CHECK_EQ(uring_write(fd, buf, PAGE, 6 * PAGE), PAGE);
		expect_no_caps(f);
		expect_read(f, fd, 0, SIZE);
		close(fd);
	}
	free(buf);
}

/* On a file system that could write without waiting */
TEST(w3_file_capabilities_nowait_says_eagain)
{
	struct tfile *f = bound((struct srv_opts){ 0 }, mount_xfs(), PAGE, 20 * PAGE, RW);
	struct iovec iov = { (void *)"x", 1 };
	int fd = srv_open(f, O_RDWR);

	give_caps(f);
	CHECK_ERR(pwritev2(fd, &iov, 1, 3 * PAGE, RWF_NOWAIT), EAGAIN);
	CHECK_EQ(f->nr_caps, XATTR_CAPS_SZ_2);
	expect_read(f, fd, 0, SIZE);
	CHECK_EQ(pwrite(fd, "x", 1, 3 * PAGE), 1);
	expect_no_caps(f);
}
