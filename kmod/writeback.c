// SPDX-License-Identifier: GPL-2.0
/*
 * Write-back of FUSE's page cache of an inode with regions: what is bound goes
 * into its backing, and the rest to the server, as FUSE does it.
 */

#include <linux/bvec.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/sched/signal.h>
#include <linux/uio.h>
#include <linux/writeback.h>

#include "cache.h"
#include "compat.h"
#include "io.h"

/* Can a dirty folio be written back without the server, to where it belongs? */
static bool fr_folio_bound(struct fr_inode *fi, struct folio *folio)
{
	u64 start = folio_pos(folio), last = fr_folio_last(folio);

	return !fr_held_bound(fi, start, last) &&
	       fr_cache_writable(fi, start, last);
}

/* Write [@from, @to) of a folio. */
static int fr_folio_write_part(struct fr_inode *fi, struct folio *folio,
			       size_t from, size_t to)
{
	struct kiocb iocb = { .ki_pos = folio_pos(folio) + from };
	struct iov_iter it;
	struct bio_vec bv;
	ssize_t ret;

	bvec_set_folio(&bv, folio, to - from, from);
	iov_iter_bvec(&it, ITER_SOURCE, &bv, 1, to - from);
	/* What a write stopped at, the next one says */
	while (iov_iter_count(&it)) {
		struct fr_io io = {
			.fi = fi, .iocb = &iocb, .iter = &it,
			.pos = iocb.ki_pos, .want = iov_iter_count(&it),
			.access = FR_WRITE, .bound = true,
		};

		ret = fr_io_run(&io);
		if (ret <= 0)
			return ret ?: -EIO;
		iov_iter_advance(&it, ret);
		iocb.ki_pos += ret;
	}
	return 0;
}

/* The first byte of [@from, @to) that is zero, or that is not; @to: none, or not in this page */
static size_t fr_folio_find(struct folio *folio, size_t from, size_t to,
			    bool zero)
{
	const char *p, *found;

	to = min(to, round_down(from, PAGE_SIZE) + PAGE_SIZE);
	if (from == to)
		return to;
	p = kmap_local_folio(folio, from);
	found = zero ? memchr(p, 0, to - from) : memchr_inv(p, 0, to - from);
	if (found)
		to = from + (found - p);
	kunmap_local(p);
	return to;
}

/*
 * Write the @len first bytes of a folio, which are all bound, and which nobody
 * else writes back; behind @filled only what was stored there. It is dirty again
 * where the backing was not to blame.
 */
static int fr_folio_write(struct fr_inode *fi, struct folio *folio, size_t len,
			  size_t filled)
{
	struct address_space *mapping = folio->mapping;
	size_t from, to = filled;
	int err;

	err = fr_folio_write_part(fi, folio, 0, filled);
	while (!err && to < len) {
		from = fr_folio_find(folio, to, len, false);
		to = fr_folio_find(folio, from, len, true);
		err = fr_folio_write_part(fi, folio, from, to);
	}
	fr_inode_set_written(fi);
	/* A byte of it was unbound just now, or this task is being killed */
	if (err == -FR_ECHANGED || (err && fatal_signal_pending(current))) {
		mapping->a_ops->dirty_folio(mapping, folio);
		return err == -FR_ECHANGED ? err : 0;
	}
	return err;
}

/* Write back what is bound, and leave the rest for FUSE's own writepages. */
static int fr_writepages_bound(struct fr_inode *fi,
			       struct address_space *mapping,
			       struct writeback_control *wbc, bool *more)
{
	struct folio *folio = NULL;
	size_t len, filled;
	int err = 0;

	while ((folio = writeback_iter(mapping, wbc, folio, &err))) {
		len = fr_cache_length(fi, folio, &filled);
		if (!len) {
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
		err = fr_folio_write(fi, folio, len, filled);
		folio_end_writeback(folio);
		if (err == -FR_ECHANGED) {
			*more = true;
			err = 0;
		}
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
int fr_writepages(struct address_space *mapping, struct writeback_control *wbc)
{
	long nr_to_write = wbc->nr_to_write;
	struct fr_inode *fi;
	bool more = false;
	int err;

	atomic_inc(&fr_pending);
	fi = fr_inode_find(mapping->host);
	if (fi)
		fr_grow_flush(fi);
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
	size_t filled, len = fr_cache_length(fi, folio, &filled);
	int err;

	if (!len || !folio_clear_dirty_for_io(folio))
		return 0;
	err = fr_folio_write(fi, folio, len, filled);
	if (err == -FR_ECHANGED)	/* dirty again, and not to be dropped */
		return -EBUSY;
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
int fr_launder_folio(struct folio *folio)
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
