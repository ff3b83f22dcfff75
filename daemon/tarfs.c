// SPDX-License-Identifier: GPL-2.0
/*
 * A mount of an uncompressed tar archive.
 *
 * A file's regions are bound when it is first opened, and stay until the
 * kernel forgets the inode.
 */

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "fs-tree.h"
#include "tar-scan.h"
#include "tarfs.h"

/**
 * struct tarfs - the mount
 * @fs:		what all mounts have
 * @index:	what is in the archive
 * @fd:		the archive
 * @backing:	its backing id, or a negative errno
 * @bound:	for each inode, whether its regions are bound
 * @lock:	protects @bound, and is held while regions are bound
 */
struct tarfs {
	struct fs *fs;
	struct tar_index index;
	int fd;
	int backing;
	bool *bound;
	pthread_mutex_t lock;
};

static struct tarfs *tarfs_of(fuse_req_t req)
{
	return ((struct fs *)fuse_req_userdata(req))->data;
}

static void tarfs_init(void *userdata, struct fuse_conn_info *conn)
{
	struct fs *fs = userdata;
	struct tarfs *tarfs = fs->data;

	if (!fs_init(fs, conn))
		return;
	conn->want |= conn->capable & FUSE_CAP_CACHE_SYMLINKS;
	tarfs->backing = fuse_regions_backing_open(fs->conn, tarfs->fd);
	if (tarfs->backing < 0)
		fs_error("%s cannot be a backing, so that this process reads it: %s", fs->source,
			 strerror(-tarfs->backing));
	fs_ready(fs);
}

static double tarfs_stat(struct fs *fs, uint32_t number, struct stat *st)
{
	const struct tar_index *index = &((struct tarfs *)fs->data)->index;

	if (S_ISREG(st->st_mode))
		st->st_blocks =
			(blkcnt_t)((tar_stored(index, tree_inode(&index->tree, number)) + 511) /
				   512);
	return FS_FOREVER;
}

/* With the inode the kernel dropped its regions. */
static void tarfs_forgotten(struct fs *fs, uint32_t number)
{
	struct tarfs *tarfs = fs->data;

	pthread_mutex_lock(&tarfs->lock);
	if (tarfs->bound[number] && fs_is_known(fs, number)) {
		/* If it fails this process reads the file, as ever. */
		fuse_regions_rebind(fs->conn, fs_nodeid(number));
	} else if (tarfs->bound[number]) {
		fuse_regions_forget(fs->conn, fs_nodeid(number));
		tarfs->bound[number] = false;
	}
	pthread_mutex_unlock(&tarfs->lock);
}

/* --- files --- */

/* Bind all segments; more than fit into a message go in several. */
static int bind_segments(struct tarfs *tarfs, uint32_t number)
{
	const struct tree_inode *inode = tree_inode(&tarfs->index.tree, number);
	uint32_t count = tar_segment_count(inode);
	struct fuse_regions_info info;
	int err = 0;

	fuse_regions_get_info(tarfs->fs->conn, &info);
	for (uint32_t i = 0; i < count && !err;) {
		struct fuse_regions_txn *txn =
			fuse_regions_txn_begin(tarfs->fs->conn, fs_nodeid(number));

		for (uint32_t n = 0; n < fs_max_records(&info) && i < count; n++, i++) {
			struct tar_segment segment = tar_segment(&tarfs->index, inode, i);

			fuse_regions_txn_bind(txn, segment.offset, segment.length,
					      (uint32_t)tarfs->backing, segment.data,
					      FUSE_REGION_READ);
		}
		err = fuse_regions_txn_commit(txn);
	}
	return err;
}

static void cannot_bind(const struct tarfs *tarfs, uint32_t number, int err)
{
	char *path = tree_path(&tarfs->index.tree, number);

	fs_error("%s: cannot bind the regions of '%s': %s", tarfs->fs->source, path ? path : "?",
		 strerror(-err));
	free(path);
}

/* A file whose regions cannot be bound is read by read_gap() alone. */
static void bind_once(struct tarfs *tarfs, uint32_t number)
{
	int err = 0;

	if (tarfs->backing < 0)
		return;
	pthread_mutex_lock(&tarfs->lock);
	if (!tarfs->bound[number]) {
		err = bind_segments(tarfs, number);
		if (err)
			fuse_regions_unbind(tarfs->fs->conn, fs_nodeid(number), 0, 0);
		tarfs->bound[number] = !err;
	}
	pthread_mutex_unlock(&tarfs->lock);
	if (err)
		cannot_bind(tarfs, number, err);
}

