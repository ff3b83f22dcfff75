// SPDX-License-Identifier: GPL-2.0
/*
 * The table of inodes: what we know of a FUSE inode, from its first open or
 * bind until it is evicted, or its connection is detached and its last file
 * closed.
 */

#include <linux/completion.h>
#include <linux/rhashtable.h>
#include <linux/slab.h>
#include <linux/task_work.h>

#include "msg.h"
#include "regions.h"

static const struct rhashtable_params fr_inode_params = {
	.key_len		= sizeof(struct inode *),
	.key_offset		= offsetof(struct fr_inode, inode),
	.head_offset		= offsetof(struct fr_inode, node),
	.automatic_shrinking	= true,
};

static struct rhashtable fr_inodes;

/* A reference to what is known of @inode, or NULL. */
struct fr_inode *fr_inode_find(struct inode *inode)
{
	struct fr_inode *fi;

	rcu_read_lock();
	fi = rhashtable_lookup(&fr_inodes, &inode, fr_inode_params);
	if (fi && !refcount_inc_not_zero(&fi->count))
		fi = NULL;
	rcu_read_unlock();
	return fi;
}

/* No files, not in the table, so neither readers nor writers. May sleep. */
static void fr_inode_free(struct fr_inode *fi)
{
	const struct fr_op all = { .last = FR_LAST_MAX };

	/* Without waiting for the backings' disks: this may be any task */
	fr_splice_part(fi, fi->map.root, &all, 1, false);
	/* First, for the last reference to a backing is to go in this task */
	fr_bind_end(fi);
	fr_map_destroy(&fi->map);
	fr_conn_put(fi->conn);
	atomic_long_dec(&fr_live_inodes);
	kfree_rcu(fi, rcu);
}

void fr_inode_put(struct fr_inode *fi)
{
	if (refcount_dec_and_test(&fi->count))
		fr_inode_free(fi);
}

/* What ends an inode in a task that may sleep. */
static void fr_inode_end(struct fr_inode *fi)
{
	fr_drop_end(fi);
	fr_inode_put(fi);
	fr_pending_done();
}

static void fr_inode_end_twork(struct callback_head *head)
{
	fr_inode_end(container_of(head, struct fr_inode, twork));
}

static void fr_inode_end_work(struct work_struct *work)
{
	fr_inode_end(container_of(work, struct fr_inode, free_work));
}

/* The inode is an ordinary FUSE inode from now on. Any context. */
static void fr_inode_give_back(struct fr_inode *fi)
{
	fr_cache_give_back(fi);
	fr_attr_give_back(fi);
}

/* Take it out of the table. The caller then owns the table's reference. */
static bool fr_inode_unhash(struct fr_inode *fi)
{
	lockdep_assert_held(&fi->conn->lock);

	if (!fi->hashed)
		return false;
	fi->hashed = false;
	list_del(&fi->entry);
	rhashtable_remove_fast(&fr_inodes, &fi->node, fr_inode_params);
	return true;
}

static struct fr_inode *fr_inode_new(struct inode *inode, struct fr_conn *conn)
{
	struct fr_inode *fi = kzalloc(sizeof(*fi), GFP_KERNEL_ACCOUNT);

	if (!fi)
		return NULL;
	fr_file_ops_init(&fi->fops, fr_orig_fops);
	refcount_inc(&conn->count);
	fi->conn = conn;
	fi->map.ops = &fr_node_ops;
	mutex_init(&fi->map_lock);
	mutex_init(&fi->sync_lock);
	fi->inode = inode;
	refcount_set(&fi->count, 2);	/* the table's, and the caller's */
	mutex_init(&fi->store_lock);
	mutex_init(&fi->claim_lock);
	fi->claimed_cache.any = true;	/* by who did not know of this */
	fi->claimed_cache.last = ULONG_MAX;
	INIT_LIST_HEAD(&fi->holds);
	INIT_LIST_HEAD(&fi->retired);
	spin_lock_init(&fi->holds_lock);
	init_waitqueue_head(&fi->holds_wait);
	fi->short_end = U64_MAX;
	INIT_WORK(&fi->free_work, fr_inode_end_work);
	init_task_work(&fi->twork, fr_inode_end_twork);
	atomic_long_inc(&fr_live_inodes);
	return fi;
}

/* An error: the table is not to hold @fi after all; drop the caller's too. */
static void fr_inode_discard(struct fr_inode *fi)
{
	refcount_set(&fi->count, 1);
	fr_inode_put(fi);
}

/*
 * A reference to what is known of @inode, which the caller keeps alive; made
 * new where nothing is. ERR_PTR: -ENOMEM, -ENOTCONN once detached.
 */
struct fr_inode *fr_inode_get(struct inode *inode, struct fr_conn *conn)
{
	struct fr_inode *fi, *old;
	int err = 0;

