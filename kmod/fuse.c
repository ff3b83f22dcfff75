// SPDX-License-Identifier: GPL-2.0
/*
 * Everything that knows how we reach into FUSE.
 *
 * Four of its functions, none on the path of reads and writes, get an ftrace
 * callback: fuse_open() and fuse_finish_open() (the second alone for a create), so
 * that files of attached connections become ours, fuse_evict_inode(), so that
 * regions go when their inode goes, and fuse_copy_file_range(), which may make a
 * file longer (grow.c). The callbacks are marked permanent, so that the
 * ftrace_enabled sysctl cannot take them away. Private fields are read at the
 * offsets that BTF gave (layout.c).
 */

#include <linux/ftrace.h>
#include <linux/fuse.h>
#include <linux/magic.h>
#include <linux/miscdevice.h>
#include <linux/rwsem.h>
#include <linux/slab.h>

#include "compat.h"
#include "fuse.h"
#include "layout.h"
#include "regions.h"

/* Exported by FUSE for CUSE and virtiofs; its header is private. */
extern const struct file_operations fuse_dev_operations;

#define FR_FIELD(ptr, type, off)	(*(type *)((char *)(ptr) + (off)))

static void *fr_chan_of(void *obj, int off)
{
	/* Pairs with FUSE's release store; 1 marks a closed device */
	void *p = smp_load_acquire(&FR_FIELD(obj, void *, off));

	return (unsigned long)p & 1 ? NULL : p;
}

int fr_fuse_dev_conn(struct file *file, void **fc)
{
	void *fud = file->private_data;
	void *conn = NULL;

	if (file->f_op != &fuse_dev_operations) {
		/* CUSE's table is a copy of FUSE's */
		if (file->f_op->write_iter == fuse_dev_operations.write_iter)
			return -EOPNOTSUPP;
		return -EINVAL;
	}
	if (!fud)
		return -ENOTCONN;
	if (fr_layout.dev_fc >= 0) {
		conn = fr_chan_of(fud, fr_layout.dev_fc);
	} else {
		void *chan = fr_chan_of(fud, fr_layout.dev_chan);

		if (chan)
			conn = FR_FIELD(chan, void *, fr_layout.chan_conn);
	}
	if (!conn || !fr_fuse_connected(conn))
		return -ENOTCONN;
	*fc = conn;
	return 0;
}

void *fr_fuse_sb_conn(struct super_block *sb)
{
	if (sb->s_magic != FUSE_SUPER_MAGIC || !sb->s_fs_info)
		return NULL;
	return FR_FIELD(sb->s_fs_info, void *, fr_layout.mount_fc);
}

/* A flag that is in @fc itself (@own), or in its channel where there is one. */
static bool fr_fuse_flag(void *fc, int own, int chan)
{
	if (own < 0) {
		fc = FR_FIELD(fc, void *, fr_layout.conn_chan);
		own = chan;
	}
	return READ_ONCE(FR_FIELD(fc, unsigned int, own));
}

bool fr_fuse_connected(void *fc)
{
	return fr_fuse_flag(fc, fr_layout.conn_connected,
			    fr_layout.chan_connected);
}

/* Has the server answered INIT? Before that nobody gets an answer. */
bool fr_fuse_initialized(void *fc)
{
	return fr_fuse_flag(fc, fr_layout.conn_initialized,
			    fr_layout.chan_initialized);
}

static struct rw_semaphore *fr_fuse_killsb(void *fc)
{
	return &FR_FIELD(fc, struct rw_semaphore, fr_layout.conn_killsb);
}

/* The connection's mounts; the caller holds killsb. */
static struct list_head *fr_fuse_mounts(void *fc)
{
	lockdep_assert_held(fr_fuse_killsb(fc));
	return &FR_FIELD(fc, struct list_head, fr_layout.conn_mounts);
}

/* A mount's super block; NULL while it is being mounted. */
static struct super_block *fr_fuse_mount_sb(struct list_head *entry)
{
	return FR_FIELD((char *)entry - fr_layout.mount_entry,
			struct super_block *, fr_layout.mount_sb);
}

void fr_fuse_set_stack_depth(void *fc, int depth)
{
	struct super_block *sb;
	struct list_head *pos;

	down_read(fr_fuse_killsb(fc));
	list_for_each(pos, fr_fuse_mounts(fc)) {
		sb = fr_fuse_mount_sb(pos);
		if (sb)
			sb->s_stack_depth = max(sb->s_stack_depth, depth);
	}
	up_read(fr_fuse_killsb(fc));
}

