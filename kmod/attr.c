// SPDX-License-Identifier: GPL-2.0
/*
 * Attributes: a truncate trims regions, a file that grows shows what is bound
 * behind its old end, and a stat() after stores through a mapping of a backing
 * asks the server. For this an inode with regions has a table of inode operations
 * of ours.
 *
 * These run without a file of ours being open, hence without a reference to
 * the module: fr_pending counts them instead (main.c).
 */

#include <linux/fs.h>
#include <linux/spinlock.h>

#include "fuse.h"
#include "regions.h"

static const struct inode_operations *fr_orig_iops __read_mostly;
static struct inode_operations fr_iops;
static DEFINE_SPINLOCK(fr_iops_lock);

/* How long the file is that is to be truncated, as far as FUSE can know. */
static loff_t fr_attr_size(struct mnt_idmap *idmap, struct dentry *dentry)
{
	/* FUSE looks at the dentry only, and asks only where it has to. */
	const struct path path = { .dentry = dentry };
	struct kstat stat;

	fr_orig_iops->getattr(idmap, &path, &stat, STATX_SIZE, 0);
	return i_size_read(d_inode(dentry));
}

/*
 * From here on nobody writes into regions, which takes no inode lock, while the
 * file becomes shorter: the server truncates its backings before FUSE knows the
 * new size, and what came between the two would be of a file that there never
 * was. Writers do not wait for the server while they are waited for.
 */
static void fr_attr_stop_writers(struct fr_inode *fi)
{
	lockdep_assert_held_write(&fi->inode->i_rwsem);
	WRITE_ONCE(fi->truncating, true);
	synchronize_srcu_expedited(&fi->conn->srcu);
}

static void fr_attr_let_writers_go(struct fr_inode *fi)
{
	/* Pairs with the acquire in fr_truncating() */
	smp_store_release(&fi->truncating, false);
}

/* Ask the server, and trim what it has cut off. */
static int fr_attr_truncate(struct fr_inode *fi, struct mnt_idmap *idmap,
			    struct dentry *dentry, struct iattr *attr)
{
	loff_t old = attr->ia_valid & ATTR_OPEN ?
			i_size_read(fi->inode) : fr_attr_size(idmap, dentry);
	bool shorter, longer = attr->ia_size > old;
	struct fr_hold hold;
	int err = 0;

	/* A whole-file region's backing may be longer than FUSE knows */
	shorter = attr->ia_size < old ||
		  (!(attr->ia_valid & ATTR_OPEN) && attr->ia_size < fr_eof(fi));
	if (longer)
		err = fr_grow_begin(fi, &hold, old, true);
	if (err)
		return err;
	if (shorter)
		fr_attr_stop_writers(fi);
	err = fr_orig_iops->setattr(idmap, dentry, attr);
	/* FUSE has dropped the page that the file ended in */
	if (longer)
		fr_grow_end(fi, &hold, old, old);
	/*
	 * A file that grows keeps what is bound past its end. An O_TRUNC that
	 * the server did in OPEN has set the size already; if the map has
	 * changed since, then the server has said in OPEN what it wants.
	 */
	if (!err && (shorter ||
		     ((attr->ia_valid & ATTR_OPEN) &&
		      READ_ONCE(fi->trunc_txn) == READ_ONCE(fi->txn))))
		fr_bind_trim(fi, attr->ia_size);
	if (shorter)
		fr_attr_let_writers_go(fi);
	return err;
}

static int fr_setattr(struct mnt_idmap *idmap, struct dentry *dentry,
		      struct iattr *attr)
{
	struct fr_inode *fi;
	int err = 0;

	atomic_inc(&fr_pending);
	fi = fr_inode_find(d_inode(dentry));
	/*
	 * The answer may tell FUSE of a size that it did not know. Then it zeroes
	 * what pages have behind the old one, be it dirty.
	 */
	if (fi && !(attr->ia_valid & ATTR_OPEN))
		err = fr_grow_catch_up(fi, fr_eof(fi));
	if (!err && fi && (attr->ia_valid & ATTR_SIZE))
		err = fr_attr_truncate(fi, idmap, dentry, attr);
	else if (!err)
		err = fr_orig_iops->setattr(idmap, dentry, attr);
	if (fi)
		fr_inode_put(fi);
	fr_pending_done();
	return err;
}

static int fr_getattr(struct mnt_idmap *idmap, const struct path *path,
		      struct kstat *stat, u32 mask, unsigned int flags)
{
	struct inode *inode = d_inode(path->dentry);
	struct fr_inode *fi;
	int err;

	atomic_inc(&fr_pending);
	fi = fr_inode_find(inode);
	if (fi) {
		/*
		 * Cleared before the server is asked: an answer that is under
		 * way already, and does not know of a write, is good for those
		 * who asked before that write was over, and for nobody later.
		 */
		if (READ_ONCE(fi->mapped) ||
		    (READ_ONCE(fi->changed) && xchg(&fi->changed, false)))
			fr_fuse_attr_changed(inode);
	}
	err = fr_orig_iops->getattr(idmap, path, stat, mask, flags);
	if (fi) {
		/*
		 * The server may count a write that is not over yet, and FUSE
		 * does not take its word where another write was over
		 * meanwhile: nobody is to be told more than he can read.
		 */
		if (!err && stat->size > i_size_read(inode))
			stat->size = i_size_read(inode);
		fr_inode_put(fi);
	}
	fr_pending_done();
	return err;
}

void fr_attr_take_over(struct fr_inode *fi)
{
	struct inode *inode = fi->inode;

	lockdep_assert_held(&fi->map_lock);
	if (inode->i_op == &fr_iops)
		return;
	spin_lock(&fr_iops_lock);
	if (!fr_orig_iops) {
		fr_orig_iops = inode->i_op;
		fr_iops = *fr_orig_iops;
		fr_iops.setattr = fr_setattr;
		fr_iops.getattr = fr_getattr;
	}
	spin_unlock(&fr_iops_lock);
	WRITE_ONCE(inode->i_op, &fr_iops);
}

/* The inode has neither files nor regions any more. Any context. */
void fr_attr_give_back(struct fr_inode *fi)
{
	if (fi->inode->i_op == &fr_iops)
		WRITE_ONCE(fi->inode->i_op, fr_orig_iops);
}
