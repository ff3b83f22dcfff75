// SPDX-License-Identifier: GPL-2.0
/*
 * Mapping.
 *
 * A mapping that lies in one region, page on page, maps the backing itself.
 * It stays a mapping of that backing for as long as it lives, as one of
 * overlayfs or of mainline's passthrough does: a region that is bound later
 * is for later mappings.
 *
 * Any other mapping has FUSE's page cache behind it, filled by us (cache.c),
 * and so has every mapping as long as one of these can be stored into: what is
 * stored is in one place.
 */

#include <linux/backing-file.h>
#include <linux/file.h>
#include <linux/magic.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/sched/signal.h>
#include <linux/shmem_fs.h>

#include "cache.h"
#include "claim.h"
#include "cut.h"
#include "regions.h"

#define FR_MMAP_FLUSHES	8

static const struct vm_operations_struct *fr_orig_vm_ops __read_mostly;
static struct vm_operations_struct fr_vm_ops;
static DEFINE_SPINLOCK(fr_vm_ops_lock);

/*
 * Can all of @vma be a mapping of @region's backing? Its last page must not
 * show what lies, or is going to lie, behind the region in the backing.
 */
static bool fr_mmap_fits(const struct vm_area_struct *vma, u64 eof,
			 const struct fr_region *region, bool whole)
{
	struct fr_backing *backing = fr_region_backing(region);
	u64 start = fr_vma_start(vma), last = fr_vma_last(vma);
	u64 from = fr_region_backing_pos(region, start);
	u64 size = i_size_read(file_inode(backing->file));
	unsigned int flags = fr_region_flags(region);

	if (!(flags & FR_READ) || !PAGE_ALIGNED(from))
		return false;
	if (fr_vma_may_write_back(vma) && !(flags & FR_WRITE))
		return false;
	if (whole)
		return true;
	return last <= region->last && last < eof && from + (last - start) < size;
}

/**
 * struct fr_mmap_place - where a mapping can be one of a backing
 * @pgoff:	in the backing
 * @same:	each byte of the file is the backing's with the same offset
 */
struct fr_mmap_place {
	pgoff_t pgoff;
	bool same;
};

/* A reference to the backing that can be mapped instead, and where; or NULL. */
static struct fr_backing *fr_mmap_backing_of(struct fr_inode *fi,
					     const struct vm_area_struct *vma,
					     struct fr_mmap_place *place)
{
	struct fr_backing *backing = NULL;
	u64 start = fr_vma_start(vma);
	const struct fr_node *root;
	struct fr_piece piece;
	bool whole;
	int idx;

	idx = srcu_read_lock(&fi->conn->srcu);
	root = fr_load_root(fi->map.root);
	fr_map_find(root, start, &piece);
	if (piece.region) {
		whole = piece.region == fr_map_whole_tail(root);
		if (fr_mmap_fits(vma, fr_read_eof(fi, root), piece.region,
				 whole)) {
			backing = fr_region_backing(piece.region);
			fr_backing_get(backing);
			place->pgoff = fr_region_backing_pos(piece.region,
							     start) >> PAGE_SHIFT;
			place->same = whole && !piece.region->start &&
				      !piece.region->backing_start;
		}
	}
	srcu_read_unlock(&fi->conn->srcu, idx);
	return backing;
}

/*
 * The same, once the server has what was stored before the region came: that is
 * on its way into the backing, behind the back of who maps it. So may be what
 * was stored into a region without WRITE, for which FUSE's cache waits.
 */
static struct fr_backing *fr_mmap_backing_get(struct fr_inode *fi,
					      const struct vm_area_struct *vma,
					      struct fr_mmap_place *place)
{
	u64 start = fr_vma_start(vma), last = fr_vma_last(vma);
	pgoff_t first = start >> PAGE_SHIFT, end = last >> PAGE_SHIFT;
	struct fr_backing *backing;

	while ((backing = fr_mmap_backing_of(fi, vma, place)) &&
	       fr_hold_old(fi, first, end)) {
		fr_backing_put(backing);
		if (!fr_hold_wait_old(fi, first, end))
			return NULL;
	}
	if (backing && fr_cache_behind(fi, start, last)) {
		fr_backing_put(backing);
		return NULL;
	}
	return backing;
}

