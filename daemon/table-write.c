// SPDX-License-Identifier: GPL-2.0
/*
 * The handlers that change files of a table. Bytes bound for writing are
 * written to their backing, bytes in gaps to a file of our own, and bytes
 * bound for reading only not at all.
 *
 * The kernel lets one of WRITE, SETATTR of the size and FALLOCATE at a time
 * at an inode; table_node.lock is for those that only look.
 */

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <linux/falloc.h>

#include "tablefs.h"

/* --- write --- */

/* What write-back goes on after, when it cannot write a byte: at most a page */
#define WRITE_BACK_STEP 4096

/* What write_gap() gets */
struct gap_writer {
	struct tablefs *tablefs;
	struct table_node *node;
	bool from_cache;
};

/*
 * A page that comes from the page cache may have bytes that nobody wrote. As
 * long as these are what the region has there is nothing to refuse.
 */
static bool is_unchanged(const struct gap_writer *writer, uint64_t nodeid, uint64_t offset,
			 const char *data, size_t size)
{
	char now[4096];

	while (size) {
		size_t part = size < sizeof(now) ? size : sizeof(now);
		ssize_t n = fuse_regions_read(writer->tablefs->fs->conn, nodeid, now, part,
					      (off_t)offset, UINT64_MAX, NULL, NULL);

		if (n <= 0 || memcmp(now, data, (size_t)n) != 0)
			return false;
		data += n;
		offset += (uint64_t)n;
		size -= (size_t)n;
	}
	return true;
}

static ssize_t write_gap(void *ctx, uint64_t nodeid, uint64_t offset, const void *data, size_t size,
			 unsigned int flags)
{
	const struct gap_writer *writer = ctx;
	ssize_t n;
	int fd;

	if (flags & FUSE_REGION_READ) {
		if (writer->from_cache && is_unchanged(writer, nodeid, offset, data, size))
			return (ssize_t)size;
		return -EROFS;
	}
	fd = table_gaps(writer->tablefs, writer->node);
	if (fd < 0)
		return fd;
	n = pwrite(fd, data, size, (off_t)offset);
	return n < 0 ? -errno : n;
}

/*
 * Nobody looks at the count of what comes from the page cache: the kernel calls
 * its pages clean, and tells whoever syncs them of an error only. So all is
 * written that can be, whatever lies before it, and what cannot be is an error.
 */
static ssize_t write_back(const struct gap_writer *writer, fuse_ino_t nodeid, const char *data,
			  size_t size, off_t offset)
{
	struct fuse_regions_conn *conn = writer->tablefs->fs->conn;
	size_t done = 0;
	int err = 0;

	while (done < size) {
		uint64_t pos = (uint64_t)offset + done;
		size_t skipped = WRITE_BACK_STEP - pos % WRITE_BACK_STEP;
		struct fuse_regions_extent extent;
		ssize_t n = fuse_regions_write(conn, nodeid, data + done, size - done, (off_t)pos,
					       write_gap, (void *)writer);

		if (n > 0) {
			done += (size_t)n;
			continue;
		}
		if (!err)
			err = n < 0 ? (int)n : -EIO;
		if (fuse_regions_find(conn, nodeid, pos, &extent) == 0 && extent.length < skipped)
			skipped = extent.length;
		done += skipped < size - done ? skipped : size - done;
	}
	return err ? err : (ssize_t)size;
}

static ssize_t write_back_buf(const struct gap_writer *writer, fuse_ino_t nodeid,
			      struct fuse_bufvec *in, off_t offset)
{
	size_t size = fuse_buf_size(in);
	struct fuse_bufvec out = FUSE_BUFVEC_INIT(size);
	ssize_t n;

	/* In memory, for what was taken from a pipe cannot be written again. */
	out.buf[0].mem = malloc(size);
	if (!out.buf[0].mem)
		return -ENOMEM;
	n = fuse_buf_copy(&out, in, 0);
	if (n >= 0)
		n = (size_t)n == size ? write_back(writer, nodeid, out.buf[0].mem, size, offset)
				      : -EIO;
	free(out.buf[0].mem);
	return n;
}

