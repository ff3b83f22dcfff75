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

#include "compat.h"
#include "regions.h"

/* Of the caller's flags, those that a backing is to know; never IOCB_APPEND */
#define FR_IOCB_FLAGS	(IOCB_NOWAIT | IOCB_DSYNC | IOCB_SYNC | IOCB_DIRECT)

/* rw.c: what is rare */
int fr_rw_check_flags(struct file *file, int *flags);
ssize_t fr_rw_direct(struct kiocb *kiocb, struct iov_iter *iter,
		     unsigned int access);
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

/* @file can do what @flags ask for, or -EAGAIN; may take IOCB_DIRECT back. */
static inline int fr_rw_flags(struct file *file, int *flags)
{
	if (likely(!(*flags & (IOCB_DIRECT | IOCB_NOWAIT))))
		return 0;
	return fr_rw_check_flags(file, flags);
}

/*
 * Do @iter at @pos of the backing, on behalf of @iocb, which is a synchronous
 * one: it is lent to the backing for the time of the call, for nobody looks at
 * it later. May do less than @iter holds, and fail with -EFAULT where the
 * buffer has to be faulted in.
 */
static __always_inline ssize_t fr_rw_sync(struct fr_backing *backing,
					  struct kiocb *iocb, loff_t pos,
					  struct iov_iter *iter,
					  unsigned int access)
{
	struct file *user_file = iocb->ki_filp, *file = backing->file;
	loff_t user_pos = iocb->ki_pos;
	int user_flags = iocb->ki_flags;
	const struct cred *old;
	ssize_t ret;
	int flags;

	flags = backing->iocb_flags | (user_flags & FR_IOCB_FLAGS);
	ret = fr_rw_flags(file, &flags);
	if (unlikely(ret))
		return ret;
	iocb->ki_filp = file;
	iocb->ki_pos = pos;
	iocb->ki_flags = flags;
	old = fr_override_creds(backing->cred);
	pagefault_disable();
	if (access == FR_WRITE && fr_rw_over_limit(pos, iov_iter_count(iter)))
		ret = fr_rw_unlimited(backing, iocb, iter);
	else if (unlikely(flags & IOCB_DIRECT))
		ret = fr_rw_direct(iocb, iter, access);
	else
		ret = fr_rw_call(file, iocb, iter, access);
	pagefault_enable();
	fr_revert_creds(old);
	iocb->ki_filp = user_file;
	iocb->ki_pos = user_pos;
	iocb->ki_flags = user_flags;
	return ret;
}

/*
 * The same for any caller: the backing completes it before this returns, and
 * @iter has advanced by what is returned, also where the backing went further
 * before it failed.
 */
static inline ssize_t fr_rw(struct fr_backing *backing, struct kiocb *iocb,
			    loff_t pos, struct iov_iter *iter,
			    unsigned int access)
{
	size_t count = iov_iter_count(iter);
	struct kiocb sync = {
		.ki_filp = iocb->ki_filp,
		.ki_flags = iocb->ki_flags,
		.ki_ioprio = iocb->ki_ioprio,
	};
	ssize_t ret = fr_rw_sync(backing, &sync, pos, iter, access);

	iov_iter_revert(iter, count - iov_iter_count(iter) -
			      max_t(ssize_t, ret, 0));
	return ret;
}

#endif /* FR_RW_H */
