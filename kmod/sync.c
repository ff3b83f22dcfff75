// SPDX-License-Identifier: GPL-2.0
/*
 * fsync: the server is asked, as always, and the backings that were written
 * are synced here.
 *
 * fr_inode.written is set after a write and before it returns, and cleared
 * before the map is looked at: a write that returned before fsync began is
 * synced by it, or by the one that cleared the flag. Those of one inode run
 * one after the other (sync_lock), so that nobody returns before that one.
 *
 * A backing has one struct file for all files and inodes that use it, and it
 * is the server's, too: whether one of them has been told of an error says
 * nothing about the others. So errors are counted per connection, and those
 * that are new to an inode go to its own mapping, which FUSE's fsync looks at.
 */

#include <linux/slab.h>

#include "cut.h"
#include "regions.h"

/*
 * Each backing that a region uses, once; whatever its access, for what was
 * written may have been bound read-only since. -ENOMEM.
 */
static int fr_sync_collect(struct fr_inode *fi, struct xarray *set)
{
	const struct fr_node *root;
	struct fr_backing *last = NULL, *b;
	struct fr_piece piece;
	struct fr_cut cut;
	int idx, err = 0;

	idx = srcu_read_lock(&fi->conn->srcu);
	root = fr_load_root(fi->map.root);
	fr_cut_begin(&cut, root, 0, FR_LAST_MAX + 1,
		     FR_READ | FR_WRITE);
	while (!err && fr_cut_next(&cut, &piece)) {
		if (!piece.region)
			continue;
		b = fr_region_backing(piece.region);
		if (b == last)
			continue;
		last = b;
		if (xa_load(set, (unsigned long)b >> 4))
			continue;
		err = xa_err(xa_store(set, (unsigned long)b >> 4, b,
				      GFP_KERNEL));
		if (!err)
			fr_backing_get(b);
	}
	srcu_read_unlock(&fi->conn->srcu, idx);
	return err;
}

/*
 * Its error, when that came after the inode's last fsync, whoever was told of
 * it meanwhile. @found: this call is the first to see it.
 */
static int fr_sync_error(struct fr_inode *fi, struct fr_backing *b, u64 *found)
{
	struct address_space *mapping = fr_backing_mapping(b->file);
	struct fr_conn *conn = fi->conn;
	int err;

	spin_lock(&conn->lock);
	err = errseq_check_and_advance(&mapping->wb_err, &b->wb_err);
	if (err) {
		b->err = err;
		b->err_at = ++conn->nr_errs;
		++*found;
	}
	err = b->err_at > fi->errs_seen ? b->err : 0;
	spin_unlock(&conn->lock);
	return err;
}

static int fr_sync_backing(struct fr_inode *fi, struct fr_backing *b,
			   int datasync, u64 *found)
{
	const struct cred *old;
	int err, ret;

	/* One that can't be written, on erofs for example */
	if (!b->file->f_op->fsync)
		return 0;
	old = override_creds(b->cred);
	ret = vfs_fsync(b->file, datasync);
	revert_creds(old);
	err = fr_sync_error(fi, b, found);
	/* For each open file of the inode, as if the bytes were FUSE's */
	filemap_set_wb_err(fi->inode->i_mapping, err);
	return ret ?: err;
}

static int fr_sync_backings(struct fr_inode *fi, int datasync)
{
	u64 seen = READ_ONCE(fi->conn->nr_errs), found = 0;
	struct fr_backing *b;
	struct xarray set;
	unsigned long i;
	int err, ret;

	lockdep_assert_held(&fi->sync_lock);
	/* The first time for what was written before FUSE forgot the inode */
	if (fi->synced && !READ_ONCE(fi->written) && !READ_ONCE(fi->mapped))
		return 0;
	WRITE_ONCE(fi->written, false);
	smp_mb();	/* the flag before the backings' pages */
	xa_init(&set);
	err = fr_sync_collect(fi, &set);
	xa_for_each(&set, i, b) {
		ret = fr_sync_backing(fi, b, datasync, &found);
		err = err ?: ret;
		fr_backing_put(b);
	}
	xa_destroy(&set);
	spin_lock(&fi->conn->lock);
	/* Another inode's may be of a backing that was looked at before */
	if (fi->conn->nr_errs == seen + found)
		seen += found;
	fi->errs_seen = seen;
	spin_unlock(&fi->conn->lock);
	fi->synced = true;
	if (err)
		WRITE_ONCE(fi->written, true);
	return err;
}

int fr_fsync(struct file *file, loff_t start, loff_t end, int datasync)
{
	struct fr_inode *fi = fr_file_inode(file);
	int err = 0, ret;

	if (fi && fr_load_root(fi->map.root)) {
		/* Pages of mappings go to the backings first */
		err = file_write_and_wait_range(file, start, end);
		mutex_lock(&fi->sync_lock);
		ret = fr_sync_backings(fi, datasync);
		mutex_unlock(&fi->sync_lock);
		err = err ?: ret;
	}
	ret = fr_orig_fops->fsync(file, start, end, datasync);
	return err ?: ret;
}
