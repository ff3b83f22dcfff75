// SPDX-License-Identifier: GPL-2.0
/* Limits, which may be changed at any time, and counts of what is alive. */

#include <linux/module.h>

#include "regions.h"

unsigned int fr_max_backings = 65536;
module_param_named(max_backings, fr_max_backings, uint, 0644);
MODULE_PARM_DESC(max_backings, "Backings a connection may have registered");

unsigned int fr_max_regions = 4 * 1024 * 1024;
module_param_named(max_regions, fr_max_regions, uint, 0644);
MODULE_PARM_DESC(max_regions, "Regions an inode may have");

unsigned int fr_max_records = 16384;
module_param_named(max_records, fr_max_records, uint, 0644);
MODULE_PARM_DESC(max_records, "Records a message may have");

atomic_long_t fr_live_conns;
atomic_long_t fr_live_backings;
atomic_long_t fr_live_inodes;
atomic_long_t fr_live_nodes;

static int fr_live_get(char *buffer, const struct kernel_param *kp)
{
	return sysfs_emit(buffer, "%ld\n", atomic_long_read(kp->arg));
}

static const struct kernel_param_ops fr_live_ops = {
	.get = fr_live_get,
};

module_param_cb(live_conns, &fr_live_ops, &fr_live_conns, 0444);
MODULE_PARM_DESC(live_conns, "Connections that are attached, or still have files");
module_param_cb(live_backings, &fr_live_ops, &fr_live_backings, 0444);
MODULE_PARM_DESC(live_backings, "Backing files held open");
module_param_cb(live_inodes, &fr_live_ops, &fr_live_inodes, 0444);
MODULE_PARM_DESC(live_inodes, "Inodes known");
module_param_cb(live_nodes, &fr_live_ops, &fr_live_nodes, 0444);
MODULE_PARM_DESC(live_nodes, "Map nodes allocated, 512 bytes each");
