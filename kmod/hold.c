// SPDX-License-Identifier: GPL-2.0
/*
 * Writes beside stores through mappings.
 *
 * Writes go past FUSE's page cache; stores go into it. Were a page stored into
 * while a write to it is under way, writing it back would undo the write. So a
 * write holds the pages that it touches: what was stored before goes to where
 * reads get it, and a page that is held, or about to be dropped, does not
 * become writable (fr_page_mkwrite()). The write drops the pages before it
 * ends its hold, so that a store finds its bytes there.
 *
 * Simple writes hold nothing as long as nobody stores. Before the first store
 * they are waited for, and the pages that they left behind are dropped.
 */

#include <linux/jiffies.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/sched.h>
#include <linux/wait.h>

#include "compat.h"
#include "regions.h"

#define FR_HOLD_PATIENCE	(HZ / 20)
#define FR_HOLD_PATIENCE_OLD	(HZ / 2)

void fr_hold_shrink(struct fr_inode *fi, struct fr_hold *hold, pgoff_t first,
		    pgoff_t last)
{
	spin_lock(&fi->holds_lock);
	hold->first = max(first, hold->first);
	hold->last = min(last, hold->last);
	spin_unlock(&fi->holds_lock);
	wake_up_all(&fi->holds_wait);
}

/* Is a store into one of these pages waiting, and its turn next? */
static bool fr_hold_wanted(struct fr_inode *fi, pgoff_t first, pgoff_t last)
{
	pgoff_t page = READ_ONCE(fi->refused);

	return unlikely(READ_ONCE(fi->refused_until)) &&
	       time_before(jiffies, READ_ONCE(fi->refused_until)) &&
	       page >= first && page <= last;
}

static void fr_hold_add(struct fr_inode *fi, struct fr_hold *hold)
{
	spin_lock(&fi->holds_lock);
	list_add(&hold->entry, &fi->holds);
	spin_unlock(&fi->holds_lock);
}

/* From now on no page with a byte of [@start, @last] becomes writable. */
void fr_hold_begin(struct fr_inode *fi, struct fr_hold *hold, u64 start,
		   u64 last, enum fr_hold_why why)
{
	pgoff_t first = start >> PAGE_SHIFT, end = last >> PAGE_SHIFT;

	/* Writers whose holds overlap could keep a page for ever */
	if (why == FR_HOLD_WRITE && fr_hold_wanted(fi, first, end))
		wait_event_timeout(fi->holds_wait,
				   !fr_hold_wanted(fi, first, end),
				   FR_HOLD_PATIENCE);
	*hold = (struct fr_hold){ .first = first, .last = end, .why = why };
	fr_hold_add(fi, hold);
}

/* The same, of all from @start on, for a copy_file_range() of this task. Atomic. */
void fr_hold_begin_copy(struct fr_inode *fi, struct fr_hold *hold, u64 start)
{
	*hold = (struct fr_hold){
		.first = start >> PAGE_SHIFT, .last = FR_LAST_MAX >> PAGE_SHIFT,
		.why = FR_HOLD_WRITE, .copier = current,
	};
	fr_hold_add(fi, hold);
}

/* The hold of this task's own copy_file_range(); it ends on this task's way out. */
struct fr_hold *fr_hold_of_copy(struct fr_inode *fi)
{
	struct fr_hold *hold, *found = NULL;

	if (likely(list_empty_careful(&fi->holds)))
		return NULL;
	spin_lock(&fi->holds_lock);
	list_for_each_entry(hold, &fi->holds, entry)
		if (READ_ONCE(hold->copier) == current)
			found = hold;
	spin_unlock(&fi->holds_lock);
	return found;
}

void fr_hold_end(struct fr_inode *fi, struct fr_hold *hold)
{
	spin_lock(&fi->holds_lock);
	list_del(&hold->entry);
	spin_unlock(&fi->holds_lock);
	wake_up_all(&fi->holds_wait);
}

/*
 * May @folio have become dirty that was allowed to before the hold began? It
 * was locked then, and stays so until it is dirty. Whoever locks it for longer
 * may wait for the server, and asks fr_hold_refuse() afterwards.
 */
