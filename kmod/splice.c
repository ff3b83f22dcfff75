// SPDX-License-Identifier: GPL-2.0
/* splice() and sendfile() from a file with regions. */

#include <linux/fs.h>
#include <linux/pipe_fs_i.h>
#include <linux/splice.h>

#include "compat.h"
#include "regions.h"

/*
 * Inside one region, pages of the backing's cache go into the pipe as they
 * are. 0: the bytes at @pos cannot be had in this way.
 */
static ssize_t fr_splice_region(struct fr_inode *fi, loff_t pos,
				struct pipe_inode_info *pipe, size_t len,
				unsigned int flags)
{
	struct fr_backing *backing;
	const struct fr_node *root;
	const struct cred *old;
	struct fr_piece piece;
	unsigned int space;
	struct file *file;
	ssize_t ret = 0;
	loff_t from;
	u64 eof;
	int idx;

	idx = srcu_read_lock(&fi->conn->srcu);
	root = fr_load_root(fi->map.root);
	eof = fr_read_eof(fi, root);
	fr_map_find(root, pos, &piece);
	if (pos >= eof || !piece.region ||
	    !(fr_region_flags(piece.region) & FR_READ))
		goto out;
	backing = fr_region_backing(piece.region);
	file = backing->file;
	if (!file->f_op->splice_read || (file->f_flags & O_DIRECT) ||
	    IS_DAX(file_inode(file)))
		goto out;
	from = fr_region_backing_pos(piece.region, pos);
	/* Zeroes behind the backing's end have no pages */
	if (from < 0 || from >= i_size_read(file_inode(file)))
		goto out;
	len = min_t(u64, len, min(piece.last + 1, eof) - pos);

	space = pipe->max_usage - pipe_occupancy(pipe->head, pipe->tail);
	len = min_t(size_t, len, (size_t)space << PAGE_SHIFT);

	/* Not vfs_splice_read(): see rw.h for what is not asked again */
	old = fr_override_creds(backing->cred);
	ret = file->f_op->splice_read(file, &from, pipe, len, flags);
	fr_revert_creds(old);
out:
	srcu_read_unlock(&fi->conn->srcu, idx);
	return ret;
}

ssize_t fr_splice_read(struct file *in, loff_t *ppos,
		       struct pipe_inode_info *pipe, size_t len,
		       unsigned int flags)
{
	struct fr_inode *fi = fr_file_inode(in);
	ssize_t ret;
	int err;

	if (!fi || !fr_load_root(fi->map.root)) {
		fr_hold_pass_old(fi, *ppos, len);
		return fr_orig_fops->splice_read(in, ppos, pipe, len, flags);
	}
	if (fr_cache_busy(fi, in)) {
		err = fr_cache_flush(fi, *ppos, (u64)*ppos + len - 1, false);
		if (err)
			return err;
	}
	ret = fr_splice_region(fi, *ppos, pipe, len, flags);
	if (!ret)
		return copy_splice_read(in, ppos, pipe, len, flags);
	if (ret > 0)
		*ppos += ret;
	return ret;
}
