// SPDX-License-Identifier: GPL-2.0
/*
 * FUSE's page cache of an inode with regions. Reads and writes go past it;
 * only mappings fill it, with bytes from wherever a read would get them.
 * Whoever changes what a page should hold drops the page. What is stored into
 * it is written back by writeback.c.
 */

#include <linux/bvec.h>
#include <linux/highmem.h>
#include <linux/kmemleak.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/slab.h>
#include <linux/uio.h>

#include "cache.h"
#include "compat.h"
#include "fuse.h"
#include "io.h"

const struct address_space_operations *fr_orig_aops __read_mostly;
static DEFINE_SPINLOCK(fr_aops_lock);

/*
 * Never freed once an inode had it: a write to a file that is not ours takes
 * its functions from here, FUSE's own, before and after it waits for a server,
 * and nothing tells when it has.
 */
static struct address_space_operations *fr_aops;

/* A locked folio has @len bytes of the file, and zeroes behind. */
static void fr_cache_filled(struct fr_inode *fi, struct folio *folio, size_t len)
{
	bool is_short = len < folio_size(folio);

	spin_lock(&fi->holds_lock);
	if (is_short || fi->short_page == folio->index) {
		/* fr_cache_outgrown() looks at it first without the lock */
		WRITE_ONCE(fi->short_page, folio->index);
		fi->short_end = is_short ? folio_pos(folio) + len : U64_MAX;
	}
	spin_unlock(&fi->holds_lock);
}

size_t fr_cache_length(struct fr_inode *fi, struct folio *folio, size_t *filled)
{
	u64 pos = folio_pos(folio), end, short_end = U64_MAX;
	const struct fr_node *root;
	size_t len;
	bool whole;
	int idx;

	idx = srcu_read_lock(&fi->conn->srcu);
	root = fr_load_root(fi->map.root);
	end = fr_read_eof(fi, root);
	whole = fr_map_whole_tail(root);
	srcu_read_unlock(&fi->conn->srcu, idx);
	len = pos < end ? min_t(u64, folio_size(folio), end - pos) : 0;
	/* Elsewhere the file ends where FUSE says, and FUSE may write through its cache */
	if (whole) {
		spin_lock(&fi->holds_lock);
		if (fi->short_page == folio->index)
			short_end = fi->short_end;
		spin_unlock(&fi->holds_lock);
	}
	*filled = min_t(u64, len, short_end - pos);
	return len;
}

/*
 * Does a clean page, about to be stored into, have zeroes where the file has got
 * bytes since? What is stored there could not be told from them later.
 */
bool fr_cache_outgrown(struct fr_inode *fi, struct folio *folio)
{
	size_t filled;

	if (likely(READ_ONCE(fi->short_page) != folio->index) ||
	    folio_test_dirty(folio))
		return false;
	return fr_cache_length(fi, folio, &filled) > filled;
}

/*
 * Fill @it, which is @folio's, as a read would. @bound: without the server;
 * -FR_ECHANGED where that takes it. How many bytes are the file's, with zeroes
 * behind; or an error.
 */
static ssize_t fr_folio_read(struct fr_inode *fi, struct file *file,
			     struct folio *folio, struct iov_iter *it, bool bound)
{
	struct kiocb iocb;
	struct fr_io io = {
		.fi = fi, .iocb = &iocb, .iter = it, .pos = folio_pos(folio),
		.want = folio_size(folio), .access = FR_READ, .bound = bound,
		.fault = true,
	};
	ssize_t n;

	init_sync_kiocb(&iocb, file);
	iocb.ki_flags &= ~(IOCB_DIRECT | IOCB_APPEND);
	n = fr_io_run(&io);
	if (n < 0)
		return n;
	if (n < folio_size(folio)) {
		if (io.err)
			return io.err;
		/* Behind the end of file */
		iov_iter_advance(it, n);
		iov_iter_zero(folio_size(folio) - n, it);
	}
	return n;
}

/* Fill a locked folio that is all bound; -FR_ECHANGED when it is not. */
static int fr_folio_fill(struct fr_inode *fi, struct file *file,
			 struct folio *folio)
{
	struct iov_iter it;
	struct bio_vec bv;
	ssize_t n;

	bvec_set_folio(&bv, folio, folio_size(folio), 0);
	iov_iter_bvec(&it, ITER_DEST, &bv, 1, folio_size(folio));
	n = fr_folio_read(fi, file, folio, &it, true);
	if (n < 0)
		return n;
	fr_cache_filled(fi, folio, n);
	folio_mark_uptodate(folio);
	return 0;
}

