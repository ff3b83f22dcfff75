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

#include "regions.h"

#define FR_CLAIM_TRIES	1000	/* of half a millisecond at least each */

/* The pages that are asked about, and what is there. */
struct fr_claim {
	struct fr_inode *fi;
	struct address_space *mapping;
	pgoff_t first;
	pgoff_t last;
	unsigned int counted;	/* MM counts what is asked about */
	bool cache;		/* FUSE's cache is stored into, or may come to be */
	unsigned int tries;
};

static void fr_claim_init(struct fr_claim *claim, struct fr_inode *fi,
			  const struct file *file,
			  const struct vm_area_struct *vma)
{
	*claim = (struct fr_claim){
		.fi = fi,
		.mapping = file->f_mapping,
		.first = vma->vm_pgoff,
		.last = fr_vma_last(vma) >> PAGE_SHIFT,
		/* A file system above this one has asked MM about its own file. */
		.counted = fr_vma_may_write_back(vma) &&
			   !(file->f_mode & FMODE_BACKING),
		.tries = FR_CLAIM_TRIES,
	};
}

static bool fr_claim_overlaps(const struct fr_claim *claim, pgoff_t first,
			      pgoff_t last)
{
	return first <= claim->last && last >= claim->first;
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
	i_mmap_lock_read(mapping);
	making = atomic_read(&mapping->i_mmap_writable) - (int)claim->counted;
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

/* Once nobody makes a mapping but those who wait here, all are known to MM. */
static void fr_claim_settle(struct fr_claim *claim)
{
	struct fr_inode *fi = claim->fi;

	lockdep_assert_held(&fi->claim_lock);
	if (fr_claim_look(claim) <= (int)fi->claims_waiting) {
		fi->claimed_cache = false;
		fi->claimed_backing = false;
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
	if (!claim->tries-- || fatal_signal_pending(current))
		return false;
	fi->claims_waiting += claim->counted;
	mutex_unlock(&fi->claim_lock);
	usleep_range(500, 1000);
	mutex_lock(&fi->claim_lock);
	fi->claims_waiting -= claim->counted;
	return true;
}

/* Stores go unseen from now on, into these pages of the file. */
static void fr_claim_note(struct fr_inode *fi, pgoff_t first, pgoff_t last)
{
	lockdep_assert_held(&fi->claim_lock);
	if (!fi->mapped || first < fi->mapped_first)
		fi->mapped_first = first;
	fi->mapped_last = max(fi->mapped_last, last);
	WRITE_ONCE(fi->mapped, true);
	fi->claimed_backing = true;
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
 * fr_claim_backing() - is @vma to be a mapping of a backing?
 * @all: MM may make it longer, or move it, over any page of the file
 *
 * Not if its pages are stored into in FUSE's cache.
 */
bool fr_claim_backing(struct fr_inode *fi, const struct file *file,
		      const struct vm_area_struct *vma, bool all)
{
	struct fr_claim claim;
	bool mine;

	fr_claim_init(&claim, fi, file, vma);
	if (all) {
		claim.first = 0;
		claim.last = ULONG_MAX;
	}
	mutex_lock(&fi->claim_lock);
	do {
		fr_claim_settle(&claim);
		mine = !claim.cache && !fi->claimed_cache;
	} while (!claim.cache && !mine && fr_claim_wait(&claim));
	if (mine && fr_vma_may_write_back(vma))
		fr_claim_note(fi, claim.first, claim.last);
	mutex_unlock(&fi->claim_lock);
	return mine;
}

/**
 * fr_claim_cache() - is @vma, a mapping of FUSE's cache, one to store into?
 *
 * Not if a mapping of a backing for its pages is just being made. Whether there
 * is one already, the backing can tell.
 */
bool fr_claim_cache(struct fr_inode *fi, const struct file *file,
		    const struct vm_area_struct *vma)
{
	struct fr_claim claim;
	bool mine;

	fr_claim_init(&claim, fi, file, vma);
	mutex_lock(&fi->claim_lock);
	do {
		fr_claim_settle(&claim);
		mine = !fi->claimed_backing || !fr_claim_noted(&claim);
	} while (!mine && fr_claim_wait(&claim));
	if (mine)
		fi->claimed_cache = true;
	mutex_unlock(&fi->claim_lock);
	return mine;
}

/* Has any page of @vma been stored into through a mapping of a backing? */
bool fr_claim_unseen(struct fr_inode *fi, const struct file *file,
		     const struct vm_area_struct *vma)
{
	struct fr_claim claim;
	bool noted;

	if (likely(!READ_ONCE(fi->mapped)))
		return false;
	fr_claim_init(&claim, fi, file, vma);
	mutex_lock(&fi->claim_lock);
	noted = fr_claim_noted(&claim);
	mutex_unlock(&fi->claim_lock);
	return noted;
}
