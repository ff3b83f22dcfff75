/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Everything that knows how we reach into FUSE. The rest of the module sees
 * FUSE's connection as a void pointer and asks here.
 */
#ifndef FR_FUSE_H
#define FR_FUSE_H

#include <linux/fs.h>

int fr_fuse_init(void);
void fr_fuse_exit(void);

/* The connection of a /dev/fuse file: 0, -EINVAL, -EOPNOTSUPP, -ENOTCONN */
int fr_fuse_dev_conn(struct file *file, void **fc);

/* The connection of a mount, or NULL when @sb is not FUSE's. */
void *fr_fuse_sb_conn(struct super_block *sb);

/* False once the connection was aborted. @fc must be alive. */
bool fr_fuse_connected(void *fc);
bool fr_fuse_initialized(void *fc);

/* Let file systems pile up @depth high below @fc's mounts; never lowers. */
void fr_fuse_set_stack_depth(void *fc, int depth);
int fr_fuse_stack_depth(void *fc);

/*
 * The inode with this nodeid, with a reference, or NULL when it is not in the
 * cache or on its way out of it. Waits neither for the server nor for an
 * eviction. Its mount stays as well, until fr_fuse_iput().
 */
struct inode *fr_fuse_ilookup(void *fc, u64 nodeid);

/*
 * Drop a reference without ever evicting here: an eviction may wait for the
 * server, and the caller may be the server.
 */
void fr_fuse_iput(struct inode *inode);

/* The inode has a file open in mainline's passthrough mode. */
bool fr_fuse_in_passthrough(struct inode *inode);

/* Let the next stat() ask the server for what a write changed. Any context. */
void fr_fuse_attr_changed(struct inode *inode);

/*
 * The file has at least @size bytes now. The inode lock is held. An answer of
 * the server's that is under way, with the size from before, will not count.
 */
void fr_fuse_grow(struct inode *inode, loff_t size);

/*
 * Has its nodeid come back with another generation? FUSE fails what it is asked
 * of such an inode, but for direct_IO and what is called below. One that it takes
 * for bad because of an answer about it (another type, a size that none can have)
 * stays in the table of inodes, and is not seen here: its gaps are the server's.
 */
static inline bool fr_fuse_is_bad(struct inode *inode)
{
	return inode_unhashed(inode);
}

/*
 * Ask the server for what @to has room for, from @pos on, in a page fault. No
 * lock is taken: the mmap lock is held, and so may be the inode lock, when the
 * buffer of a write() is a mapping.
 */
ssize_t fr_fuse_read_locked(struct kiocb *iocb, loff_t pos, struct iov_iter *to);

/*
 * Wait until the server has all that FUSE has begun to write back, also where
 * the cache does not show that any more.
 */
void fr_fuse_wait_writeback(struct inode *inode);
/* Is there something to wait for? */
bool fr_fuse_in_writeback(struct inode *inode);
/* Can that be, on this kernel? */
bool fr_fuse_writes_copies(void);

#endif /* FR_FUSE_H */
