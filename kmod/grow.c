// SPDX-License-Identifier: GPL-2.0
/*
 * Files that become longer, but by a write into their regions. The page that
 * such a file ended in has zeroes from there on, where bytes may be bound that
 * are the file's now; and written back later it would be as long as the file is
 * then. So it is written back before, held meanwhile, and dropped afterwards.
 *
 * Of copy_file_range() ftrace tells (fuse.c): with a function of ours in the table
 * VFS would refuse, with -EXDEV, to copy between our files and those of other FUSE
 * mounts. That is no place to wait in. So pages are held there, FUSE writes back
 * what it knows of, in which the page of the end is included, and the rest is done
 * on the way back to user space.
 */

#include <linux/fs.h>
#include <linux/falloc.h>
#include <linux/file.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/task_work.h>

#include "fuse.h"
#include "regions.h"

/* A copy_file_range() of the task whose @twork this is; counted in fr_pending. */
struct fr_copying {
	struct callback_head twork;
	struct file *file;
	struct fr_inode *fi;
	struct fr_hold hold;
	u64 eof;
};

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
	/* A server may say EINTR as well */
	if (err && fatal_signal_pending(current)) {
		fr_hold_end(fi, hold);
		return -EINTR;
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

/*
 * Where do pages change, when a write at @pos makes the file longer, which ended
 * at @eof? That page is left alone if it has none but the server's bytes: they
 * may be dirty, and only the server could take them.
 */
u64 fr_grow_from(struct fr_inode *fi, u64 eof, u64 pos)
{
	struct fr_piece piece;
	int idx;

	if (!(eof & ~PAGE_MASK))
		return pos;
	idx = srcu_read_lock(&fi->conn->srcu);
	fr_map_find(fr_load_root(fi->map.root), eof & PAGE_MASK, &piece);
	srcu_read_unlock(&fi->conn->srcu, idx);
	return piece.region || piece.last < (eof | ~PAGE_MASK) ? eof : pos;
}

/*
 * The page that FUSE took for the last one, at @old, has none but the server's
 * bytes, who is sent it as long as FUSE does, and is not waited for.
 */
static void fr_grow_catch_up_gap(struct fr_inode *fi, u64 old, u64 eof)
{
	struct fr_hold hold;

	fr_hold_begin(fi, &hold, old, old, FR_HOLD_WRITE);
	filemap_fdatawrite_range(fi->inode->i_mapping, old, old);
	fr_fuse_grow(fi->inode, eof);
	/* On new kernels not before the server has it */
	fr_drop_soon(fi, old, old, FR_DROP_WRITTEN);
	fr_hold_end(fi, &hold);
}

/*
 * FUSE's size lags behind a whole-file region's backing, which ends at @eof. What
 * was stored before is of a file that ended earlier.
 */
int fr_grow_catch_up(struct fr_inode *fi, u64 eof)
{
	u64 old = i_size_read(fi->inode);
	struct fr_hold hold;
	int err;

	lockdep_assert_held_write(&fi->inode->i_rwsem);
	if (likely(eof <= old))
		return 0;
	if (fr_grow_from(fi, old, eof) != old) {
		fr_grow_catch_up_gap(fi, old, eof);
		return 0;
	}
	err = fr_grow_begin(fi, &hold, old, true);
	if (err)
		return err;
	fr_fuse_grow(fi->inode, eof);
	fr_grow_end(fi, &hold, old, eof);
	return 0;
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

static void fr_grow_copied(struct callback_head *head)
{
	struct fr_copying *copying = container_of(head, struct fr_copying, twork);
	struct fr_inode *fi = copying->fi;

	fr_grow_end(fi, &copying->hold, copying->eof,
		    fr_load_root(fi->map.root) ? i_size_read(fi->inode) : 0);
	fr_inode_put(fi);
	fput(copying->file);
	kfree(copying);
	fr_pending_done();
}

/*
 * @file is about to be copied to, [@pos, @pos + @len), by the server or, where
 * it does not, by FUSE with splice. Atomic, and for every FUSE file.
 */
void fr_grow_copying(struct file *file, loff_t pos, size_t len)
{
	struct inode *inode = file_inode(file);
	u64 eof = i_size_read(inode);
	struct fr_copying *copying;

	/* Threads of the kernel do not return to user space */
	if (pos + len <= eof || (current->flags & PF_KTHREAD) ||
	    !fr_inode_has_regions(inode))
		return;
	copying = kzalloc(sizeof(*copying), GFP_ATOMIC | __GFP_NOWARN);
	if (!copying)
		return;
	copying->fi = fr_inode_find(inode);
	if (!copying->fi) {
		kfree(copying);
		return;
	}
	/* Somebody may close it before the task is on its way back */
	copying->file = get_file(file);
	copying->eof = eof;
	init_task_work(&copying->twork, fr_grow_copied);
	atomic_inc(&fr_pending);
	fr_hold_begin_copy(copying->fi, &copying->hold, eof);
	/* A task that is in a system call takes it */
	WARN_ON_ONCE(task_work_add(current, &copying->twork, TWA_RESUME));
}

/*
 * Pages are being written back; if by a task that copies, with the inode locked,
 * then the one that the file ends in, too.
 */
void fr_grow_flush(struct fr_inode *fi)
{
	struct fr_hold *hold = fr_hold_of_copy(fi);
	u64 eof;

	if (likely(!hold))
		return;
	eof = i_size_read(fi->inode);
	/* Not once more, for that page */
	WRITE_ONCE(hold->copier, NULL);
	fr_hold_flush(fi, eof, eof, true);
	WRITE_ONCE(hold->copier, current);
}
