// SPDX-License-Identifier: GPL-2.0
/* Loading and unloading. */

#include <linux/atomic.h>
#include <linux/module.h>
#include <linux/rcupdate.h>
#include <linux/wait_bit.h>

#include "fuse.h"
#include "regions.h"

struct workqueue_struct *fr_wq;		/* what may wait for a server */
struct workqueue_struct *fr_end_wq;	/* what may wait for works of that one */
struct workqueue_struct *fr_io_wq;	/* what may wait for pages */
struct workqueue_struct *fr_write_wq;	/* what somebody in srcu waits for */

/*
 * What runs, or is still to run, in other people's tasks without a reference
 * to the module: ends of inodes, promotions of files, inode operations and
 * write-back of inodes that have been ours.
 */
atomic_t fr_pending;

void fr_pending_done(void)
{
	if (atomic_dec_and_test(&fr_pending))
		wake_up_var(&fr_pending);
}

/*
 * Nothing is attached and no file is ours any more, but tasks may still be on
 * their way out of functions of this module.
 */
static void fr_drain(void)
{
	synchronize_rcu_tasks();	/* who is about to count itself, has */
	wait_var_event(&fr_pending, !atomic_read(&fr_pending));
	synchronize_rcu_tasks();	/* who has uncounted itself, is out */
	destroy_workqueue(fr_end_wq);
	destroy_workqueue(fr_wq);
	destroy_workqueue(fr_io_wq);
	destroy_workqueue(fr_write_wq);
	rcu_barrier();
}

static int __init fr_init(void)
{
	int err = fr_node_init();

	if (err)
		return err;
	err = fr_aio_init();
	if (err)
		goto err_node;
	err = fr_cache_init();
	if (err)
		goto err_aio;
	err = fr_inode_init();
	if (err)
		goto err_cache;
	err = -ENOMEM;
	/* Binders and writers wait for stale pages to be dropped */
	fr_wq = alloc_workqueue("fuse_regions", WQ_UNBOUND | WQ_HIGHPRI, 0);
	if (!fr_wq)
		goto err_inode;
	fr_end_wq = alloc_workqueue("fuse_regions_end", WQ_UNBOUND, 0);
	if (!fr_end_wq)
		goto err_wq;
	fr_io_wq = alloc_workqueue("fuse_regions_io",
				   WQ_UNBOUND | WQ_MEM_RECLAIM, 0);
	if (!fr_io_wq)
		goto err_end_wq;
	fr_write_wq = alloc_workqueue("fuse_regions_write",
				      WQ_UNBOUND | WQ_MEM_RECLAIM, 0);
	if (!fr_write_wq)
		goto err_io_wq;
	err = fr_fuse_init();
	if (err)
		goto err_write_wq;
	err = fr_dev_init();
	if (err)
		goto err_fuse;
	return 0;

err_fuse:
	fr_fuse_exit();
err_write_wq:
	destroy_workqueue(fr_write_wq);
err_io_wq:
	destroy_workqueue(fr_io_wq);
err_end_wq:
	destroy_workqueue(fr_end_wq);
err_wq:
	destroy_workqueue(fr_wq);
err_inode:
	fr_inode_exit();
err_cache:
	fr_cache_exit();
err_aio:
	fr_aio_exit();
err_node:
	fr_node_exit();
	return err;
}

static void __exit fr_exit(void)
{
	fr_dev_exit();
	fr_fuse_exit();
	fr_drain();
	fr_confine_exit();
	fr_inode_exit();
	fr_cache_exit();
	fr_aio_exit();
	fr_node_exit();
}

module_init(fr_init);
module_exit(fr_exit);

MODULE_DESCRIPTION("Byte ranges of FUSE files, served from backing files");
MODULE_LICENSE("GPL");
MODULE_VERSION(FUSE_REGIONS_VERSION);
