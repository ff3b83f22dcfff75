// SPDX-License-Identifier: GPL-2.0
/* W4: who hears of a backing that could not be written to disk. */
#define _GNU_SOURCE
#include "harness.h"

#define SIZE (32 * PAGE)

static struct backing *b;

/* A disk that is full only when it is written to: the backing learns of it afterwards. */
static const char *failing_ext4(char *image, size_t size)
{
	const char *mnt = temp_dir();

	snprintf(image, size, "%s", temp_dir());
	CHECK_ZERO(sh("mount -t tmpfs -o size=16M tmpfs %s && truncate -s 64M %s/image && "
		      "mkfs.ext4 -q -O ^has_journal %s/image && modprobe -q -a loop ext4; "
		      "mount -o loop %s/image %s",
		      image, image, image, image, mnt));
	return mnt;
}

/* As of a native file, each descriptor hears of it, and so does each inode. */
TEST(w4_fsync_tells_each_descriptor_of_an_error)
{
	char image[64];
	const char *mnt = failing_ext4(image, sizeof(image));
	struct tfile *f = srv_stored((struct srv_opts){ 0 }, mnt, SIZE, &b, NULL);
	int fds[3], errors = 0;

	CHECK_ZERO(region_bind(f, 0, SIZE, b, 1 << 20, RW));
	for (int i = 0; i < 3; i++)
		fds[i] = srv_open(f, O_RDWR);
	CHECK_OK(fsync(fds[0]));
	sh("cat /dev/zero >%s/filler 2>/dev/null", image);
	for (uint64_t off = 0; off < SIZE; off += PAGE)
		CHECK_EQ(pwrite(fds[0], "dirty", 5, (off_t)off), 5);
	for (int i = 0; i < 3; i++)
		errors += fsync(fds[i]) < 0;
	CHECK_EQ(errors, 3);
	for (int i = 0; i < 3; i++)
		close(fds[i]);
	sh("rm %s/filler", image);
	srv_stop(f->srv);
	close(b->fd);
	close(f->store->fd);
	unmount_soon(mnt);
	unmount_soon(image);
}

/* Two inodes of one backing: whoever syncs first writes the pages of both, and both hear. */
TEST(w4_fsync_tells_each_inode_of_an_error)
{
	char image[64];
	const char *mnt = failing_ext4(image, sizeof(image));
	struct srv *s = srv_new(NULL);
	struct tfile *f[2] = { srv_store_file(s, "f", SIZE), srv_store_file(s, "g", SIZE) };
	unsigned char *buf = calloc(1, SIZE);
	int fds[2];

	srv_start(s);
	b = backing_new_in(mnt, SIZE);
	srv_register(s, b);
	for (uint64_t i = 0; i < 2; i++) {
		fds[i] = srv_open(f[i], O_RDWR);
		CHECK_ZERO(region_bind(f[i], 0, SIZE, b, (1 + i) * MIB, RW));
		CHECK_OK(fsync(fds[i]));
	}
	sh("cat /dev/zero >%s/filler 2>/dev/null", image);
	/* in one piece, or the file system has blocks of its own to write, and fail with, again */
	for (int i = 0; i < 2; i++)
		CHECK_EQ(pwrite(fds[i], buf, SIZE, 0), SIZE);
	for (int i = 0; i < 2; i++)
		if (!fsync(fds[i]))
			FAIL("fsync of inode %d was told nothing", i);
	for (int i = 0; i < 2; i++)
		close(fds[i]);
	free(buf);
	sh("rm %s/filler", image);
	srv_stop(s);
	close(b->fd);
	unmount_soon(mnt);
	unmount_soon(image);
}
