// SPDX-License-Identifier: GPL-2.0
/* Attached connections: the list of them, and how one begins and ends. */

#include <linux/rculist.h>
#include <linux/slab.h>

#include "fuse.h"
#include "regions.h"

static DEFINE_MUTEX(fr_conn_mutex);
static LIST_HEAD(fr_conns);

static struct fr_conn *fr_conn_lookup(void *fc)
{
	struct fr_conn *conn;

	list_for_each_entry_rcu(conn, &fr_conns, list,
				lockdep_is_held(&fr_conn_mutex))
		if (conn->fc == fc)
			return conn;
	return NULL;
}

/* Is @fc attached? Called on every open of every FUSE file, atomically. */
bool fr_conn_known(void *fc)
{
	struct fr_conn *conn;
	bool known;

	if (list_empty(&fr_conns))
		return false;
	rcu_read_lock();
	conn = fr_conn_lookup(fc);
	known = conn && READ_ONCE(conn->attached);
	rcu_read_unlock();
	return known;
}

/* Is it, or are files open that have had regions since it was? */
bool fr_conn_listed(void *fc)
{
	bool listed;

	rcu_read_lock();
	listed = fr_conn_lookup(fc);
	rcu_read_unlock();
	return listed;
}

/* A reference to @fc's connection, attached or not, or NULL. */
struct fr_conn *fr_conn_find(void *fc)
{
	struct fr_conn *conn;

	rcu_read_lock();
	conn = fr_conn_lookup(fc);
	if (conn && !refcount_inc_not_zero(&conn->count))
		conn = NULL;
	rcu_read_unlock();
	return conn;
}

/* Not by who puts the last reference: that may be a fault, with locks that wait. */
static void fr_conn_free(struct work_struct *work)
{
	struct fr_conn *conn = container_of(work, struct fr_conn, free_work);

	synchronize_srcu_expedited(&conn->srcu); /* polled for, see hold.c */
	srcu_barrier(&conn->srcu);	/* retired map nodes, see bind.c */
	cleanup_srcu_struct(&conn->srcu);
	xa_destroy(&conn->backings);
	kfree_rcu(conn, rcu);
	atomic_long_dec(&fr_live_conns);
}

static struct fr_conn *fr_conn_new(void *fc)
{
	struct fr_conn *conn = kzalloc(sizeof(*conn), GFP_KERNEL_ACCOUNT);

	if (!conn)
		return NULL;
	if (init_srcu_struct(&conn->srcu)) {
		kfree(conn);
		return NULL;
	}
	conn->fc = fc;
	refcount_set(&conn->count, 1);
	xa_init_flags(&conn->backings, XA_FLAGS_ALLOC1);
	spin_lock_init(&conn->lock);
	INIT_LIST_HEAD(&conn->inodes);
	INIT_WORK(&conn->free_work, fr_conn_free);
	atomic_long_inc(&fr_live_conns);
	return conn;
}

void fr_conn_put(struct fr_conn *conn)
{
	if (!refcount_dec_and_mutex_lock(&conn->count, &fr_conn_mutex))
		return;
	list_del_rcu(&conn->list);
	mutex_unlock(&fr_conn_mutex);

	queue_work(fr_end_wq, &conn->free_work);
}

/*
 * Does anybody's file system lie on @fc's mounts already, for all we know? It
 * was counted as less deep than it is about to be, so that a file on it could
 * become a backing of what lies below it. Backings with nothing below them, for
 * which @depth is 1, cannot come back here like that.
 */
static bool fr_conn_too_late(void *fc, int depth)
{
	return depth > 1 && fr_fuse_stack_depth(fc) < depth &&
	       fr_fuse_initialized(fc);
}

/*
 * Make @dev, a /dev/fuse file, the control channel of its connection. A
 * connection whose files outlived an earlier attachment is taken up again.
 */
int fr_conn_attach(struct file *dev, int depth)
{
	struct fr_conn *conn;
	void *fc;
	int err;

	mutex_lock(&fr_conn_mutex);
	err = -EBUSY;
	if (fr_ctl_is(dev))
		goto out;
	err = fr_fuse_dev_conn(dev, &fc);
	if (err)
		goto out;
	conn = fr_conn_lookup(fc);
	if ((conn && (conn->attached || conn->detaching)) ||
	    fr_conn_too_late(fc, depth)) {
		err = -EBUSY;
		goto out;
	}
	if (conn && refcount_inc_not_zero(&conn->count)) {
		/* the control file's reference */
	} else {
		conn = fr_conn_new(fc);
		err = -ENOMEM;
		if (!conn)
			goto out;
		list_add_rcu(&conn->list, &fr_conns);
	}
	fr_fuse_set_stack_depth(fc, depth);
	spin_lock(&conn->lock);
	WRITE_ONCE(conn->attached, true);
	spin_unlock(&conn->lock);
	fr_ctl_install(conn, dev);
	err = 0;
out:
	mutex_unlock(&fr_conn_mutex);
	return err;
}

/* The control file is being released, so nobody sends messages any more. */
void fr_conn_detach(struct fr_conn *conn)
{
	mutex_lock(&fr_conn_mutex);
	spin_lock(&conn->lock);
	WRITE_ONCE(conn->attached, false);
	spin_unlock(&conn->lock);
	conn->detaching = true;
	mutex_unlock(&fr_conn_mutex);

	fr_backing_close_all(conn);
	fr_inode_detach_all(conn);

	mutex_lock(&fr_conn_mutex);
	conn->detaching = false;
	mutex_unlock(&fr_conn_mutex);
	fr_conn_put(conn);
}
