/* SPDX-License-Identifier: GPL-2.0 */
/*
 * One call of a backing's read_iter or write_iter: as the server, with page
 * faults off (see regions.h).
 *
 * VFS has checked the caller, his range, and LSM, for the FUSE file. Whether
 * the server may use the backing was asked when it registered it (backing.c),
 * so rw_verify_area() is not called here once more. Freeze protection and
 * notification are the backing's own, and are done.
 *
 * Inline, because each instruction here counts for every read and write.
 */
#ifndef FR_RW_H
#define FR_RW_H

#include <linux/fsnotify.h>
#include <linux/magic.h>
#include <linux/sched/signal.h>
#include <linux/uaccess.h>
#include <linux/uio.h>

#include "compat.h"
#include "map-node.h"
#include "regions.h"

/* Of the caller's flags, those that a backing is to know; never IOCB_APPEND */
#define FR_IOCB_FLAGS	(IOCB_NOWAIT | IOCB_DSYNC | IOCB_SYNC | IOCB_DIRECT)

/* What fr_rw_fast() does not do */
#define FR_IOCB_SPECIAL	(IOCB_NOWAIT | IOCB_DIRECT)

/*
 * rw.c: do @iter at @pos of the backing, on behalf of @iocb, of whatever kind;
 * the backing completes it before this returns. May do less than @iter holds,
 * and fail with -EFAULT where the buffer has to be faulted in. @iter advances
 * by what is returned, also where the backing went further before it failed,
 * or cut it short.
 */
ssize_t fr_rw(struct fr_backing *backing, struct kiocb *iocb, loff_t pos,
	      struct iov_iter *iter, unsigned int access);

/* rw.c: may that be tried with IOCB_NOWAIT? */
bool fr_rw_nowait(struct file *file, loff_t pos, size_t len, unsigned int access);

/*
 * Where an iter stands, but for its count. A backing may have cut it short, so
 * that what it advanced by cannot be told from what is left, which is all that
 * iov_iter_revert() would need. Two words, for a copy of all costs too much.
 */
struct fr_iter_mark {
	size_t offset;
	unsigned long nr_segs;
};

static __always_inline struct fr_iter_mark fr_iter_mark(const struct iov_iter *it)
{
	return (struct fr_iter_mark){ it->iov_offset, it->nr_segs };
}

/* rw.c: back to where it stood, with @count bytes. */
void fr_iter_restore(struct iov_iter *it, struct fr_iter_mark mark, size_t count);

/*
 * Can the backing have bytes up to the file's @end? A whole-file region is bound
 * without knowing.
 */
static inline bool fr_rw_possible(const struct fr_region *r, u64 end)
{
	struct fr_backing *backing = fr_region_backing(r);

	return fr_region_backing_pos(r, end) <= backing->max;
}

/* rw.c: does the file end no earlier than @end, which is in or behind @r, FR_WHOLE? */
bool fr_rw_whole(struct fr_inode *fi, const struct fr_node *root,
		 const struct fr_region *r, u64 end);

/*
 * The region that [@pos, @end) lies in, when it allows @access and the file
 * ends no earlier; else NULL. The caller holds srcu.
 */
static __always_inline const struct fr_region *
fr_rw_region(struct fr_inode *fi, const struct fr_node *root, u64 pos, u64 end,
	     unsigned int access)
{
	const struct fr_region *r = fr_map_lookup_fast(root, pos);

	if (unlikely(!r || end - 1 > r->last))
		return NULL;
	if (likely((r->backing_flags & (access | FR_WHOLE)) == access))
		return likely(end <= i_size_read(fi->inode)) ? r : NULL;
	if (!(r->backing_flags & access) || !fr_rw_whole(fi, root, r, end))
		return NULL;
	return r;
}

/* What fsnotify_access() asks itself in the end */
static inline bool fr_rw_watched(const struct file *file)
{
	return fsnotify_sb_has_watchers(file_inode(file)->i_sb);
}

static inline void fr_rw_tell(struct file *file, unsigned int access)
{
	if (access == FR_READ)
		fsnotify_access(file);
	else
		fsnotify_modify(file);
}

/*
 * Lockdep has one class for each lock of all mounts of a type. The caller is inside
 * of one of FUSE's: its freeze protection, an inode's lock where a write extends
 * it, its invalidate lock in a fault; and a truncation waits for I/O, inside of the
 * inode's lock. A backing may be on another mount, which lies below: of what that
 * takes lockdep is not told. (A class of our own is no way out: lockdep does not bear
 * it that a module goes while a lock of its class is held, and files that are not
 * ours take the inode's.)
 */
static __always_inline bool fr_rw_unseen(const struct super_block *sb)
{
	return IS_ENABLED(CONFIG_PROVE_LOCKING) &&
	       sb->s_magic == FUSE_SUPER_MAGIC;
}

static __always_inline ssize_t fr_rw_call_unwatched(struct file *file,
						    struct kiocb *kiocb,
						    struct iov_iter *iter,
						    unsigned int access)
{
	struct super_block *sb;
	ssize_t ret;

	if (access == FR_READ)
		return file->f_op->read_iter(kiocb, iter);
	sb = file_inode(file)->i_sb;
	sb_start_write(sb);
	ret = file->f_op->write_iter(kiocb, iter);
	sb_end_write(sb);
	return ret;
}

/* The access was checked when the region was bound. */
static __always_inline ssize_t fr_rw_call(struct file *file, struct kiocb *kiocb,
					  struct iov_iter *iter,
					  unsigned int access)
{
	bool unseen = fr_rw_unseen(file_inode(file)->i_sb);
	ssize_t ret;

	if (unseen)
		lockdep_off();
	ret = fr_rw_call_unwatched(file, kiocb, iter, access);
	if (unseen)
		lockdep_on();
	if (unlikely(fr_rw_watched(file)) && ret > 0)
		fr_rw_tell(file, access);
	return ret;
}

static inline unsigned long fr_fsize_limit(void)
{
	/* Another thread may set it just now: VFS does not care either */
	return data_race(rlimit(RLIMIT_FSIZE));
}

static inline bool fr_rw_over_limit(loff_t pos, size_t len)
{
	unsigned long limit = fr_fsize_limit();

	return unlikely(limit != RLIM_INFINITY) && pos + len > limit;
}

/*
 * The same for a synchronous @iocb without FR_IOCB_SPECIAL, and, for a write,
 * without a limit on file sizes. It is lent to the backing for the time of the
 * call, for nobody looks at it later; its ki_pos is anything afterwards, and
 * @iter may have advanced by more than is returned.
 */
static __always_inline ssize_t fr_rw_fast(struct fr_backing *backing,
					  struct kiocb *iocb, loff_t pos,
					  struct iov_iter *iter,
					  unsigned int access)
{
	struct file *user_file = iocb->ki_filp;
	int user_flags = iocb->ki_flags;
	const struct cred *old;
	ssize_t ret;

	iocb->ki_filp = backing->file;
	iocb->ki_pos = pos;
	iocb->ki_flags = backing->iocb_flags | (user_flags & FR_IOCB_FLAGS);
	old = fr_override_creds(backing->cred);
	pagefault_disable();
	ret = fr_rw_call(backing->file, iocb, iter, access);
	pagefault_enable();
	fr_revert_creds(old);
	iocb->ki_filp = user_file;
	iocb->ki_flags = user_flags;
	return ret;
}

#endif /* FR_RW_H */
