// SPDX-License-Identifier: GPL-2.0
/*
 * Direct I/O inside one region that the caller does not wait for: the backing
 * completes it, and the completion speaks of the FUSE file again.
 */

#include <linux/slab.h>
#include <linux/uio.h>

#include "regions.h"

/**
 * struct fr_aio - an I/O under way
 * @iocb:	the backing's
 * @orig:	the caller's; its file keeps the fr_inode and the fr_conn alive
 * @conn:	whose srcu is held until completion
 * @idx:	for srcu_up_read()
 */
struct fr_aio {
	struct kiocb iocb;
	struct kiocb *orig;
	struct fr_conn *conn;
	int idx;
};

static struct kmem_cache *fr_aio_cache;

static void fr_aio_free(struct fr_aio *aio)
{
	srcu_up_read(&aio->conn->srcu, aio->idx);
	kmem_cache_free(fr_aio_cache, aio);
}

/* Any context. iocb->ki_pos is the backing's: only the count is of use. */
static void fr_aio_complete(struct kiocb *iocb, long res)
{
	struct fr_aio *aio = container_of(iocb, struct fr_aio, iocb);
	struct kiocb *orig = aio->orig;

	fr_aio_free(aio);
	if (res > 0)
		orig->ki_pos += res;
	orig->ki_complete(orig, res);
}

/*
 * The caller holds srcu, and knows that the read lies inside @region.
 * -EIOCBQUEUED: under way. Anything else: done, or not begun; nothing of it
 * has been told to the caller's iocb.
 */
ssize_t fr_aio_read(struct fr_inode *fi, struct kiocb *iocb,
		    struct iov_iter *to, const struct fr_region *region)
{
	struct fr_backing *backing = fr_region_backing(region);
	struct file *file = backing->file;
	const struct cred *old;
	struct fr_aio *aio;
	ssize_t ret;

	if (!(file->f_mode & FMODE_CAN_ODIRECT) ||
	    ((iocb->ki_flags & IOCB_NOWAIT) && !(file->f_mode & FMODE_NOWAIT)))
		return 0;
	aio = kmem_cache_alloc(fr_aio_cache, GFP_KERNEL_ACCOUNT);
	if (!aio)
		return -ENOMEM;
	aio->orig = iocb;
	aio->conn = fi->conn;
	aio->idx = srcu_down_read(&fi->conn->srcu);
	init_sync_kiocb(&aio->iocb, file);
	aio->iocb.ki_flags &= ~IOCB_APPEND;
	aio->iocb.ki_flags |= IOCB_DIRECT | (iocb->ki_flags & IOCB_NOWAIT);
	aio->iocb.ki_ioprio = iocb->ki_ioprio;
	aio->iocb.ki_pos = fr_region_backing_pos(region, iocb->ki_pos);
	aio->iocb.ki_complete = fr_aio_complete;

	old = override_creds(backing->cred);
	to->nofault = true;	/* see regions.h */
	ret = vfs_iocb_iter_read(file, &aio->iocb, to);
	to->nofault = false;
	revert_creds(old);
	if (ret != -EIOCBQUEUED)
		fr_aio_free(aio);
	return ret;
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
