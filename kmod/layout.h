/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Where FUSE keeps its private fields, as the running kernel's BTF says. No
 * structure of FUSE's is declared anywhere in this module.
 */
#ifndef FR_LAYOUT_H
#define FR_LAYOUT_H

#include <linux/bits.h>
#include <linux/types.h>

struct fuse_io_priv;
struct iov_iter;

/* Exported by FUSE for CUSE, whose files have no cache to be kept in step with */
ssize_t fuse_direct_io(struct fuse_io_priv *io, struct iov_iter *iter,
		       loff_t *ppos, int flags);
#define FR_FUSE_DIO_CUSE	BIT(1)

/* Room for a struct fuse_io_priv, in bytes */
#define FR_FUSE_IO_SIZE		512

/* Byte offsets; -1 for a field that this kernel does not have. */
struct fr_layout {
	int inode_nodeid;
	int inode_inval_mask;
	int inode_lock;
	int inode_attr_version;
	int inode_fb;		/* -1: built without FUSE_PASSTHROUGH */
	int inode_waitq;
	int inode_writepages;	/* -1: what is written back stays in the cache */
	int io_iocb;
	int io_end;
	int dev_fc;		/* -1: use dev_chan, chan_conn */
	int dev_chan;
	int chan_conn;
	int conn_connected;	/* -1: use conn_chan, chan_connected */
	int conn_chan;
	int chan_connected;
	int conn_initialized;	/* -1: use conn_chan, chan_initialized */
	int chan_initialized;
	int conn_attr_version;
	int conn_killsb;
	int conn_mounts;
	int mount_fc;
	int mount_sb;
	int mount_entry;
};

extern struct fr_layout fr_layout;

/* Fill fr_layout; on failure says in one sentence what is unknown. */
int fr_layout_load(void);

#endif /* FR_LAYOUT_H */