/* Would a native mapping be refused, for a seal on what it could be stored into? */
static bool fr_mmap_sealed(struct file *file)
{
	struct inode *inode = d_real_inode(file->f_path.dentry);

	return IS_ENABLED(CONFIG_SHMEM) && inode->i_sb->s_magic == TMPFS_MAGIC &&
	       (READ_ONCE(SHMEM_I(inode)->seals) &
		(F_SEAL_WRITE | F_SEAL_FUTURE_WRITE));
}

/*
 * FUSE's cache is about to be mapped, and may have pages of before stores that
 * it did not see: to write those back would undo the stores.
 */
static void fr_mmap_drop_unseen(struct fr_inode *fi, struct fr_claim *claim,
				const struct vm_area_struct *vma)
{
	if (fr_claim_unseen(claim))
		fr_drop(fi, fr_vma_start(vma), fr_vma_last(vma),
			FR_DROP_WRITTEN);
}

/*
 * Claim the backing. What was stored into FUSE's cache, by mappings that have gone,
 * must not be written back later; their pages were dirty before MM forgot them. Again,
 * for who writes it just now may be killed, and leave pages dirty. Where it takes
 * the server it can't be waited for.
 */
static bool fr_mmap_claim(struct fr_inode *fi, struct fr_claim *claim,
			  const struct vm_area_struct *vma,
			  const struct fr_mmap_place *place)
{
	u64 start = place->same ? 0 : fr_vma_start(vma);
	u64 last = place->same ? FR_LAST_MAX : fr_vma_last(vma);
	struct address_space *mapping = fi->inode->i_mapping;
	unsigned int tries = FR_MMAP_FLUSHES;

	while (fr_claim_backing(claim, place->same)) {
		if (likely(!fr_cache_unwritten(mapping, start, last)))
			return true;
		/* Others wait for who has a claim: not for one who writes */
		fr_claim_reset(claim);
		if (fr_held_bound(fi, start, last) ||
		    !fr_cache_writable(fi, start, last) ||
		    fatal_signal_pending(current) || !tries--)
			break;
		/* What could not be written is fsync's to tell */
		fr_cache_write(mapping, start, last);
	}
	return false;
}

/* Not an errno, all of which may be a file system's: it is to be FUSE's cache. */
#define FR_MMAP_CACHE	1

static int fr_mmap_backing(struct fr_inode *fi, struct file *file,
			   struct vm_area_struct *vma, struct fr_claim *claim,
			   struct fr_backing *backing,
			   const struct fr_mmap_place *place)
{
	bool write = fr_vma_may_write_back(vma), sealed;
	struct backing_file_ctx ctx = {
		.cred = backing->cred,
#ifdef FR_BACKING_CTX_USER_FILE
		.user_file = file,
#endif
	};
	struct file *real;
	int err;

	/* MM has asked FUSE's file */
	sealed = write && fr_mmap_sealed(backing->file);
	if (sealed && (vma->vm_flags & VM_WRITE))
		return -EPERM;
	write = write && !sealed;
	/* Then it need not be opened, which may take its time, or fail */
	if (fr_claim_in_cache(claim, place->same))
		return FR_MMAP_CACHE;
	/* A file of its own, so that /proc/PID/maps shows the FUSE path */
	real = backing_file_open(file, O_LARGEFILE | (write ? O_RDWR : O_RDONLY),
				 &backing->file->f_path, backing->cred);
	if (IS_ERR(real))
		return PTR_ERR(real);
	if (!fr_mmap_claim(fi, claim, vma, place)) {
		fput(real);
		return FR_MMAP_CACHE;
	}
	if (sealed)
		vm_flags_clear(vma, VM_MAYWRITE);
	vma->vm_pgoff = place->pgoff;	/* of what it is about to map */
	err = backing_file_mmap(real, vma, &ctx);
	fput(real);
	if (!err && !place->same)
		fr_confine(vma);
	return err;
}