/* No byte of [@start, @last] takes the server to write. */
bool fr_cache_writable(struct fr_inode *fi, u64 start, u64 last)
{
	return !fr_io_has(fi, start, last, FR_WRITE, false);
}

/* Is something on its way to the server that the cache does not show? */
bool fr_cache_sending(struct fr_inode *fi)
{
	return READ_ONCE(fi->sent_back) && fr_fuse_in_writeback(fi->inode);
}

/*
 * Is the server about to put bytes of [@start, @last] into a backing, for all
 * we know? What we write ourselves we need not wait for, unless it was bound
 * just now.
 */
bool fr_cache_behind(struct fr_inode *fi, u64 start, u64 last)
{
	return fr_cache_sending(fi) && (fr_held_bound(fi, start, last) ||
					!fr_cache_writable(fi, start, last));
}

static bool fr_folio_behind(struct fr_inode *fi, struct folio *folio)
{
	return fr_cache_behind(fi, folio_pos(folio), fr_folio_last(folio));
}

/* FUSE is about to write pages back, or has begun to. */
void fr_cache_sent_back(struct fr_inode *fi)
{
	if (fr_fuse_writes_copies())
		WRITE_ONCE(fi->sent_back, true);
}

/*
 * The same as fr_cache_sending(), for who drops pages: FUSE may have begun to
 * write one back before the inode was ours, and only now have said so. A page
 * is no longer under writeback when it has.
 */
bool fr_cache_see_sending(struct fr_inode *fi)
{
	if (!fr_fuse_in_writeback(fi->inode))
		return false;
	fr_cache_sent_back(fi);
	return true;
}

/*
 * Fill a folio that takes the server. It is unlocked meanwhile, and filled from
 * a copy: so whoever binds need not wait for the server, but takes the folio
 * out of the cache.
 */
static int fr_folio_fill_unlocked(struct fr_inode *fi, struct file *file,
				  struct folio *folio)
{
	struct address_space *mapping = folio->mapping;
	size_t size = folio_size(folio);
	struct iov_iter it;
	struct kvec kvec;
	ssize_t n = -ENOMEM;
	int err;

	folio_get(folio);
	folio_unlock(folio);
	if (fr_folio_behind(fi, folio))
		fr_fuse_wait_writeback(fi->inode);
	kvec.iov_base = kmalloc(size, GFP_KERNEL);
	kvec.iov_len = size;
	if (kvec.iov_base) {
		iov_iter_kvec(&it, ITER_DEST, &kvec, 1, size);
		n = fr_folio_read(fi, file, folio, &it, false);
	}
	err = min_t(ssize_t, n, 0);
	folio_lock(folio);
	if (folio->mapping != mapping) {
		err = AOP_TRUNCATED_PAGE;
	} else if (!err && !folio_test_uptodate(folio)) {
		memcpy_to_folio(folio, 0, kvec.iov_base, size);
		fr_cache_filled(fi, folio, n);
		folio_mark_uptodate(folio);
	}
	folio_unlock(folio);
	folio_put(folio);
	kfree(kvec.iov_base);
	return err;
}

/*
 * @file need not be one of ours: it may have been opened before the server
 * attached. It sees regions all the same, through the pages.
 */
static int fr_read_folio(struct file *file, struct folio *folio)
{
	struct fr_inode *fi;
	int err;

	atomic_inc(&fr_pending);
	fi = fr_inode_find(folio->mapping->host);
	if (!fi || !fr_load_root(fi->map.root) || !file) {
		err = fr_orig_aops->read_folio(file, folio);
		goto out;
	}
	err = -FR_ECHANGED;
	if (!fr_folio_behind(fi, folio))
		err = fr_folio_fill(fi, file, folio);
	if (err == -FR_ECHANGED)
		err = fr_folio_fill_unlocked(fi, file, folio);
	else
		folio_unlock(folio);
out:
	if (fi)
		fr_inode_put(fi);
	fr_pending_done();
	return err;
}

/*
 * Reading ahead never asks the server: a fault on a bound page must not wait
 * for a gap next to it.
 */
static void fr_readahead(struct readahead_control *rac)
{
	struct fr_inode *fi;
	struct folio *folio;

	atomic_inc(&fr_pending);
	fi = fr_inode_find(rac->mapping->host);
	if (!fi || !fr_load_root(fi->map.root)) {
		fr_orig_aops->readahead(rac);
		goto out;
	}
	while ((folio = readahead_folio(rac))) {
		if (!fr_folio_behind(fi, folio))
			fr_folio_fill(fi, rac->file, folio);
		folio_unlock(folio);
	}
out:
	if (fi)
		fr_inode_put(fi);
	fr_pending_done();
}

