// SPDX-License-Identifier: GPL-2.0
/* The rare parts of doing I/O on a backing, see rw.h. */

#include <linux/slab.h>

#include "rw.h"

int fr_rw_check_flags(struct file *file, int *flags)
{
	if (!(file->f_mode & FMODE_CAN_ODIRECT))
		*flags &= ~IOCB_DIRECT;
	if ((*flags & IOCB_NOWAIT) && !(file->f_mode & FMODE_NOWAIT))
		return -EAGAIN;
	return 0;
}

/* The buffer is pinned (dio.c): nothing in here faults. */
ssize_t fr_rw_direct(struct kiocb *kiocb, struct iov_iter *iter,
		     unsigned int access)
{
	size_t count = iov_iter_count(iter);
	ssize_t ret = fr_rw_call(kiocb->ki_filp, kiocb, iter, access);

	if (ret == -EINVAL) {
		/* The shift, or the buffer, does not suit direct I/O */
		iov_iter_revert(iter, count - iov_iter_count(iter));
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
ssize_t fr_rw_unlimited(struct fr_backing *backing, struct kiocb *kiocb,
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
	queue_work(fr_wq, &w.work);
	flush_work(&w.work);
	destroy_work_on_stack(&w.work);
	iov_iter_revert(from, copied - max_t(ssize_t, w.ret, 0));
out:
	kfree(kvec.iov_base);
	return w.ret;
}