static void tarfs_open(fuse_req_t req, fuse_ino_t nodeid, struct fuse_file_info *fi)
{
	struct tarfs *tarfs = tarfs_of(req);

	fs_count(&tarfs->fs->counts.opens, 1);
	if ((fi->flags & O_ACCMODE) != O_RDONLY) {
		fuse_reply_err(req, EROFS);
		return;
	}
	bind_once(tarfs, fs_number(nodeid));
	fi->keep_cache = 1;
	fuse_reply_open(req, fi);
}

static int read_segment(const struct tarfs *tarfs, const struct tar_segment *segment,
			uint64_t offset, char *data, size_t size)
{
	while (size) {
		ssize_t n = pread(tarfs->fd, data, size,
				  (off_t)(segment->data + (offset - segment->offset)));

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) /* the archive was cut short after the scan */
			return n < 0 ? -errno : -EIO;
		data += n;
		offset += n;
		size -= n;
	}
	return 0;
}

/* Called for holes; and, when the regions could not be bound, for everything. */
static int read_gap(void *ctx, uint64_t nodeid, uint64_t offset, struct fuse_buf *buf)
{
	const struct tarfs *tarfs = ctx;
	const struct tree_inode *inode = tree_inode(&tarfs->index.tree, fs_number(nodeid));
	uint64_t end = offset + buf->size;
	uint32_t i = tar_segment_after(&tarfs->index, inode, offset);
	char *data = buf->mem;

	/* Zeroes are what is missing from the buffer's end. */
	buf->size = 0;
	for (; i < tar_segment_count(inode) && offset < end; i++) {
		struct tar_segment segment = tar_segment(&tarfs->index, inode, i);
		uint64_t from = segment.offset > offset ? segment.offset : offset;
		uint64_t to = segment.offset + segment.length;
		int err;

		if (from >= end)
			break;
		if (to > end)
			to = end;
		memset(data + buf->size, 0, from - offset);
		buf->size += from - offset;
		err = read_segment(tarfs, &segment, from, data + buf->size, to - from);
		if (err)
			return err;
		buf->size += to - from;
		offset = to;
	}
	return 0;
}

static void tarfs_read(fuse_req_t req, fuse_ino_t nodeid, size_t size, off_t offset,
		       struct fuse_file_info *fi)
{
	struct tarfs *tarfs = tarfs_of(req);

	(void)fi;
	fs_count(&tarfs->fs->counts.read_requests, 1);
	fs_count(&tarfs->fs->counts.read_bytes, size);
	fuse_regions_reply_read(tarfs->fs->conn, req, nodeid, size, offset,
				tree_inode(&tarfs->index.tree, fs_number(nodeid))->size, read_gap,
				tarfs);
}

/* The next byte from @offset on that is in a segment, or is in none; @size ends the file. */
static uint64_t seek(const struct tarfs *tarfs, const struct tree_inode *inode, uint64_t offset,
		     bool data)
{
	uint32_t i = tar_segment_after(&tarfs->index, inode, offset);
	uint32_t count = tar_segment_count(inode);

	for (; i < count; i++) {
		struct tar_segment segment = tar_segment(&tarfs->index, inode, i);

		if (data)
			return segment.offset > offset ? segment.offset : offset;
		if (segment.offset > offset)
			return offset;
		offset = segment.offset + segment.length;
	}
	return data ? inode->size : offset;
}

static void tarfs_lseek(fuse_req_t req, fuse_ino_t nodeid, off_t offset, int whence,
			struct fuse_file_info *fi)
{
	struct tarfs *tarfs = tarfs_of(req);
	const struct tree_inode *inode = tree_inode(&tarfs->index.tree, fs_number(nodeid));
	uint64_t found;

