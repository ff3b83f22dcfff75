// SPDX-License-Identifier: GPL-2.0
/*
 * Reading.
 *
 * A read inside one region, the common case, takes fr_conn.srcu, finds the
 * region, reads the backing, and is done. Everything else is fr_read_cut():
 *
 *   1. gaps first, each by a request to the server, without fr_conn.srcu,
 *      for the server may unbind before it answers;
 *   2. then all regions under fr_conn.srcu at once, from one root.
 *
 * The read counts only when the root of step 2 is the one whose gaps step 1
 * read, so that it sees all of a message or nothing of it; else it starts
 * over. A server that changes the map faster than it answers is not raced for
 * ever: it is then asked for the whole range, and bound bytes are laid over.
 */

#include <linux/pagemap.h>
#include <linux/uaccess.h>
#include <linux/uio.h>

#include "cut.h"
#include "regions.h"

#define FR_READ_TRIES	8

/* Where the file ends for a read: the FUSE size, or what the backing says. */
u64 fr_read_eof(struct fr_inode *fi, const struct fr_node *root)
{
	const struct fr_region *tail = fr_map_whole_tail(root);
	struct fr_backing *backing;
	s64 eof;

	if (likely(!tail))
		return i_size_read(fi->inode);
	backing = fr_region_backing(tail);
	eof = i_size_read(file_inode(backing->file));
	eof += (s64)tail->start - (s64)tail->backing_start;
	return max_t(s64, eof, 0);
}

/*
 * One call of the backing's read_iter, as the server, with page faults off
 * (see regions.h). May read less than @to wants, and fail with -EFAULT where
 * the buffer has to be faulted in.
 */
ssize_t fr_backing_read(struct fr_backing *backing, struct kiocb *iocb,
			loff_t pos, struct iov_iter *to)
{
	struct file *file = backing->file;
	const struct cred *old;
	bool nofault = to->nofault;
	struct kiocb kiocb;
	ssize_t ret;

	init_sync_kiocb(&kiocb, file);
	kiocb.ki_flags &= ~(IOCB_APPEND | IOCB_DIRECT);
	kiocb.ki_flags |= iocb->ki_flags & (IOCB_NOWAIT | IOCB_DIRECT);
	kiocb.ki_pos = pos;
	if (!(file->f_mode & FMODE_CAN_ODIRECT))
		kiocb.ki_flags &= ~IOCB_DIRECT;
	if ((kiocb.ki_flags & IOCB_NOWAIT) && !(file->f_mode & FMODE_NOWAIT))
		return -EAGAIN;

	old = override_creds(backing->cred);
	pagefault_disable();
	to->nofault = true;
	ret = vfs_iocb_iter_read(file, &kiocb, to);
	if (unlikely(ret == -EINVAL && (kiocb.ki_flags & IOCB_DIRECT))) {
		/* The shift, or the buffer, does not suit direct I/O */
		kiocb.ki_flags &= ~IOCB_DIRECT;
		ret = vfs_iocb_iter_read(file, &kiocb, to);
	}
	to->nofault = nofault;
	pagefault_enable();
	revert_creds(old);
	return ret;
}

/* @len zeroes, with page faults off like fr_backing_read(). */
static ssize_t fr_read_zeroes(struct iov_iter *to, size_t len)
{
	size_t n;

	pagefault_disable();
	n = iov_iter_zero(len, to);
	pagefault_enable();
	return n ?: -EFAULT;
}

/*
 * Fill @len bytes of @to from @region, @pos being the file's position. Past
 * the backing's end there are zeroes. Returns how far it got; *@err says why
 * it got no further.
 */
static size_t fr_read_region(const struct fr_region *region,
			     struct kiocb *iocb, loff_t pos,
			     struct iov_iter *to, size_t len, int *err)
{
	struct fr_backing *backing = fr_region_backing(region);
	u64 from = fr_region_backing_pos(region, pos);
	size_t rest = iov_iter_count(to) - len;
	size_t done = 0;
	ssize_t ret;

	*err = 0;
	iov_iter_truncate(to, len);
	while (done < len) {
		ret = 0;
		/* A whole-file region may reach past what a file can have */
		if (likely(from + done <= FR_LAST_MAX))
			ret = fr_backing_read(backing, iocb, from + done, to);
		if (!ret)
			ret = fr_read_zeroes(to, len - done);
		if (ret < 0) {
			*err = ret;
			break;
		}
		done += ret;
	}
	iov_iter_reexpand(to, iov_iter_count(to) + rest);
	return done;
}

