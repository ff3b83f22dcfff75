// SPDX-License-Identifier: GPL-2.0
/*
 * FUSE's page cache of an inode with regions. Reads and writes go past it;
 * only mappings fill it, with bytes from wherever a read would get them.
 * Whoever changes what a page should hold drops the page.
 */

#include <linux/bvec.h>
#include <linux/highmem.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/uio.h>
#include <linux/writeback.h>

#include "compat.h"
#include "fuse.h"
#include "io.h"

static const struct address_space_operations *fr_orig_aops __read_mostly;
static struct address_space_operations fr_aops;
static DEFINE_SPINLOCK(fr_aops_lock);

/*
 * Fill @size bytes of @it, which are @folio's, as a read would. @bound: without
 * the server; -ESTALE where that takes it.
 */
static int fr_folio_read(struct fr_inode *fi, struct file *file,
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
	return 0;
}

/* Fill a locked folio that is all bound; -ESTALE when it is not. */
static int fr_folio_fill(struct fr_inode *fi, struct file *file,
			 struct folio *folio)
{
	struct iov_iter it;
	struct bio_vec bv;
	int err;

	bvec_set_folio(&bv, folio, folio_size(folio), 0);
	iov_iter_bvec(&it, ITER_DEST, &bv, 1, folio_size(folio));
	err = fr_folio_read(fi, file, folio, &it, true);
	if (!err)
		folio_mark_uptodate(folio);
	return err;
}

/* No byte of [@start, @last] takes the server to write. */
static bool fr_cache_writable(struct fr_inode *fi, u64 start, u64 last)
{
	return !fr_io_has(fi, start, last, FR_WRITE, false);
}

