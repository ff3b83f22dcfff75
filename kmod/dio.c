// SPDX-License-Identifier: GPL-2.0
/*
 * Direct I/O from and to user memory: the buffer's pages are pinned before
 * anything else, with faults on, and all that follows works on the pages.
 *
 * File systems differ in what they do about a page of the buffer that is not
 * there: some fault it in by themselves, which must not happen under srcu
 * (regions.h), some fail an I/O that is half under way. So they get a buffer
 * that is there.
 */

#include <linux/bvec.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/uio.h>

#include "dio.h"

#define FR_DIO_BATCH	32

static void fr_dio_add(struct fr_dio *dio, struct page **pages, size_t len,
		       size_t offset)
{
	size_t n;

	dio->len += len;
	for (; len; len -= n, offset = 0, pages++) {
		n = min_t(size_t, len, PAGE_SIZE - offset);
		bvec_set_page(&dio->bv[dio->nr++], *pages, n, offset);
	}
}

/* Pin as much of @iter as there is. -EFAULT: nothing; -ENOMEM. */
struct fr_dio *fr_dio_pin(struct iov_iter *iter, unsigned int access)
{
	struct page *batch[FR_DIO_BATCH], **pages = batch;
	struct iov_iter it = *iter;
	struct fr_dio *dio;
	ssize_t len = 0;
	size_t offset;

	dio = kzalloc(sizeof(*dio), GFP_KERNEL);
	if (!dio)
		return ERR_PTR(-ENOMEM);
	dio->pinned = iov_iter_extract_will_pin(iter);
	dio->dirty = access == FR_READ;
	dio->bv = kvmalloc_array(iov_iter_npages(iter, INT_MAX),
				 sizeof(*dio->bv), GFP_KERNEL);
	if (!dio->bv) {
		kfree(dio);
		return ERR_PTR(-ENOMEM);
	}
	while (iov_iter_count(&it)) {
		len = iov_iter_extract_pages(&it, &pages, iov_iter_count(&it),
					     FR_DIO_BATCH, 0, &offset);
		if (len <= 0)
			break;
		fr_dio_add(dio, pages, len, offset);
	}
	if (!dio->len) {
		fr_dio_unpin(dio);
		return ERR_PTR(len ?: -EFAULT);
	}
	return dio;
}

/* May sleep: pages that were read into are made dirty under their locks. */
void fr_dio_unpin(struct fr_dio *dio)
{
	unsigned int i;

	for (i = 0; dio->pinned && i < dio->nr; i++)
		unpin_user_pages_dirty_lock(&dio->bv[i].bv_page, 1, dio->dirty);
	kvfree(dio->bv);
	kfree(dio);
}

static ssize_t fr_dio_run(struct fr_inode *fi, struct kiocb *iocb,
			  struct iov_iter *iter, unsigned int access)
{
	if (access == FR_READ)
		return fr_read(fi, iocb, iter);
	return fr_write(fi, iocb, iter);
}

ssize_t fr_dio(struct fr_inode *fi, struct kiocb *iocb, struct iov_iter *iter,
	       unsigned int access)
{
	struct fr_dio *dio;
	struct iov_iter it;
	ssize_t ret;

	iocb->private = NULL;
	if (!user_backed_iter(iter))
		return fr_dio_run(fi, iocb, iter, access);
	dio = fr_dio_pin(iter, access);
	if (IS_ERR(dio))
		return PTR_ERR(dio);
	iov_iter_bvec(&it, access == FR_READ ? ITER_DEST : ITER_SOURCE,
		      dio->bv, dio->nr, dio->len);
	iocb->private = dio;	/* fr_aio() takes it along */
	ret = fr_dio_run(fi, iocb, &it, access);
	if (ret == -EIOCBQUEUED)
		return ret;
	if (ret > 0)
		iov_iter_advance(iter, ret);
	fr_dio_unpin(dio);
	return ret;
}
