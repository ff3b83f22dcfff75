// SPDX-License-Identifier: GPL-2.0
/* splice() and sendfile() from a file with regions. */

#include <linux/fs.h>
#include <linux/splice.h>

#include "regions.h"

/*
 * Into pages of the pipe's own: those of the backing's cache would still be in
 * the pipe, or on their way to a network card, after the region is unbound, and
 * show what the server has put there since.
 */
ssize_t fr_splice_read(struct file *in, loff_t *ppos,
		       struct pipe_inode_info *pipe, size_t len,
		       unsigned int flags)
{
	struct fr_inode *fi = fr_file_inode(in);

	if (!fi || !fr_load_root(fi->map.root)) {
		fr_hold_pass_old(fi, *ppos, len);
		return fr_orig_fops->splice_read(in, ppos, pipe, len, flags);
	}
	return copy_splice_read(in, ppos, pipe, len, flags);
}
