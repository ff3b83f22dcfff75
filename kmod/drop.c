// SPDX-License-Identifier: GPL-2.0
/*
 * Pages of FUSE's cache that hold what bytes were before: whoever changes what
 * a page should hold drops it.
 */

#include <linux/jiffies.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/wait.h>

#include "regions.h"

/* The part of fr_drop() that may wait for pages the server holds. */
void fr_drop_work(struct work_struct *work)
{
	struct fr_inode *fi = container_of(work, struct fr_inode, drop);
	struct super_block *sb = NULL;
	struct inode *inode = NULL;
	pgoff_t first, last;
	unsigned int wanted;

	/* An inode that is still in the table is not being evicted */
	spin_lock(&fi->conn->lock);
	if (fi->hashed && atomic_inc_not_zero(&fi->inode->i_sb->s_active)) {
		sb = fi->inode->i_sb;
		inode = igrab(fi->inode);
	}
	spin_unlock(&fi->conn->lock);

	spin_lock(&fi->drop_lock);
	first = fi->drop_first;
	last = fi->drop_last;
	wanted = fi->drop_wanted;
	fi->drop_first = ULONG_MAX;
	fi->drop_last = 0;
	spin_unlock(&fi->drop_lock);

	if (inode) {
		invalidate_inode_pages2_range(inode->i_mapping, first, last);
		iput(inode);
	}
	/* Pairs with the load in fr_drop_done() */
	smp_store_release(&fi->drop_done, wanted);
	wake_up_all(&fi->drop_wait);
	if (sb)
		deactivate_super(sb);
	fr_inode_put(fi);
}

static bool fr_drop_done(struct fr_inode *fi, unsigned int ticket)
{
	/* Pairs with the store in fr_drop_work() */
	unsigned int done = smp_load_acquire(&fi->drop_done);

	return (int)(done - ticket) >= 0;
}

/*
 * After [@start, @last] was bound, unbound or written. A page may be locked by
 * somebody who waits for the server; the caller may be the server, or must not
 * wait for it: so another task does what has to wait, and the caller gives it
 * half a second, which is ages unless the server is needed.
 */
void fr_drop(struct fr_inode *fi, u64 start, u64 last)
{
	struct address_space *mapping = fi->inode->i_mapping;
	pgoff_t first = start >> PAGE_SHIFT, end = last >> PAGE_SHIFT;
	unsigned int ticket;

	if (!mapping->nrpages)
		return;
	unmap_mapping_pages(mapping, first, end - first + 1, false);
	invalidate_mapping_pages(mapping, first, end);
	if (!filemap_range_has_page(mapping, start, last))
		return;

	spin_lock(&fi->drop_lock);
	fi->drop_first = min(fi->drop_first, first);
	fi->drop_last = max(fi->drop_last, end);
	ticket = ++fi->drop_wanted;
	spin_unlock(&fi->drop_lock);
	/* The work may outlast the inode's place in the table */
	refcount_inc(&fi->count);
	if (!queue_work(fr_wq, &fi->drop))
		fr_inode_put(fi);
	wait_event_timeout(fi->drop_wait, fr_drop_done(fi, ticket), HZ / 2);
}
