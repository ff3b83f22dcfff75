// SPDX-License-Identifier: GPL-2.0
/*
 * Writing.
 *
 * Inside the file's size, bytes of regions with WRITE go to their backings,
 * without the inode lock: the backing's file system decides what may run side
 * by side. Other bytes go to the server, through FUSE's own write, which takes
 * the inode lock; so none of this may hold it then.
 *
 * Past the file's size, the bytes go to the server, so that size and data
 * change together; unless the region is whole-file or was bound with GROW:
 * then the size is changed here, under the inode lock, which is also where
 * O_APPEND finds out where to write.
 */

#include "dio.h"
#include "fuse.h"
#include "io.h"
#include "rw.h"

/* What else changes when a write that held no pages is over. May sleep. */
void fr_write_done(struct fr_inode *fi, loff_t pos, size_t len)
{
	fr_inode_set_written(fi);
	if (unlikely(fr_cache_has_pages(fi->inode->i_mapping)))
		fr_drop(fi, pos, pos + len - 1, FR_DROP_WRITTEN);
}

size_t fr_write_region(const struct fr_region *region, struct kiocb *iocb,
		       loff_t pos, struct iov_iter *from, size_t len, int *err)
{
	struct fr_backing *backing = fr_region_backing(region);
	u64 to = fr_region_backing_pos(region, pos);
	size_t rest = iov_iter_count(from) - len;
	size_t done = 0;
	ssize_t ret;

	*err = 0;
	iov_iter_truncate(from, len);
	while (done < len) {
		ret = -EFBIG;
		if (likely(to + done <= FR_LAST_MAX))
			ret = fr_rw(backing, iocb, to + done, from, FR_WRITE);
		if (ret <= 0) {
			*err = ret ?: -EIO;
			break;
		}
		done += ret;
	}
	iov_iter_reexpand(from, iov_iter_count(from) + rest);
	return done;
}

/*
 * Have FUSE's own write do it, uncached: a write that stayed in FUSE's page
 * cache could not be seen by a read that goes to a backing, and a page with a
 * region in it must not become dirty.
 */
ssize_t fr_write_gap(struct kiocb *iocb, loff_t pos, struct iov_iter *from)
{
	struct file *file = iocb->ki_filp;
	struct kiocb kiocb;
	ssize_t ret;

	init_sync_kiocb(&kiocb, file);
	kiocb.ki_flags = iocb->ki_flags | IOCB_DIRECT;
	kiocb.ki_pos = pos;
	ret = fr_orig_fops->write_iter(&kiocb, from);
	if (iocb->ki_flags & IOCB_APPEND)
		iocb->ki_pos = kiocb.ki_pos;
	return ret;
}

/*
 * A server that asked for HANDLE_KILLPRIV takes setuid and setgid away when it
 * sees the write. It does not see this one, so they are taken away for it.
 */
static int fr_write_remove_sxid(struct file *file)
{
	struct mnt_idmap *idmap = file_mnt_idmap(file);
	struct inode *inode = file_inode(file);
	struct iattr attr = { .ia_valid = ATTR_MODE | ATTR_FORCE };
	struct kstat stat;
	int kill, err;

	if (likely(!setattr_should_drop_suidgid(idmap, inode)))
		return 0;
	/* The rest of the mode is not to be set back */
	err = vfs_getattr(&file->f_path, &stat, STATX_MODE, AT_STATX_FORCE_SYNC);
	if (err)
		return err;
	kill = setattr_should_drop_suidgid(idmap, inode);
	if (!kill)
		return 0;
	attr.ia_mode = inode->i_mode;
	if (kill & ATTR_KILL_SUID)
		attr.ia_mode &= ~S_ISUID;
	if (kill & ATTR_KILL_SGID)
		attr.ia_mode &= ~S_ISGID;
	return notify_change(idmap, file_dentry(file), &attr, NULL);
}

/*
 * What a write does to an inode besides writing. Of a file's privileges only
 * the server knows (capabilities are an xattr), so it is asked, once after
 * each time that attributes were fetched.
 */
