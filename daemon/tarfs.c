// SPDX-License-Identifier: GPL-2.0
/*
 * A mount of an uncompressed tar archive.
 *
 * The index never changes, so the handlers need no lock. A file's regions are
 * bound when it is first opened, and stay until the kernel forgets the inode.
 * FUSE's nodeids are the index's inode numbers plus 1, so that the root is 1.
 */

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "dirbuf.h"
#include "tar-scan.h"
#include "tarfs.h"

/**
 * struct tarfs - the mount
 * @fs:		what all mounts have
 * @index:	what is in the archive
 * @fd:		the archive
 * @backing:	its backing id, or a negative errno
 * @lookups:	for each inode, how often the kernel knows it
 * @bound:	for each inode, whether its regions are bound
 * @lock:	protects @bound while it is being set
 */
struct tarfs {
	struct fs *fs;
	struct tar_index index;
	int fd;
	int backing;
	_Atomic uint64_t *lookups;
	atomic_bool *bound;
	pthread_mutex_t lock;
};

static struct tarfs *tarfs_of(fuse_req_t req)
{
	return ((struct fs *)fuse_req_userdata(req))->data;
}

static uint32_t number_of(fuse_ino_t nodeid)
{
	return (uint32_t)(nodeid - FUSE_ROOT_ID);
}

static fuse_ino_t nodeid_of(uint32_t number)
{
	return (fuse_ino_t)number + FUSE_ROOT_ID;
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

/* --- names and attributes --- */

static void fill_stat(const struct tarfs *tarfs, uint32_t number, struct stat *st)
{
	const struct tar_inode *inode = tar_inode(&tarfs->index, number);

	*st = (struct stat){
		.st_ino = nodeid_of(number),
		.st_mode = inode->mode,
		.st_nlink = inode->nlink,
		.st_uid = inode->uid,
		.st_gid = inode->gid,
		.st_size = (off_t)inode->size,
		.st_blksize = 4096,
		.st_mtim = { inode->mtime, inode->mtime_ns },
	};
	st->st_atim = st->st_mtim;
	st->st_ctim = st->st_mtim;
	if (S_ISREG(inode->mode))
		st->st_blocks = (blkcnt_t)((tar_stored(&tarfs->index, inode) + 511) / 512);
	else if (S_ISCHR(inode->mode) || S_ISBLK(inode->mode))
		st->st_rdev = inode->rdev;
}

/* An entry that the kernel will count as a lookup when it gets it */
static void fill_entry(const struct tarfs *tarfs, uint32_t number, struct fuse_entry_param *entry)
{
	*entry = (struct fuse_entry_param){
		.ino = nodeid_of(number),
		.attr_timeout = FS_FOREVER,
		.entry_timeout = FS_FOREVER,
	};
	fill_stat(tarfs, number, &entry->attr);
}

static void tarfs_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct tarfs *tarfs = tarfs_of(req);
	uint32_t number = tar_lookup(&tarfs->index, number_of(parent), name);
	struct fuse_entry_param entry = { .entry_timeout = FS_FOREVER };

	/* Without an inode it says that there never will be one. */
	if (number != TAR_NONE) {
		fill_entry(tarfs, number, &entry);
		atomic_fetch_add(&tarfs->lookups[number], 1);
	}
	fuse_reply_entry(req, &entry);
}

static void forget(struct tarfs *tarfs, fuse_ino_t nodeid, uint64_t count)
{
	uint32_t number = number_of(nodeid);
	uint64_t before = atomic_fetch_sub(&tarfs->lookups[number], count);

	if (!atomic_load(&tarfs->bound[number]))
		return;
	pthread_mutex_lock(&tarfs->lock);
	if (before == count) {
		atomic_store(&tarfs->bound[number], false);
		fuse_regions_forget(tarfs->fs->conn, nodeid);
	} else if (fuse_regions_rebind(tarfs->fs->conn, nodeid) < 0) {
		/* Looked up again since, but not served by the kernel: so be it. */
		fuse_log(FUSE_LOG_DEBUG, "regionfs: cannot bind inode %lu anew\n",
			 (unsigned long)nodeid);
	}
	pthread_mutex_unlock(&tarfs->lock);
}

static void tarfs_forget(fuse_req_t req, fuse_ino_t nodeid, uint64_t count)
{
	forget(tarfs_of(req), nodeid, count);
	fuse_reply_none(req);
}

