// SPDX-License-Identifier: GPL-2.0
/*
 * Which of two caches a mapping may have. Bytes that are stored into through
 * mappings are in one: a backing's, or FUSE's own; else writing back one page
 * would undo what is in the other.
 *
 * MM asks about new mappings only, makes old ones longer itself (mremap(),
 * merging), and does not say when it has made the one that it asked about. But
 * it counts those that can be stored into, in i_mmap_writable of FUSE's file:
 * from before it asks until it has made it, and from then on if it is one of
 * FUSE's cache. Hence a mapping claims its cache first, and claims of which MM
 * may not have made the mapping yet are remembered.
 */

#include <linux/delay.h>
#include <linux/fs.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/rbtree.h>
#include <linux/sched/signal.h>

#include "claim.h"

#define FR_CLAIM_TRIES	1000	/* of half a millisecond at least each */

/* It has claimed nothing yet, or gives back what it has claimed. */
void fr_claim_reset(struct fr_claim *claim)
{
	struct fr_inode *fi = claim->fi;

	mutex_lock(&fi->claim_lock);
	fi->claims_waiting += claim->counted - claim->waits;
	claim->waits = claim->counted;
	mutex_unlock(&fi->claim_lock);
}

/* @vma is being made, and has claimed nothing yet. */
void fr_claim_begin(struct fr_claim *claim, struct fr_inode *fi,
		    const struct file *file, const struct vm_area_struct *vma)
{
	*claim = (struct fr_claim){
		.fi = fi,
		.mapping = file->f_mapping,
		.first = vma->vm_pgoff,
		.last = fr_vma_last(vma) >> PAGE_SHIFT,
		.write = fr_vma_may_write_back(vma),
		.tries = FR_CLAIM_TRIES,
	};
	/* A file system above this one has asked MM about its own file. */
	if (!claim->write || (file->f_mode & FMODE_BACKING))
		return;
	claim->counted = 1;
	fr_claim_reset(claim);
}

static void fr_claim_end_locked(struct fr_claim *claim)
{
	lockdep_assert_held(&claim->fi->claim_lock);
	claim->fi->claims_waiting -= claim->waits;
	claim->waits = 0;
}

/* It has claimed its cache, or is not made after all. */
void fr_claim_end(struct fr_claim *claim)
{
	if (!claim->waits)
		return;
	mutex_lock(&claim->fi->claim_lock);
	fr_claim_end_locked(claim);
	mutex_unlock(&claim->fi->claim_lock);
}

static bool fr_claim_overlaps(const struct fr_claim *claim, pgoff_t first,
			      pgoff_t last)
{
	return first <= claim->last && last >= claim->first;
}

static bool fr_claimed_already(const struct fr_claimed *claimed,
			       const struct fr_claim *claim)
{
	return claimed->any &&
	       fr_claim_overlaps(claim, claimed->first, claimed->last);
}

static void fr_claimed_add(struct fr_claimed *claimed, pgoff_t first,
			   pgoff_t last)
{
	if (!claimed->any || first < claimed->first)
		claimed->first = first;
	if (!claimed->any || last > claimed->last)
		claimed->last = last;
	claimed->any = true;
}

/* MM may make it longer, or move it, over any page of the file. */
static struct fr_claim fr_claim_of_all(const struct fr_claim *claim)
{
	struct fr_claim all = *claim;

	all.first = 0;
	all.last = ULONG_MAX;
	return all;
}

/*
 * How many mappings are being made? Looks through those of FUSE's cache, too: one
 * that MM may make longer may reach any page.
 */
static int fr_claim_look(struct fr_claim *claim)
{
	struct address_space *mapping = claim->mapping;
	struct vm_area_struct *vma;
	struct rb_node *rb;
	int making;

	claim->cache = false;
	making = atomic_read(&mapping->i_mmap_writable);
	if (making <= (int)claim->waits)
		return making;
	i_mmap_lock_read(mapping);
	making = atomic_read(&mapping->i_mmap_writable);
	for (rb = rb_first_cached(&mapping->i_mmap); rb; rb = rb_next(rb)) {
		vma = rb_entry(rb, struct vm_area_struct, shared.rb);
		if (!fr_vma_may_write_back(vma))
			continue;
		making--;
		/* What others change of it, for mlock() say, is not asked. */
		if (!(data_race(vma->vm_flags) & VM_DONTEXPAND) ||
		    fr_claim_overlaps(claim, vma->vm_pgoff,
				      fr_vma_last(vma) >> PAGE_SHIFT))
			claim->cache = true;
	}
	i_mmap_unlock_read(mapping);
	return making;
}

