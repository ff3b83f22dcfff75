// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0
/*
 * Syncing the backings that this process wrote to.
 *
 * A backing is on the inode's list from before it is written to, under the
 * inode's lock, until a sync of it succeeded. A sync takes the list with that
 * lock held for writing, so that no write is between the two. What the server
 * wrote by itself comes to the list afterwards.
 *
 * A backing has one struct file for all inodes that use it, and the kernel tells
 * that of an error once. So errors are counted per connection, and each inode that
 * wrote to the backing is told of what is new to it, as in the module (kmod/sync.c).
 */

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "internal.h"

static int append(struct inode *inode, struct backing *backing)
{
	struct backing **dirty = inode->dirty;

	if (inode->nr_dirty == inode->room_dirty) {
		size_t room = inode->room_dirty ? inode->room_dirty * 2 : 4;

		dirty = reallocarray(dirty, room, sizeof(struct backing *));
		if (!dirty)
			return -ENOMEM;
		inode->dirty = dirty;
		inode->room_dirty = room;
	}
	backing_get(backing);
	dirty[inode->nr_dirty++] = backing;
	return 0;
}

static bool is_dirty(const struct inode *inode, const struct backing *backing)
{
	for (size_t i = inode->nr_dirty; i > 0; i--)
		if (inode->dirty[i - 1] == backing)
			return true;
	return false;
}

int inode_mark_dirty(struct inode *inode, struct backing *backing)
{
	int err;

	pthread_mutex_lock(&inode->dirty_lock);
	err = is_dirty(inode, backing) ? 0 : append(inode, backing);
	pthread_mutex_unlock(&inode->dirty_lock);
	return err;
}

/* Without memory to remember one, all are synced next time. */
static void mark_dirty_or_all(struct inode *inode, struct backing *backing)
{
	pthread_mutex_lock(&inode->dirty_lock);
	if (!is_dirty(inode, backing) && append(inode, backing))
		inode->synced = false;
	pthread_mutex_unlock(&inode->dirty_lock);
}

bool inode_is_dirty(struct inode *inode)
{
	bool dirty;

	pthread_mutex_lock(&inode->dirty_lock);
	dirty = inode->nr_dirty;
	pthread_mutex_unlock(&inode->dirty_lock);
	return dirty;
}

/* Every backing of the map, many of them more than once */
static int append_all(struct inode *inode)
{
	const struct backing *last = NULL;
	struct fr_piece piece = { .last = UINT64_MAX };
	int err = 0;

	do {
		struct backing *backing;

		fr_map_find(inode->map.root, piece.last + 1, &piece);
		backing = piece.region ? fr_region_backing(piece.region) : NULL;
		if (backing && backing != last)
			err = append(inode, backing);
		last = backing;
	} while (!err && piece.last < FR_LAST_MAX);
	return err;
}

static int compare(const void *a, const void *b)
{
	uintptr_t left = (uintptr_t) * (struct backing *const *)a;
	uintptr_t right = (uintptr_t) * (struct backing *const *)b;

	return (left > right) - (left < right);
}

static size_t make_unique(struct backing **v, size_t nr)
{
	size_t kept = 0;

	if (!nr)
		return 0;
	qsort(v, nr, sizeof(*v), compare);
	for (size_t i = 0; i < nr; i++) {
		if (kept && v[kept - 1] == v[i])
			backing_put(v[i]);
		else
			v[kept++] = v[i];
	}
	return kept;
}

/* Take the list, which then is the caller's, references and all. */
static int take_dirty(struct inode *inode, struct backing ***dirty, size_t *nr)
{
	int err = 0;

	pthread_rwlock_wrlock(&inode->lock);
	pthread_mutex_lock(&inode->dirty_lock);
	if (!inode->synced)
		err = append_all(inode);
	if (!err) {
		*dirty = inode->dirty;
		*nr = inode->nr_dirty;
		inode->dirty = NULL;
		inode->nr_dirty = 0;
		inode->room_dirty = 0;
		inode->synced = true;
	}
	pthread_mutex_unlock(&inode->dirty_lock);
	pthread_rwlock_unlock(&inode->lock);
	return err;
}

static int sync_fd(const struct backing *backing, int datasync)
{
	int ret = datasync ? fdatasync(backing->fd) : fsync(backing->fd);

	if (ret == 0 || errno == EINVAL)
		return 0; /* there is nothing to sync on such a file system */
	/* Nor for who can't write; but ext4, when it gave up, says so of what was written. */
	if (errno == EROFS && !(backing->access & FR_WRITE) && !backing->noted)
		return 0;
	return -errno;
}

/* Sync it; told is also what another inode's sync met since the last one of this. */
static int sync_backing(struct inode *inode, struct backing *backing, int datasync, uint64_t *found)
{
	struct fuse_regions_conn *conn = backing->conn;
	int err;

	/* Whoever syncs it next is told of no error, and is to find this one noted. */
	pthread_mutex_lock(&backing->sync_lock);
	err = sync_fd(backing, datasync);
	pthread_mutex_lock(&conn->lock);
	if (err) {
		backing->err = err;
		backing->err_at = ++conn->nr_errs;
		++*found;
	} else if (backing->err_at > inode->errs_seen) {
		err = backing->err;
	}
	pthread_mutex_unlock(&conn->lock);
	pthread_mutex_unlock(&backing->sync_lock);
	return err;
}

static uint64_t count_errs(struct fuse_regions_conn *conn)
{
	uint64_t nr;

	pthread_mutex_lock(&conn->lock);
	nr = conn->nr_errs;
	pthread_mutex_unlock(&conn->lock);
	return nr;
}

static int sync_dirty(struct fuse_regions_conn *conn, struct inode *inode, int datasync)
{
	uint64_t seen = count_errs(conn), found = 0;
	struct backing **dirty;
	size_t nr;
	int err = take_dirty(inode, &dirty, &nr);

	if (err)
		return err;
	nr = make_unique(dirty, nr);
	for (size_t i = 0; i < nr; i++) {
		int this_err = sync_backing(inode, dirty[i], datasync, &found);

		if (this_err && !err)
			err = this_err;
		if (this_err)
			mark_dirty_or_all(inode, dirty[i]);
		backing_put(dirty[i]);
	}
	free(dirty);
	/* Another inode's may be of a backing that was synced here before */
	inode->errs_seen = count_errs(conn) == seen + found ? seen + found : seen;
	return err;
}

int fuse_regions_fsync(struct fuse_regions_conn *conn, uint64_t nodeid, int datasync)
{
	struct inode *inode = inode_get(conn, nodeid);
	int err;

	if (!inode)
		return 0;
	/* Nobody returns before what an earlier call took off the list is synced. */
	pthread_mutex_lock(&inode->sync_lock);
	err = sync_dirty(conn, inode, datasync);
	pthread_mutex_unlock(&inode->sync_lock);
	inode_put(inode);
	return err;
}

int fuse_regions_note_write(struct fuse_regions_conn *conn, uint64_t nodeid, uint32_t id)
{
	struct backing *backing = backing_get_by_id(conn, id);
	struct inode *inode = inode_get(conn, nodeid);
	bool known = inode && backing;

	if (known) {
		backing->noted = true;
		mark_dirty_or_all(inode, backing);
	}
	inode_put(inode);
	if (backing)
		backing_put(backing);
	return known ? 0 : -ENOENT;
}