/* Before the first region is published: from now on mappings see regions. */
void fr_cache_take_over(struct fr_inode *fi)
{
	struct address_space *mapping = fi->inode->i_mapping;

	lockdep_assert_held(&fi->map_lock);
	if (mapping->a_ops == fr_aops)
		return;
	spin_lock(&fr_aops_lock);
	if (!fr_orig_aops) {
		fr_orig_aops = mapping->a_ops;
		*fr_aops = *fr_orig_aops;
		fr_aops->read_folio = fr_read_folio;
		fr_aops->readahead = fr_readahead;
		fr_aops->writepages = fr_writepages;
		fr_aops->launder_folio = fr_launder_folio;
	}
	spin_unlock(&fr_aops_lock);
	/* Its functions, for who has no lock */
	smp_store_release(&mapping->a_ops, fr_aops);
	/* Begun before that */
	if (fr_fuse_in_writeback(fi->inode))
		fr_cache_sent_back(fi);
}

/* The inode has neither files nor regions any more. Any context. */
void fr_cache_give_back(struct fr_inode *fi)
{
	struct address_space *mapping = fi->inode->i_mapping;

	if (mapping->a_ops == fr_aops)
		WRITE_ONCE(mapping->a_ops, fr_orig_aops);
}

/*
 * Write back, and say what went wrong: not what did so before, with other pages,
 * as filemap_write_and_wait_range() does, which also takes it from whoever is to
 * be told, when he closes the file. Where fsync has yet to tell of such an error,
 * it will tell of a new one, too.
 */
int fr_cache_write(struct address_space *mapping, u64 start, u64 last)
{
	errseq_t since = filemap_sample_wb_err(mapping);
	bool untold = !since && READ_ONCE(mapping->wb_err);
	int err = filemap_fdatawrite_range(mapping, start, last);

	filemap_fdatawait_range_keep_errors(mapping, start, last);
	if (err || untold)
		return err;
	return filemap_check_wb_err(mapping, since);
}

/*
 * Bring bytes that were written through a mapping to where reads get them: into
 * a backing, or to the server, who may put them into a backing in turn.
 */
int fr_cache_flush(struct fr_inode *fi, u64 start, u64 last, bool nowait)
{
	struct address_space *mapping = fi->inode->i_mapping;
	int err;

	last = min(last, FR_LAST_MAX);
	if (fr_cache_needs_writeback(mapping, start, last)) {
		if (nowait)
			return -EAGAIN;
		err = fr_cache_write(mapping, start, last);
		if (err)
			return err;
	}
	if (fr_cache_behind(fi, start, last)) {
		if (nowait)
			return -EAGAIN;
		fr_fuse_wait_writeback(fi->inode);
	}
	return 0;
}

static bool fr_cache_unwritten_tagged(struct address_space *mapping,
				      pgoff_t first, pgoff_t last,
				      xa_mark_t tag)
{
	XA_STATE(xas, &mapping->i_pages, first);
	struct folio *folio;
	bool found = false;

	rcu_read_lock();
	/* Marks are looked at without their lock, as by VFS */
	while (!found && (folio = data_race(xas_find_marked(&xas, last, tag)))) {
		if (xas_retry(&xas, folio) || xa_is_value(folio))
			continue;
		found = folio_test_dirty(folio) || folio_test_writeback(folio) ||
			folio_test_locked(folio);
	}
	rcu_read_unlock();
	return found;
}

/*
 * Has any page been stored into that is not written yet? Not those that are
 * locked for another reason, as filemap_range_needs_writeback() has it.
 */
bool fr_cache_unwritten(struct address_space *mapping, u64 start, u64 last)
{
	pgoff_t first = start >> PAGE_SHIFT, end = last >> PAGE_SHIFT;

	/* Dirty once more, for what could not be written is that again */
	return fr_cache_unwritten_tagged(mapping, first, end,
					 PAGECACHE_TAG_DIRTY) ||
	       fr_cache_unwritten_tagged(mapping, first, end,
					 PAGECACHE_TAG_WRITEBACK) ||
	       fr_cache_unwritten_tagged(mapping, first, end,
					 PAGECACHE_TAG_DIRTY);
}

int fr_cache_init(void)
{
	fr_aops = kzalloc(sizeof(*fr_aops), GFP_KERNEL);
	return fr_aops ? 0 : -ENOMEM;
}

void fr_cache_exit(void)
{
	if (fr_orig_aops)
		kmemleak_not_leak(fr_aops);
	else
		kfree(fr_aops);
}
