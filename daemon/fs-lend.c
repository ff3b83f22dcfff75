// SPDX-License-Identifier: GPL-2.0
/*
 * Can the kernel have the files that this mount is made of? One of each file
 * system is tried before the mount says who serves: either all regions are the
 * kernel's, or none.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include <linux/magic.h>

#include "fs.h"

/**
 * struct fs_lent - a file of a file system of its own
 * @next:	the next one
 * @dev:	the file system
 * @fd:		the file; the lender's
 * @name:	the file's name; the lender's
 */
struct fs_lent {
	struct fs_lent *next;
	dev_t dev;
	int fd;
	const char *name;
};

int fs_lend(struct fs *fs, int fd, const char *name)
{
	struct fs_lent *lent;
	struct statfs statfs;
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	for (lent = fs->lent; lent; lent = lent->next)
		if (lent->dev == st.st_dev)
			return 0;
	lent = malloc(sizeof(*lent));
	if (!lent)
		return -ENOMEM;
	*lent = (struct fs_lent){ fs->lent, st.st_dev, fd, name };
	fs->lent = lent;
	/* It lies on another one, and nothing but ours may lie on that. */
	if (fstatfs(fd, &statfs) == 0 && statfs.f_type == OVERLAYFS_SUPER_MAGIC)
		fs->stack_depth = 2;
	return 0;
}

void fs_lend_end(struct fs *fs)
{
	struct fs_lent *lent;

	while ((lent = fs->lent)) {
		fs->lent = lent->next;
		free(lent);
	}
}

bool fs_lend_try(struct fs *fs)
{
	for (const struct fs_lent *lent = fs->lent; lent; lent = lent->next) {
		int id = fuse_regions_backing_open(fs->conn, lent->fd);

		if (id < 0) {
			snprintf(fs->reason, sizeof(fs->reason), "the kernel does not take '%.100s': %s",
				 lent->name, strerror(-id));
			return false;
		}
		fuse_regions_backing_close(fs->conn, (uint32_t)id);
	}
	return true;
}