int fr_fuse_stack_depth(void *fc)
{
	struct super_block *sb;
	struct list_head *pos;
	int depth = 0;

	down_read(fr_fuse_killsb(fc));
	list_for_each(pos, fr_fuse_mounts(fc)) {
		sb = fr_fuse_mount_sb(pos);
		if (sb)
			depth = max(sb->s_stack_depth, depth);
	}
	up_read(fr_fuse_killsb(fc));
	return depth;
}

static u64 fr_fuse_nodeid(struct inode *inode)
{
	return FR_FIELD(inode, u64, fr_layout.inode_nodeid);
}

static void fr_fuse_put(struct super_block *sb, struct inode *inode);

/* Runs under inode_hash_lock; igrab() refuses an inode that is being freed. */
static int fr_fuse_match(struct inode *inode, fr_hash_t hash, void *nodeid)
{
	if (fr_fuse_nodeid(inode) != *(u64 *)nodeid)
		return 0;
	return igrab(inode) ? 1 : -1;
}

struct inode *fr_fuse_ilookup(void *fc, u64 nodeid)
{
	struct inode *inode = NULL;
	struct super_block *sb;
	struct list_head *pos;

	down_read(fr_fuse_killsb(fc));
	list_for_each(pos, fr_fuse_mounts(fc)) {
		sb = fr_fuse_mount_sb(pos);
		/* An unmount must not find the inode busy: keep it waiting */
		if (!sb || !atomic_inc_not_zero(&sb->s_active))
			continue;
		inode = find_inode_nowait(sb, nodeid, fr_fuse_match, &nodeid);
		if (inode)
			break;
		fr_fuse_put(sb, NULL);
	}
	up_read(fr_fuse_killsb(fc));
	return inode;
}

struct fr_put {
	struct work_struct work;
	struct super_block *sb;
	struct inode *inode;
};

static void fr_put_work(struct work_struct *work)
{
	struct fr_put *put = container_of(work, struct fr_put, work);

	if (put->inode)
		iput(put->inode);
	deactivate_super(put->sb);
	kfree(put);
}

/*
 * Drop a reference to the inode, if any, and an active one to its mount. What
 * a last one sets off may wait for the server, so another task does that.
 */
static void fr_fuse_put(struct super_block *sb, struct inode *inode)
{
	struct fr_put *put;

	if (inode && atomic_add_unless(&inode->i_count, -1, 1))
		inode = NULL;
	if (!inode && atomic_add_unless(&sb->s_active, -1, 1))
		return;
	put = kmalloc(sizeof(*put), GFP_KERNEL | __GFP_NOFAIL);
	INIT_WORK(&put->work, fr_put_work);
	put->inode = inode;
	put->sb = sb;
	queue_work(fr_end_wq, &put->work);
}

void fr_fuse_iput(struct inode *inode)
{
	fr_fuse_put(inode->i_sb, inode);
}

bool fr_fuse_in_passthrough(struct inode *inode)
{
	return fr_layout.inode_fb >= 0 &&
	       READ_ONCE(FR_FIELD(inode, void *, fr_layout.inode_fb));
}

#define FR_CHANGED_BY_WRITE \
	(STATX_SIZE | STATX_BLOCKS | STATX_MTIME | STATX_CTIME | STATX_MODE)

void fr_fuse_attr_changed(struct inode *inode)
{
	set_mask_bits(&FR_FIELD(inode, u32, fr_layout.inode_inval_mask), 0,
		      FR_CHANGED_BY_WRITE);
}

void fr_fuse_grow(struct inode *inode, loff_t size)
{
	void *fc = FR_FIELD(inode->i_sb->s_fs_info, void *, fr_layout.mount_fc);
	spinlock_t *lock = &FR_FIELD(inode, spinlock_t, fr_layout.inode_lock);

	lockdep_assert_held_write(&inode->i_rwsem);

	spin_lock(lock);
	FR_FIELD(inode, u64, fr_layout.inode_attr_version) =
		atomic64_inc_return(&FR_FIELD(fc, atomic64_t,
					      fr_layout.conn_attr_version));
	if (size > inode->i_size)
		i_size_write(inode, size);
	spin_unlock(lock);
	fr_fuse_attr_changed(inode);
}

/*
 * Kernels before 6.16 write pages back from copies, and a page counts as
 * written as soon as there is one.
 */
bool fr_fuse_writes_copies(void)
{
	return fr_layout.inode_writepages >= 0;
}

/* FUSE itself looks into this tree before it reads. */
bool fr_fuse_in_writeback(struct inode *inode)
{
	return fr_fuse_writes_copies() &&
	       READ_ONCE(FR_FIELD(inode, struct rb_root,
				  fr_layout.inode_writepages).rb_node);
}

