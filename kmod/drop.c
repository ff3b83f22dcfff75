// SPDX-License-Identifier: GPL-2.0
/*
 * Pages of FUSE's cache that hold what bytes were before: whoever changes what
 * a page should hold drops it.
 *
 * A page may be locked, or on its way, by somebody who waits for the server.
 * The caller may be the server, or must not wait for it; so another task looks
 * at such pages again and again, and the caller has some patience with those
 * that need not take the server.
 */

#include <linux/completion.h>
#include <linux/jiffies.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/slab.h>

#include "compat.h"
#include "regions.h"

/*
 * How long nothing may happen. A binder is patient with who has a page locked,
 * and may become the one to have stored into it; but it may be itself who all
 * are waiting for. A writer has brought the pages to where they belong
 * before, so that none takes the server but those that FUSE is reading since
 * before the file had regions.
 */
#define FR_DROP_PATIENCE_BOUND		(HZ / 2)
#define FR_DROP_PATIENCE_WRITTEN	(2 * HZ)

#define FR_DROP_DELAY_MAX		(HZ / 10)

/**
 * struct fr_drop - pages to be dropped
 * @hold:	those that are left, more or less
 * @fi:		whose; a reference
 * @work:	drops them
 * @delay:	until it looks at them again
 * @progress:	how often there was some
 * @reached:	pages before this one have been dropped once
 * @fewest:	that have been left
 * @done:	all that the caller waits for are
 * @count:	@work's reference, and that of who waits for it
 */
struct fr_drop {
	struct fr_hold hold;
	struct fr_inode *fi;
	struct delayed_work work;
	unsigned long delay;
	unsigned int progress;
	pgoff_t reached;
	unsigned long fewest;
	struct completion done;
	refcount_t count;
};

/**
 * struct fr_left - what one look at a drop's pages left
 * @nr:		how many
 * @first:	of the pages
 * @last:	of the pages; before @first: nothing is left
 * @locked:	some were locked
 * @dirty:	some are to be written back
 */
struct fr_left {
	unsigned long nr;
	pgoff_t first;
	pgoff_t last;
	bool locked;
	bool dirty;
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

static void fr_drop_iput(struct inode *inode)
{
	struct super_block *sb = inode->i_sb;

	iput(inode);
	deactivate_super(sb);
}

/*
 * Is a locked page worth waiting for? Not, for who binds, one that is yet to be
 * filled: it can't have been stored into, and whoever finds it filled sees the
 * hold, and does not take it (fr_hold_old()). FUSE may have it locked, since
 * before the file had regions, until the server answers, who may be who binds.
 */
static bool fr_drop_awaits(const struct fr_drop *drop, struct folio *folio)
{
	return drop->hold.why != FR_DROP_BOUND || folio_test_uptodate(folio);
}

/* Does it go to the server because of a message? Then that will drop it. */
static bool fr_drop_sent(const struct fr_drop *drop, struct folio *folio)
{
	return fr_held_bound(drop->fi, folio_pos(folio), fr_folio_last(folio));
}

/*
 * What keeps @folio from being dropped at once? Whether it has come true in the
 * meantime does not matter: it is looked at again.
 */
static bool fr_drop_busy(const struct fr_drop *drop, struct folio *folio,
			 struct fr_left *left)
{
	bool written = drop->hold.why == FR_DROP_WRITTEN;

	if (folio_test_writeback(folio))
		left->locked |= written && !fr_drop_sent(drop, folio);
	else if (folio_test_locked(folio))
		left->locked |= fr_drop_awaits(drop, folio);
	else if (folio_test_dirty(folio) && !written)
		left->dirty = true;
	else
		return false;
	left->nr++;
	left->first = min(left->first, folio->index);
	left->last = max(left->last, folio_next_index(folio) - 1);
	return true;
}

/*
 * Patience is for who gets on: to pages that it had not come to, or with fewer left.
 * Others may fill again what lies between two pages that stay.
 */
static void fr_drop_progress(struct fr_drop *drop)
{
	WRITE_ONCE(drop->progress, drop->progress + 1);
}

/* Drop what can be. @launder: what is dirty, too, by way of the server. */
static struct fr_left fr_drop_look(struct fr_drop *drop,
				   struct address_space *mapping, bool launder)
{
	struct fr_left left = { .first = ULONG_MAX };
	struct folio_batch batch;
	pgoff_t index[ARRAY_SIZE(batch.folios)];
	pgoff_t next = drop->hold.first;
	unsigned int i, nr;