static void tarfs_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets)
{
	for (size_t i = 0; i < count; i++)
		forget(tarfs_of(req), forgets[i].ino, forgets[i].nlookup);
	fuse_reply_none(req);
}

static void tarfs_getattr(fuse_req_t req, fuse_ino_t nodeid, struct fuse_file_info *fi)
{
	struct stat st;

	(void)fi;
	fill_stat(tarfs_of(req), number_of(nodeid), &st);
	fuse_reply_attr(req, &st, FS_FOREVER);
}

static void tarfs_readlink(fuse_req_t req, fuse_ino_t nodeid)
{
	struct tarfs *tarfs = tarfs_of(req);

	fuse_reply_readlink(req, tar_text(&tarfs->index,
					  tar_inode(&tarfs->index, number_of(nodeid))->target));
}

/* --- directories --- */

static void tarfs_opendir(fuse_req_t req, fuse_ino_t nodeid, struct fuse_file_info *fi)
{
	(void)nodeid;
	fi->cache_readdir = 1;
	fi->keep_cache = 1;
	fuse_reply_open(req, fi);
}

static bool add_entry(struct tarfs *tarfs, struct dirbuf *buf, const char *name, uint32_t number,
		      off_t next)
{
	struct fuse_entry_param entry;

	fill_entry(tarfs, number, &entry);
	if (!dirbuf_add(buf, name, &entry, next))
		return false;
	if (buf->plus)
		atomic_fetch_add(&tarfs->lookups[number], 1);
	return true;
}

/* Offsets: 1 follows ".", 2 follows "..", n + 3 follows the name with number n. */
static void read_directory(fuse_req_t req, fuse_ino_t nodeid, size_t size, off_t offset, bool plus)
{
	struct tarfs *tarfs = tarfs_of(req);
	const struct tar_inode *dir = tar_inode(&tarfs->index, number_of(nodeid));
	uint32_t i = offset < 3 ? dir->first : tar_name(&tarfs->index, (uint32_t)(offset - 3))->next;
	struct dirbuf buf;

	if (!dirbuf_begin(&buf, req, size, plus))
		return;
	if (offset == 0 && dirbuf_add_dot(&buf, ".", nodeid, 1))
		offset = 1;
	if (offset == 1 && dirbuf_add_dot(&buf, "..", nodeid_of(dir->parent), 2))
		offset = 2;
	while (offset >= 2 && i != TAR_NONE) {
		const struct tar_name *name = tar_name(&tarfs->index, i);

		if (!add_entry(tarfs, &buf, tar_text(&tarfs->index, name->text), name->inode,
			       (off_t)i + 3))
			break;
		i = name->next;
	}
	dirbuf_reply(&buf);
}

static void tarfs_readdir(fuse_req_t req, fuse_ino_t nodeid, size_t size, off_t offset,
			  struct fuse_file_info *fi)
{
	(void)fi;
	read_directory(req, nodeid, size, offset, false);
}

static void tarfs_readdirplus(fuse_req_t req, fuse_ino_t nodeid, size_t size, off_t offset,
			      struct fuse_file_info *fi)
{
	(void)fi;
	read_directory(req, nodeid, size, offset, true);
}

/* --- files --- */

/* Bind all segments; more than fit into a message go in several. */
static int bind_segments(struct tarfs *tarfs, uint32_t number)
{
	const struct tar_inode *inode = tar_inode(&tarfs->index, number);
	uint32_t count = tar_segment_count(inode);
	struct fuse_regions_info info;
	int err = 0;

	fuse_regions_get_info(tarfs->fs->conn, &info);
	for (uint32_t i = 0; i < count && !err;) {
		struct fuse_regions_txn *txn =
			fuse_regions_txn_begin(tarfs->fs->conn, nodeid_of(number));

		for (uint32_t n = 0; n < info.max_records && i < count; n++, i++) {
			struct tar_segment segment = tar_segment(&tarfs->index, inode, i);

			fuse_regions_txn_bind(txn, segment.offset, segment.length,
					      (uint32_t)tarfs->backing, segment.data,
					      FUSE_REGION_READ);
		}
		err = fuse_regions_txn_commit(txn);
	}
	return err;
}