static bool fr_folio_dirty(struct folio *folio, unsigned long until)
{
	bool dirty;

	/* What is not up to date is not mapped */
	if (!folio_test_uptodate(folio))
		return false;
	while (!folio_trylock(folio)) {
		if (time_after(jiffies, until))
			return false;
		schedule_timeout_uninterruptible(1);
	}
	dirty = folio_test_dirty(folio);
	folio_unlock(folio);
	return dirty;
}

static bool fr_hold_dirty(struct address_space *mapping, pgoff_t first,
			  pgoff_t last)
{
	unsigned long until = jiffies + FR_HOLD_PATIENCE;
	struct folio_batch batch;
	bool dirty = false;
	unsigned int i;

	folio_batch_init(&batch);
	while (filemap_get_folios(mapping, &first, last, &batch)) {
		for (i = 0; i < folio_batch_count(&batch); i++)
			dirty |= fr_folio_dirty(batch.folios[i], until);
		folio_batch_release(&batch);
		cond_resched();
	}
	return dirty;
}

static bool fr_hold_filling(struct address_space *mapping, pgoff_t first,
			    pgoff_t last)
{
	struct folio_batch batch;
	bool filling = false;
	unsigned int i;

	folio_batch_init(&batch);
	while (!filling && filemap_get_folios(mapping, &first, last, &batch)) {
		for (i = 0; i < folio_batch_count(&batch); i++)
			filling |= folio_test_locked(batch.folios[i]) &&
				   !folio_test_uptodate(batch.folios[i]);
		folio_batch_release(&batch);
		cond_resched();
	}
	return filling;
}

/*
 * With FUSE's write-back cache, a write that began before the file had regions
 * may wait for the server to fill a page, all of which is then written back.
 * Who writes like that has the inode lock.
 */
static int fr_hold_await_writer(struct fr_inode *fi, pgoff_t first,
				pgoff_t last)
{
	struct inode *inode = fi->inode;

	/* FUSE leaves times to VFS in this mode alone */
	if (IS_NOCMTIME(inode) ||
	    !fr_hold_filling(inode->i_mapping, first, last))
		return 0;
	if (down_read_killable(&inode->i_rwsem))
		return -EINTR;
	up_read(&inode->i_rwsem);
	return 0;
}

/*
 * Bring what was stored into held pages to where reads get it. @locked: by
 * someone who has the inode lock.
 */
int fr_hold_flush(struct fr_inode *fi, u64 start, u64 last, bool locked)
{
	struct address_space *mapping = fi->inode->i_mapping;
	int again, err = 0;

	if (!fr_cache_has_pages(mapping) && !READ_ONCE(fi->sent_back))
		return 0;
	if (!locked)
		err = fr_hold_await_writer(fi, start >> PAGE_SHIFT,
					   last >> PAGE_SHIFT);
	if (err)
		return err;
	err = fr_cache_flush(fi, start, last, false);
	if (fr_hold_dirty(mapping, start >> PAGE_SHIFT, last >> PAGE_SHIFT)) {
		again = fr_cache_flush(fi, start, last, false);
		err = err ?: again;
	}
	/* A backing may have refused the write of a task that is being killed */
	return fatal_signal_pending(current) ? -EINTR : err;
}

/* True: writers know that somebody stores, and no page is old because of one. */
static bool fr_hold_ready(struct fr_inode *fi)
{
	lockdep_assert_held(&fi->store_lock);

	if (!fi->stores) {
		/* Whoever does not see this is waited for */
		WRITE_ONCE(fi->stores, FR_STORES_SOON);
		fi->store_gp = start_poll_synchronize_srcu(&fi->conn->srcu);
	}
	if (fi->stores == FR_STORES_SOON) {
		if (!poll_state_synchronize_srcu(&fi->conn->srcu, fi->store_gp))
			return false;
		fr_drop(fi, 0, FR_LAST_MAX, FR_DROP_WRITTEN);
		/* Pairs with the acquire in fr_hold_first_store() */
		smp_store_release(&fi->stores, FR_STORES);
	}
	return true;
}