	(void)fi;
	if (whence != SEEK_DATA && whence != SEEK_HOLE) {
		fuse_reply_err(req, EINVAL);
		return;
	}
	if (offset < 0 || (uint64_t)offset >= inode->size) {
		fuse_reply_err(req, ENXIO);
		return;
	}
	found = seek(tarfs, inode, offset, whence == SEEK_DATA);
	if (whence == SEEK_DATA && found >= inode->size)
		fuse_reply_err(req, ENXIO);
	else
		fuse_reply_lseek(req, (off_t)found);
}

static void tarfs_statfs(fuse_req_t req, fuse_ino_t nodeid)
{
	struct tarfs *tarfs = tarfs_of(req);
	struct statvfs st = { .f_bsize = 512, .f_frsize = 512, .f_namemax = TAR_NAME_MAX };
	struct stat archive;

	(void)nodeid;
	if (fstat(tarfs->fd, &archive) == 0)
		st.f_blocks = (fsblkcnt_t)(archive.st_size / 512);
	st.f_files = tarfs->index.tree.nr_inodes;
	fuse_reply_statfs(req, &st);
}

/* The mount is read-only, but somebody may mount it anew, writable. */
static void tarfs_setattr(fuse_req_t req, fuse_ino_t nodeid, struct stat *attr, int to_set,
			  struct fuse_file_info *fi)
{
	(void)nodeid, (void)attr, (void)to_set, (void)fi;
	fuse_reply_err(req, EROFS);
}

static const struct fuse_lowlevel_ops tarfs_ops = {
	.init = tarfs_init,
	.setattr = tarfs_setattr,
	.open = tarfs_open,
	.read = tarfs_read,
	.lseek = tarfs_lseek,
	.statfs = tarfs_statfs,
	FS_TREE_HANDLERS,
};

/* --- start and end --- */

static int open_archive(struct tarfs *tarfs, struct stat *st)
{
	const char *path = tarfs->fs->source;

	/* A FIFO must not keep us waiting. */
	tarfs->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (tarfs->fd < 0 || fstat(tarfs->fd, st) < 0) {
		fs_error("%s: %s", path, strerror(errno));
		return FS_FAILED;
	}
	if (!S_ISREG(st->st_mode)) {
		fs_error("%s is not a regular file", path);
		return FS_FAILED;
	}
	if (fs_lend(tarfs->fs, tarfs->fd, path)) {
		fs_error("%s: out of memory", path);
		return FS_FAILED;
	}
	return FS_OK;
}

static int load(struct tarfs *tarfs)
{
	struct stat st;
	int ret = open_archive(tarfs, &st);
	struct tree_inode root;

	if (ret)
		return ret;
	/* Directories that the archive does not list look like it was unpacked by its owner. */
	root = (struct tree_inode){
		.mode = S_IFDIR | 0755,
		.uid = st.st_uid,
		.gid = st.st_gid,
		.mtime = st.st_mtim.tv_sec,
		.mtime_ns = (uint32_t)st.st_mtim.tv_nsec,
	};
	if (tree_init(&tarfs->index.tree, &root) == 0) {
		if (tar_scan(&tarfs->index, tarfs->fd, tarfs->fs->source))
			return FS_FAILED;
		tree_done(&tarfs->index.tree);
		tarfs->bound = calloc(tarfs->index.tree.nr_inodes, sizeof(*tarfs->bound));
	}
	if (tarfs->bound && fs_tree_start(tarfs->fs->tree) == 0)
		return FS_OK;
	fs_error("%s: out of memory", tarfs->fs->source);
	return FS_FAILED;
}

int tarfs_main(struct fs *fs)
{
	struct tarfs tarfs = {
		.fs = fs,
		.fd = -1,
		.lock = PTHREAD_MUTEX_INITIALIZER,
	};
	struct fs_tree tree = {
		.tree = &tarfs.index.tree,
		.stat = tarfs_stat,
		.forgotten = tarfs_forgotten,
		.names_error = EROFS,
	};
	int ret;

	fs->data = &tarfs;
	fs->tree = &tree;
	ret = fs_add_option(fs, "ro");
	if (!ret)
		ret = fs_prepare(fs, &tarfs_ops, sizeof(tarfs_ops));
	if (!ret)
		ret = load(&tarfs);
	if (!ret)
		ret = fs_run(fs);
	tar_index_free(&tarfs.index);
	fs_tree_free(&tree);
	free(tarfs.bound);
	if (tarfs.fd >= 0)
		close(tarfs.fd);
	return ret;
}
