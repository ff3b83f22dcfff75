/* SPDX-License-Identifier: GPL-2.0 */
/* Direct I/O from and to user memory, see dio.c. */
#ifndef FR_DIO_H
#define FR_DIO_H

#include "regions.h"

/**
 * struct fr_dio - a pinned buffer
 * @bv:		its pages, @nr of them, @len bytes
 * @pinned:	they are to be unpinned
 * @dirty:	they are written to
 */
struct fr_dio {
	struct bio_vec *bv;
	unsigned int nr;
	size_t len;
	bool pinned;
	bool dirty;
};

/* A buffer of more than this is not pinned where that is a courtesy. */
#define FR_DIO_COURTESY	(16U << 20)

struct fr_dio *fr_dio_pin(struct iov_iter *iter, unsigned int access);
void fr_dio_unpin(struct fr_dio *dio);

/* A read or write with IOCB_DIRECT. */
ssize_t fr_dio(struct fr_inode *fi, struct kiocb *iocb, struct iov_iter *iter,
	       unsigned int access);

#endif /* FR_DIO_H */