/*
 * In a fault, which holds locks that a writer may wait for. True: it was the
 * first store; it is to come again, and finds another page.
 */
bool fr_hold_first_store(struct fr_inode *fi)
{
	bool ready;

	/* Pairs with the release in fr_hold_ready() */
	if (likely(smp_load_acquire(&fi->stores) == FR_STORES))
		return false;
	mutex_lock(&fi->store_lock);
	ready = fr_hold_ready(fi);
	mutex_unlock(&fi->store_lock);
	if (!ready)
		schedule_timeout_killable(1);
	return true;
}

/* By a hold because of @least, or of what comes after that in the enum. */
static bool fr_held(struct fr_inode *fi, pgoff_t first, pgoff_t last,
		    enum fr_hold_why least)
{
	struct fr_hold *hold;

	lockdep_assert_held(&fi->holds_lock);
	list_for_each_entry(hold, &fi->holds, entry)
		if (hold->why >= least && last >= hold->first &&
		    first <= hold->last)
			return true;
	return false;
}

/* The same, by whoever does not have the lock. */
static bool fr_held_by(struct fr_inode *fi, pgoff_t first, pgoff_t last,
		       enum fr_hold_why least)
{
	bool held;

	spin_lock(&fi->holds_lock);
	held = fr_held(fi, first, last, least);
	spin_unlock(&fi->holds_lock);
	return held;
}

/* Is any of these pages, if it is dirty, from before a message that came? */
bool fr_held_bound(struct fr_inode *fi, u64 start, u64 last)
{
	return fr_held_by(fi, start >> PAGE_SHIFT, last >> PAGE_SHIFT,
			  FR_DROP_BOUND);
}

/* May @page, which is locked, not be stored into now? */
bool fr_hold_refuse(struct fr_inode *fi, pgoff_t page)
{
	bool held, was = false;

	spin_lock(&fi->holds_lock);
	held = fr_held(fi, page, page, FR_HOLD_WRITE);
	if (held) {
		fi->refused = page;
		fi->refused_until = (jiffies + 2 * FR_HOLD_PATIENCE) | 1;
	} else if (fi->refused_until && fi->refused == page) {
		fi->refused_until = 0;
		was = true;
	}
	spin_unlock(&fi->holds_lock);
	if (was)
		wake_up_all(&fi->holds_wait);
	return held;
}

/*
 * Wait until @page is not held any more, but not for long: the mmap lock is
 * held, and the writer may need it.
 */
void fr_hold_wait(struct fr_inode *fi, pgoff_t page)
{
	wait_event_killable_timeout(fi->holds_wait,
				    !fr_held_by(fi, page, page, FR_HOLD_WRITE),
				    FR_HOLD_PATIENCE);
}

/* May any of these pages, though it is clean, be from before a message? */
bool fr_hold_old(struct fr_inode *fi, pgoff_t first, pgoff_t last)
{
	return unlikely(!list_empty_careful(&fi->holds)) &&
	       fr_held_by(fi, first, last, FR_DROP_BOUND);
}

/*
 * Wait until those have been dropped; none is locked by the caller. False: not
 * yet, for the server has some of them, and may wait for the caller.
 */
bool fr_hold_wait_old(struct fr_inode *fi, pgoff_t first, pgoff_t last)
{
	fr_drop_hurry(fi);
	return wait_event_killable_timeout(fi->holds_wait,
					   !fr_held_by(fi, first, last,
						       FR_DROP_BOUND),
					   FR_HOLD_PATIENCE_OLD) > 0;
}

/* Before FUSE itself reads through its cache, where there are no regions now. */
void fr_hold_pass_old(struct fr_inode *fi, u64 pos, size_t len)
{
	pgoff_t first = pos >> PAGE_SHIFT, last = (pos + len) >> PAGE_SHIFT;

	if (fi && fr_hold_old(fi, first, last))
		fr_hold_wait_old(fi, first, last);
}
