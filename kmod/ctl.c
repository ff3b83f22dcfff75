// SPDX-License-Identifier: GPL-2.0
/*
 * The control channel: a /dev/fuse file that also knows our notification and
 * our ioctls. Everything else goes to FUSE as before.
 */

#include <linux/fuse.h>
#include <linux/fuse_regions.h>
#include <linux/module.h>
#include <linux/uaccess.h>
#include <linux/uio.h>

#include "fuse.h"
#include "regions.h"

extern const struct file_operations fuse_dev_operations;

static struct fr_conn *fr_ctl_conn(struct file *file)
{
	return container_of(file->f_op, struct fr_conn, ctl_fops);
}

static ssize_t fr_ctl_write_iter(struct kiocb *iocb, struct iov_iter *from)
{
	struct iov_iter peek = *from;
	struct fuse_out_header head;

	if (iov_iter_count(from) < sizeof(head))
		goto other;
	if (!copy_from_iter_full(&head, sizeof(head), &peek))
		return -EFAULT;
	if (!head.unique && head.error == FUSE_NOTIFY_PASSTHROUGH)
		return fr_bind_message(fr_ctl_conn(iocb->ki_filp), head.len,
				       from);
other:
	return fuse_dev_operations.write_iter(iocb, from);
}

static long fr_ctl_backing_open(struct fr_conn *conn, void __user *arg)
{
	struct fuse_regions_backing in;

	if (copy_from_user(&in, arg, sizeof(in)))
		return -EFAULT;
	if (in.flags || in.reserved)
		return -EINVAL;
	return fr_backing_open(conn, in.fd);
}

static long fr_ctl_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct fr_conn *conn = fr_ctl_conn(file);
	u32 id;

	switch (cmd) {
	case FUSE_REGIONS_IOC_BACKING_OPEN:
		return fr_ctl_backing_open(conn, (void __user *)arg);
	case FUSE_REGIONS_IOC_BACKING_CLOSE:
		if (get_user(id, (u32 __user *)arg))
			return -EFAULT;
		return fr_backing_close(conn, id);
	default:
		return fuse_dev_operations.unlocked_ioctl(file, cmd, arg);
	}
}

/*
 * VFS reads file->f_op once more after release, and the connection may be
 * gone by then.
 */
static const struct file_operations fr_ctl_closed_fops = {
	.owner	= THIS_MODULE,
};

static int fr_ctl_release(struct inode *inode, struct file *file)
{
	struct fr_conn *conn = fr_ctl_conn(file);

	file->f_op = &fr_ctl_closed_fops;
	fr_conn_detach(conn);
	return fuse_dev_operations.release(inode, file);
}

bool fr_ctl_is(const struct file *file)
{
	return file->f_op->write_iter == fr_ctl_write_iter;
}

/* The caller holds a reference to this module for the table's owner. */
void fr_ctl_install(struct fr_conn *conn, struct file *dev)
{
	const struct file_operations *old = dev->f_op;

	conn->ctl_fops = *old;
	conn->ctl_fops.owner = THIS_MODULE;
	conn->ctl_fops.write_iter = fr_ctl_write_iter;
	conn->ctl_fops.unlocked_ioctl = fr_ctl_ioctl;
	conn->ctl_fops.compat_ioctl = compat_ptr_ioctl;
	conn->ctl_fops.release = fr_ctl_release;

	__module_get(THIS_MODULE);	/* we run on behalf of an open file */
	smp_store_release(&dev->f_op, &conn->ctl_fops);
	fops_put(old);
}