/* Can a dirty folio be written back without the server, to where it belongs? */
static bool fr_folio_bound(struct fr_inode *fi, struct folio *folio)
{
	u64 start = folio_pos(folio), last = fr_folio_last(folio);

	return !fr_held_bound(fi, start, last) &&
	       fr_cache_writable(fi, start, last);
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
static bool fr_cache_behind(struct fr_inode *fi, u64 start, u64 last)
{
	return fr_cache_sending(fi) && (fr_held_bound(fi, start, last) ||
					!fr_cache_writable(fi, start, last));
}

static bool fr_folio_behind(struct fr_inode *fi, struct folio *folio)
{
	return fr_cache_behind(fi, folio_pos(folio), fr_folio_last(folio));
}

/* FUSE is about to write pages back, or has begun to. */
static void fr_cache_sent_back(struct fr_inode *fi)
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
	int err = -ENOMEM;

	folio_get(folio);
	folio_unlock(folio);
	if (fr_folio_behind(fi, folio))
		fr_fuse_wait_writeback(fi->inode);
	kvec.iov_base = kmalloc(size, GFP_KERNEL);
	kvec.iov_len = size;
	if (kvec.iov_base) {
		iov_iter_kvec(&it, ITER_DEST, &kvec, 1, size);
		err = fr_folio_read(fi, file, folio, &it, false);
	}
	folio_lock(folio);
	if (folio->mapping != mapping) {
		err = AOP_TRUNCATED_PAGE;
	} else if (!err && !folio_test_uptodate(folio)) {
		memcpy_to_folio(folio, 0, kvec.iov_base, size);
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
	err = -ESTALE;
	if (!fr_folio_behind(fi, folio))
		err = fr_folio_fill(fi, file, folio);
	if (err == -ESTALE)
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

/*
 * Write a folio whose bytes are all bound, and which nobody else writes back.
 * It is dirty again where the backing was not to blame.
 */
static int fr_folio_write(struct fr_inode *fi, struct folio *folio, size_t len)
{
	struct address_space *mapping = folio->mapping;
	struct kiocb iocb = { .ki_pos = folio_pos(folio) };
	struct iov_iter it;
	struct bio_vec bv;
	ssize_t ret = 0;

	bvec_set_folio(&bv, folio, len, 0);
	iov_iter_bvec(&it, ITER_SOURCE, &bv, 1, len);
	/* What a write stopped at, the next one says */
	while (iov_iter_count(&it)) {
		struct fr_io io = {
			.fi = fi, .iocb = &iocb, .iter = &it,
			.pos = iocb.ki_pos, .want = iov_iter_count(&it),
			.access = FR_WRITE, .bound = true,
		};

		ret = fr_io_run(&io);
		if (ret <= 0)
			break;
		iov_iter_advance(&it, ret);
		iocb.ki_pos += ret;
	}
	fr_inode_set_written(fi);
	if (ret > 0)
		return 0;
	/* A byte of it was unbound just now, or this task is being killed */
	if (ret == -ESTALE || fatal_signal_pending(current)) {
		mapping->a_ops->dirty_folio(mapping, folio);
		return 0;
	}
	return ret ?: -EIO;
}

/* Write back what is bound, and leave the rest for FUSE's own writepages. */
static int fr_writepages_bound(struct fr_inode *fi,
			       struct address_space *mapping,
			       struct writeback_control *wbc, bool *more)
{
	struct folio *folio = NULL;
	u64 size;
	int err = 0;

	while ((folio = writeback_iter(mapping, wbc, folio, &err))) {
		size = i_size_read(mapping->host);
		if (folio_pos(folio) >= size) {
			folio_unlock(folio);	/* truncated meanwhile */
			continue;
		}
		if (!fr_folio_bound(fi, folio)) {
			folio_redirty_for_writepage(wbc, folio);
			folio_unlock(folio);
			*more = true;
			continue;
		}
		folio_start_writeback(folio);
		folio_unlock(folio);
		err = fr_folio_write(fi, folio, min_t(u64, folio_size(folio),
						      size - folio_pos(folio)));
		folio_end_writeback(folio);
		if (err)
			mapping_set_error(mapping, err);
	}
	return err;
}

/* How many folios, from the @i'th on, lie side by side and take the server? */
static unsigned int fr_folios_run(struct fr_inode *fi,
				  struct folio_batch *batch,
				  unsigned int i)
{
	unsigned int n = 0;

	for (; i < folio_batch_count(batch); i++, n++) {
		struct folio *folio = batch->folios[i];

		if (n && folio->index !=
			 folio_next_index(batch->folios[i - 1]))
			break;
		if (fr_folio_bound(fi, folio))
			break;
	}
	return n;
}

/*
 * FUSE gave up for want of memory. It leaves clean what it has not sent, and
 * says so to nobody but its caller: the bytes would be lost.
 */
static void fr_folio_redirty(struct address_space *mapping, struct folio *folio)
{
	folio_lock(folio);
	if (folio->mapping == mapping && !folio_test_dirty(folio))
		mapping->a_ops->dirty_folio(mapping, folio);
	folio_unlock(folio);
}

/*
 * Have FUSE write back some folios side by side that take the server, and no
 * other. They are held, so that none of them is stored into after it was bound,
 * and goes to the server then.
 */
static int fr_writepages_run(struct fr_inode *fi, struct address_space *mapping,
			     struct writeback_control *wbc,
			     struct folio_batch *batch, unsigned int i,
			     unsigned int n)
{
	struct folio *last = batch->folios[i + n - 1];
	u64 start = folio_pos(batch->folios[i]);
	struct fr_hold hold;
	int err = 0;

	fr_hold_begin(fi, &hold, start, fr_folio_last(last), FR_HOLD_BACK);
	n = fr_folios_run(fi, batch, i);
	if (n) {
		last = batch->folios[i + n - 1];
		wbc->range_start = start;
		wbc->range_end = fr_folio_last(last);
		err = fr_orig_aops->writepages(mapping, wbc);
		for (; err == -ENOMEM && n; i++, n--)
			fr_folio_redirty(mapping, batch->folios[i]);
	}
	fr_hold_end(fi, &hold);
	return err;
}

static int fr_writepages_rest(struct fr_inode *fi,
			      struct address_space *mapping,
			      struct writeback_control *wbc)
{
	struct writeback_control all = *wbc;
	struct folio_batch batch;
	pgoff_t next = 0, last = FR_LAST_MAX >> PAGE_SHIFT;
	unsigned int i, n;
	int err = 0;

	if (!all.range_cyclic) {
		next = all.range_start >> PAGE_SHIFT;
		last = all.range_end >> PAGE_SHIFT;
	}
	wbc->range_cyclic = 0;
	folio_batch_init(&batch);
	while (!err && filemap_get_folios_tag(mapping, &next, last,
					      PAGECACHE_TAG_DIRTY, &batch)) {
		for (i = 0; !err && i < folio_batch_count(&batch); i += n ?: 1) {
			n = fr_folios_run(fi, &batch, i);
			if (n)
				err = fr_writepages_run(fi, mapping, wbc,
							&batch, i, n);
		}
		folio_batch_release(&batch);
		cond_resched();
	}
	wbc->range_start = all.range_start;
	wbc->range_end = all.range_end;
	wbc->range_cyclic = all.range_cyclic;
	return err;
}

/* Also called by the flusher, without any file: see fr_pending in main.c. */
static int fr_writepages(struct address_space *mapping,
			 struct writeback_control *wbc)
{
	long nr_to_write = wbc->nr_to_write;
	struct fr_inode *fi;
	bool more = false;
	int err;

	atomic_inc(&fr_pending);
	fi = fr_inode_find(mapping->host);
	/* What is dirty since before the last region went is FUSE's, with care */
	if (fi && (fr_load_root(fi->map.root) ||
		   fr_held_bound(fi, 0, FR_LAST_MAX))) {
		err = fr_writepages_bound(fi, mapping, wbc, &more);
		if (more) {
			wbc->nr_to_write = nr_to_write;
			fr_cache_sent_back(fi);
			err = fr_writepages_rest(fi, mapping, wbc) ?: err;
		}
	} else {
		if (fi)
			fr_cache_sent_back(fi);
		err = fr_orig_aops->writepages(mapping, wbc);
	}
	if (fi)
		fr_inode_put(fi);
	fr_pending_done();
	return err;
}

/* Write back a dirty folio that is all bound, and about to be dropped. */
static int fr_folio_launder(struct fr_inode *fi, struct folio *folio)
{
	u64 size = i_size_read(fi->inode), pos = folio_pos(folio);
	int err;

	if (pos >= size || !folio_clear_dirty_for_io(folio))
		return 0;
	err = fr_folio_write(fi, folio,
			     min_t(u64, folio_size(folio), size - pos));
	/* It stays, for whoever drops it may tell nobody */
	if (err)
		folio->mapping->a_ops->dirty_folio(folio->mapping, folio);
	return err;
}

/*
 * A dirty page is about to be dropped. What is dropped because a region came is
 * the server's, whose page it was. What is dropped because of a write has been
 * stored into since, and stays. Anything else is FUSE's wish.
 */
static int fr_launder_folio(struct folio *folio)
{
	enum fr_hold_why why = FR_DROP_BOUND;
	struct fr_inode *fi;
	int err;

	atomic_inc(&fr_pending);
	fi = fr_inode_find(folio->mapping->host);
	if (fi)
		why = fr_drop_why(fi);
	if (why == FR_DROP_WRITTEN) {
		err = -EBUSY;
	} else if (why != FR_DROP_BOUND && fr_load_root(fi->map.root) &&
		   fr_folio_bound(fi, folio)) {
		err = fr_folio_launder(fi, folio);
	} else {
		if (fi)
			fr_cache_sent_back(fi);
		err = fr_orig_aops->launder_folio(folio);
		if (err == -ENOMEM)	/* as in fr_folio_redirty() */
			folio->mapping->a_ops->dirty_folio(folio->mapping,
							   folio);
	}
	if (fi)
		fr_inode_put(fi);
	fr_pending_done();
	return err;
}

/* Before the first region is published: from now on mappings see regions. */
void fr_cache_take_over(struct fr_inode *fi)
{
	struct address_space *mapping = fi->inode->i_mapping;

	lockdep_assert_held(&fi->map_lock);
	if (mapping->a_ops == &fr_aops)
		return;
	spin_lock(&fr_aops_lock);
	if (!fr_orig_aops) {
		fr_orig_aops = mapping->a_ops;
		fr_aops = *fr_orig_aops;
		fr_aops.read_folio = fr_read_folio;
		fr_aops.readahead = fr_readahead;
		fr_aops.writepages = fr_writepages;
		fr_aops.launder_folio = fr_launder_folio;
	}
	spin_unlock(&fr_aops_lock);
	WRITE_ONCE(mapping->a_ops, &fr_aops);
	/* Begun before that */
	if (fr_fuse_in_writeback(fi->inode))
		fr_cache_sent_back(fi);
}

/* The inode has neither files nor regions any more. Any context. */
void fr_cache_give_back(struct fr_inode *fi)
{
	struct address_space *mapping = fi->inode->i_mapping;

	if (mapping->a_ops == &fr_aops)
		WRITE_ONCE(mapping->a_ops, fr_orig_aops);
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
	if (filemap_range_needs_writeback(mapping, start, last)) {
		if (nowait)
			return -EAGAIN;
		err = filemap_write_and_wait_range(mapping, start, last);
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
