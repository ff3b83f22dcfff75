// SPDX-License-Identifier: GPL-2.0
/*
 * How a FUSE file becomes ours, and ceases to be.
 *
 * While FUSE opens a file of an attached connection, the file's table of
 * operations is exchanged for fr_adopted_fops (fuse.c calls in here). That
 * happens in atomic context, and the open may yet fail, so nothing is counted
 * there. On the way back to user space the opening task exchanges the table
 * once more, for the one inside the inode's fr_inode: from then on a read
 * finds the regions by a subtraction. Whoever does I/O before that moment
 * does the second exchange first.
 */

#include <linux/file.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/task_work.h>

#include "fuse.h"
#include "regions.h"

const struct file_operations *fr_orig_fops __read_mostly;
struct file_operations fr_adopted_fops;
static DEFINE_SPINLOCK(fr_adopted_lock);

static int fr_release(struct inode *inode, struct file *file)
{
	const struct file_operations *fops = file->f_op;
	struct fr_inode *fi;
	int err = fr_orig_fops->release(inode, file);

	if (fops == &fr_adopted_fops)
		return err;
	/* VFS looks at f_op once more after this, and @fi may be gone */
	WRITE_ONCE(file->f_op, &fr_adopted_fops);
	fi = container_of(fops, struct fr_inode, fops);
	fr_inode_file_closed(fi);
	fr_inode_put(fi);
	return err;
}

/* The table of a file that is ours; an fr_inode embeds a copy. */
void fr_file_ops_init(struct file_operations *fops,
		      const struct file_operations *orig)
{
	*fops = *orig;
	fops->owner = THIS_MODULE;
	fops->llseek = fr_llseek;
	fops->read_iter = fr_read_iter;
	fops->write_iter = fr_write_iter;
	fops->mmap = fr_mmap;
	fops->fsync = fr_fsync;
	fops->splice_read = fr_splice_read;
	fops->fadvise = fr_fadvise;
	if (orig->fallocate)
		fops->fallocate = fr_fallocate;
	fops->release = fr_release;
}

/* FUSE has one table for regular files; learn it from the first one seen. */
bool fr_file_learn(const struct file_operations *fops)
{
	/* Pairs with the release below: fr_adopted_fops is ready */
	if (likely(smp_load_acquire(&fr_orig_fops)))
		return fops == fr_orig_fops;
	if (!fops->read_iter || !fops->write_iter || !fops->release)
		return false;
	spin_lock(&fr_adopted_lock);
	if (!fr_orig_fops) {
		fr_file_ops_init(&fr_adopted_fops, fops);
		/* Pairs with the acquire above */
		smp_store_release(&fr_orig_fops, fops);
	}
	spin_unlock(&fr_adopted_lock);
	return fops == fr_orig_fops;
}

struct fr_promotion {
	struct callback_head twork;
	struct file *file;
};

static void fr_file_promote_twork(struct callback_head *head)
{
	struct fr_promotion *p = container_of(head, struct fr_promotion, twork);

	if (p->file->f_mode & FMODE_OPENED)
		fr_file_inode(p->file);
	fput(p->file);
	kfree(p);
	fr_pending_done();
}

/* Have the opening task promote the file before it returns to user space. */
static void fr_file_promote_later(struct file *file)
{
	struct fr_promotion *p;

	if (current->flags & PF_KTHREAD)
		return;	/* its first I/O does it */
	p = kmalloc(sizeof(*p), GFP_NOWAIT | __GFP_NOWARN);
	if (!p)
		return;
	p->file = get_file(file);
	init_task_work(&p->twork, fr_file_promote_twork);
	atomic_inc(&fr_pending);
	if (task_work_add(current, &p->twork, TWA_RESUME)) {
		fput(file);
		kfree(p);
		fr_pending_done();
	}
}

/* FUSE is opening @file; called atomically, for every FUSE file. */
void fr_file_adopt(struct inode *inode, struct file *file)
{
	const struct file_operations *old = file->f_op;
	void *fc;

	if (!S_ISREG(inode->i_mode) || old->owner == THIS_MODULE)
		return;
	fc = fr_fuse_sb_conn(inode->i_sb);
	if (!fc || !fr_conn_known(fc) || !fr_file_learn(old))
		return;
	if (!try_module_get(THIS_MODULE))
		return;
	if (file->f_flags & O_TRUNC)
		fr_inode_note_trunc(inode);
	file->f_op = &fr_adopted_fops;
	fops_put(old);
	/* Bound bytes can be read without waiting; gaps say EAGAIN themselves */
	file->f_mode |= FMODE_NOWAIT;
	fr_file_promote_later(file);
}

/*
 * Exchange fr_adopted_fops for the table of the inode's fr_inode. NULL when
 * there is no memory, or the connection is no longer attached and nothing is
 * left of it: then the file is like any other FUSE file, and may be asked
 * again.
 */
struct fr_inode *fr_file_promote(struct file *file)
{
	const struct file_operations *was = &fr_adopted_fops;
	struct inode *inode = file_inode(file);
	struct fr_inode *fi;
	struct fr_conn *conn;

	conn = fr_conn_find(fr_fuse_sb_conn(inode->i_sb));
	if (!conn)
		return NULL;
	for (;;) {
		fi = fr_inode_get(inode, conn);
		if (IS_ERR(fi)) {
			fi = NULL;
			break;
		}
		if (!fr_inode_file_opened(fi)) {
			fr_inode_put(fi);
			continue;	/* it was dropped meanwhile */
		}
		if (try_cmpxchg(&file->f_op, &was, &fi->fops))
			break;	/* the file has our reference */
		fr_inode_file_closed(fi);
		fr_inode_put(fi);
		fi = container_of(was, struct fr_inode, fops);
		break;
	}
	fr_conn_put(conn);
	return fi;
}
