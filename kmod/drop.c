// SPDX-License-Identifier: GPL-2.0
/*
 * Pages of FUSE's cache that hold what bytes were before: whoever changes what
 * a page should hold drops it.
 */

#include <linux/completion.h>
#include <linux/jiffies.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/slab.h>

#include "compat.h"
#include "regions.h"

/*
 * How long a page may take. Of a binder the server may be in need at once; a
 * writer has brought the pages to where they belong, so that none should take
 * the server.
 */
#define FR_DROP_PATIENCE_BOUND		(HZ / 2)
#define FR_DROP_PATIENCE_WRITTEN	(2 * HZ)

/**
 * struct fr_drop - pages to be dropped
 * @hold:	which
 * @fi:		whose; a reference
 * @work:	drops them
 * @progress:	changes with each of them
 * @done:	all of them are
 * @count:	@work's reference, and that of who waits for it
 */
struct fr_drop {
	struct fr_hold hold;
	struct fr_inode *fi;
	struct work_struct work;
	unsigned int progress;
	struct completion done;
	refcount_t count;
};

static void fr_drop_put(struct fr_drop *drop)
{
	if (refcount_dec_and_test(&drop->count))
		kfree(drop);
}

/* The inode, and its mount, unless it is being evicted. */
static struct inode *fr_drop_igrab(struct fr_inode *fi)
{
	struct super_block *sb = NULL;
	struct inode *inode = NULL;

	spin_lock(&fi->conn->lock);
	if (fi->hashed && atomic_inc_not_zero(&fi->inode->i_sb->s_active)) {
		sb = fi->inode->i_sb;
		inode = igrab(fi->inode);
	}
	spin_unlock(&fi->conn->lock);
	if (sb && !inode)
		deactivate_super(sb);
	return inode;
}

/* One folio at a time, so that whoever waits sees that it goes on. */
static void fr_drop_pages(struct fr_drop *drop, struct address_space *mapping)
{
	struct folio_batch batch;
	pgoff_t index[ARRAY_SIZE(batch.folios)];
	pgoff_t next = drop->hold.first;
	unsigned int i, nr;

	folio_batch_init(&batch);
	while (filemap_get_folios(mapping, &next, drop->hold.last, &batch)) {
		nr = folio_batch_count(&batch);
		for (i = 0; i < nr; i++)
			index[i] = batch.folios[i]->index;
		folio_batch_release(&batch);
		for (i = 0; i < nr; i++) {
			invalidate_inode_pages2_range(mapping, index[i],
						      index[i]);
			WRITE_ONCE(drop->progress, drop->progress + 1);
		}
		cond_resched();
	}
}

/* The part of fr_drop() that may wait for pages the server holds. */
static void fr_drop_work(struct work_struct *work)
{
	struct fr_drop *drop = container_of(work, struct fr_drop, work);
	struct fr_inode *fi = drop->fi;
	struct inode *inode;

	inode = fr_drop_igrab(fi);
	if (inode) {
		WRITE_ONCE(drop->hold.task, current);
		fr_drop_pages(drop, inode->i_mapping);
	}
	fr_hold_end(fi, &drop->hold);
	complete_all(&drop->done);
	fr_drop_put(drop);
	if (inode) {
		struct super_block *sb = inode->i_sb;

		iput(inode);
		deactivate_super(sb);
	}
	fr_inode_put(fi);
}

/* A dirty page is dropped by this task. Why? FR_HOLD_WRITE: not by fr_drop(). */
enum fr_hold_why fr_drop_why(struct fr_inode *fi)
{
	enum fr_hold_why why = FR_HOLD_WRITE;
	struct fr_hold *hold;

	spin_lock(&fi->holds_lock);
	list_for_each_entry(hold, &fi->holds, entry)
		if (READ_ONCE(hold->task) == current)
			why = hold->why;
	spin_unlock(&fi->holds_lock);
	return why;
}

/* Patience ends when nothing happens, not when there is much to do. */
static void fr_drop_wait(struct fr_drop *drop)
{
	unsigned long patience = drop->hold.why == FR_DROP_BOUND ?
		FR_DROP_PATIENCE_BOUND : FR_DROP_PATIENCE_WRITTEN;
	unsigned int progress;

	do {
		progress = READ_ONCE(drop->progress);
		if (wait_for_completion_timeout(&drop->done, patience))
			return;
	} while (progress != READ_ONCE(drop->progress));
}

/*
 * After [@start, @last] was bound, unbound or written. A page may be locked by
 * somebody who waits for the server; the caller may be the server, or must not
 * wait for it: so another task does what has to wait, and the caller has some
 * patience with it, which is ages unless the server is needed.
 */
void fr_drop(struct fr_inode *fi, u64 start, u64 last, enum fr_hold_why why)
{
	struct address_space *mapping = fi->inode->i_mapping;
	pgoff_t first = start >> PAGE_SHIFT, end = last >> PAGE_SHIFT;
	struct fr_drop *drop;

	if (!mapping->nrpages)
		return;
	unmap_mapping_pages(mapping, first, end - first + 1, false);
	invalidate_mapping_pages(mapping, first, end);
	if (!filemap_range_has_page(mapping, start, last))
		return;

	drop = kzalloc(sizeof(*drop), GFP_KERNEL | __GFP_NOFAIL);
	drop->fi = fi;
	INIT_WORK(&drop->work, fr_drop_work);
	init_completion(&drop->done);
	refcount_set(&drop->count, 2);
	/* The work may outlast the inode's place in the table */
	refcount_inc(&fi->count);
	fr_hold_add(fi, &drop->hold, first, end, why);
	queue_work(fr_wq, &drop->work);
	fr_drop_wait(drop);
	fr_drop_put(drop);
}
