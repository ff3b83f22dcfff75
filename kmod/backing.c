// SPDX-License-Identifier: GPL-2.0
/*
 * Backings: regular files that a server registered with its connection, each
 * with the credentials it was registered with.
 */

#include <linux/capability.h>
#include <linux/file.h>
#include <linux/magic.h>
#include <linux/slab.h>

#include "fuse.h"
#include "regions.h"

void fr_backing_get(struct fr_backing *backing)
{
	refcount_inc(&backing->count);
}

void fr_backing_put(struct fr_backing *backing)
{
	if (!refcount_dec_and_test(&backing->count))
		return;
	/* fput() may be called anywhere: it defers what could sleep */
	fput(backing->file);
	put_cred(backing->cred);
	atomic_long_dec(&fr_live_backings);
	kfree_rcu(backing, rcu);
}

/* A reference to the backing with this id, or NULL. */
struct fr_backing *fr_backing_lookup(struct fr_conn *conn, u32 id)
{
	struct fr_backing *backing;

	rcu_read_lock();
	backing = xa_load(&conn->backings, id);
	if (backing && !refcount_inc_not_zero(&backing->count))
		backing = NULL;
	rcu_read_unlock();
	return backing;
}

/*
 * Does whoever is below read the flags of a file of its own, which are this one's,
 * and not those of an I/O? overlayfs opens one; FUSE tells its server.
 */
static bool fr_backing_hands_on_flags(const struct file *file)
{
	return d_real_inode(file->f_path.dentry) != file_inode(file) ||
	       file_inode(file)->i_sb->s_magic == FUSE_SUPER_MAGIC;
}

static int fr_backing_check(struct fr_conn *conn, struct file *file)
{
	struct super_block *sb = file_inode(file)->i_sb;

	if (S_ISDIR(file_inode(file)->i_mode))
		return -EISDIR;
	if (!S_ISREG(file_inode(file)->i_mode))
		return -EINVAL;
	if (!file->f_op->read_iter && !file->f_op->write_iter)
		return -EINVAL;
	if ((file->f_flags & (O_APPEND | O_DIRECT)) &&
	    fr_backing_hands_on_flags(file))
		return -EINVAL;
	/*
	 * A file of this very connection, or of another that has regions too,
	 * and might come to lie on this one; or one that lies too high.
	 */
	if (fr_conn_listed(fr_fuse_sb_conn(sb)) ||
	    sb->s_stack_depth >= fr_fuse_stack_depth(conn->fc))
		return -ELOOP;
	return 0;
}

/* May the server, as it is now, do I/O on the file at all? LSM's answer. */
static int fr_backing_permission(struct file *file)
{
	loff_t pos = 0;
	int err = 0;

	if (file->f_mode & FMODE_CAN_READ)
		err = rw_verify_area(READ, file, &pos, 1);
	if (!err && (file->f_mode & FMODE_CAN_WRITE))
		err = rw_verify_area(WRITE, file, &pos, 1);
	return err;
}

/*
 * What can be done with the file. FMODE_CAN_* is there for the old calls, too,
 * which are not used.
 */
static unsigned int fr_backing_access(const struct file *file)
{
	unsigned int access = 0;

	if ((file->f_mode & FMODE_CAN_READ) && file->f_op->read_iter)
		access |= FR_READ;
	if ((file->f_mode & FMODE_CAN_WRITE) && file->f_op->write_iter &&
	    !IS_APPEND(file_inode(file)))
		access |= FR_WRITE;
	return access;
}

static u64 fr_backing_max(const struct file *file)
{
	loff_t max = file_inode(file)->i_sb->s_maxbytes;

	return file->f_flags & O_LARGEFILE ? max : min_t(loff_t, max, MAX_NON_LFS);
}

/* Store @backing under a new id, counted against the limit. */
static int fr_backing_store(struct fr_conn *conn, struct fr_backing *backing)
{
	u32 id;
	int err;

	xa_lock(&conn->backings);
	err = -ENOSPC;
	if (conn->nr_backings < READ_ONCE(fr_max_backings)) {
		conn->nr_backings++;	/* first: allocating drops the lock */
		err = __xa_alloc(&conn->backings, &id, backing,
				 XA_LIMIT(1, INT_MAX), GFP_KERNEL_ACCOUNT);
		if (err)
			conn->nr_backings--;
	}
	xa_unlock(&conn->backings);
	return err ? err : (int)id;
}

/* Returns the backing's id. */
int fr_backing_open(struct fr_conn *conn, int fd)
{
	struct fr_backing *backing;
	struct file *file;
	int err;

	if (!capable(CAP_SYS_ADMIN))
		return -EPERM;
	if (!fr_fuse_connected(conn->fc))
		return -ENOTCONN;

	file = fget(fd);	/* not fget_raw(): an O_PATH file does no I/O */
	if (!file)
		return -EBADF;
	err = fr_backing_check(conn, file) ?: fr_backing_permission(file);
	if (err)
		goto err_fput;

	err = -ENOMEM;
	backing = kzalloc(sizeof(*backing), GFP_KERNEL_ACCOUNT);
	if (!backing)
		goto err_fput;
	refcount_set(&backing->count, 1);
	backing->file = file;
	backing->iocb_flags = iocb_flags(file) & ~(IOCB_APPEND | IOCB_DIRECT);
	backing->access = fr_backing_access(file);
	backing->max = fr_backing_max(file);
	/* It also notes in them that they are counted, as does whoever else gets them */
	backing->cred = data_race(get_current_cred());
	backing->wb_err = filemap_sample_wb_err(fr_backing_mapping(file));
	atomic_long_inc(&fr_live_backings);

	err = fr_backing_store(conn, backing);
	if (err < 0)
		fr_backing_put(backing);	/* the file goes with it */
	return err;

err_fput:
	fput(file);
	return err;
}

/* Takes no capability: a server without any can give up what it registered. */
int fr_backing_close(struct fr_conn *conn, u32 id)
{
	struct fr_backing *backing;

	xa_lock(&conn->backings);
	backing = __xa_erase(&conn->backings, id);
	if (backing)
		conn->nr_backings--;
	xa_unlock(&conn->backings);
	if (!backing)
		return -ENOENT;
	fr_backing_put(backing);
	return 0;
}

/* The control channel is closed: no id means anything any more. */
void fr_backing_close_all(struct fr_conn *conn)
{
	struct fr_backing *backing;
	unsigned long id;

	xa_for_each(&conn->backings, id, backing) {
		xa_erase(&conn->backings, id);
		fr_backing_put(backing);
	}
	conn->nr_backings = 0;
}
