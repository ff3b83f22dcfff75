// SPDX-License-Identifier: GPL-2.0
/* Seeking, and advice about what will be read. */

#include <linux/fadvise.h>
#include <linux/sched/signal.h>

#include "cut.h"
#include "regions.h"

/*
 * A whole-file region's end of file is the backing's, which the server need
 * not be asked for. Data and holes are the server's to tell, as it knows what
 * lies behind the gaps.
 */
loff_t fr_llseek(struct file *file, loff_t offset, int whence)
{
	struct fr_inode *fi = fr_file_inode(file);
	const struct fr_node *root;
	bool whole;
	loff_t eof;
	int idx;

	if (!fi || whence != SEEK_END)
		goto orig;
	idx = srcu_read_lock(&fi->conn->srcu);
	root = fr_load_root(fi->map.root);
	whole = fr_map_whole_tail(root);
	eof = fr_read_eof(fi, root);
	srcu_read_unlock(&fi->conn->srcu, idx);
	if (whole)
		return generic_file_llseek_size(file, offset, whence,
				file_inode(file)->i_sb->s_maxbytes, eof);
orig:
	return fr_orig_fops->llseek(file, offset, whence);
}

/* The first bytes of [@pos, @last] that are bound, and a reference to where. */
static struct fr_backing *fr_fadvise_next(struct fr_inode *fi, u64 pos,
					  u64 last, struct fr_piece *piece,
					  u64 *from)
{
	struct fr_backing *backing = NULL;
	struct fr_cut cut;
	int idx;

	idx = srcu_read_lock(&fi->conn->srcu);
	fr_cut_begin(&cut, fr_load_root(fi->map.root), pos, last - pos + 1,
		     FR_READ);
	while (!backing && fr_cut_next(&cut, piece)) {
		if (!piece->region)
			continue;
		backing = fr_region_backing(piece->region);
		fr_backing_get(backing);
		*from = fr_region_backing_pos(piece->region, piece->pos);
	}
	srcu_read_unlock(&fi->conn->srcu, idx);
	return backing;
}

/*
 * Advice that is about pages goes to the backings' pages; not inside of srcu, as
 * there may be a million regions, on a slow disk, and somebody who unbinds.
 */
static int fr_fadvise_regions(struct fr_inode *fi, u64 pos, u64 last,
			      int advice)
{
	struct fr_backing *backing;
	const struct cred *old;
	struct fr_piece piece;
	int err = 0;
	u64 from;

	for (; !err && pos <= last; pos = piece.last + 1) {
		backing = fr_fadvise_next(fi, pos, last, &piece, &from);
		if (!backing)
			break;
		if (from < i_size_read(file_inode(backing->file))) {
			old = override_creds(backing->cred);
			err = vfs_fadvise(backing->file, from,
					  piece.last - piece.pos + 1, advice);
			revert_creds(old);
		}
		fr_backing_put(backing);
		if (fatal_signal_pending(current))
			err = -EINTR;
		cond_resched();
	}
	return err;
}

int fr_fadvise(struct file *file, loff_t offset, loff_t len, int advice)
{
	struct fr_inode *fi = fr_file_inode(file);
	u64 eof;

	if (!fi || !fr_load_root(fi->map.root) || offset < 0 || len < 0 ||
	    (advice != POSIX_FADV_WILLNEED && advice != POSIX_FADV_DONTNEED))
		return generic_fadvise(file, offset, len, advice);
	eof = i_size_read(file_inode(file));
	if (offset >= eof)
		return 0;
	if (!len || len > eof - offset)
		len = eof - offset;
	return fr_fadvise_regions(fi, offset, offset + len - 1, advice);
}