/* Does every edge of a region inside [@start, @last] lie between pages? */
static bool fr_mmap_edges_aligned(struct fr_inode *fi, u64 start, u64 last)
{
	const struct fr_node *root;
	struct fr_piece piece;
	bool aligned = true;
	struct fr_cut cut;
	int idx;
	u64 eof;

	idx = srcu_read_lock(&fi->conn->srcu);
	root = fr_load_root(fi->map.root);
	eof = fr_read_eof(fi, root);
	fr_cut_begin(&cut, root, start, last - start + 1, FR_READ | FR_WRITE);
	while (aligned && fr_cut_next(&cut, &piece))
		aligned = piece.last >= last || piece.last + 1 >= eof ||
			  PAGE_ALIGNED(piece.last + 1);
	srcu_read_unlock(&fi->conn->srcu, idx);
	return aligned;
}

/*
 * Is a byte of [@start, @last] in a backing that is mapped for writing, maybe
 * through this inode?
 */
static bool fr_mmap_stored_into(struct fr_inode *fi, struct fr_claim *claim,
				const struct vm_area_struct *vma)
{
	u64 start = fr_vma_start(vma), last = fr_vma_last(vma);
	const struct fr_node *root;
	struct fr_backing *backing;
	struct fr_piece piece;
	struct fr_cut cut;
	bool stored = false;
	int idx;

	if (!fr_claim_unseen(claim))
		return false;
	idx = srcu_read_lock(&fi->conn->srcu);
	root = fr_load_root(fi->map.root);
	fr_cut_begin(&cut, root, start, last - start + 1, FR_READ | FR_WRITE);
	while (!stored && fr_cut_next(&cut, &piece)) {
		if (!piece.region)
			continue;
		backing = fr_region_backing(piece.region);
		stored = mapping_writably_mapped(fr_backing_mapping(backing->file));
	}
	srcu_read_unlock(&fi->conn->srcu, idx);
	return stored;
}

/* Can pages of FUSE's cache be stored into, and written back as a whole? */
static bool fr_mmap_may_store(struct fr_inode *fi, struct fr_claim *claim,
			      const struct vm_area_struct *vma)
{
	return fr_mmap_edges_aligned(fi, fr_vma_start(vma), fr_vma_last(vma)) &&
	       !fr_mmap_stored_into(fi, claim, vma);
}

/*
 * May a page be stored into? One with a region's edge in it is never made
 * dirty: writing it back would undo bytes that nobody wrote. fr_mmap() refuses
 * mappings with such pages; this is for edges that came later. And not now, if
 * it is held (hold.c), or has less of the file than there is by now: then the
 * fault is to come again.
 */
static vm_fault_t fr_page_mkwrite(struct vm_fault *vmf)
{
	struct fr_inode *fi = fr_file_inode(vmf->vma->vm_file);
	u64 start = (u64)vmf->pgoff << PAGE_SHIFT;
	vm_fault_t ret;

	if (!fi)
		return fr_orig_vm_ops->page_mkwrite(vmf);
	if (fr_load_root(fi->map.root)) {
		if (!fr_mmap_edges_aligned(fi, start, start + PAGE_SIZE - 1))
			return VM_FAULT_SIGBUS;
		if (fr_hold_first_store(fi))
			goto again;
		if (fr_cache_outgrown(fi, page_folio(vmf->page))) {
			fr_drop(fi, start, start, FR_DROP_WRITTEN);
			goto again;
		}
	}
	ret = fr_orig_vm_ops->page_mkwrite(vmf);
	if (ret != VM_FAULT_LOCKED || !fr_hold_refuse(fi, vmf->pgoff))
		return ret;
	folio_unlock(page_folio(vmf->page));
	fr_hold_wait(fi, vmf->pgoff);
again:
	/* The kernel, too, stores in the name of a task, and would go on */
	return fatal_signal_pending(current) ? VM_FAULT_SIGBUS : VM_FAULT_NOPAGE;
}

/*
 * A page that was being filled when a message came, which did not wait for it,
 * is not mapped: it is dropped, and the fault comes again.
 */
