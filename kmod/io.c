// SPDX-License-Identifier: GPL-2.0
/* See io.h for what this is. */

#include <linux/slab.h>
#include <linux/uio.h>

#include "cut.h"
#include "fuse.h"
#include "io.h"

#define FR_IO_TRIES	32	/* of faulting in without getting on */
#define FR_IO_ANEW	8	/* states of the map that a read begins anew with */

/* Remember that the server was asked for [@first, @last]. */
static int fr_io_add_span(struct fr_io *io, u64 first, u64 last)
{
	struct fr_span *more;

	if (io->nr && io->span[io->nr - 1].last + 1 == first) {
		io->span[io->nr - 1].last = last;
		return 0;
	}
	if (io->nr == io->max) {
		more = kvmalloc_array(2 * io->max, sizeof(*more), GFP_KERNEL);
		if (!more)
			return -ENOMEM;
		memcpy(more, io->span, io->nr * sizeof(*more));
		if (io->span != io->own)
			kvfree(io->span);
		io->span = more;
		io->max *= 2;
	}
	io->span[io->nr++] = (struct fr_span){ first, last };
	return 0;
}

/*
 * Reduce @gap to its first run of bytes that were not served; false when there
 * is none. Served spans are in no order, for the map may have changed.
 */
static bool fr_io_cut_served(const struct fr_io *io, struct fr_piece *gap)
{
	u64 pos = gap->pos, last = gap->last;
	unsigned int i;

	for (i = 0; i < io->nr; i++) {
		const struct fr_span *span = &io->span[i];

		if (span->first > pos || span->last < pos)
			continue;
		pos = span->last + 1;
		if (pos > last)
			return false;
		i = -1;		/* one looked at before may go on here */
	}
	for (i = 0; i < io->nr; i++)
		if (io->span[i].first > pos && io->span[i].first <= last)
			last = io->span[i].first - 1;
	gap->pos = pos;
	gap->last = last;
	return true;
}

/* The first gap that the server has not been asked for. */
static bool fr_io_find_gap(struct fr_io *io, const struct fr_node *root,
			   struct fr_piece *gap)
{
	u64 end = io->pos + io->limit;
	struct fr_cut cut;

	if (io->scan >= end)
		return false;
	fr_cut_begin(&cut, root, io->scan, end - io->scan, io->access);
	while (fr_cut_next(&cut, gap)) {
		if (!gap->region && fr_io_cut_served(io, gap))
			return true;
		io->scan = gap->last + 1;
	}
	return false;
}

bool fr_io_has(struct fr_inode *fi, u64 start, u64 last, unsigned int access,
	       bool bound)
{
	const struct fr_node *root;
	struct fr_piece piece;
	struct fr_cut cut;
	bool has = false;
	int idx;
	u64 eof;

	idx = srcu_read_lock(&fi->conn->srcu);
	root = fr_load_root(fi->map.root);
	eof = fr_read_eof(fi, root);
	if (start < eof) {
		last = min(last, eof - 1);
		fr_cut_begin(&cut, root, start, last - start + 1, access);
		while (!has && fr_cut_next(&cut, &piece))
			has = !piece.region == !bound;
	}
	srcu_read_unlock(&fi->conn->srcu, idx);
	return has;
}

/*
 * Is a byte after @last bound? Then a gap that the server has no bytes for, not
 * having seen what comes behind it, is a hole.
 */
static bool fr_io_goes_on(const struct fr_io *io, u64 last)
{
	return fr_io_has(io->fi, last + 1, FR_LAST_MAX, io->access, true);
}

/* Have the server do a gap. What it does not do limits the whole I/O. */
static void fr_io_serve(struct fr_io *io, const struct fr_piece *gap)
{
	size_t len = gap->last - gap->pos + 1;
	struct iov_iter it = *io->iter;
	ssize_t ret = 0;
	int err = 0;

	if (io->bound)
		err = -FR_ECHANGED;
	else if (io->iocb->ki_flags & IOCB_NOWAIT)
		err = -EAGAIN;
	else
		err = fr_io_add_span(io, gap->pos, gap->last);
	if (!err) {
		iov_iter_advance(&it, gap->pos - io->pos);
		iov_iter_truncate(&it, len);
		if (io->fault)
			ret = fr_fuse_read_locked(io->iocb, gap->pos, &it);
		else if (io->access == FR_READ)
			ret = fr_read_gap(io->iocb, gap->pos, &it);
		else
			ret = fr_write_gap(io->iocb, gap->pos, &it);
		err = min_t(ssize_t, ret, 0);
		ret = max_t(ssize_t, ret, 0);
	}
	if (ret == len)
		return;
	if (!err && io->access == FR_READ && fr_io_goes_on(io, gap->last)) {
		/* FUSE may have left @it anywhere */
		it = *io->iter;
		iov_iter_advance(&it, gap->pos - io->pos + ret);
		ret += iov_iter_zero(len - ret, &it);
		if (ret == len)
			return;
		err = -EFAULT;
	}
	io->limit = gap->pos - io->pos + ret;
	io->served = io->limit;
	io->err = err;
}

