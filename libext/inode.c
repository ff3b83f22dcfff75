// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0
/* Inodes with regions: each has the same map that the module keeps. */

#include <stdlib.h>

#include "internal.h"

static void *node_alloc(void)
{
	return aligned_alloc(16, FR_NODE_SIZE);
}

static const struct fr_map_ops map_ops = {
	.alloc = node_alloc,
	.free = free,
	.get = backing_get,
	.put = backing_put,
};

static struct inode *inode_new(void)
{
	struct inode *inode = calloc(1, sizeof(*inode));
	pthread_rwlockattr_t attr;

	if (!inode)
		return NULL;
	atomic_init(&inode->refs, 1);
	inode->map.ops = &map_ops;
	pthread_mutex_init(&inode->dirty_lock, NULL);
	pthread_mutex_init(&inode->sync_lock, NULL);
	/* Else a stream of reads would keep a change waiting for ever. */
	pthread_rwlockattr_init(&attr);
	pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	pthread_rwlock_init(&inode->lock, &attr);
	pthread_rwlockattr_destroy(&attr);
	return inode;
}

void inode_put(struct inode *inode)
{
	if (!inode || atomic_fetch_sub_explicit(&inode->refs, 1, memory_order_acq_rel) != 1)
		return;
	fr_map_destroy(&inode->map);
	for (size_t i = 0; i < inode->nr_dirty; i++)
		backing_put(inode->dirty[i]);
	free(inode->dirty);
	pthread_rwlock_destroy(&inode->lock);
	pthread_mutex_destroy(&inode->sync_lock);
	pthread_mutex_destroy(&inode->dirty_lock);
	free(inode);
}

static struct inode *table_get(struct fuse_regions_conn *conn, uint64_t nodeid)
{
	struct hash_link *link = hash_find(&conn->inodes, nodeid);
	struct inode *inode;

	if (!link)
		return NULL;
	inode = container_of(link, struct inode, link);
	atomic_fetch_add_explicit(&inode->refs, 1, memory_order_relaxed);
	return inode;
}

struct inode *inode_get(struct fuse_regions_conn *conn, uint64_t nodeid)
{
	struct inode *inode;

	pthread_mutex_lock(&conn->lock);
	inode = table_get(conn, nodeid);
	pthread_mutex_unlock(&conn->lock);
	return inode;
}

struct inode *inode_get_locked_shared(struct fuse_regions_conn *conn, uint64_t nodeid)
{
	for (;;) {
		struct inode *inode = inode_get(conn, nodeid);

		if (!inode)
			return NULL;
		pthread_rwlock_rdlock(&inode->lock);
		if (!inode->dead)
			return inode;
		pthread_rwlock_unlock(&inode->lock);
		inode_put(inode);
	}
}

static struct inode *get_or_make(struct fuse_regions_conn *conn, uint64_t nodeid)
{
	struct inode *inode;

	pthread_mutex_lock(&conn->lock);
	inode = table_get(conn, nodeid);
	if (!inode) {
		inode = inode_new();
		if (inode && hash_add(&conn->inodes, &inode->link, nodeid)) {
			inode_put(inode);
			inode = NULL;
		}
		if (inode) {
			atomic_fetch_add_explicit(&inode->refs, 1, memory_order_relaxed);
			inode->errs_seen = conn->nr_errs;
		}
	}
	pthread_mutex_unlock(&conn->lock);
	return inode;
}

struct inode *inode_get_locked(struct fuse_regions_conn *conn, uint64_t nodeid)
{
	for (;;) {
		struct inode *inode = get_or_make(conn, nodeid);

		if (!inode)
			return NULL;
		pthread_rwlock_wrlock(&inode->lock);
		if (!inode->dead)
			return inode;
		pthread_rwlock_unlock(&inode->lock);
		inode_put(inode);
	}
}

void inode_kill(struct fuse_regions_conn *conn, struct inode *inode)
{
	bool mine = !inode->dead;

	if (mine) {
		pthread_mutex_lock(&conn->lock);
		hash_remove(&conn->inodes, inode->link.key);
		pthread_mutex_unlock(&conn->lock);
		atomic_fetch_sub_explicit(&conn->regions, inode->map.nr, memory_order_relaxed);
		fr_map_destroy(&inode->map);
		inode->dead = true;
	}
	pthread_rwlock_unlock(&inode->lock);
	if (mine)
		inode_put(inode);
	inode_put(inode);
}

void fuse_regions_forget(struct fuse_regions_conn *conn, uint64_t nodeid)
{
	struct inode *inode = inode_get(conn, nodeid);

	if (!inode)
		return;
	pthread_rwlock_wrlock(&inode->lock);
	inode_kill(conn, inode);
}