static vm_fault_t fr_fault(struct vm_fault *vmf)
{
	struct fr_inode *fi = fr_file_inode(vmf->vma->vm_file);
	vm_fault_t ret = fr_orig_vm_ops->fault(vmf);

	if (likely(!fi || !(ret & VM_FAULT_LOCKED) ||
		   !fr_hold_old(fi, vmf->pgoff, vmf->pgoff)))
		return ret;
	folio_unlock(page_folio(vmf->page));
	put_page(vmf->page);
	vmf->page = NULL;
	if (fr_hold_wait_old(fi, vmf->pgoff, vmf->pgoff))
		return VM_FAULT_NOPAGE;
	/* Not again, for the kernel, too, faults in the name of a task */
	if (fatal_signal_pending(current))
		return VM_FAULT_SIGBUS;
	return fr_orig_vm_ops->fault(vmf);
}

/* Pages around a fault are mapped as they are, without asking: not old ones. */
static vm_fault_t fr_map_pages(struct vm_fault *vmf, pgoff_t first,
			       pgoff_t last)
{
	struct fr_inode *fi = fr_file_inode(vmf->vma->vm_file);

	if (fi && fr_hold_old(fi, first, last))
		return 0;
	return fr_orig_vm_ops->map_pages(vmf, first, last);
}

static void fr_mmap_ops(struct vm_area_struct *vma)
{
	spin_lock(&fr_vm_ops_lock);
	/* Not those that FUSE has for private mappings of FOPEN_DIRECT_IO files */
	if (!fr_orig_vm_ops && vma->vm_ops->page_mkwrite &&
	    vma->vm_ops->page_mkwrite != filemap_page_mkwrite) {
		fr_vm_ops = *vma->vm_ops;
		fr_vm_ops.fault = fr_fault;
		fr_vm_ops.map_pages = fr_map_pages;
		fr_vm_ops.page_mkwrite = fr_page_mkwrite;
		fr_orig_vm_ops = vma->vm_ops;
	}
	spin_unlock(&fr_vm_ops_lock);
	if (vma->vm_ops == fr_orig_vm_ops)
		vma->vm_ops = &fr_vm_ops;
}

/* With FUSE's cache behind it */
static int fr_mmap_cache(struct fr_inode *fi, struct file *file,
			 struct vm_area_struct *vma, struct fr_claim *claim)
{
	bool claimed = !claim->write || fr_claim_cache(claim);
	int err;

	if (fr_load_root(fi->map.root)) {
		if (claim->write &&
		    !(claimed && fr_mmap_may_store(fi, claim, vma))) {
			if (vma->vm_flags & VM_WRITE)
				return -ENODEV;
			/* For reading, as if the file had been opened for that */
			vm_flags_clear(vma, VM_MAYWRITE);
		}
		fr_mmap_drop_unseen(fi, claim, vma);
	}
	err = fr_orig_fops->mmap(file, vma);
	if (err || vma->vm_file != file)
		return err;
	/*
	 * MM makes mappings longer (mremap(), merging) without asking: not over
	 * what is stored into through a mapping of a backing.
	 */
	if (fr_vma_may_write_back(vma) && READ_ONCE(fi->mapped))
		vm_flags_set(vma, VM_DONTEXPAND);
	/* Regions may come while it is mapped */
	if (vma->vm_ops && !IS_DAX(file_inode(file)))
		fr_mmap_ops(vma);
	return 0;
}

int fr_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct fr_inode *fi = fr_file_inode(file);
	struct fr_backing *backing = NULL;
	struct fr_mmap_place place;
	struct fr_claim claim;
	int err;

	if (!fi)
		return fr_orig_fops->mmap(file, vma);
	fr_claim_begin(&claim, fi, file, vma);
	err = FR_MMAP_CACHE;
	if (fr_load_root(fi->map.root))
		backing = fr_mmap_backing_get(fi, vma, &place);
	if (backing) {
		err = fr_mmap_backing(fi, file, vma, &claim, backing, &place);
		fr_backing_put(backing);
	}
	if (err == FR_MMAP_CACHE)
		err = fr_mmap_cache(fi, file, vma, &claim);
	fr_claim_end(&claim);
	return err;
}
