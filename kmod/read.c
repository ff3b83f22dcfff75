// SPDX-License-Identifier: GPL-2.0
/*
 * Reading. A read inside one region, the common case, takes fr_conn.srcu,
 * finds the region, reads the backing, and is done. Everything else is cut
 * into pieces, see io.h.
 */

#include <linux/pagemap.h>

#include "dio.h"
#include "fuse.h"
#include "io.h"
#include "rw.h"

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

/* The same, outside of srcu. */
u64 fr_eof(struct fr_inode *fi)
{
	int idx = srcu_read_lock(&fi->conn->srcu);
	u64 eof = fr_read_eof(fi, fr_load_root(fi->map.root));

	srcu_read_unlock(&fi->conn->srcu, idx);
	return eof;
}

/* @len zeroes, with page faults off like fr_rw(). */
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
size_t fr_read_region(const struct fr_region *region, struct kiocb *iocb,
		      loff_t pos, struct iov_iter *to, size_t len, int *err)
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
			ret = fr_rw(backing, iocb, from + done, to, FR_READ);
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

/*
 * A gap behind FUSE's size, which lags behind that of a whole-file region's
 * backing: FUSE would not ask the server.
 */
static ssize_t fr_read_gap_behind(struct kiocb *kiocb, struct iov_iter *to)
{
	struct iov_iter it = *to;
	int err = fr_cache_write(kiocb->ki_filp->f_mapping, 0, FR_LAST_MAX);

	return err ?: fr_fuse_read_locked(kiocb, kiocb->ki_pos, &it);
}

/*
 * Ask the server. Always uncached: what FUSE's page cache holds may be stale
 * as soon as a region next to the gap is written. @to stays as it is.
 */
ssize_t fr_read_gap(struct kiocb *iocb, loff_t pos, struct iov_iter *to)
{
	struct file *file = iocb->ki_filp;
	struct address_space *mapping = file->f_mapping;
	size_t count = iov_iter_count(to);
	struct iov_iter it = *to;
	struct kiocb kiocb;
	ssize_t ret, more;

	if (unlikely(fr_fuse_is_bad(file_inode(file))))
		return -EIO;
	init_sync_kiocb(&kiocb, file);
	kiocb.ki_flags |= IOCB_DIRECT;
	kiocb.ki_pos = pos;
	if (unlikely(pos + count > i_size_read(mapping->host)))
		return fr_read_gap_behind(&kiocb, to);
	ret = mapping->a_ops->direct_IO(&kiocb, &it);
	if (likely(ret < 0 || ret == count || !fr_cache_has_pages(mapping)))
		return ret;
	/* What makes the file longer may still wait to be written back */
	if (fr_cache_write(mapping, 0, FR_LAST_MAX))
		return ret;
	fr_fuse_wait_writeback(file_inode(file));
	kiocb.ki_pos = pos + ret;
	it = *to;
	iov_iter_advance(&it, ret);
	more = mapping->a_ops->direct_IO(&kiocb, &it);
	return more < 0 ? ret : ret + more;
}

static ssize_t fr_read_cut(struct fr_inode *fi, struct kiocb *iocb,
			   struct iov_iter *to)
{
	struct fr_io io = {
		.fi = fi, .iocb = iocb, .iter = to, .pos = iocb->ki_pos,
		.want = iov_iter_count(to), .access = FR_READ,
	};
	ssize_t ret = fr_io_run(&io);

	if (ret > 0) {
		iov_iter_advance(to, ret);
		iocb->ki_pos += ret;
	}
	return ret;
}

/*
 * FUSE itself knows no NOWAIT: have the caller come back. What its cache has may
 * be from when there were regions.
 */
static noinline ssize_t fr_read_orig(struct fr_inode *fi, struct kiocb *iocb,
				     struct iov_iter *to)
{
	if (iocb->ki_flags & IOCB_NOWAIT)
		return -EAGAIN;
	fr_hold_pass_old(fi, iocb->ki_pos, iov_iter_count(to));
	return fr_orig_fops->read_iter(iocb, to);
}

/* Not all in one region: in several, in a gap, or there is none at all. */
static noinline ssize_t fr_read_rest(struct fr_inode *fi, struct kiocb *iocb,
				     struct iov_iter *to)
{
	/* A direct one has a buffer of ours, which FUSE might use for longer */
	if (!fr_load_root(fi->map.root) && !(iocb->ki_flags & IOCB_DIRECT))
		return fr_read_orig(fi, iocb, to);
	return fr_read_cut(fi, iocb, to);
}