/*
 * Once nobody makes a mapping but those who have claimed nothing yet, MM knows all
 * that have been.
 */
static void fr_claim_settle(struct fr_claim *claim)
{
	struct fr_inode *fi = claim->fi;

	lockdep_assert_held(&fi->claim_lock);
	if (fr_claim_look(claim) <= (int)fi->claims_waiting) {
		fi->claimed_cache.any = false;
		fi->claimed_backing.any = false;
	}
}

/*
 * Wait for others' mappings to be made. Not for ever: files from before the
 * attach are mapped without us, and some backing may take its time.
 */
static bool fr_claim_wait(struct fr_claim *claim)
{
	struct fr_inode *fi = claim->fi;

	lockdep_assert_held(&fi->claim_lock);
	if (!claim->tries || fatal_signal_pending(current))
		return false;
	claim->tries--;
	mutex_unlock(&fi->claim_lock);
	usleep_range(500, 1000);
	mutex_lock(&fi->claim_lock);
	return true;
}

/* Stores go unseen from now on, into these pages of the file. */
static void fr_claim_note(struct fr_claim *claim)
{
	struct fr_inode *fi = claim->fi;

	lockdep_assert_held(&fi->claim_lock);
	if (!fi->mapped || claim->first < fi->mapped_first)
		fi->mapped_first = claim->first;
	fi->mapped_last = max(fi->mapped_last, claim->last);
	WRITE_ONCE(fi->mapped, true);
	fr_claimed_add(&fi->claimed_backing, claim->first, claim->last);
}

/* The same, into FUSE's cache; MM may make it longer if no backing is mapped. */
static void fr_claim_note_cache(struct fr_claim *claim)
{
	struct fr_inode *fi = claim->fi;
	pgoff_t first = fi->mapped ? claim->first : 0;
	pgoff_t last = fi->mapped ? claim->last : ULONG_MAX;

	lockdep_assert_held(&fi->claim_lock);
	fr_claimed_add(&fi->claimed_cache, first, last);
}

/* Have any of these pages been stored into, unseen? */
static bool fr_claim_noted(struct fr_claim *claim)
{
	struct fr_inode *fi = claim->fi;

	lockdep_assert_held(&fi->claim_lock);
	return fi->mapped && fr_claim_overlaps(claim, fi->mapped_first,
					       fi->mapped_last);
}

/**
 * fr_claim_in_cache() - are its pages stored into in FUSE's cache already?
 * @all: of any page of the file, for MM may make it longer, or move it
 */
bool fr_claim_in_cache(const struct fr_claim *claim, bool all)
{
	struct fr_claim look = all ? fr_claim_of_all(claim) : *claim;

	fr_claim_look(&look);
	return look.cache;
}

/**
 * fr_claim_backing() - is it to be a mapping of a backing?
 * @all: as for fr_claim_in_cache()
 *
 * Not if its pages are stored into in FUSE's cache.
 */
bool fr_claim_backing(struct fr_claim *claim, bool all)
{
	struct fr_claim look = all ? fr_claim_of_all(claim) : *claim;
	struct fr_inode *fi = claim->fi;
	bool mine;

	mutex_lock(&fi->claim_lock);
	do {
		fr_claim_settle(&look);
		mine = !look.cache &&
		       !fr_claimed_already(&fi->claimed_cache, &look);
	} while (!look.cache && !mine && fr_claim_wait(claim));
	if (mine && claim->write)
		fr_claim_note(&look);
	if (mine)
		fr_claim_end_locked(claim);
	mutex_unlock(&fi->claim_lock);
	return mine;
}

/**
 * fr_claim_cache() - is it, with FUSE's cache behind it, one to store into?
 *
 * Not if a mapping of a backing for its pages is just being made. Whether there
 * is one already, the backing can tell.
 */
bool fr_claim_cache(struct fr_claim *claim)
{
	struct fr_inode *fi = claim->fi;
	bool mine;

	mutex_lock(&fi->claim_lock);
	do {
		fr_claim_settle(claim);
		mine = !fr_claimed_already(&fi->claimed_backing, claim);
	} while (!mine && fr_claim_wait(claim));
	if (mine) {
		fr_claim_note_cache(claim);
		fr_claim_end_locked(claim);
	}
	mutex_unlock(&fi->claim_lock);
	return mine;
}

/* Has any of its pages been stored into through a mapping of a backing? */
bool fr_claim_unseen(struct fr_claim *claim)
{
	bool noted;

	if (likely(!READ_ONCE(claim->fi->mapped)))
		return false;
	mutex_lock(&claim->fi->claim_lock);
	noted = fr_claim_noted(claim);
	mutex_unlock(&claim->fi->claim_lock);
	return noted;
}