/* A file whose regions cannot be bound is read by read_gap() alone. */
static void bind_once(struct tarfs *tarfs, uint32_t number)
{
	int err;

	if (tarfs->backing < 0 || atomic_load(&tarfs->bound[number]))
		return;
	pthread_mutex_lock(&tarfs->lock);
	if (!atomic_load(&tarfs->bound[number])) {
		err = bind_segments(tarfs, number);
		if (err) {
			fuse_log(FUSE_LOG_WARNING, "regionfs: cannot bind inode %u: %s\n", number,
				 strerror(-err));
			fuse_regions_unbind(tarfs->fs->conn, nodeid_of(number), 0, 0);
		} else {
			atomic_store(&tarfs->bound[number], true);
		}
	}
	pthread_mutex_unlock(&tarfs->lock);
}

static void tarfs_open(fuse_req_t req, fuse_ino_t nodeid, struct fuse_file_info *fi)
{
	struct tarfs *tarfs = tarfs_of(req);

	fs_count(&tarfs->fs->counts.opens, 1);
	if ((fi->flags & O_ACCMODE) != O_RDONLY) {
		fuse_reply_err(req, EROFS);
		return;
	}
	bind_once(tarfs, number_of(nodeid));
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
	const struct tar_inode *inode = tar_inode(&tarfs->index, number_of(nodeid));
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
				tar_inode(&tarfs->index, number_of(nodeid))->size, read_gap, tarfs);
}

/* The next byte from @offset on that is in a segment, or is in none; @size ends the file. */
static uint64_t seek(const struct tarfs *tarfs, const struct tar_inode *inode, uint64_t offset,
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
	const struct tar_inode *inode = tar_inode(&tarfs->index, number_of(nodeid));
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
	struct statvfs st = { .f_bsize = 512, .f_frsize = 512, .f_namemax = 1023 };
	struct stat archive;

	(void)nodeid;
	if (fstat(tarfs->fd, &archive) == 0)
		st.f_blocks = (fsblkcnt_t)(archive.st_size / 512);
	st.f_files = tarfs->index.nr_inodes;
	fuse_reply_statfs(req, &st);
}

static const struct fuse_lowlevel_ops tarfs_ops = {
	.init = tarfs_init,
	.lookup = tarfs_lookup,
	.forget = tarfs_forget,
	.forget_multi = tarfs_forget_multi,
	.getattr = tarfs_getattr,
	.readlink = tarfs_readlink,
	.opendir = tarfs_opendir,
	.readdir = tarfs_readdir,
	.readdirplus = tarfs_readdirplus,
	.open = tarfs_open,
	.read = tarfs_read,
	.lseek = tarfs_lseek,
	.statfs = tarfs_statfs,
};

/* --- start and end --- */

static int open_archive(struct tarfs *tarfs, struct stat *st)
{
	const char *path = tarfs->fs->source;

	tarfs->fd = open(path, O_RDONLY | O_CLOEXEC);
	if (tarfs->fd < 0 || fstat(tarfs->fd, st) < 0) {
		fs_error("%s: %s", path, strerror(errno));
		return FS_FAILED;
	}
	if (!S_ISREG(st->st_mode)) {
		fs_error("%s is not a regular file", path);
		return FS_FAILED;
	}
	return FS_OK;
}

static int load(struct tarfs *tarfs)
{
	struct stat st;
	int ret = open_archive(tarfs, &st);
	struct tar_inode root;

	if (ret)
		return ret;
	/* Directories that the archive does not list look like it was unpacked by its owner. */
	root = (struct tar_inode){
		.mode = S_IFDIR | 0755,
		.uid = st.st_uid,
		.gid = st.st_gid,
		.mtime = st.st_mtim.tv_sec,
		.mtime_ns = (uint32_t)st.st_mtim.tv_nsec,
	};
	if (tar_index_init(&tarfs->index, &root) == 0) {
		if (tar_scan(&tarfs->index, tarfs->fd, tarfs->fs->source))
			return FS_FAILED;
		tar_index_done(&tarfs->index);
		tarfs->lookups = calloc(tarfs->index.nr_inodes, sizeof(*tarfs->lookups));
		tarfs->bound = calloc(tarfs->index.nr_inodes, sizeof(*tarfs->bound));
	}
	if (tarfs->lookups && tarfs->bound)
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
	int ret;

	fs->data = &tarfs;
	ret = fs_prepare(fs, &tarfs_ops, sizeof(tarfs_ops));
	if (!ret)
		ret = load(&tarfs);
	if (!ret)
		ret = fs_run(fs);
	tar_index_free(&tarfs.index);
	free(tarfs.lookups);
	free(tarfs.bound);
	if (tarfs.fd >= 0)
		close(tarfs.fd);
	return ret;
}