/* Do the regions of the I/O from @done on, where @it stands, up to @stop. */
static int fr_io_regions(struct fr_io *io, const struct fr_node *root,
			 struct iov_iter *it, size_t *done, size_t stop)
{
	struct fr_piece piece;
	struct fr_cut cut;
	size_t len, n;
	int err = 0;

	if (*done >= stop)
		return 0;
	fr_cut_begin(&cut, root, io->pos + *done, stop - *done, io->access);
	while (!err && fr_cut_next(&cut, &piece)) {
		len = piece.last - piece.pos + 1;
		n = len;
		if (!piece.region)
			iov_iter_advance(it, len);
		else if (io->access == FR_READ)
			n = fr_read_region(piece.region, io->iocb, piece.pos,
					   it, len, &err);
		else
			n = fr_write_region(piece.region, io->iocb, piece.pos,
					    it, len, &err);
		*done += n;
	}
	return err;
}

/*
 * How far to go in one section of srcu. Not in several: a write, of which no
 * byte is to be where another state has something else; and a read that finds
 * another state each time, which would never end.
 */
static size_t fr_io_section(const struct fr_io *io, size_t done)
{
	if (io->access != FR_READ || io->anew > FR_IO_ANEW ||
	    io->limit - done <= FR_IO_SECTION)
		return io->limit;
	return done + FR_IO_SECTION;
}

/* A state of the map that this I/O has not seen: begin anew with it. */
static void fr_io_begin(struct fr_io *io, const struct fr_node *root)
{
	u64 eof;

	io->txn = fr_map_txn(root);
	io->scan = io->pos;
	if (io->access != FR_READ)
		return;
	eof = fr_read_eof(io->fi, root);
	if (io->pos >= eof)
		io->limit = 0;
	else
		io->limit = min_t(u64, io->served, eof - io->pos);
}

/*
 * Regions have been read, and now there is another state. What the server said
 * for bytes that were bound then is not in the buffer any more, and these may be
 * a gap again. What it was given of a write, it has.
 */
static void fr_io_anew(struct fr_io *io)
{
	io->anew++;
	if (io->access != FR_READ)
		return;
	io->nr = 0;
	io->served = io->want;
	io->err = 0;
}

/*
 * Is the file being truncated, or shorter than it was when somebody looked where
 * this write ends? Who extends it has the inode lock, and write-back must go on.
 */
static bool fr_io_cut_off(const struct fr_io *io, const struct fr_node *root)
{
	if (io->access == FR_READ || io->bound)
		return false;
	if (unlikely(fr_truncating(io->fi)))
		return true;
	return fr_read_eof(io->fi, root) < io->pos + io->want;
}

/*
 * Nothing could be faulted in: the address is bad. A part at a time, as all of it
 * may be more than there is memory: then what was first is gone at the end.
 */
static bool fr_io_fault_in(struct fr_io *io, struct iov_iter *it, size_t len)
{
	if (!user_backed_iter(it))
		return false;
	len = min_t(size_t, len, FR_IO_SECTION);
	if (io->access == FR_READ)
		return fault_in_iov_iter_writeable(it, len) < len;
	return fault_in_iov_iter_readable(it, len) < len;
}

ssize_t fr_io_run(struct fr_io *io)
{
	struct srcu_struct *srcu = &io->fi->conn->srcu;
	const struct fr_node *root;
	struct fr_piece gap;
	struct iov_iter it;
	size_t done = 0, before, stop;
	bool begun = false;
	int idx, err, tries = 0;

	io->limit = io->want;
	io->served = io->want;
	io->span = io->own;
	io->max = ARRAY_SIZE(io->own);
	for (;;) {
		idx = srcu_read_lock(srcu);
		root = fr_load_root(io->fi->map.root);
		if (!begun || fr_map_txn(root) != io->txn) {
			if (done)
				fr_io_anew(io);
			fr_io_begin(io, root);
			it = *io->iter;
			begun = true;
			done = 0;
		}
		if (fr_io_cut_off(io, root)) {
			srcu_read_unlock(srcu, idx);
			err = -FR_ECHANGED;
			done = 0;
			break;
		}
		if (fr_io_find_gap(io, root, &gap)) {
			srcu_read_unlock(srcu, idx);
			fr_io_serve(io, &gap);
			continue;
		}
		before = done;
		stop = fr_io_section(io, done);
		err = fr_io_regions(io, root, &it, &done, stop);
		srcu_read_unlock(srcu, idx);
		if (!err && stop < io->limit && !fatal_signal_pending(current))
			continue;
		/* Memory pressure may take pages again; some memory never comes */
		tries = done > before ? 0 : tries + 1;
		if (err != -EFAULT || tries > FR_IO_TRIES ||
		    fatal_signal_pending(current) ||
		    !fr_io_fault_in(io, &it, io->limit - done))
			break;
	}
	if (err)
		io->err = err;
	if (io->span != io->own)
		kvfree(io->span);
	return done ?: io->err;
}
