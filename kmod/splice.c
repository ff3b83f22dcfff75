// SPDX-License-Identifier: GPL-2.0
/*
 * splice() and sendfile() from a file with regions.
 *
 * Inside one region, pages of the backing's cache are handed over as they are.
 * They may stay in a pipe, or in a socket's queue, long after the region was
 * unbound and the server has put something else there. So they leave the cache
 * before the unbind returns: who has them keeps what he was given, and whoever
 * writes to the backing from then on writes to another page. Of a backing
 * whose cache is all there is, as in tmpfs, bytes are copied instead.
 */

#include <linux/backing-dev.h>
#include <linux/fs.h>
#include <linux/fsnotify.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/pipe_fs_i.h>
#include <linux/sched.h>
#include <linux/splice.h>

#include "compat.h"
#include "fuse.h"
#include "msg.h"
#include "regions.h"

/* How long an unbind bears with who has a page pinned, or stores into it */
#define FR_SPLICE_PATIENCE	(HZ / 20)

/**
 * struct fr_part - pages that are to leave a backing's cache
 * @mapping:	which
 * @until:	jiffies when patience ends
 * @write:	write them back first, if need be
 */
struct fr_part {
	struct address_space *mapping;
	unsigned long until;
	bool write;
};

/*
 * Can pages leave the cache of @file, and are they its own? Not those of a
 * FUSE file: that may take the server, who may be who unbinds.
 */
static bool fr_splice_can_part(struct file *file)
{
	struct super_block *sb = file_inode(file)->i_sb;

	return !sb->s_stack_depth && !fr_fuse_sb_conn(sb) &&
	       mapping_can_writeback(file->f_mapping);
}

/*
 * 0: the bytes at @pos cannot be had in this way. Nor those of dirty pages,
 * which an unbind would have to write first.
 */
static ssize_t fr_splice_region(struct fr_inode *fi, loff_t pos,
				struct pipe_inode_info *pipe, size_t len,
				unsigned int flags)
{
	struct fr_backing *backing;
	const struct fr_node *root;
	const struct cred *old;
	struct fr_piece piece;
	unsigned int space;
	struct file *file;
	ssize_t ret = 0;
	loff_t from;
	u64 eof;
	int idx;

	idx = srcu_read_lock(&fi->conn->srcu);
	root = fr_load_root(fi->map.root);
	eof = fr_read_eof(fi, root);
	fr_map_find(root, pos, &piece);
	if (pos >= eof || !piece.region ||
	    !(fr_region_flags(piece.region) & FR_READ))
		goto out;
	backing = fr_region_backing(piece.region);
	file = backing->file;
	if (!file->f_op->splice_read || (file->f_flags & O_DIRECT) ||
	    IS_DAX(file_inode(file)) || !fr_splice_can_part(file))
		goto out;
	from = fr_region_backing_pos(piece.region, pos);
	/* Zeroes behind the backing's end have no pages */
	if (from < 0 || from >= i_size_read(file_inode(file)))
		goto out;
	len = min_t(u64, len, min(piece.last + 1, eof) - pos);

	space = pipe->max_usage - pipe_occupancy(pipe->head, pipe->tail);
	len = min_t(size_t, len, (size_t)space << PAGE_SHIFT);
	if (fr_cache_needs_writeback(file->f_mapping, from, from + len - 1))
		goto out;

	/* Whoever unbinds waits for SRCU, and looks at this then */
	if (!READ_ONCE(fi->spliced))
		WRITE_ONCE(fi->spliced, true);
	/* Not vfs_splice_read(): see rw.h for what is not asked again */
	old = fr_override_creds(backing->cred);
	ret = file->f_op->splice_read(file, &from, pipe, len, flags);
	fr_revert_creds(old);
	if (ret > 0)
		fsnotify_access(file);
out:
	srcu_read_unlock(&fi->conn->srcu, idx);
	return ret;
}

ssize_t fr_splice_read(struct file *in, loff_t *ppos,
		       struct pipe_inode_info *pipe, size_t len,
		       unsigned int flags)
{
	struct fr_inode *fi = fr_file_inode(in);
	ssize_t ret;
	int err;

	if (!fi || !fr_load_root(fi->map.root)) {
		fr_hold_pass_old(fi, *ppos, len);
		return fr_orig_fops->splice_read(in, ppos, pipe, len, flags);
	}
	if (fr_cache_busy(fi, in)) {
		err = fr_cache_flush(fi, *ppos, (u64)*ppos + len - 1, false);
		if (err)
			return err;
	}
	ret = fr_splice_region(fi, *ppos, pipe, len, flags);
	if (!ret)
		return copy_splice_read(in, ppos, pipe, len, flags);
	if (ret > 0)
		*ppos += ret;
	return ret;
}