void fr_fuse_wait_writeback(struct inode *inode)
{
	wait_event(FR_FIELD(inode, wait_queue_head_t, fr_layout.inode_waitq),
		   !fr_fuse_in_writeback(inode));
}

ssize_t fr_fuse_read_locked(struct kiocb *iocb, loff_t pos, struct iov_iter *to)
{
	u64 io[FR_FUSE_IO_SIZE / sizeof(u64)] = {};

	if (fr_fuse_is_bad(file_inode(iocb->ki_filp)))
		return -EIO;
	FR_FIELD(io, struct kiocb *, fr_layout.io_iocb) = iocb;
	fr_fuse_wait_writeback(file_inode(iocb->ki_filp));
	return fuse_direct_io((void *)io, to, &pos, FR_FUSE_DIO_CUSE);
}

static void notrace fr_open_callback(unsigned long ip, unsigned long parent,
				     struct ftrace_ops *ops,
				     struct ftrace_regs *fregs)
{
	struct inode *inode = (void *)ftrace_regs_get_argument(fregs, 0);
	struct file *file = (void *)ftrace_regs_get_argument(fregs, 1);

	fr_file_adopt(inode, file);
}

static void notrace fr_evict_callback(unsigned long ip, unsigned long parent,
				      struct ftrace_ops *ops,
				      struct ftrace_regs *fregs)
{
	fr_inode_evict((void *)ftrace_regs_get_argument(fregs, 0));
}

static void notrace fr_copy_callback(unsigned long ip, unsigned long parent,
				     struct ftrace_ops *ops,
				     struct ftrace_regs *fregs)
{
	fr_grow_copying((void *)ftrace_regs_get_argument(fregs, 2),
			ftrace_regs_get_argument(fregs, 3),
			ftrace_regs_get_argument(fregs, 4));
}

static struct ftrace_ops fr_open_ops = {
	.func	= fr_open_callback,
	.flags	= FTRACE_OPS_FL_RECURSION | FTRACE_OPS_FL_PERMANENT,
};

static struct ftrace_ops fr_evict_ops = {
	.func	= fr_evict_callback,
	.flags	= FTRACE_OPS_FL_RECURSION | FTRACE_OPS_FL_PERMANENT,
};

static struct ftrace_ops fr_copy_ops = {
	.func	= fr_copy_callback,
	.flags	= FTRACE_OPS_FL_RECURSION | FTRACE_OPS_FL_PERMANENT,
};

static int fr_hook(struct ftrace_ops *ops, char *name, bool first)
{
	int err = ftrace_set_filter(ops, (unsigned char *)name, strlen(name),
				    first);

	if (err)
		pr_err("%s() cannot be traced on this kernel (error %d)\n",
		       name, err);
	return err;
}

int fr_fuse_init(void)
{
	int err = fr_layout_load();

	if (err)
		return err;
	err = fr_hook(&fr_open_ops, "fuse_open", true);
	if (!err)
		err = fr_hook(&fr_open_ops, "fuse_finish_open", false);
	if (!err)
		err = fr_hook(&fr_evict_ops, "fuse_evict_inode", true);
	if (!err)
		err = fr_hook(&fr_copy_ops, "fuse_copy_file_range", true);
	if (err)
		goto err_filters;
	err = register_ftrace_function(&fr_evict_ops);
	if (err)
		goto err_filters;
	err = register_ftrace_function(&fr_copy_ops);
	if (err)
		goto err_evict;
	err = register_ftrace_function(&fr_open_ops);
	if (err)
		goto err_copy;
	return 0;

err_copy:
	unregister_ftrace_function(&fr_copy_ops);
err_evict:
	unregister_ftrace_function(&fr_evict_ops);
err_filters:
	if (err == -EBUSY)
		pr_err("cannot be told of files that are opened: is ftrace switched off (sysctl kernel.ftrace_enabled)?\n");
	ftrace_free_filter(&fr_open_ops);
	ftrace_free_filter(&fr_evict_ops);
	ftrace_free_filter(&fr_copy_ops);
	return err;
}

void fr_fuse_exit(void)
{
	unregister_ftrace_function(&fr_open_ops);
	unregister_ftrace_function(&fr_copy_ops);
	unregister_ftrace_function(&fr_evict_ops);
	ftrace_free_filter(&fr_open_ops);
	ftrace_free_filter(&fr_copy_ops);
	ftrace_free_filter(&fr_evict_ops);
}