static int fr_write_prepare(struct kiocb *iocb, bool locked)
{
	struct file *file = iocb->ki_filp;
	struct inode *inode = file_inode(file);
	int err = 0;

	if (unlikely(!IS_NOSEC(inode))) {
		if (!locked)
			inode_lock(inode);
		err = file_remove_privs(file) ?: fr_write_remove_sxid(file);
		if (!err && !is_sxid(inode->i_mode))
			inode_set_flags(inode, S_NOSEC, S_NOSEC);
		if (!locked)
			inode_unlock(inode);
	}
	return err ?: file_update_time(file);
}

/*
 * The first @len bytes of @from, piece by piece. @bound: past the end of file,
 * under the inode lock, and not if that takes the server. -FR_ECHANGED: it does;
 * or the file is being truncated. Pages change from @start on.
 */
static ssize_t fr_write_cut(struct fr_inode *fi, struct kiocb *iocb,
			    struct iov_iter *from, size_t len, bool bound,
			    u64 start)
{
	u64 pos = iocb->ki_pos, last = pos + len - 1;
	struct fr_io io = {
		.fi = fi, .iocb = iocb, .iter = from, .pos = pos,
		.want = len, .access = FR_WRITE, .bound = bound,
	};
	struct fr_hold hold;
	ssize_t ret;

	fr_hold_begin(fi, &hold, start, last, FR_HOLD_WRITE);
	ret = fr_hold_flush(fi, start, last, bound);
	if (ret)
		goto out;
	ret = fr_io_run(&io);
	if (ret > 0) {
		fr_inode_set_written(fi);
		iov_iter_advance(from, ret);
		iocb->ki_pos += ret;
		/* First, for a page that is filled now ends where the file does */
		if (bound)
			fr_fuse_grow(fi->inode, iocb->ki_pos);
	}
	/* Bytes may be written that do not count, behind one that failed */
	fr_drop(fi, start, last, FR_DROP_WRITTEN);
out:
	fr_hold_end(fi, &hold);
	return ret;
}

/* All of @from, past the end of file that was at @eof, by the server. */
static ssize_t fr_write_past_gap(struct fr_inode *fi, struct kiocb *iocb,
				 struct iov_iter *from, u64 eof)
{
	bool append = iocb->ki_flags & IOCB_APPEND;
	struct fr_hold hold;
	ssize_t ret;

	ret = fr_grow_begin(fi, &hold, eof, false);
	if (ret)
		return ret;
	/* FUSE finds out where an append goes, maybe further behind by then */
	ret = fr_write_gap(iocb, iocb->ki_pos, from);
	if (ret > 0 && !append)
		iocb->ki_pos += ret;
	/* He may have put them where they are bound */
	if (ret > 0)
		fr_inode_set_written(fi);
	fr_grow_end(fi, &hold, eof, ret > 0 ? iocb->ki_pos : eof);
	return ret;
}

/* Would generic_write_checks() have anything to say, of a write up to @end? */
static __always_inline bool fr_write_wants_checks(const struct kiocb *iocb,
						  u64 end)
{
	if ((iocb->ki_flags & IOCB_APPEND) ||
	    fr_fsize_limit() != RLIM_INFINITY)
		return true;
	return end > MAX_NON_LFS && !(iocb->ki_filp->f_flags & O_LARGEFILE);
}

/*
 * All of @from, when it lies in one region with WRITE and inside the file's
 * size, and nothing stands in the way, pages of FUSE's cache that need care
 * (hold.c) among them. 0: something does, and nothing is done; @from is as it
 * was. @prepared: fr_write_prepare() has been called.
 */