	for (;;) {
		fi = fr_inode_find(inode);
		if (fi)
			return fi;
		fi = fr_inode_new(inode, conn);
		if (!fi)
			return ERR_PTR(-ENOMEM);

		spin_lock(&conn->lock);
		old = NULL;
		if (!conn->attached)
			err = -ENOTCONN;
		else
			old = rhashtable_lookup_get_insert_fast(&fr_inodes,
								&fi->node,
								fr_inode_params);
		if (IS_ERR(old)) {
			err = PTR_ERR(old);
		} else if (!err && !old) {
			fi->hashed = true;
			list_add(&fi->entry, &conn->inodes);
		}
		spin_unlock(&conn->lock);

		if (!err && !old)
			return fi;
		fr_inode_discard(fi);
		if (err)
			return ERR_PTR(err == -ENOTCONN ? err : -ENOMEM);
		/* somebody else was first: find theirs */
	}
}

/* Atomic: without a reference, as to put it may take sleep. */
bool fr_inode_has_regions(struct inode *inode)
{
	struct fr_inode *fi;
	bool has;

	if (!atomic_long_read(&fr_live_inodes))
		return false;
	rcu_read_lock();
	fi = rhashtable_lookup(&fr_inodes, &inode, fr_inode_params);
	has = fi && fr_load_root(fi->map.root);
	rcu_read_unlock();
	return has;
}

/* @inode is about to be opened with O_TRUNC. Atomic. */
void fr_inode_note_trunc(struct inode *inode)
{
	struct fr_inode *fi;

	rcu_read_lock();
	fi = rhashtable_lookup(&fr_inodes, &inode, fr_inode_params);
	if (fi)
		WRITE_ONCE(fi->trunc_txn, READ_ONCE(fi->txn));
	rcu_read_unlock();
}

/* Count a file whose f_op is about to be @fi's. False: @fi has been dropped. */
bool fr_inode_file_opened(struct fr_inode *fi)
{
	bool ok;

	spin_lock(&fi->conn->lock);
	ok = fi->hashed;
	/* Errors from before are not those of what will be written now */
	if (ok && !fi->nr_files && !READ_ONCE(fi->written) &&
	    !READ_ONCE(fi->mapped))
		fi->errs_seen = fi->conn->nr_errs;
	if (ok)
		fi->nr_files++;
	spin_unlock(&fi->conn->lock);
	return ok;
}

void fr_inode_file_closed(struct fr_inode *fi)
{
	struct fr_conn *conn = fi->conn;
	bool ours = false;

	spin_lock(&conn->lock);
	if (!--fi->nr_files && !conn->attached)
		ours = fr_inode_unhash(fi);
	if (ours)
		fr_inode_give_back(fi);
	spin_unlock(&conn->lock);
	if (ours)
		fr_inode_put(fi);
}

/* The connection is detached: what has no open file goes now. */
void fr_inode_detach_all(struct fr_conn *conn)
{
	struct fr_inode *fi, *next;
	LIST_HEAD(gone);
	LIST_HEAD(open);

	spin_lock(&conn->lock);
	while (!list_empty(&conn->inodes)) {
		fi = list_first_entry(&conn->inodes, struct fr_inode, entry);
		if (fi->nr_files) {
			list_move(&fi->entry, &open);
		} else if (fr_inode_unhash(fi)) {
			/*
			 * An inode that is no longer in the table may be
			 * evicted at any moment after the lock is dropped.
			 */
			fr_inode_give_back(fi);
			list_add(&fi->entry, &gone);
		}
		/* There may be millions; nobody adds one any more */
		cond_resched_lock(&conn->lock);
	}
	list_splice(&open, &conn->inodes);
	spin_unlock(&conn->lock);

	list_for_each_entry_safe(fi, next, &gone, entry) {
		list_del(&fi->entry);
		fr_inode_put(fi);
		cond_resched();
	}
}

/*
 * FUSE is about to evict @inode; called atomically, for every FUSE inode.
 * Regions are dropped before the evicting system call returns, so that after
 * an umount() the backings' file systems can be unmounted as well.
 */
void fr_inode_evict(struct inode *inode)
{
	struct fr_inode *fi;
	bool ours = false;

	if (!atomic_long_read(&fr_live_inodes))
		return;
	rcu_read_lock();
	fi = rhashtable_lookup(&fr_inodes, &inode, fr_inode_params);
	if (fi) {
		spin_lock(&fi->conn->lock);
		ours = fr_inode_unhash(fi);
		spin_unlock(&fi->conn->lock);
	}
	rcu_read_unlock();
	if (!ours)
		return;
	/* The table's reference, now ours, goes in a place that may sleep */
	fr_inode_give_back(fi);
	atomic_inc(&fr_pending);
	if ((current->flags & PF_KTHREAD) ||
	    task_work_add(current, &fi->twork, TWA_RESUME))
		queue_work(fr_end_wq, &fi->free_work);
}

int fr_inode_init(void)
{
	return rhashtable_init(&fr_inodes, &fr_inode_params);
}

void fr_inode_exit(void)
{
	rhashtable_destroy(&fr_inodes);
}