/**
 * struct fr_read_state - a read of several pieces
 * @fi:		the inode
 * @iocb:	the caller's
 * @to:		the caller's, untouched until the end
 * @pos:	first byte
 * @len:	bytes wanted, cut at the end of file
 * @limit:	bytes from @pos on that can be good: a gap failed behind them
 * @err:	why
 * @txn:	state of the map that the gaps were read for
 * @stale:	the map is in another state by now: start over
 * @overlay:	the server was asked for everything; any state will do
 * @got:	with @overlay: how many bytes it answered
 */
struct fr_read_state {
	struct fr_inode *fi;
	struct kiocb *iocb;
	struct iov_iter *to;
	loff_t pos;
	size_t len;
	size_t limit;
	int err;
	u64 txn;
	bool stale;
	bool overlay;
	size_t got;
};

/* Have the server fill @len bytes at @pos of the read; the bytes it filled. */
static size_t fr_read_gap(struct fr_read_state *st, loff_t pos, size_t len)
{
	struct file *file = st->iocb->ki_filp;
	struct iov_iter it = *st->to;
	struct kiocb kiocb;
	ssize_t ret;

	iov_iter_advance(&it, pos - st->pos);
	iov_iter_truncate(&it, len);
	init_sync_kiocb(&kiocb, file);
	kiocb.ki_flags |= IOCB_DIRECT;
	kiocb.ki_pos = pos;
	ret = file->f_mapping->a_ops->direct_IO(&kiocb, &it);
	if (ret < 0)
		st->err = ret;
	return max_t(ssize_t, ret, 0);
}

/* The first gap of the read at or after @pos, in the state st->txn. */
static bool fr_read_find_gap(struct fr_read_state *st, u64 pos,
			     struct fr_piece *gap)
{
	struct srcu_struct *srcu = &st->fi->conn->srcu;
	const struct fr_node *root;
	bool found = false;
	struct fr_cut cut;
	int idx;

	idx = srcu_read_lock(srcu);
	root = fr_load_root(st->fi->map.root);
	if (fr_map_txn(root) != st->txn) {
		st->stale = true;
		goto out;
	}
	fr_cut_begin(&cut, root, pos, st->pos + st->len - pos, FR_READ);
	while (!found && fr_cut_next(&cut, gap))
		found = !gap->region;
out:
	srcu_read_unlock(srcu, idx);
	return found;
}

/* Step 1. */
static void fr_read_gaps(struct fr_read_state *st)
{
	struct fr_piece gap;
	u64 pos = st->pos;
	size_t len, n;

	if (st->overlay) {
		st->got = fr_read_gap(st, st->pos, st->len);
		return;
	}
	while (pos < st->pos + st->len && fr_read_find_gap(st, pos, &gap)) {
		len = gap.last - gap.pos + 1;
		if (st->iocb->ki_flags & IOCB_NOWAIT) {
			st->err = -EAGAIN;
			n = 0;
		} else {
			n = fr_read_gap(st, gap.pos, len);
		}
		if (n < len) {
			st->limit = gap.pos - st->pos + n;
			return;
		}
		pos = gap.last + 1;
	}
}

/* How much of a gap @len bytes long, @done into the read, the server filled. */
static size_t fr_read_gap_good(const struct fr_read_state *st, size_t done,
			       size_t len)
{
	if (!st->overlay || done + len <= st->got)
		return len;
	return st->got > done ? st->got - done : 0;
}

/*
 * Step 2, from where @it stands, @done bytes into the read. -EFAULT: the
 * buffer wants to be faulted in.
 */
static int fr_read_regions(struct fr_read_state *st, struct iov_iter *it,
			   size_t *done)
{
	struct srcu_struct *srcu = &st->fi->conn->srcu;
	const struct fr_node *root;
	struct fr_piece piece;
	struct fr_cut cut;
	int idx, err = 0;
	size_t len, n;

	idx = srcu_read_lock(srcu);
	root = fr_load_root(st->fi->map.root);
	if (fr_map_txn(root) != st->txn) {
		st->stale = !st->overlay || *done;
		st->txn = fr_map_txn(root);
	}
	if (st->stale || *done >= st->limit)
		goto out;
	fr_cut_begin(&cut, root, st->pos + *done, st->limit - *done, FR_READ);
	while (!err && fr_cut_next(&cut, &piece)) {
		len = piece.last - piece.pos + 1;
		if (piece.region) {
			n = fr_read_region(piece.region, st->iocb, piece.pos,
					   it, len, &err);
		} else {
			n = fr_read_gap_good(st, *done, len);
			iov_iter_advance(it, n);
		}
		*done += n;
		if (n < len)
			break;
	}
out:
	srcu_read_unlock(srcu, idx);
	return err;
}

