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

#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/wait.h>

#include "compat.h"
#include "regions.h"

#define FR_HOLD_PATIENCE	(HZ / 20)

/* From now on none of these pages becomes writable. */
void fr_hold_add(struct fr_inode *fi, struct fr_hold *hold, pgoff_t first,
		 pgoff_t last, enum fr_hold_why why)
{
	*hold = (struct fr_hold){ .first = first, .last = last, .why = why };
	spin_lock(&fi->holds_lock);
	list_add(&hold->entry, &fi->holds);
	spin_unlock(&fi->holds_lock);
}

void fr_hold_begin(struct fr_inode *fi, struct fr_hold *hold, u64 start,
		   u64 last)
{
	fr_hold_add(fi, hold, start >> PAGE_SHIFT, last >> PAGE_SHIFT,
		    FR_HOLD_WRITE);
}

void fr_hold_end(struct fr_inode *fi, struct fr_hold *hold)
{
	spin_lock(&fi->holds_lock);
	list_del(&hold->entry);
	spin_unlock(&fi->holds_lock);
	wake_up_all(&fi->holds_wait);
}

/*
 * Has a page become dirty that was allowed to before the hold began? It was
 * locked then, and stays so until it is dirty. What is not up to date is not
 * mapped, and may be locked by somebody who waits for the server.
 */
static bool fr_hold_dirty(struct address_space *mapping, pgoff_t first,
			  pgoff_t last)
{
	struct folio_batch batch;
	bool dirty = false;
	unsigned int i;

	folio_batch_init(&batch);
	while (filemap_get_folios(mapping, &first, last, &batch)) {
		for (i = 0; i < folio_batch_count(&batch); i++) {
			struct folio *folio = batch.folios[i];

			if (!folio_test_uptodate(folio))
				continue;
			folio_lock(folio);
			dirty |= folio_test_dirty(folio);
			folio_unlock(folio);
		}
		folio_batch_release(&batch);
		cond_resched();
	}
	return dirty;
}

/* Bring what was stored into held pages to where reads get it. */
int fr_hold_flush(struct fr_inode *fi, u64 start, u64 last)
{
	struct address_space *mapping = fi->inode->i_mapping;
	int err;

	if (!mapping->nrpages && !READ_ONCE(fi->sent_back))
		return 0;
	err = fr_cache_flush(fi, start, last, false);
	if (!err && fr_hold_dirty(mapping, start >> PAGE_SHIFT,
				  last >> PAGE_SHIFT))
		err = fr_cache_flush(fi, start, last, false);
	return err;
}

/* After a write of [@start, @last] that held nothing. */
void fr_hold_none(struct fr_inode *fi, u64 start, u64 last)
{
	if (likely(!READ_ONCE(fi->stores))) {
		fr_drop(fi, start, last, FR_DROP_WRITTEN);
		return;
	}
	/* Pages are dropped by whoever stores first, and then right */
	mutex_lock(&fi->store_lock);
	mutex_unlock(&fi->store_lock);
}

/* In a fault. True: it was the first store, and the page is gone. */
bool fr_hold_first_store(struct fr_inode *fi)
{
	/* Pairs with the release below: pages from before are gone */
	if (likely(smp_load_acquire(&fi->stores) == FR_STORES))
		return false;
	mutex_lock(&fi->store_lock);
	if (fi->stores != FR_STORES) {
		/* Whoever does not see this is waited for */
		WRITE_ONCE(fi->stores, FR_STORES_SOON);
		synchronize_srcu_expedited(&fi->conn->srcu);
		fr_drop(fi, 0, FR_LAST_MAX, FR_DROP_WRITTEN);
		/* Pairs with the acquire above */
		smp_store_release(&fi->stores, FR_STORES);
	}
	mutex_unlock(&fi->store_lock);
	return true;
}

bool fr_held(struct fr_inode *fi, pgoff_t page)
{
	struct fr_hold *hold;
	bool held = false;

	spin_lock(&fi->holds_lock);
	list_for_each_entry(hold, &fi->holds, entry)
		held |= page >= hold->first && page <= hold->last;
	spin_unlock(&fi->holds_lock);
	return held;
}

/*
 * Wait until @page is not held any more, but not for long: the mmap lock is
 * held, and the writer may need it.
 */
void fr_hold_wait(struct fr_inode *fi, pgoff_t page)
{
	wait_event_killable_timeout(fi->holds_wait, !fr_held(fi, page),
				    FR_HOLD_PATIENCE);
}
