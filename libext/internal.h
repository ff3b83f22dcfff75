/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
/*
 * What the library's files share.
 *
 * Locks, in the order in which they are taken:
 *   inode->sync_lock	one fsync at a time
 *   inode->lock	the inode's map; held for reading while bytes are moved to
 *			or from backings, so that a change waits for them
 *   backing->sync_lock	one fsync of it at a time, for the kernel tells of an error once
 *   conn->lock		the tables of inodes and backings, the pipes, for moments
 *   inode->dirty_lock	the list of backings to sync, for moments
 * None is held while a callback runs.
 */
#ifndef FR_INTERNAL_H
#define FR_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "fuse_regions.h"
#include "hash.h"
#include "map.h"

#define container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))
#define cleanup(function) __attribute__((cleanup(function)))

/* The module's defaults, for user mode */
#define USER_MAX_BACKINGS 65536
#define USER_MAX_REGIONS (4 * 1024 * 1024)
#define USER_MAX_RECORDS 16384

/* Bytes of zeroes that a connection has at hand: the largest READ request */
#define ZEROES_SIZE (1024 * 1024)

/**
 * struct backing - a registered file
 * @link:	in conn->backings, by id, until it is unregistered
 * @conn:	whose
 * @refs:	the table's, one for each leaf of a map, one for each dirty list
 * @id:		the kernel's id, or our own
 * @fd:		ours
 * @access:	FR_READ | FR_WRITE: what @fd is open for
 * @noted:	the server has written to it by itself, whatever @access says
 * @sync_lock:	held from a sync until what that said is in @err and @err_at
 * @err:	what the last sync that failed said; conn->lock
 * @err_at:	and its number among the connection's failures; conn->lock
 *
 * The kernel's id is given back with the last reference only: a map that the
 * kernel lost can be sent again as long as it is needed.
 */
struct backing {
	struct hash_link link;
	struct fuse_regions_conn *conn;
	atomic_uint refs;
	uint32_t id;
	int fd;
	unsigned int access;
	atomic_bool noted;
	pthread_mutex_t sync_lock;
	int err;
	uint64_t err_at;
};

/**
 * struct inode - an inode with regions
 * @link:	in conn->inodes, by nodeid
 * @refs:	the table's, and one for each call under way
 * @lock:	protects @map, @changes and @dead
 * @map:	its regions
 * @changes:	how often these were others afterwards: not after a change that
 *		failed, or found nothing to do; those are no reason to ask a
 *		callback again
 * @dead:	out of the table; look it up again
 * @dirty_lock:	protects @dirty, @nr_dirty, @room_dirty, @synced
 * @dirty:	backings that this process wrote to since the last fsync
 * @synced:	an fsync has been through with all backings of the map, and there was
 *		memory to remember those to sync since: what was written before the
 *		inode was forgotten, and met again, is not in @dirty
 * @sync_lock:	held during an fsync, protects @errs_seen
 * @errs_seen:	conn->nr_errs when its last fsync was begun
 */
struct inode {
	struct hash_link link;
	atomic_uint refs;
	pthread_rwlock_t lock;
	struct fr_map map;
	uint64_t changes;
	bool dead;
	pthread_mutex_t dirty_lock;
	struct backing **dirty;
	size_t nr_dirty;
	size_t room_dirty;
	bool synced;
	pthread_mutex_t sync_lock;
	uint64_t errs_seen;
};

/**
 * struct fuse_regions_conn - a connection
 * @lock:	protects the tables, @next_id, @pipes and @nr_errs
 * @inodes:	struct inode by nodeid
 * @backings:	struct backing by id
 * @next_id:	user mode: where to look for a free id
 * @control:	attached descriptor, -1 in user mode
 * @attach:	what the kernel said; user mode: limits only
 * @regions:	number of regions in all maps
 * @zeroes:	ZEROES_SIZE of them, read-only
 * @pipes:	those that are not in use, see pipe.h
 * @nr_errs:	how many syncs of backings failed
 * @reason:	why user mode
 */
struct fuse_regions_conn {
	pthread_mutex_t lock;
	struct hash inodes;
	struct hash backings;
	uint32_t next_id;
	int control;
	struct fuse_regions_attach attach;
	_Atomic uint64_t regions;
	void *zeroes;
	struct pipe *pipes;
	uint64_t nr_errs;
	char reason[160];
};

/* backing.c */
struct backing *backing_get_by_id(struct fuse_regions_conn *conn, uint32_t id);
void backing_get(void *backing);
void backing_put(void *backing);
int reopen(int fd, int flags);

/* inode.c */

/* A reference to the inode, or NULL when it has no regions. */
struct inode *inode_get(struct fuse_regions_conn *conn, uint64_t nodeid);

/* The same, with its lock held for reading; it is in the table. */
struct inode *inode_get_locked_shared(struct fuse_regions_conn *conn, uint64_t nodeid);

/* The same, made if need be, with its lock held for writing; NULL: no memory. */
struct inode *inode_get_locked(struct fuse_regions_conn *conn, uint64_t nodeid);
void inode_put(struct inode *inode);

/* Take it out of the table, unlock it, and drop the reference. */
void inode_kill(struct fuse_regions_conn *conn, struct inode *inode);

/* A NULL inode has an empty map. */
static inline const struct fr_node *inode_root(const struct inode *inode)
{
	return inode ? inode->map.root : NULL;
}

/* sync.c */

/* The next fsync is to sync @backing too. 0 or -ENOMEM. */
int inode_mark_dirty(struct inode *inode, struct backing *backing);
bool inode_is_dirty(struct inode *inode);

/* kernel.c: all are for kernel mode, but the first */

/* Attach to the module, or set conn->reason. */
void kernel_attach(struct fuse_regions_conn *conn, int session_fd, uint32_t max_stack_depth);

/* A backing id or a negative errno. */
int kernel_backing_open(struct fuse_regions_conn *conn, int fd);
void kernel_backing_close(struct fuse_regions_conn *conn, uint32_t id);

/* Send the notification. 0 or a negative errno. */
int kernel_send(struct fuse_regions_conn *conn, uint64_t nodeid,
		const struct fuse_passthrough_region *records, uint32_t count);

#endif /* FR_INTERNAL_H */