static ssize_t do_write(const struct gap_writer *writer, fuse_ino_t nodeid, struct fuse_bufvec *in,
			off_t offset, const struct fuse_file_info *fi)
{
	if (fi->writepage)
		return write_back_buf(writer, nodeid, in, offset);
	if (table_appends(writer->tablefs, writer->node, fi))
		return table_append(writer->tablefs, writer->node, nodeid, in, fi);
	return fuse_regions_write_buf(writer->tablefs->fs->conn, nodeid, in, offset, write_gap,
				      (void *)writer);
}

/* The bytes past @size must be gone, lest they show again when the file grows. */
static int truncate_gaps(struct table_node *node, uint64_t size)
{
	struct stat st;

	if (node->gaps < 0)
		return 0;
	if (fstat(node->gaps, &st) < 0)
		return -errno;
	if ((uint64_t)st.st_size <= size)
		return 0;
	return ftruncate(node->gaps, (off_t)size) < 0 ? -errno : 0;
}

/* A write came to @written. Gaps are written to before regions: they may have more of it. */
static void forget_past_end(struct table_node *node, uint64_t written)
{
	uint64_t size;

	if (node->file->whole)
		return;
	pthread_mutex_lock(&node->lock);
	size = node->size;
	pthread_mutex_unlock(&node->lock);
	truncate_gaps(node, written > size ? written : size);
}

void tablefs_write_buf(fuse_req_t req, fuse_ino_t nodeid, struct fuse_bufvec *in, off_t offset,
		       struct fuse_file_info *fi)
{
	struct tablefs *tablefs = tablefs_of(req);
	struct table_node *node = table_node(tablefs, nodeid);
	struct gap_writer writer = { tablefs, node, fi->writepage };
	size_t size = fuse_buf_size(in);
	ssize_t n;

	fs_count(&tablefs->fs->counts.write_requests, 1);
	n = do_write(&writer, nodeid, in, offset, fi);
	/* Whether it failed or not: what comes from the cache may have been written in part. */
	table_changed(node, (uint64_t)offset, size);
	if (n < (ssize_t)size && !fi->writepage)
		forget_past_end(node, n < 0 ? 0 : (uint64_t)offset + (uint64_t)n);
	if (n < 0) {
		fuse_reply_err(req, (int)-n);
		return;
	}
	pthread_mutex_lock(&node->lock);
	if (n && (uint64_t)offset + (uint64_t)n > node->size)
		node->size = (uint64_t)offset + (uint64_t)n;
	table_touch(node);
	pthread_mutex_unlock(&node->lock);
	fuse_reply_write(req, (size_t)n);
}

void tablefs_fsync(fuse_req_t req, fuse_ino_t nodeid, int datasync, struct fuse_file_info *fi)
{
	(void)fi;
	/* Gaps are gone with this process whatever we do. */
	fuse_reply_err(req, -fuse_regions_fsync(tablefs_of(req)->fs->conn, nodeid, datasync));
}

/* --- setattr --- */

static int truncate_whole(const struct tablefs *tablefs, const struct table_node *node,
			  fuse_ino_t nodeid, uint64_t size)
{
	const struct table_region *region = &node->file->regions[0];
	const struct table_backing *backing = node->backings[0];

	if (size > (uint64_t)INT64_MAX - region->backing_offset)
		return -EFBIG;
	if (ftruncate(backing->fd, (off_t)(size + region->backing_offset)) < 0)
		return -errno;
	table_wrote(tablefs, nodeid, backing);
	return 0;
}