/* Whoever reads like that is not waited for but by an unbind. */
static bool fr_read_only_starts(struct kiocb *iocb)
{
	return (iocb->ki_flags & IOCB_DIRECT) && !is_sync_kiocb(iocb);
}

/*
 * Read at iocb->ki_pos, at most to the end of file. @special: with one of
 * FR_IOCB_SPECIAL, maybe.
 *
 * What a read inside one region costs beyond the backing's own: this function
 * and what it inlines. No allocation, no lock but srcu, no loop but those of
 * the lookup.
 */
static __always_inline ssize_t fr_read_fast(struct fr_inode *fi,
					    struct kiocb *iocb,
					    struct iov_iter *to, bool special)
{
	struct srcu_struct *srcu = &fi->conn->srcu;
	struct fr_iter_mark mark = fr_iter_mark(to);
	size_t count = iov_iter_count(to);
	u64 end = iocb->ki_pos + count;
	const struct fr_region *r;
	const struct fr_node *root;
	ssize_t ret = 0;
	int idx;

	idx = srcu_read_lock(srcu);
	root = fr_load_root(fi->map.root);
	r = fr_rw_region(fi, root, iocb->ki_pos, end, FR_READ);
	if (unlikely(!r))
		goto out;
	if (unlikely(count > FR_IO_SECTION) &&
	    !(special && fr_read_only_starts(iocb)))
		goto out;
	if (likely(!special && is_sync_kiocb(iocb)))
		ret = fr_rw_fast(fr_region_backing(r), iocb,
				 fr_region_backing_pos(r, iocb->ki_pos), to,
				 FR_READ);
	else if (count)
		ret = fr_aio(fi, iocb, to, r, FR_READ);
out:
	srcu_read_unlock(srcu, idx);
	if (likely(ret == (ssize_t)count)) {
		iocb->ki_pos = end;
		return ret;
	}
	if (ret == -EIOCBQUEUED)
		return ret;
	iocb->ki_pos = end - count;
	if (ret == -EAGAIN && (iocb->ki_flags & IOCB_NOWAIT))
		return ret;
	/* A gap; or a fault in the buffer, a short backing, an error: start anew */
	if (ret) {
		fr_iter_restore(to, mark, count);
		if (user_backed_iter(to))
			fault_in_iov_iter_writeable(to, min_t(size_t, count,
							      FR_IO_SECTION));
	}
	return fr_read_rest(fi, iocb, to);
}

ssize_t fr_read(struct fr_inode *fi, struct kiocb *iocb, struct iov_iter *to)
{
	return fr_read_fast(fi, iocb, to, true);
}

/* What a read in a region seldom is. */
static noinline ssize_t fr_read_special(struct kiocb *iocb, struct iov_iter *to)
{
	struct file *file = iocb->ki_filp;
	struct fr_inode *fi = fr_file_inode(file);
	int err;

	if (!fi || !fr_load_root(fi->map.root))
		return fr_read_orig(fi, iocb, to);
	if (!iov_iter_count(to))
		return 0;
	if (fr_cache_busy(fi, file)) {
		/* Bytes written through a mapping are in FUSE's pages first */
		err = fr_cache_flush(fi, iocb->ki_pos, (u64)iocb->ki_pos +
				     iov_iter_count(to) - 1,
				     iocb->ki_flags & IOCB_NOWAIT);
		if (err)
			return err;
	}
	if (iocb->ki_flags & IOCB_DIRECT)
		return fr_dio(fi, iocb, to, FR_READ);
	return fr_read(fi, iocb, to);
}

ssize_t fr_read_iter(struct kiocb *iocb, struct iov_iter *to)
{
	struct file *file = iocb->ki_filp;
	const struct file_operations *fops = READ_ONCE(file->f_op);
	struct fr_inode *fi = container_of(fops, struct fr_inode, fops);

	if (unlikely(fops == &fr_adopted_fops || fr_cache_busy(fi, file) ||
		     (iocb->ki_flags & FR_IOCB_SPECIAL)))
		return fr_read_special(iocb, to);
	return fr_read_fast(fi, iocb, to, false);
}