static __always_inline ssize_t fr_write_fast(struct fr_inode *fi,
					     struct kiocb *iocb,
					     struct iov_iter *from,
					     bool prepared)
{
	const unsigned int no_care = S_NOSEC | S_NOCMTIME;
	struct srcu_struct *srcu = &fi->conn->srcu;
	struct fr_iter_mark mark = fr_iter_mark(from);
	size_t count = iov_iter_count(from);
	u64 pos = iocb->ki_pos, end = pos + count;
	const struct fr_region *r;
	const struct fr_node *root;
	ssize_t ret = 0;
	int idx;

	if (!prepared && unlikely((fi->inode->i_flags & no_care) != no_care))
		return 0;
	if (unlikely(fr_write_wants_checks(iocb, end)))
		return 0;
	idx = srcu_read_lock(srcu);
	root = fr_load_root(fi->map.root);
	/* Before the size is looked at, in fr_rw_region() */
	if (unlikely(fr_truncating(fi) || READ_ONCE(fi->stores)))
		goto out;
	r = fr_rw_region(fi, root, pos, end, FR_WRITE);
	if (unlikely(!r))
		goto out;
	if (likely(is_sync_kiocb(iocb) && !(iocb->ki_flags & FR_IOCB_SPECIAL)))
		ret = fr_rw_fast(fr_region_backing(r), iocb,
				 fr_region_backing_pos(r, pos), from, FR_WRITE);
	else
		ret = fr_aio(fi, iocb, from, r, FR_WRITE);
out:
	srcu_read_unlock(srcu, idx);
	if (likely(ret == (ssize_t)count)) {
		fr_write_done(fi, pos, count);
		iocb->ki_pos = end;
		return ret;
	}
	if (ret == -EIOCBQUEUED)
		return ret;
	iocb->ki_pos = pos;
	fr_iter_restore(from, mark, count);
	if (ret <= 0 || !(iocb->ki_flags & IOCB_NOWAIT))
		return 0;
	/* A part is written, and what would write the rest may wait */
	iov_iter_advance(from, ret);
	fr_write_done(fi, pos, ret);
	iocb->ki_pos += ret;
	return ret;
}

/*
 * The first @len bytes of @from, which end inside the file's size. @alone: no
 * others were written before, so that they may be under way on return.
 */
static ssize_t fr_write_inside(struct fr_inode *fi, struct kiocb *iocb,
			       struct iov_iter *from, size_t len, bool alone)
{
	ssize_t ret = fr_write_prepare(iocb, false);

	/* What stood in the way may be gone now */
	if (!ret && alone && len == iov_iter_count(from) &&
	    !fr_cache_busy(fi, iocb->ki_filp))
		ret = fr_write_fast(fi, iocb, from, true);
	return ret ?: fr_write_cut(fi, iocb, from, len, false, iocb->ki_pos);
}

/* Is [@pos, @pos + @len), all past the size, in a region that may extend it? */
static bool fr_write_grows(struct fr_inode *fi, u64 pos, size_t len)
{
	const struct fr_region *tail;
	const struct fr_node *root;
	struct fr_piece piece;
	unsigned int flags;
	bool grows = false;
	int idx;

	idx = srcu_read_lock(&fi->conn->srcu);
	root = fr_load_root(fi->map.root);
	tail = fr_map_whole_tail(root);
	fr_map_find(root, pos, &piece);
	if (piece.region && len - 1 <= piece.last - pos) {
		flags = fr_region_flags(piece.region);
		grows = (flags & FR_WRITE) &&
			((flags & FR_GROW) || piece.region == tail);
	}
	srcu_read_unlock(&fi->conn->srcu, idx);
	return grows;
}

/*
 * All of @from, from the end of file on: O_APPEND, or a position that is not
 * inside. -FR_ECHANGED: somebody extended the file, and it is inside by now.
 */
static ssize_t fr_write_past(struct fr_inode *fi, struct kiocb *iocb,
			     struct iov_iter *from)
{
	struct inode *inode = fi->inode;
	bool append = iocb->ki_flags & IOCB_APPEND;
	ssize_t ret;
	u64 eof;

	inode_lock(inode);
	eof = fr_eof(fi);
	ret = fr_grow_catch_up(fi, eof);
	if (ret)
		goto out;
	if (append)
		iocb->ki_pos = eof;
	ret = -FR_ECHANGED;
	if (iocb->ki_pos < eof)
		goto out;
	if (!fr_write_grows(fi, iocb->ki_pos, iov_iter_count(from))) {
		inode_unlock(inode);
		return fr_write_past_gap(fi, iocb, from, eof);
	}
	iocb->ki_flags &= ~IOCB_APPEND;
	ret = generic_write_checks(iocb, from);
	if (ret > 0)
		ret = fr_write_prepare(iocb, true) ?: ret;
	if (ret > 0)
		ret = fr_write_cut(fi, iocb, from, ret, true,
				   fr_grow_from(fi, eof, iocb->ki_pos));
	if (append)
		iocb->ki_flags |= IOCB_APPEND;
out:
	inode_unlock(inode);
	return ret;
}

