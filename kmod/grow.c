// SPDX-License-Identifier: GPL-2.0
/*
 * Files that become longer, but by a write into their regions. The page that
 * such a file ended in has zeroes from there on, where bytes may be bound that
 * are the file's now; and written back later it would be as long as the file is
 * then. So it is written back before, held meanwhile, and dropped afterwards.
 *
 * Not so for copy_file_range(), when the server does it: with a function of ours
 * in the table VFS would refuse, with -EXDEV, to copy between our files and those
 * of other FUSE mounts. Nobody else tells before the file has grown.
 */

#include <linux/fs.h>
#include <linux/falloc.h>

#include "regions.h"

/*
 * The file ends at @eof. @locked: and will until fr_grow_end(), for the caller
 * has the inode lock; else others may make it longer meanwhile. -EINTR.
 */
int fr_grow_begin(struct fr_inode *fi, struct fr_hold *hold, u64 eof,
		  bool locked)
{
	u64 last = locked ? eof : FR_LAST_MAX;
	int err;

	fr_hold_begin(fi, hold, eof, last, FR_HOLD_WRITE);
	err = fr_hold_flush(fi, eof, last, locked);
	if (err == -EINTR) {
		fr_hold_end(fi, hold);
		return err;
	}
	/* What could not be written is fsync's to tell, not this caller's */
	return 0;
}

/* It ends at @now, or behind that. */
void fr_grow_end(struct fr_inode *fi, struct fr_hold *hold, u64 eof, u64 now)
{
	if (now > eof)
		fr_drop(fi, eof, now - 1, FR_DROP_WRITTEN);
	fr_hold_end(fi, hold);
}

/* The server's. */
long fr_fallocate(struct file *file, int mode, loff_t offset, loff_t len)
{
	struct fr_inode *fi = fr_file_inode(file);
	struct fr_hold hold;
	long ret;
	u64 eof;

	/* Whoever makes it shorter just now does so first */
	if (fi && fr_truncating(fi)) {
		ret = fr_write_await_size(fi->inode);
		if (ret)
			return ret;
	}
	eof = i_size_read(file_inode(file));
	if (!fi || !fr_load_root(fi->map.root) ||
	    (mode & FALLOC_FL_KEEP_SIZE) || offset + len <= eof)
		return fr_orig_fops->fallocate(file, mode, offset, len);
	ret = fr_grow_begin(fi, &hold, eof, false);
	if (ret)
		return ret;
	ret = fr_orig_fops->fallocate(file, mode, offset, len);
	fr_grow_end(fi, &hold, eof, ret ? eof : offset + len);
	return ret;
}
