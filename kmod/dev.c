// SPDX-License-Identifier: GPL-2.0
/* /dev/fuse_regions: where a server attaches. */

#include <linux/file.h>
#include <linux/fuse_regions.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/uaccess.h>

#include "regions.h"

static int fr_dev_attach_fd(const struct fuse_regions_attach *a)
{
	struct file *file;
	int err;

	if (a->flags || a->reserved[0] || a->reserved[1] ||
	    a->max_stack_depth > FILESYSTEM_MAX_STACK_DEPTH)
		return -EINVAL;
	file = fget(a->fd);
	if (!file)
		return -EBADF;
	err = fr_conn_attach(file, a->max_stack_depth ?: 1);
	fput(file);
	return err;
}

static long fr_dev_attach(struct fuse_regions_attach __user *arg)
{
	struct fuse_regions_attach a;

	if (copy_from_user(&a, arg, sizeof(a)))
		return -EFAULT;
	if (a.abi_version != FUSE_REGIONS_ABI_VERSION) {
		if (put_user((u32)FUSE_REGIONS_ABI_VERSION, &arg->abi_version))
			return -EFAULT;
		return -EPROTONOSUPPORT;
	}
	/* Say what there is first: once attached there is no way back */
	a.features = FUSE_REGIONS_FEATURE_READ | FUSE_REGIONS_FEATURE_WRITE |
		     FUSE_REGIONS_FEATURE_MMAP;
	a.max_backings = READ_ONCE(fr_max_backings);
	a.max_regions = READ_ONCE(fr_max_regions);
	a.max_records = READ_ONCE(fr_max_records);
	a.notify_code = FUSE_NOTIFY_PASSTHROUGH;
	if (copy_to_user(arg, &a, sizeof(a)))
		return -EFAULT;
	return fr_dev_attach_fd(&a);
}

static long fr_dev_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	if (cmd == FUSE_REGIONS_IOC_ATTACH)
		return fr_dev_attach((void __user *)arg);
	return -ENOTTY;
}

static const struct file_operations fr_dev_fops = {
	.owner		= THIS_MODULE,
	.unlocked_ioctl	= fr_dev_ioctl,
	.compat_ioctl	= compat_ptr_ioctl,
	.llseek		= noop_llseek,
};

/*
 * For root alone: what a server does with an attachment takes CAP_SYS_ADMIN
 * anyway, and code that nobody can reach cannot be attacked.
 */
static struct miscdevice fr_dev = {
	.minor	= MISC_DYNAMIC_MINOR,
	.name	= "fuse_regions",
	.fops	= &fr_dev_fops,
	.mode	= 0600,
};

int fr_dev_init(void)
{
	return misc_register(&fr_dev);
}

void fr_dev_exit(void)
{
	misc_deregister(&fr_dev);
}