/* Whoever makes the file shorter, or longer, has the inode lock. */
int fr_write_await_size(struct inode *inode)
{
	if (down_read_killable(&inode->i_rwsem))
		return -EINTR;
	up_read(&inode->i_rwsem);
	return fatal_signal_pending(current) ? -EINTR : 0;
}

/* From somewhere to somewhere: first what lies inside the size, then the rest. */
static ssize_t fr_write_any(struct fr_inode *fi, struct kiocb *iocb,
			    struct iov_iter *from)
{
	ssize_t done = 0, ret = 0;
	size_t inside;
	u64 eof;

	while (iov_iter_count(from)) {
		eof = fr_eof(fi);
		if (!(iocb->ki_flags & IOCB_APPEND) && iocb->ki_pos < eof) {
			inside = min_t(u64, iov_iter_count(from),
				       eof - iocb->ki_pos);
			ret = fr_write_inside(fi, iocb, from, inside, !done);
		} else {
			inside = iov_iter_count(from);
			ret = fr_write_past(fi, iocb, from);
		}
		if (ret == -FR_ECHANGED) {
			ret = fr_write_await_size(fi->inode);
			if (!ret)
				continue;
		}
		if (ret > 0)
			done += ret;
		if (ret != (ssize_t)inside)
			break;
	}
	/* An I/O under way is the whole write: it began with nothing done */
	return done ?: ret;
}

/*
 * A write holds pages, and stores into these wait for it: they are not to wait
 * for who answers faults in its buffer, too. So the buffer is pinned, unless it
 * is large, or memory of a kind that cannot be. False: it was not, and nothing
 * is done. True: @ret is what the write said.
 */
static bool fr_write_pinned(struct fr_inode *fi, struct kiocb *iocb,
			    struct iov_iter *from, ssize_t *ret)
{
	size_t count = iov_iter_count(from);
	struct fr_dio *dio;
	struct iov_iter it;
	bool pinned;

	if (!user_backed_iter(from) || count > FR_DIO_COURTESY)
		return false;
	dio = fr_dio_pin(from, FR_WRITE);
	if (IS_ERR(dio))
		return false;
	pinned = dio->len == count;
	if (pinned) {
		iov_iter_bvec(&it, ITER_SOURCE, dio->bv, dio->nr, dio->len);
		*ret = fr_write_any(fi, iocb, &it);
		if (*ret > 0)
			iov_iter_advance(from, *ret);
	}
	fr_dio_unpin(dio);
	return pinned;
}

/* Not simply all in one region. Apart, for what it needs on the stack is much. */
static noinline ssize_t fr_write_rest(struct fr_inode *fi, struct kiocb *iocb,
				      struct iov_iter *from)
{
	ssize_t ret;

	if (iocb->ki_flags & IOCB_NOWAIT)
		return -EAGAIN;	/* what follows may wait anywhere */
	if (!(iocb->ki_flags & IOCB_APPEND)) {
		ret = generic_write_checks(iocb, from);
		if (ret <= 0)
			return ret;
	}
	if (READ_ONCE(fi->stores) && fr_write_pinned(fi, iocb, from, &ret))
		return ret;
	return fr_write_any(fi, iocb, from);
}

ssize_t fr_write(struct fr_inode *fi, struct kiocb *iocb, struct iov_iter *from)
{
	struct file *file = iocb->ki_filp;
	ssize_t ret;

	if (unlikely(IS_SYNC(fi->inode)))	/* mount -o sync */
		iocb->ki_flags |= IOCB_DSYNC | IOCB_SYNC;
	if (likely(!fr_cache_busy(fi, file))) {
		ret = fr_write_fast(fi, iocb, from, false);
		if (likely(ret))
			return ret;
	}
	return fr_write_rest(fi, iocb, from);
}

ssize_t fr_write_iter(struct kiocb *iocb, struct iov_iter *from)
{
	struct fr_inode *fi = fr_file_inode(iocb->ki_filp);

	if (unlikely(!fi || !fr_load_root(fi->map.root))) {
		if (iocb->ki_flags & IOCB_NOWAIT)
			return -EAGAIN;
		return fr_orig_fops->write_iter(iocb, from);
	}
	if (unlikely(!iov_iter_count(from)))
		return 0;
	if (unlikely(iocb->ki_flags & IOCB_DIRECT))
		return fr_dio(fi, iocb, from, FR_WRITE);
	return fr_write(fi, iocb, from);
}
