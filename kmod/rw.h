/* SPDX-License-Identifier: GPL-2.0 */
/*
 * One call of a backing's read_iter or write_iter: as the server, with page
 * faults off (see regions.h).
 *
 * VFS has checked the caller, his range, and LSM, for the FUSE file. Whether
 * the server may use the backing was asked when it registered it (backing.c),
 * so rw_verify_area() is not called here once more. Freeze protection and
 * notification are the backing's own, and are done.
 *
 * Inline, because each instruction here counts for every read and write.
 */
#ifndef FR_RW_H
#define FR_RW_H

#include <linux/fsnotify.h>
#include <linux/sched/signal.h>
#include <linux/uaccess.h>
#include <linux/uio.h>

#include "regions.h"

/* Of the caller's flags, those that a backing is to know; never IOCB_APPEND */
#define FR_IOCB_FLAGS	(IOCB_NOWAIT | IOCB_DSYNC | IOCB_SYNC | IOCB_DIRECT)

/* rw.c: what is rare */
int fr_rw_check_flags(struct file *file, struct kiocb *kiocb);
ssize_t fr_rw_unlimited(struct fr_backing *backing, struct kiocb *kiocb,
			struct iov_iter *from);

/* The access was checked when the region was bound. */
static __always_inline ssize_t fr_rw_call(struct file *file, struct kiocb *kiocb,
					  struct iov_iter *iter,
					  unsigned int access)
{
	ssize_t ret;

	if (access == FR_READ) {
		ret = file->f_op->read_iter(kiocb, iter);
		if (likely(ret >= 0))
			fsnotify_access(file);
		return ret;
	}
	file_start_write(file);
	ret = file->f_op->write_iter(kiocb, iter);
	file_end_write(file);
	if (likely(ret > 0))
		fsnotify_modify(file);
	return ret;
}

static inline bool fr_rw_over_limit(loff_t pos, size_t len)
{
	unsigned long limit = rlimit(RLIMIT_FSIZE);

	return unlikely(limit != RLIM_INFINITY) && pos + len > limit;
}

/*
 * Do @iter at @pos of the backing, on behalf of @iocb. May do less than @iter
 * holds, and fail with -EFAULT where the buffer has to be faulted in.
 */
static __always_inline ssize_t fr_rw(struct fr_backing *backing,
				     struct kiocb *iocb, loff_t pos,
				     struct iov_iter *iter, unsigned int access)
{
	struct file *file = backing->file;
	bool nofault = iter->nofault;
	const struct cred *old;
	struct kiocb kiocb = {
		.ki_filp = file,
		.ki_pos = pos,
		.ki_flags = backing->iocb_flags |
			    (iocb->ki_flags & FR_IOCB_FLAGS),
		.ki_ioprio = iocb->ki_ioprio,
	};
	ssize_t ret;

	if (unlikely(kiocb.ki_flags & (IOCB_DIRECT | IOCB_NOWAIT))) {
		ret = fr_rw_check_flags(file, &kiocb);
		if (ret)
			return ret;
	}
	if (access == FR_WRITE && fr_rw_over_limit(pos, iov_iter_count(iter)))
		return fr_rw_unlimited(backing, &kiocb, iter);

	old = override_creds(backing->cred);
	pagefault_disable();
	iter->nofault = true;
	ret = fr_rw_call(file, &kiocb, iter, access);
	if (unlikely(ret == -EINVAL && (kiocb.ki_flags & IOCB_DIRECT))) {
		/* The shift, or the buffer, does not suit direct I/O */
		kiocb.ki_flags &= ~IOCB_DIRECT;
		ret = fr_rw_call(file, &kiocb, iter, access);
	}
	iter->nofault = nofault;
	pagefault_enable();
	revert_creds(old);
	return ret;
}

#endif /* FR_RW_H */