	folio_batch_init(&batch);
	while (filemap_get_folios(mapping, &next, drop->hold.last, &batch)) {
		nr = 0;
		for (i = 0; i < folio_batch_count(&batch); i++) {
			struct folio *folio = batch.folios[i];

			if (!fr_drop_busy(drop, folio, &left) ||
			    (launder && folio_test_dirty(folio)))
				index[nr++] = folio->index;
		}
		folio_batch_release(&batch);
		for (i = 0; i < nr; i++) {
			/* Not invalidate_mapping_pages(): others may use it */
			invalidate_inode_pages2_range(mapping, index[i],
						      index[i]);
			/* Patience is not for the server to use up */
			if (launder || index[i] < drop->reached)
				continue;
			drop->reached = index[i] + 1;
			fr_drop_progress(drop);
		}
		cond_resched();
	}
	if (left.nr < drop->fewest) {
		drop->fewest = left.nr;
		fr_drop_progress(drop);
	}
	return left;
}

/*
 * Have the server sent what is dirty, without waiting for it to answer. As
 * for an fsync: what is not asked for like that, FUSE sends ten pieces of.
 */
static void fr_drop_send(struct fr_drop *drop, struct address_space *mapping)
{
	filemap_fdatawrite_range(mapping,
				 (loff_t)drop->hold.first << PAGE_SHIFT,
				 ((loff_t)drop->hold.last << PAGE_SHIFT) |
				 ~PAGE_MASK);
}

/*
 * Pages that are gone may be on their way to the server, who may put them where
 * they are bound now: so the hold stays, for writeback.c to see.
 */
static bool fr_drop_sending(struct fr_inode *fi, enum fr_hold_why why)
{
	return why == FR_DROP_BOUND && fr_cache_see_sending(fi);
}

/* True: there is more to do. */
static bool fr_drop_some(struct fr_drop *drop, struct address_space *mapping)
{
	struct fr_left left = fr_drop_look(drop, mapping, false);
	bool none, sending;

	if (left.dirty) {
		fr_drop_send(drop, mapping);
		left = fr_drop_look(drop, mapping, false);
	}
	none = left.first > left.last;
	sending = fr_drop_sending(drop->fi, drop->hold.why);
	if (none && !sending)
		return false;
	if (!sending)
		fr_hold_shrink(drop->fi, &drop->hold, left.first, left.last);
	/* What could not be sent, for want of memory for example */
	if (left.dirty)
		fr_drop_look(drop, mapping, true);
	else if (!left.locked)
		complete_all(&drop->done);	/* the rest is the server's now */
	return true;
}

/* Only now may fr_drop_end() go on; then no reference of ours is left. */
static void fr_drop_finish(struct fr_drop *drop)
{
	struct fr_inode *fi = drop->fi;
	bool last;

	complete_all(&drop->done);
	spin_lock(&fi->holds_lock);
	list_del(&drop->hold.entry);
	wake_up_all(&fi->holds_wait);
	/* Somebody else may put the last one at once: the lock is in RCU's care */
	last = !refcount_dec_not_one(&fi->count);
	spin_unlock(&fi->holds_lock);
	/* fr_drop_hurry() may have queued it again while it was running */
	cancel_delayed_work(&drop->work);
	if (last)
		fr_inode_put(fi);
	fr_drop_put(drop);
	fr_pending_done();
}

static void fr_drop_work(struct work_struct *work)
{
	struct fr_drop *drop = container_of(work, struct fr_drop, work.work);
	struct inode *inode = fr_drop_igrab(drop->fi);
	bool more = false;

	if (inode) {
		WRITE_ONCE(drop->hold.task, current);
		more = fr_drop_some(drop, inode->i_mapping);
		WRITE_ONCE(drop->hold.task, NULL);
	}
	if (more) {
		drop->delay = min(2 * drop->delay + 1, FR_DROP_DELAY_MAX);
		queue_delayed_work(fr_wq, &drop->work, drop->delay);
	} else {
		fr_drop_finish(drop);
	}
	if (inode)
		fr_drop_iput(inode);
}

static bool fr_drop_none(struct fr_inode *fi)
{
	bool none;

	spin_lock(&fi->holds_lock);
	none = list_empty(&fi->holds);
	spin_unlock(&fi->holds_lock);
	return none;
}

/* Look at what is left now rather than later. */
void fr_drop_hurry(struct fr_inode *fi)
{
	struct fr_hold *hold;

	spin_lock(&fi->holds_lock);
	list_for_each_entry(hold, &fi->holds, entry)
		if (hold->work)
			mod_delayed_work(fr_wq, hold->work, 0);
	spin_unlock(&fi->holds_lock);
}

/* The inode is gone, and so are all that might write: wait for what is left. */
void fr_drop_end(struct fr_inode *fi)
{
	fr_drop_hurry(fi);
	wait_event(fi->holds_wait, fr_drop_none(fi));
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

/* NULL: all is dropped, and nothing left for a worker. */
static struct fr_drop *fr_drop_begin(struct fr_inode *fi, u64 start, u64 last,
				     enum fr_hold_why why)
{
	struct address_space *mapping = fi->inode->i_mapping;
	pgoff_t first = start >> PAGE_SHIFT, end = last >> PAGE_SHIFT;
	struct fr_drop *drop;

	if (!fr_cache_has_pages(mapping) && !fr_drop_sending(fi, why))
		return NULL;
	unmap_mapping_pages(mapping, first, end - first + 1, false);
	invalidate_mapping_pages(mapping, first, end);
	if (!filemap_range_has_page(mapping, start, last) &&
	    !fr_drop_sending(fi, why))
		return NULL;

	drop = kzalloc(sizeof(*drop), GFP_KERNEL | __GFP_NOFAIL);
	drop->fi = fi;
	drop->fewest = ULONG_MAX;
	INIT_DELAYED_WORK(&drop->work, fr_drop_work);
	init_completion(&drop->done);
	refcount_set(&drop->count, 2);
	/* The work may outlast the inode's place in the table */
	refcount_inc(&fi->count);
	atomic_inc(&fr_pending);
	fr_hold_begin(fi, &drop->hold, start, last, why);
	queue_delayed_work(fr_wq, &drop->work, 0);
	/* Not before: whoever finds it may look at what is queued */
	WRITE_ONCE(drop->hold.work, &drop->work);
	return drop;
}

/* After [@start, @last] was bound, unbound or written. */
void fr_drop(struct fr_inode *fi, u64 start, u64 last, enum fr_hold_why why)
{
	struct fr_drop *drop = fr_drop_begin(fi, start, last, why);

	if (!drop)
		return;
	fr_drop_wait(drop);
	fr_drop_put(drop);
}

/* The same without waiting for pages that the server is being sent. */
void fr_drop_soon(struct fr_inode *fi, u64 start, u64 last,
		  enum fr_hold_why why)
{
	struct fr_drop *drop = fr_drop_begin(fi, start, last, why);

	if (drop)
		fr_drop_put(drop);
}