static int truncate_node(struct tablefs *tablefs, struct table_node *node, fuse_ino_t nodeid,
			 uint64_t size)
{
	int err;

	if (!node->file->writable)
		return -EROFS;
	/* An open that binds the file meanwhile is to see what is cut. */
	pthread_mutex_lock(&tablefs->bind_lock);
	if (node->file->whole) {
		err = truncate_whole(tablefs, node, nodeid, size);
		table_changed(node, 0, 0);
	} else {
		/* Without node->lock: it may wait for reads, which take it. */
		err = fuse_regions_truncate(tablefs->fs->conn, nodeid, size);
		if (!err)
			err = truncate_gaps(node, size);
	}
	if (!err) {
		pthread_mutex_lock(&node->lock);
		node->size = size;
		if (size < node->trim)
			node->trim = size;
		table_touch(node);
		pthread_mutex_unlock(&node->lock);
	}
	pthread_mutex_unlock(&tablefs->bind_lock);
	return err;
}

static void set_times(struct table_node *node, const struct stat *attr, int to_set)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	/* What the kernel wrote before must not show as a change after. */
	table_look_at_backings(node);
	if (to_set & (FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_ATIME_NOW))
		node->atime = to_set & FUSE_SET_ATTR_ATIME_NOW ? now : attr->st_atim;
	if (to_set & (FUSE_SET_ATTR_MTIME | FUSE_SET_ATTR_MTIME_NOW)) {
		node->mtime = to_set & FUSE_SET_ATTR_MTIME_NOW ? now : attr->st_mtim;
		node->mtime_set = true;
	}
	node->ctime = to_set & FUSE_SET_ATTR_CTIME ? attr->st_ctim : now;
}

static void set_attributes(struct table_node *node, const struct stat *attr, int to_set)
{
	pthread_mutex_lock(&node->lock);
	if (to_set & FUSE_SET_ATTR_MODE)
		node->mode = S_IFREG | (attr->st_mode & 07777);
	if (to_set & FUSE_SET_ATTR_UID)
		node->uid = attr->st_uid;
	if (to_set & FUSE_SET_ATTR_GID)
		node->gid = attr->st_gid;
	set_times(node, attr, to_set);
	pthread_mutex_unlock(&node->lock);
}

void tablefs_setattr(fuse_req_t req, fuse_ino_t nodeid, struct stat *attr, int to_set,
		     struct fuse_file_info *fi)
{
	struct tablefs *tablefs = tablefs_of(req);
	struct table_node *node = table_node(tablefs, nodeid);
	struct stat st = { .st_ino = nodeid, .st_nlink = 1, .st_blksize = 4096 };
	double timeout;
	int err = 0;

	(void)fi;
	if (!node) {
		fuse_reply_err(req, EPERM); /* directories are as they are */
		return;
	}
	if (to_set & FUSE_SET_ATTR_SIZE)
		err = truncate_node(tablefs, node, nodeid, (uint64_t)attr->st_size);
	if (err) {
		fuse_reply_err(req, -err);
		return;
	}
	if (to_set & ~FUSE_SET_ATTR_SIZE)
		set_attributes(node, attr, to_set);
	timeout = table_node_stat(tablefs, node, &st);
	fuse_reply_attr(req, &st, timeout);
}

/* --- fallocate --- */

static const struct table_backing *find_backing(const struct table_node *node, uint32_t id)
{
	for (size_t i = 0; i < node->nr_watched; i++)
		if (node->watched[i].backing->id == (int)id)
			return node->watched[i].backing;
	return NULL;
}

/* Do it to one run of bytes. 0 or a negative errno. */
static int fallocate_extent(struct tablefs *tablefs, struct table_node *node, fuse_ino_t nodeid,
			    int mode, const struct fuse_regions_extent *extent)
{
	const struct table_backing *backing = NULL;
	off_t offset = (off_t)(extent->flags ? extent->backing_offset : extent->offset);
	bool zero = mode & FALLOC_FL_PUNCH_HOLE;
	int fd;

	if (extent->flags && !(extent->flags & FUSE_REGION_WRITE))
		return zero ? -EROFS : 0; /* what is there need not be allocated */
	if (!extent->flags && zero && node->gaps < 0)
		return 0; /* zeroes already */
	if (extent->flags) {
		backing = find_backing(node, extent->backing);
		fd = backing ? backing->fd : -EIO;
	} else {
		fd = table_gaps(tablefs, node);
	}
	if (fd < 0)
		return fd;
	if (fallocate(fd, mode | FALLOC_FL_KEEP_SIZE, offset, (off_t)extent->length) < 0)
		return -errno;
	if (backing)
		table_wrote(tablefs, nodeid, backing);
	return 0;
}

