// SPDX-License-Identifier: GPL-2.0
/* Writing. */

#include <linux/uio.h>

#include "regions.h"

/*
 * Every byte goes to the server, at once: a write that stayed in FUSE's page
 * cache could not be seen by a read that goes to a backing.
 */
ssize_t fr_write_iter(struct kiocb *iocb, struct iov_iter *from)
{
	struct file *file = iocb->ki_filp;
	struct fr_inode *fi = fr_file_inode(file);
	struct kiocb kiocb;
	ssize_t ret;

	if (iocb->ki_flags & IOCB_NOWAIT)
		return -EAGAIN;
	if (!fi || !fr_load_root(fi->map.root))
		return fr_orig_fops->write_iter(iocb, from);
	init_sync_kiocb(&kiocb, file);
	kiocb.ki_flags = iocb->ki_flags | IOCB_DIRECT;
	kiocb.ki_pos = iocb->ki_pos;
	ret = fr_orig_fops->write_iter(&kiocb, from);
	iocb->ki_pos = kiocb.ki_pos;
	return ret;
}
