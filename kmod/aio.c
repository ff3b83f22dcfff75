// SPDX-License-Identifier: GPL-2.0
/*
 * Direct I/O inside one region that the caller does not wait for: the backing
 * completes it, and the completion speaks of the FUSE file again.
 */

#include <linux/file.h>
#include <linux/slab.h>
#include <linux/uio.h>

#include "dio.h"
#include "rw.h"

/**
 * struct fr_aio - an I/O under way
 * @iocb:	the backing's
 * @count:	references: of who started it, until the backing has returned,
 *		and of who completes it, maybe before that
 * @orig:	the caller's; its file keeps the fr_inode and the fr_conn alive
 * @fi:		the inode; its fr_conn's srcu is held until completion
 * @idx:	for srcu_up_read()
 * @watched:	the backing's file, when somebody is to be told of the I/O
 * @write:	which way
 * @dio:	its buffer, when that was user memory
 * @res:	result, while @work is queued
 * @work:	completes it where it may sleep: pages are unpinned, or dropped
 */
struct fr_aio {
	struct kiocb iocb;
	refcount_t count;
	struct kiocb *orig;
	struct fr_inode *fi;
	int idx;
	struct file *watched;
	bool write;
	struct fr_dio *dio;
	long res;
	struct work_struct work;
};

static struct kmem_cache *fr_aio_cache;

static void fr_aio_put(struct fr_aio *aio)
{
	if (refcount_dec_and_test(&aio->count))
		kmem_cache_free(fr_aio_cache, aio);
}

/* What waits for pages, whose holders may wait for a server that binds. */
static void fr_aio_work(struct work_struct *work)
{
	struct fr_aio *aio = container_of(work, struct fr_aio, work);
	struct kiocb *orig = aio->orig;
	long res = aio->res;

	if (aio->watched) {
		fr_rw_tell(aio->watched, aio->write ? FR_WRITE : FR_READ);
		fput(aio->watched);
	}
	if (aio->write && res > 0)
		fr_write_done(aio->fi, orig->ki_pos, res);
	if (aio->dio)
		fr_dio_unpin(aio->dio);
	fr_aio_put(aio);
	if (res > 0)
		orig->ki_pos += res;
	orig->ki_complete(orig, res);
}

/*
 * Any context. iocb->ki_pos is the backing's: only the count is of use. The
 * backing is done with, and who waits for that does not wait for the rest.
 */
static void fr_aio_complete(struct kiocb *iocb, long res)
{
	struct fr_aio *aio = container_of(iocb, struct fr_aio, iocb);

	aio->res = res;
	if (res > 0 && unlikely(fr_rw_watched(iocb->ki_filp)))
		aio->watched = get_file(iocb->ki_filp);
	if (aio->write)
		kiocb_end_write(iocb);
	srcu_up_read(&aio->fi->conn->srcu, aio->idx);
	queue_work(fr_io_wq, &aio->work);
}

static ssize_t fr_aio_start(struct fr_inode *fi, struct kiocb *iocb,
			    struct iov_iter *iter,
			    const struct fr_region *region, unsigned int access)
{
	struct fr_backing *backing = fr_region_backing(region);
	struct file *file = backing->file;
	u64 pos = fr_region_backing_pos(region, iocb->ki_pos);
	const struct cred *old;
	struct fr_aio *aio;
	ssize_t ret;
	bool unseen;

	if (!(file->f_mode & FMODE_CAN_ODIRECT) ||
	    ((iocb->ki_flags & IOCB_NOWAIT) &&
	     !fr_rw_nowait(file, pos, iov_iter_count(iter), access)))
		return 0;
	/* What would not simply be done is not for here */
	if (access == FR_WRITE ? fr_rw_over_limit(pos, iov_iter_count(iter)) :
	    pos + iov_iter_count(iter) > i_size_read(file_inode(file)))
		return 0;
	aio = kmem_cache_alloc(fr_aio_cache, GFP_KERNEL_ACCOUNT);
	if (!aio)
		return -ENOMEM;
	refcount_set(&aio->count, 2);
	aio->orig = iocb;
	aio->fi = fi;
	aio->watched = NULL;
	aio->write = access == FR_WRITE;
	aio->dio = iocb->private;
	INIT_WORK(&aio->work, fr_aio_work);
	aio->idx = srcu_down_read(&fi->conn->srcu);
	/* overlayfs goes by IOCB_WRITE when a write is over */
	aio->iocb = (struct kiocb) {
		.ki_filp = file,
		.ki_pos = pos,
		.ki_flags = backing->iocb_flags | IOCB_DIRECT |
			    (iocb->ki_flags & FR_IOCB_FLAGS) |
			    (aio->write ? IOCB_WRITE : 0),
		.ki_ioprio = iocb->ki_ioprio,
		.ki_complete = fr_aio_complete,
	};

	unseen = fr_rw_unseen(file_inode(file)->i_sb);
	if (unseen)
		lockdep_off();
	old = fr_override_creds(backing->cred);
	if (aio->write) {
		kiocb_start_write(&aio->iocb);
		ret = file->f_op->write_iter(&aio->iocb, iter);
		if (ret != -EIOCBQUEUED)
			kiocb_end_write(&aio->iocb);
	} else {
		ret = file->f_op->read_iter(&aio->iocb, iter);
	}
	fr_revert_creds(old);
	if (unseen)
		lockdep_on();
	if (ret != -EIOCBQUEUED) {
		if (ret > 0 && unlikely(fr_rw_watched(file)))
			fr_rw_tell(file, access);
		srcu_up_read(&fi->conn->srcu, aio->idx);
		fr_aio_put(aio);	/* nobody completes it */
	}
	fr_aio_put(aio);
	return ret;
}

/*
 * An I/O that is not simply for fr_rw_fast(). Direct ones whose caller does not
 * wait are started; others are over on return. The caller holds srcu, and knows
 * that the I/O lies inside @region, which allows @access. -EIOCBQUEUED: under
 * way. Anything else: done, or not begun; nothing was told to @iocb of it.
 */
ssize_t fr_aio(struct fr_inode *fi, struct kiocb *iocb, struct iov_iter *iter,
	       const struct fr_region *region, unsigned int access)
{
	if ((iocb->ki_flags & IOCB_DIRECT) && !is_sync_kiocb(iocb))
		return fr_aio_start(fi, iocb, iter, region, access);
	return fr_rw(fr_region_backing(region), iocb,
		     fr_region_backing_pos(region, iocb->ki_pos), iter, access);
}

int fr_aio_init(void)
{
	fr_aio_cache = kmem_cache_create("fuse_regions_aio",
					 sizeof(struct fr_aio), 0,
					 SLAB_HWCACHE_ALIGN, NULL);
	return fr_aio_cache ? 0 : -ENOMEM;
}

void fr_aio_exit(void)
{
	kmem_cache_destroy(fr_aio_cache);
}
