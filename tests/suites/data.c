// SPDX-License-Identifier: GPL-2.0
/* The bytes of files, as the kernel asks for them. */

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include <linux/falloc.h>

#include "cutfs.h"

static uint64_t size_of(const struct content *content)
{
	struct stat st;

	return fstat(content->fd, &st) < 0 ? 0 : (uint64_t)st.st_size;
}

void data_open(fuse_req_t req, fuse_ino_t nodeid, struct fuse_file_info *fi)
{
	struct node *node = node_of(nodeid);
	int err;

	pthread_rwlock_wrlock(&node->lock);
	err = content_open(node);
	/* What can't be bound is served all the same. */
	if (!err && size_of(node->content))
		bind_range(node, 0, size_of(node->content));
	pthread_rwlock_unlock(&node->lock);
	if (err)
		fuse_reply_err(req, -err);
	else
		fuse_reply_open(req, fi);
}

static int read_gap(void *ctx, uint64_t nodeid, uint64_t offset, struct fuse_buf *buf)
{
	struct node *node = ctx;
	ssize_t n;

	(void)nodeid;
	pthread_rwlock_rdlock(&node->lock);
	n = content_read(node->content, buf->mem, buf->size, offset);
	pthread_rwlock_unlock(&node->lock);
	return n < 0 ? (int)n : 0;
}

void data_read(fuse_req_t req, fuse_ino_t nodeid, size_t size, off_t offset,
	       struct fuse_file_info *fi)
{
	struct node *node = node_of(nodeid);

	(void)fi;
	fuse_regions_reply_read(cutfs.conn, req, nodeid, size, offset, size_of(node->content),
				read_gap, node);
}

static bool has_regions(uint64_t offset, uint64_t size)
{
	for (uint64_t end = offset + size; offset < end;) {
		struct extent extent = layout_find(offset);

		if (extent.slot >= 0)
			return true;
		offset = extent.offset + extent.length;
	}
	return false;
}

/* Bind what is written to, and have the library look again; else write it here. */
static ssize_t write_gap(void *ctx, uint64_t nodeid, uint64_t offset, const void *data, size_t size,
			 unsigned int flags)
{
	struct node *node = ctx;
	ssize_t n = 0;

	(void)nodeid;
	(void)flags;
	pthread_rwlock_rdlock(&node->lock);
	if (!has_regions(offset, size) || bind_range(node, offset, size))
		n = content_write(node->content, data, size, offset);
	pthread_rwlock_unlock(&node->lock);
	return n;
}

/*
 * From @old, for what ends at @size. A direct write comes in several requests at once, and one of
 * them may have put bytes behind this one's end meanwhile: node->lock is held for writing.
 */
static int grow(struct node *node, uint64_t old, uint64_t size)
{
	if (size_of(node->content) < size && ftruncate(node->content->fd, (off_t)size) < 0)
		return -errno;
	if (old < size)
		bind_end(node, old);
	return 0;
}

/* As fuse_regions_write_buf(), but all of it or an error, maybe with some written. */
static ssize_t write_all(struct node *node, struct fuse_bufvec *in, off_t offset)
{
	size_t size = fuse_buf_size(in), done = 0;
	struct fuse_bufvec all = FUSE_BUFVEC_INIT(size);
	char *data = malloc(size);
	ssize_t n = data ? 0 : -ENOMEM;

	all.buf[0].mem = data;
	if (data && fuse_buf_copy(&all, in, 0) != (ssize_t)size)
		n = -EIO;
	while (n >= 0 && done < size) {
		n = fuse_regions_write(cutfs.conn, node_id(node), data + done, size - done,
				       offset + (off_t)done, write_gap, node);
		if (n == 0)
			n = -EIO;
		else if (n > 0)
			done += (size_t)n;
	}
	free(data);
	return n < 0 ? n : (ssize_t)size;
}

void data_write_buf(fuse_req_t req, fuse_ino_t nodeid, struct fuse_bufvec *in, off_t offset,
		    struct fuse_file_info *fi)
{
	struct node *node = node_of(nodeid);
	uint64_t old = size_of(node->content);
	ssize_t n;
	int err;

	/* The kernel does not look at how much was written of what was stored through mappings. */
	if (fi->writepage)
		n = write_all(node, in, offset);
	else
		n = fuse_regions_write_buf(cutfs.conn, nodeid, in, offset, write_gap, node);
	pthread_rwlock_wrlock(&node->lock);
	err = n < 0 ? (int)n : grow(node, old, (uint64_t)(offset + n));
	pthread_rwlock_unlock(&node->lock);
	if (err)
		fuse_reply_err(req, -err);
	else
		fuse_reply_write(req, (size_t)n);
}

void data_fsync(fuse_req_t req, fuse_ino_t nodeid, int datasync, struct fuse_file_info *fi)
{
	struct content *content = node_of(nodeid)->content;
	int err = -fuse_regions_fsync(cutfs.conn, nodeid, datasync);

	(void)fi;
	if (!err && (datasync ? fdatasync(content->fd) : fsync(content->fd)) < 0)
		err = errno;
	fuse_reply_err(req, err);
}

void data_fallocate(fuse_req_t req, fuse_ino_t nodeid, int mode, off_t offset, off_t length,
		    struct fuse_file_info *fi)
{
	bool zero = mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE);
	struct node *node = node_of(nodeid);
	int err = 0;

	(void)fi;
	if (mode & ~(FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE)) {
		fuse_reply_err(req, EOPNOTSUPP);
		return;
	}
	pthread_rwlock_wrlock(&node->lock);
	if (!(mode & FALLOC_FL_KEEP_SIZE))
		err = grow(node, size_of(node->content), (uint64_t)(offset + length));
	if (!err)
		err = content_fallocate(node->content, zero ? FALLOC_FL_PUNCH_HOLE : 0,
					(uint64_t)offset, (uint64_t)length);
	pthread_rwlock_unlock(&node->lock);
	fuse_reply_err(req, -err);
}