/* One attempt at a consistent read: bytes, or an error; see st->stale. */
static ssize_t fr_read_attempt(struct fr_read_state *st)
{
	struct iov_iter it = *st->to;
	size_t done = 0;
	size_t rest;
	int err = 0;

	st->limit = st->len;
	st->stale = false;
	st->err = 0;
	fr_read_gaps(st);
	while (!st->stale) {
		err = fr_read_regions(st, &it, &done);
		if (err != -EFAULT || !user_backed_iter(&it))
			break;
		rest = min(iov_iter_count(&it), st->limit - done);
		if (fault_in_iov_iter_writeable(&it, rest) == rest)
			break;	/* not one byte: a bad address */
	}
	return done ?: err ?: st->err;
}

/* A read that is not simply inside one region. */
static ssize_t fr_read_cut(struct fr_inode *fi, struct kiocb *iocb,
			   struct iov_iter *to)
{
	struct fr_read_state st = {
		.fi = fi, .iocb = iocb, .to = to, .pos = iocb->ki_pos,
	};
	const struct fr_node *root;
	ssize_t ret;
	int idx, tries;
	u64 eof;

	for (tries = 0;; tries++) {
		idx = srcu_read_lock(&fi->conn->srcu);
		root = fr_load_root(fi->map.root);
		st.txn = fr_map_txn(root);
		eof = fr_read_eof(fi, root);
		srcu_read_unlock(&fi->conn->srcu, idx);

		if (st.pos >= eof)
			return 0;
		st.len = min_t(u64, iov_iter_count(to), eof - st.pos);
		st.overlay = tries >= FR_READ_TRIES &&
			     !(iocb->ki_flags & IOCB_NOWAIT);
		ret = fr_read_attempt(&st);
		if (!st.stale)
			break;
		if (fatal_signal_pending(current))
			return -EINTR;
	}
	if (ret > 0) {
		iov_iter_advance(to, ret);
		iocb->ki_pos += ret;
	}
	return ret;
}

/* Read at iocb->ki_pos, at most to the end of file. */
ssize_t fr_read(struct fr_inode *fi, struct kiocb *iocb, struct iov_iter *to)
{
	size_t count = iov_iter_count(to);
	u64 pos = iocb->ki_pos;
	const struct fr_node *root;
	struct fr_piece piece;
	ssize_t ret;
	int idx;

	idx = srcu_read_lock(&fi->conn->srcu);
	root = fr_load_root(fi->map.root);
	fr_map_find(root, pos, &piece);
	if (unlikely(!piece.region || count - 1 > piece.last - pos ||
		     !(fr_region_flags(piece.region) & FR_READ) ||
		     pos + count > fr_read_eof(fi, root)))
		goto cut;

	if ((iocb->ki_flags & IOCB_DIRECT) && !is_sync_kiocb(iocb)) {
		ret = fr_aio_read(fi, iocb, to, piece.region);
	} else {
		ret = fr_backing_read(fr_region_backing(piece.region), iocb,
				      fr_region_backing_pos(piece.region, pos),
				      to);
	}
	srcu_read_unlock(&fi->conn->srcu, idx);
	if (likely(ret == (ssize_t)count)) {
		iocb->ki_pos = pos + ret;
		return ret;
	}
	if (ret == -EIOCBQUEUED)
		return ret;
	/* A fault in the buffer, a short backing, an error: start anew */
	iov_iter_revert(to, count - iov_iter_count(to));
	if (user_backed_iter(to))
		fault_in_iov_iter_writeable(to, count);
	return fr_read_cut(fi, iocb, to);

cut:
	srcu_read_unlock(&fi->conn->srcu, idx);
	return fr_read_cut(fi, iocb, to);
}

ssize_t fr_read_iter(struct kiocb *iocb, struct iov_iter *to)
{
	struct file *file = iocb->ki_filp;
	struct fr_inode *fi = fr_file_inode(file);
	int err;

	if (unlikely(!fi || !fr_load_root(fi->map.root))) {
		/* FUSE itself knows no NOWAIT: have the caller come back */
		if (iocb->ki_flags & IOCB_NOWAIT)
			return -EAGAIN;
		return fr_orig_fops->read_iter(iocb, to);
	}
	if (unlikely(!iov_iter_count(to)))
		return 0;
	if (unlikely(file->f_mapping->nrpages)) {
		/* Bytes written through a mapping are in FUSE's pages first */
		err = fr_cache_flush(iocb, iov_iter_count(to));
		if (err)
			return err;
	}
	return fr_read(fi, iocb, to);
}
