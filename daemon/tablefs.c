// SPDX-License-Identifier: GPL-2.0
/* A mount of files that a table puts together: start, end, and looking at files. */

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/statvfs.h>

#include "tablefs.h"

/* Nobody but us opens files with direct_io, and not when the kernel serves them. */
static void allow_direct_mmap(struct tablefs *tablefs, struct fuse_conn_info *conn)
{
#ifdef FUSE_CAP_DIRECT_IO_ALLOW_MMAP
	if (fuse_regions_mode(tablefs->fs->conn) == FUSE_REGIONS_MODE_USER &&
	    conn->capable & FUSE_CAP_DIRECT_IO_ALLOW_MMAP) {
		conn->want |= FUSE_CAP_DIRECT_IO_ALLOW_MMAP;
		tablefs->direct_mmap = true;
	}
#else
	(void)tablefs, (void)conn;
#endif
}

static void tablefs_init(void *userdata, struct fuse_conn_info *conn)
{
	struct fs *fs = userdata;

	if (!fs_init(fs, conn))
		return;
	allow_direct_mmap(fs->data, conn);
	fs_ready(fs);
}

/*
 * The kernel's page cache would have what is appended where the kernel thinks
 * that it is. That a file can be mapped counts for more, as reads ask us first
 * whether it has changed.
 */
static bool goes_past_cache(const struct tablefs *tablefs, const struct table_node *node,
			    const struct fuse_file_info *fi)
{
	return table_appends(tablefs, node, fi) &&
	       (tablefs->direct_mmap || (fi->flags & O_ACCMODE) == O_WRONLY);
}

static void tablefs_open(fuse_req_t req, fuse_ino_t nodeid, struct fuse_file_info *fi)
{
	struct tablefs *tablefs = tablefs_of(req);
	struct table_node *node = table_node(tablefs, nodeid);
	int err;

	fs_count(&tablefs->fs->counts.opens, 1);
	if ((fi->flags & O_ACCMODE) != O_RDONLY && !node->file->writable) {
		fuse_reply_err(req, EROFS);
		return;
	}
	err = table_bind(tablefs, node, nodeid);
	if (err) {
		fs_error("%s: cannot bind the regions of '%s': %s", tablefs->fs->source,
			 node->file->name, strerror(-err));
		fuse_reply_err(req, -err);
		return;
	}
	fi->direct_io = goes_past_cache(tablefs, node, fi);
	fuse_reply_open(req, fi);
}

static void tablefs_read(fuse_req_t req, fuse_ino_t nodeid, size_t size, off_t offset,
			 struct fuse_file_info *fi)
{
	struct tablefs *tablefs = tablefs_of(req);
	struct table_node *node = table_node(tablefs, nodeid);

	(void)fi;
	fs_count(&tablefs->fs->counts.read_requests, 1);
	fs_count(&tablefs->fs->counts.read_bytes, size);
	fuse_regions_reply_read(tablefs->fs->conn, req, nodeid, size, offset, table_node_size(node),
				table_read_gap, node);
}

/* What is free is free for gaps. */
static void tablefs_statfs(fuse_req_t req, fuse_ino_t nodeid)
{
	struct tablefs *tablefs = tablefs_of(req);
	struct statvfs st;

	(void)nodeid;
	if (fstatvfs(tablefs->gap_dir, &st) < 0) {
		fuse_reply_err(req, errno);
		return;
	}
	st.f_files = tablefs->tree.nr_inodes;
	st.f_ffree = 0;
	st.f_favail = 0;
	st.f_namemax = 255;
	fuse_reply_statfs(req, &st);
}

static const struct fuse_lowlevel_ops tablefs_ops = {
	.init = tablefs_init,
	.open = tablefs_open,
	.read = tablefs_read,
	.statfs = tablefs_statfs,
	.write_buf = tablefs_write_buf,
	.setattr = tablefs_setattr,
	.fallocate = tablefs_fallocate,
	.fsync = tablefs_fsync,
	FS_TREE_HANDLERS,
};

int tablefs_main(struct fs *fs)
{
	struct tablefs tablefs = {
		.fs = fs,
		.bind_lock = PTHREAD_MUTEX_INITIALIZER,
		.gap_dir = -1,
	};
	struct fs_tree tree = {
		.tree = &tablefs.tree,
		.stat = table_stat,
		.forgotten = table_forgotten,
		.names_error = EPERM, /* the table says which files there are */
	};
	int ret;

	fs->data = &tablefs;
	fs->tree = &tree;
	ret = fs_prepare(fs, &tablefs_ops, sizeof(tablefs_ops));
	if (!ret)
		ret = table_load(&tablefs);
	if (!ret && fs_tree_start(&tree) < 0) {
		fs_error("%s: out of memory", fs->source);
		ret = FS_FAILED;
	}
	if (!ret)
		ret = fs_run(fs);
	fs_tree_free(&tree);
	table_unload(&tablefs);
	return ret;
}