static int fr_splice_write(const struct fr_part *part, loff_t start, loff_t last)
{
	struct address_space *mapping = part->mapping;

	if (!part->write || !fr_cache_needs_writeback(mapping, start, last))
		return 0;
	/* An error stays for fsync to tell */
	return filemap_fdatawrite_range(mapping, start, last) ?:
	       filemap_fdatawait_range_keep_errors(mapping, start, last);
}

/*
 * Does anybody have @folio but the cache, mappings, and the caller? It is
 * locked, so nobody begins to map it; who unmaps it meanwhile is counted.
 */
static bool fr_folio_is_held(struct folio *folio)
{
	int refs = folio_ref_count(folio);

	smp_rmb();	/* in this order */
	return refs > 1 + folio_nr_pages(folio) + folio_has_private(folio) +
		      folio_mapcount(folio);
}

static bool fr_splice_holds(struct address_space *mapping, struct folio *folio)
{
	bool held;

	/* What is yet to be read was not handed over */
	if (!folio_test_uptodate(folio))
		return false;
	folio_lock(folio);
	held = folio->mapping == mapping && fr_folio_is_held(folio);
	folio_unlock(folio);
	return held;
}

/*
 * Take @folio out of the cache, as a direct write to the backing does. What
 * cannot be written stays, with the only copy of its bytes; what is pinned may
 * be about to be stored into, and is given some time.
 */
static int fr_splice_part_folio(struct fr_part *part, struct folio *folio,
				loff_t last)
{
	struct address_space *mapping = part->mapping;
	int err;

	while (fr_splice_holds(mapping, folio)) {
		err = -EBUSY;
		if (!folio_maybe_dma_pinned(folio) ||
		    time_after(jiffies, part->until)) {
			/* Most file systems let nobody store meanwhile */
			filemap_invalidate_lock(mapping);
			err = fr_splice_write(part, folio_pos(folio), last) ?:
			      invalidate_inode_pages2_range(mapping,
							    folio->index,
							    folio->index);
			filemap_invalidate_unlock(mapping);
		}
		if (err != -EBUSY || time_after(jiffies, part->until))
			return err;
		schedule_timeout_uninterruptible(1);
	}
	return 0;
}

static void fr_splice_part_range(struct fr_part *part, u64 start, u64 last)
{
	pgoff_t first = start >> PAGE_SHIFT, end = last >> PAGE_SHIFT;
	struct folio_batch batch;
	unsigned int i, n;
	loff_t reach;
	int err;

	folio_batch_init(&batch);
	while (filemap_get_folios(part->mapping, &first, end, &batch)) {
		n = folio_batch_count(&batch);
		reach = fr_folio_last(batch.folios[n - 1]);
		for (i = 0; i < n; i++) {
			err = fr_splice_part_folio(part, batch.folios[i], reach);
			if (err && part->write)
				pr_warn_ratelimited("a spliced page stays in the cache of its backing: error %d\n",
						    err);
		}
		folio_batch_release(&batch);
		cond_resched();
	}
}

static void fr_splice_part_op(struct fr_part *part, const struct fr_node *root,
			      const struct fr_op *op)
{
	struct fr_backing *backing;
	struct fr_piece piece;
	u64 pos = op->start;
	u64 start;

	do {
		fr_map_find(root, pos, &piece);
		piece.last = min(piece.last, op->last);
		backing = piece.region ? fr_region_backing(piece.region) : NULL;
		if (backing && fr_splice_can_part(backing->file)) {
			part->mapping = backing->file->f_mapping;
			start = fr_region_backing_pos(piece.region, pos);
			fr_splice_part_range(part, start,
					     start + (piece.last - pos));
		}
		pos = piece.last + 1;
		cond_resched();
	} while (piece.last < op->last);
}

/*
 * The bytes of @ops were bound as @root has it. No reader is there any more;
 * have nobody get at them through pages either. @write: write those back first
 * that need it.
 */
void fr_splice_part(struct fr_inode *fi, const struct fr_node *root,
		    const struct fr_op *ops, u32 count, bool write)
{
	struct fr_part part = {
		.until = jiffies + (write ? FR_SPLICE_PATIENCE : 0),
		.write = write,
	};
	u32 i;

	if (!READ_ONCE(fi->spliced))
		return;
	for (i = 0; i < count; i++)
		fr_splice_part_op(&part, root, &ops[i]);
}
