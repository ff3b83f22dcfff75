// SPDX-License-Identifier: GPL-2.0
/*
 * Appending to a whole file without the module. FUSE writes to where it thinks
 * that the file ends, and knows nothing of what others have appended to the
 * backing: through another file of the table, or outside of the mount.
 */

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "tablefs.h"

bool table_appends(const struct tablefs *tablefs, const struct table_node *node,
		   const struct fuse_file_info *fi)
{
	return fi->flags & O_APPEND && !fi->writepage && node->file->whole &&
	       fuse_regions_mode(tablefs->fs->conn) == FUSE_REGIONS_MODE_USER;
}

/* Nobody can come between finding the end and writing there. */
static ssize_t append(struct tablefs *tablefs, struct table_node *node, fuse_ino_t nodeid,
		      const char *data, size_t size, int flags)
{
	struct fuse_regions_conn *conn = tablefs->fs->conn;
	struct iovec iov = { (void *)data, size };
	int err = 0;
	ssize_t n;

	n = pwritev2(node->backings[0]->fd, &iov, 1, 0, RWF_APPEND);
	if (n < 0)
		return -errno;
	table_wrote(tablefs, nodeid, node->backings[0]);
	/* Where it has no cache of its own, the kernel leaves these to us. */
	if (flags & O_DSYNC)
		err = fuse_regions_fsync(conn, nodeid, (flags & O_SYNC) != O_SYNC);
	return err ? err : n;
}

/* What the backing has before the file begins is not the file's. */
static int reach_begin(struct table_node *node)
{
	off_t begin = (off_t)node->file->regions[0].backing_offset;
	int fd = node->backings[0]->fd;
	struct stat st;

	if (fstat(fd, &st) == 0 && st.st_size >= begin)
		return 0;
	/* It never makes a file smaller, as ftruncate() would if somebody else came first. */
	return fallocate(fd, 0, begin - 1, 1) < 0 ? -errno : 0;
}

static void free_data(char **data)
{
	free(*data);
}

ssize_t table_append(struct tablefs *tablefs, struct table_node *node, fuse_ino_t nodeid,
		     struct fuse_bufvec *in, const struct fuse_file_info *fi)
{
	size_t size = fuse_buf_size(in);
	__attribute__((cleanup(free_data))) char *data = malloc(size);
	struct fuse_bufvec out = FUSE_BUFVEC_INIT(size);
	ssize_t n;

	if (!data)
		return -ENOMEM;
	out.buf[0].mem = data;
	n = fuse_buf_copy(&out, in, 0);
	if (n < 0)
		return n;
	size = (size_t)n;
	n = reach_begin(node);
	return n < 0 ? n : append(tablefs, node, nodeid, data, size, fi->flags);
}
