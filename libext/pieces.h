/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
/*
 * A request cut into pieces at region edges, and the rule by which requests
 * with gaps are answered:
 *
 *   cut under the lock; ask the server for the gaps without it; take the lock
 *   again; if the map changed meanwhile, start over; else move the bound
 *   bytes, still under the lock.
 *
 * So callbacks may change the map, no request sees half of a change, and a
 * change that has returned is no longer used.
 */
#ifndef FR_PIECES_H
#define FR_PIECES_H

#include "internal.h"

#include <fuse_lowlevel.h>

/**
 * struct piece - bytes that come from, or go to, one place
 * @pos:		first byte in the file
 * @len:		number of bytes
 * @backing:		the region's; NULL: the server answers. Valid while the
 *			lock is held that the pieces were cut or checked under
 * @backing_pos:	first byte in the backing
 * @flags:		FR_ access of the region, where the server answers
 * @gap:		reads: what the server gave
 */
struct piece {
	uint64_t pos;
	uint64_t len;
	struct backing *backing;
	uint64_t backing_pos;
	unsigned int flags;
	struct fuse_buf gap;
};

/**
 * struct request - bytes of an inode that are read or written
 * @conn:	connection
 * @nodeid:	inode
 * @pos:	first byte
 * @len:	number of bytes
 * @inode:	a reference, NULL: it has no regions
 * @locked:	@inode's lock is held for reading
 * @changes:	inode->changes of the map that the pieces are from
 * @v:		pieces
 * @nr:		number of them
 * @room:	pieces that @v has room for
 * @has_gap:	the server answers for some
 */
struct request {
	struct fuse_regions_conn *conn;
	uint64_t nodeid;
	uint64_t pos;
	uint64_t len;
	struct inode *inode;
	bool locked;
	uint64_t changes;
	struct piece *v;
	size_t nr;
	size_t room;
	bool has_gap;
};

/* Look the inode up and lock it. */
void request_lock(struct request *req);
void request_unlock(struct request *req);

/* Cut @len bytes from @pos on; locked. 0 or -ENOMEM. */
int request_cut(struct request *req, unsigned int access);

/* Lock again; false: the map changed, cut anew. */
bool request_relock(struct request *req);

/* Forget the pieces from byte @len of piece @i on. */
void request_cut_short(struct request *req, size_t i, uint64_t len);

/* Unlock and free. */
void request_end(struct request *req);

#endif /* FR_PIECES_H */