/* @check: only find out whether a region is in the way. */
static int fallocate_range(struct tablefs *tablefs, struct table_node *node, fuse_ino_t nodeid,
			   int mode, uint64_t offset, uint64_t length, bool check)
{
	uint64_t end = offset + length;
	int err = 0;

	while (offset < end && !err) {
		struct fuse_regions_extent extent;

		err = fuse_regions_find(tablefs->fs->conn, nodeid, offset, &extent);
		if (err)
			break;
		if (extent.length > end - offset)
			extent.length = end - offset;
		if (!check)
			err = fallocate_extent(tablefs, node, nodeid, mode, &extent);
		else if (extent.flags && !(extent.flags & FUSE_REGION_WRITE))
			err = -EROFS;
		offset += extent.length;
	}
	return err;
}

/* The backing's size is the file's. */
static int fallocate_whole(const struct table_node *node, int mode, uint64_t offset,
			   uint64_t length)
{
	uint64_t skipped = node->file->regions[0].backing_offset;
	int fd = node->backings[0]->fd, keep = mode & FALLOC_FL_KEEP_SIZE;

	if (offset + length > (uint64_t)INT64_MAX - skipped)
		return -EFBIG;
	offset += skipped;
	if (mode & FALLOC_FL_PUNCH_HOLE && fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
						     (off_t)offset, (off_t)length) < 0)
		return -errno;
	/* A hole needs no more. Nor is ftruncate() to make it grow: others may append meanwhile. */
	if (mode & FALLOC_FL_PUNCH_HOLE && keep)
		return 0;
	return fallocate(fd, keep, (off_t)offset, (off_t)length) < 0 ? -errno : 0;
}

static int do_fallocate(struct tablefs *tablefs, struct table_node *node, fuse_ino_t nodeid,
			int mode, uint64_t offset, uint64_t length)
{
	bool zero = mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE);
	int err = 0;

	if (mode & ~(FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE))
		return -EOPNOTSUPP;
	if (!node->file->writable)
		return -EROFS;
	/* More file systems can punch holes than zero ranges, and it reads the same. */
	mode &= FALLOC_FL_KEEP_SIZE;
	if (zero)
		mode |= FALLOC_FL_PUNCH_HOLE;
	if (node->file->whole) {
		err = fallocate_whole(node, mode, offset, length);
		table_wrote(tablefs, nodeid, node->backings[0]);
		return err;
	}
	if (zero)
		err = fallocate_range(tablefs, node, nodeid, mode, offset, length, true);
	if (!err)
		err = fallocate_range(tablefs, node, nodeid, mode, offset, length, false);
	return err;
}

void tablefs_fallocate(fuse_req_t req, fuse_ino_t nodeid, int mode, off_t offset, off_t length,
		       struct fuse_file_info *fi)
{
	struct tablefs *tablefs = tablefs_of(req);
	struct table_node *node = table_node(tablefs, nodeid);
	int err = do_fallocate(tablefs, node, nodeid, mode, (uint64_t)offset, (uint64_t)length);

	(void)fi;
	table_changed(node, (uint64_t)offset, (uint64_t)length);
	if (!err) {
		pthread_mutex_lock(&node->lock);
		if (!(mode & FALLOC_FL_KEEP_SIZE) && (uint64_t)(offset + length) > node->size)
			node->size = (uint64_t)(offset + length);
		table_touch(node);
		pthread_mutex_unlock(&node->lock);
	}
	fuse_reply_err(req, -err);
}
