// SPDX-License-Identifier: GPL-2.0
/*
 * Learn FUSE's layout from BTF, and refuse a FUSE that we do not know: a
 * field that is missing, or of another size, is never guessed at.
 */

#include <linux/err.h>
#include <linux/fs.h>
#include <linux/printk.h>
#include <linux/rbtree.h>
#include <linux/rwsem.h>
#include <linux/wait.h>

#include "btf.h"
#include "layout.h"
#include "regions.h"

struct fr_layout fr_layout;

static const struct fr_layout_field {
	const char *type;
	const char *member;
	u32 size;
	int *offset;
	bool optional;
} fr_layout_fields[] = {
	{ "fuse_inode", "nodeid", sizeof(u64), &fr_layout.inode_nodeid },
	{ "fuse_inode", "inval_mask", sizeof(u32), &fr_layout.inode_inval_mask },
	{ "fuse_inode", "lock", sizeof(spinlock_t), &fr_layout.inode_lock },
	{ "fuse_inode", "attr_version", sizeof(u64), &fr_layout.inode_attr_version },
	{ "fuse_conn", "attr_version", sizeof(atomic64_t), &fr_layout.conn_attr_version },
	{ "fuse_inode", "fb", sizeof(void *), &fr_layout.inode_fb, true },
	{ "fuse_inode", "page_waitq", sizeof(wait_queue_head_t), &fr_layout.inode_waitq },
	{ "fuse_inode", "writepages", sizeof(struct rb_root), &fr_layout.inode_writepages, true },
	{ "fuse_io_priv", "iocb", sizeof(void *), &fr_layout.io_iocb },
	{ "fuse_io_priv", "blocking", sizeof(bool), &fr_layout.io_end },
	{ "fuse_dev", "fc", sizeof(void *), &fr_layout.dev_fc, true },
	{ "fuse_dev", "chan", sizeof(void *), &fr_layout.dev_chan, true },
	{ "fuse_chan", "conn", sizeof(void *), &fr_layout.chan_conn, true },
	{ "fuse_conn", "connected", sizeof(int), &fr_layout.conn_connected, true },
	{ "fuse_conn", "initialized", sizeof(int), &fr_layout.conn_initialized, true },
	{ "fuse_conn", "chan", sizeof(void *), &fr_layout.conn_chan, true },
	{ "fuse_chan", "connected", sizeof(int), &fr_layout.chan_connected, true },
	{ "fuse_chan", "initialized", sizeof(int), &fr_layout.chan_initialized, true },
	{ "fuse_conn", "killsb", sizeof(struct rw_semaphore), &fr_layout.conn_killsb },
	{ "fuse_conn", "mounts", sizeof(struct list_head), &fr_layout.conn_mounts },
	{ "fuse_mount", "fc", sizeof(void *), &fr_layout.mount_fc },
	{ "fuse_mount", "sb", sizeof(void *), &fr_layout.mount_sb },
	{ "fuse_mount", "fc_entry", sizeof(struct list_head), &fr_layout.mount_entry },
};

static const char *const fr_open_args[] = { "inode", "file", NULL };
static const char *const fr_evict_args[] = { "inode", NULL };
static const char *const fr_copy_args[] = {
	"file", "=long long int", "file", "=long long int", "=long unsigned int",
	NULL
};
static const char *const fr_direct_args[] = { "fuse_io_priv", "iov_iter", NULL };

static const struct fr_layout_func {
	const char *name;
	const char *const *args;
} fr_layout_funcs[] = {
	{ "fuse_open", fr_open_args },
	{ "fuse_finish_open", fr_open_args },
	{ "fuse_evict_inode", fr_evict_args },
	{ "fuse_copy_file_range", fr_copy_args },
	{ "fuse_direct_io", fr_direct_args },
};

/* Newer kernels keep a connection's flags in its channel. */
static bool fr_layout_has_flag(int in_conn, int in_chan)
{
	return in_conn >= 0 || (fr_layout.conn_chan >= 0 && in_chan >= 0);
}

static int fr_layout_check_fields(struct fr_btf *btf)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(fr_layout_fields); i++) {
		const struct fr_layout_field *f = &fr_layout_fields[i];
		int off = fr_btf_member(btf, f->type, f->member, f->size);

		if (off == -ENOENT && f->optional)
			off = -1;
		if (off < -1) {
			pr_err("this kernel's FUSE is not known: struct %s has no usable member %s\n",
			       f->type, f->member);
			return -EOPNOTSUPP;
		}
		*f->offset = off;
	}
	if (fr_layout.dev_fc < 0 &&
	    (fr_layout.dev_chan < 0 || fr_layout.chan_conn < 0)) {
		pr_err("this kernel's FUSE is not known: no way from a device to its connection\n");
		return -EOPNOTSUPP;
	}
	if (!fr_layout_has_flag(fr_layout.conn_connected, fr_layout.chan_connected) ||
	    !fr_layout_has_flag(fr_layout.conn_initialized, fr_layout.chan_initialized)) {
		pr_err("this kernel's FUSE is not known: no way to tell a connection's state\n");
		return -EOPNOTSUPP;
	}
	if (fr_layout.io_end >= FR_FUSE_IO_SIZE - 8) {
		pr_err("this kernel's FUSE is not known: struct fuse_io_priv is too large\n");
		return -EOPNOTSUPP;
	}
	/* get_fuse_inode() and ours agree only while the inode comes first */
	if (fr_btf_member(btf, "fuse_inode", "inode", sizeof(struct inode))) {
		pr_err("this kernel's FUSE is not known: struct fuse_inode does not start with the inode\n");
		return -EOPNOTSUPP;
	}
	return 0;
}

static int fr_layout_check_funcs(struct fr_btf *btf)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(fr_layout_funcs); i++) {
		if (!fr_btf_func(btf, fr_layout_funcs[i].name,
				 fr_layout_funcs[i].args))
			continue;
		pr_err("this kernel's FUSE is not known: %s() is missing or takes other arguments\n",
		       fr_layout_funcs[i].name);
		return -EOPNOTSUPP;
	}
	return 0;
}

int fr_layout_load(void)
{
	struct fr_btf *btf = fr_btf_open();
	int err;

	if (IS_ERR(btf)) {
		pr_err("cannot read the kernel's type information below /sys/kernel/btf (error %ld)\n",
		       PTR_ERR(btf));
		return PTR_ERR(btf) == -ENOMEM ? -ENOMEM : -EOPNOTSUPP;
	}
	err = fr_layout_check_fields(btf);
	if (!err)
		err = fr_layout_check_funcs(btf);
	fr_btf_close(btf);
	return err;
}
