// SPDX-License-Identifier: GPL-2.0
/*
 * Files that become longer, but by a write into their regions. The page that
 * such a file ended in has zeroes from there on, where bytes may be bound that
 * are the file's now; and written back later it would be as long as the file is
 * then. So it is written back before, held meanwhile, and dropped afterwards.
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

/* How long the file of @fi is, if it is one with regions that ends before @end. */
static bool fr_grow_wanted(struct fr_inode *fi, u64 end, u64 *eof)
{
	if (!fi || !fr_load_root(fi->map.root))
		return false;
	*eof = i_size_read(fi->inode);
	return end > *eof;
}

/* The server's. */
long fr_fallocate(struct file *file, int mode, loff_t offset, loff_t len)
{
	struct fr_inode *fi = fr_file_inode(file);
	struct fr_hold hold;
	u64 eof;
	long ret;

	if ((mode & FALLOC_FL_KEEP_SIZE) ||
	    !fr_grow_wanted(fi, offset + len, &eof))
		return fr_orig_fops->fallocate(file, mode, offset, len);
	ret = fr_grow_begin(fi, &hold, eof, false);
	if (ret)
		return ret;
	ret = fr_orig_fops->fallocate(file, mode, offset, len);
	fr_grow_end(fi, &hold, eof, ret ? eof : offset + len);
	return ret;
}

/*
 * The server's; or, where it has none, FUSE's own by splice, whose writes come
 * here as any others. VFS refuses with -EXDEV to copy between files whose tables
 * have not the same function here, as it does with other file systems: our files
 * and, for example, those of FUSE mounts without regions.
 */
ssize_t fr_copy_file_range(struct file *in, loff_t pos_in, struct file *out,
			   loff_t pos_out, size_t len, unsigned int flags)
{
	struct fr_inode *fi = fr_file_inode(out);
	struct fr_hold hold;
	ssize_t ret;
	u64 eof;

	if (!fr_grow_wanted(fi, pos_out + len, &eof))
		return fr_orig_fops->copy_file_range(in, pos_in, out, pos_out,
						     len, flags);
	ret = fr_grow_begin(fi, &hold, eof, false);
	if (ret)
		return ret;
	ret = fr_orig_fops->copy_file_range(in, pos_in, out, pos_out, len,
					    flags);
	fr_grow_end(fi, &hold, eof, ret > 0 ? pos_out + ret : eof);
	return ret;
}
