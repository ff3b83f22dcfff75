/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Where FUSE keeps its private fields, as the running kernel's BTF says. No
 * structure of FUSE's is declared anywhere in this module.
 */
#ifndef FR_LAYOUT_H
#define FR_LAYOUT_H

#include <linux/types.h>

/* Byte offsets; -1 for a field that this kernel does not have. */
struct fr_layout {
	int inode_nodeid;
	int inode_inval_mask;
	int inode_lock;
	int inode_attr_version;
	int inode_fb;		/* -1: built without FUSE_PASSTHROUGH */
	int dev_fc;		/* -1: use dev_chan, chan_conn */
	int dev_chan;
	int chan_conn;
	int conn_connected;	/* -1: use conn_chan, chan_connected */
	int conn_chan;
	int chan_connected;
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
