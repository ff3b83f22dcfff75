// SPDX-License-Identifier: GPL-2.0
/* The rare parts of doing I/O on a backing, see rw.h. */

#include <linux/bvec.h>
#include <linux/slab.h>

#include "rw.h"

void fr_iter_restore(struct iov_iter *it, struct fr_iter_mark mark, size_t count)
{
	/* Its place is more than the mark has; file systems do not cut it short */
	if (iov_iter_is_folioq(it)) {
		iov_iter_revert(it, count - iov_iter_count(it));
		return;
	}
	/* What a vector has lost at its front is what it has fewer of */
	if (iter_is_iovec(it))
		it->__iov -= mark.nr_segs - it->nr_segs;
	else if (iov_iter_is_kvec(it))
		it->kvec -= mark.nr_segs - it->nr_segs;
	else if (iov_iter_is_bvec(it))
		it->bvec -= mark.nr_segs - it->nr_segs;
	it->nr_segs = mark.nr_segs;
	it->iov_offset = mark.offset;
	it->count = count;
}

bool fr_rw_whole(struct fr_inode *fi, const struct fr_node *root,
		 const struct fr_region *r, u64 end)
{
	struct fr_backing *backing = fr_region_backing(r);

	if (!fr_rw_possible(r, end))
		return false;
	if (unlikely(r->last != FR_LAST_MAX))	/* it was cut */
		return end <= fr_read_eof(fi, root);
	/* It is the one whose backing says where the file ends */
	return fr_region_backing_pos(r, end) <=
	       i_size_read(file_inode(backing->file));
}

/* The buffer is pinned (dio.c): nothing in here faults. */
static ssize_t fr_rw_direct(struct kiocb *kiocb, struct iov_iter *iter,
			    unsigned int access)
{
	struct iov_iter save = *iter;
	ssize_t ret = fr_rw_call(kiocb->ki_filp, kiocb, iter, access);

	if (ret == -EINVAL) {
		/* The shift, or the buffer, does not suit direct I/O */
		*iter = save;
		kiocb->ki_flags &= ~IOCB_DIRECT;
		ret = fr_rw_call(kiocb->ki_filp, kiocb, iter, access);
	}
	return ret;
}

/* What goes to a task without a file size limit */
struct fr_rw_work {
	struct work_struct work;
	struct fr_backing *backing;
	struct kiocb *kiocb;
	struct iov_iter *iter;
	ssize_t ret;
};

static void fr_rw_work(struct work_struct *work)
{
	struct fr_rw_work *w = container_of(work, struct fr_rw_work, work);
	const struct cred *old = override_creds(w->backing->cred);

	w->ret = fr_rw_call(w->backing->file, w->kiocb, w->iter, FR_WRITE);
	revert_creds(old);
}

/*
 * The caller's limit on file sizes was checked against the FUSE file. The
 * backing would check it once more, against a position that has nothing to do
 * with it: let another task write, from a copy.
 */
static ssize_t fr_rw_unlimited(struct fr_backing *backing, struct kiocb *kiocb,
			       struct iov_iter *from)
{
	struct fr_rw_work w = { .backing = backing, .kiocb = kiocb };
	size_t len = min_t(size_t, iov_iter_count(from), PAGE_SIZE);
	struct iov_iter it;
	struct kvec kvec;
	size_t copied;

	kvec.iov_base = kmalloc(len, GFP_KERNEL);
	if (!kvec.iov_base)
		return -ENOMEM;
	copied = copy_from_iter(kvec.iov_base, len, from);
	if (!copied) {
		w.ret = -EFAULT;
		goto out;
	}
	kvec.iov_len = copied;
	iov_iter_kvec(&it, ITER_SOURCE, &kvec, 1, copied);
	kiocb->ki_flags &= ~(IOCB_DIRECT | IOCB_NOWAIT);
	w.iter = &it;
	INIT_WORK_ONSTACK(&w.work, fr_rw_work);
	queue_work(fr_write_wq, &w.work);
	flush_work(&w.work);
	destroy_work_on_stack(&w.work);
	iov_iter_revert(from, copied - max_t(ssize_t, w.ret, 0));
out:
	kfree(kvec.iov_base);
	return w.ret;
}

/* Would it wait for a thaw, or for another task? */
static bool fr_rw_write_waits(struct super_block *sb, loff_t pos, size_t len)
{
	if (fr_rw_over_limit(pos, len) || !sb_start_write_trylock(sb))
		return true;
	sb_end_write(sb);
	return false;
}

bool fr_rw_nowait(struct file *file, loff_t pos, size_t len, unsigned int access)
{
	return (file->f_mode & FMODE_NOWAIT) &&
	       (access == FR_READ ||
		!fr_rw_write_waits(file_inode(file)->i_sb, pos, len));
}

ssize_t fr_rw(struct fr_backing *backing, struct kiocb *iocb, loff_t pos,
	      struct iov_iter *iter, unsigned int access)
{
	struct file *file = backing->file;
	struct iov_iter save = *iter;
	struct kiocb kiocb = {
		.ki_filp = file,
		.ki_pos = pos,
		.ki_flags = backing->iocb_flags |
			    (iocb->ki_flags & FR_IOCB_FLAGS),
		.ki_ioprio = iocb->ki_ioprio,
	};
	const struct cred *old;
	ssize_t ret;

	if (!(file->f_mode & FMODE_CAN_ODIRECT))
		kiocb.ki_flags &= ~IOCB_DIRECT;
	if ((kiocb.ki_flags & IOCB_NOWAIT) &&
	    !fr_rw_nowait(file, pos, iov_iter_count(iter), access))
		return -EAGAIN;
	old = fr_override_creds(backing->cred);
	pagefault_disable();
	if (access == FR_WRITE && fr_rw_over_limit(pos, iov_iter_count(iter)))
		ret = fr_rw_unlimited(backing, &kiocb, iter);
	else if (kiocb.ki_flags & IOCB_DIRECT)
		ret = fr_rw_direct(&kiocb, iter, access);
	else
		ret = fr_rw_call(file, &kiocb, iter, access);
	pagefault_enable();
	fr_revert_creds(old);
	*iter = save;
	if (ret > 0)
		iov_iter_advance(iter, ret);
	return ret;
}
