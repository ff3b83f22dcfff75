// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0
/* Transactions: records collected for one message; and telling a whole map again. */

#include <errno.h>
#include <stdlib.h>

#include "internal.h"

struct fuse_regions_txn {
	struct fuse_regions_conn *conn;
	uint64_t nodeid;
	struct fuse_passthrough_region *records;
	uint32_t count;
	uint32_t room;
	int err;
};

struct fuse_regions_txn *fuse_regions_txn_begin(struct fuse_regions_conn *conn, uint64_t nodeid)
{
	struct fuse_regions_txn *txn = calloc(1, sizeof(*txn));

	if (txn) {
		txn->conn = conn;
		txn->nodeid = nodeid;
	}
	return txn;
}

static int make_room(struct fuse_regions_txn *txn)
{
	uint32_t room = txn->room ? txn->room * 2 : 16;
	struct fuse_passthrough_region *records;

	if (txn->count == txn->conn->attach.max_records)
		return -E2BIG;
	if (txn->count < txn->room)
		return 0;
	records = reallocarray(txn->records, room, sizeof(*records));
	if (!records)
		return -ENOMEM;
	txn->records = records;
	txn->room = room;
	return 0;
}

void fuse_regions_txn_bind(struct fuse_regions_txn *txn, uint64_t offset, uint64_t length,
			   uint32_t backing, uint64_t backing_offset, uint32_t flags)
{
	if (!txn || txn->err)
		return;
	txn->err = make_room(txn);
	if (txn->err)
		return;
	txn->records[txn->count++] = (struct fuse_passthrough_region){
		.offset = offset,
		.length = length,
		.backing_id = backing,
		.flags = flags,
		.backing_offset = backing_offset,
	};
}

void fuse_regions_txn_unbind(struct fuse_regions_txn *txn, uint64_t offset, uint64_t length)
{
	fuse_regions_txn_bind(txn, offset, length, 0, 0, FUSE_REGION_UNBIND);
}

int fuse_regions_txn_commit(struct fuse_regions_txn *txn)
{
	int err;

	if (!txn)
		return -ENOMEM;
	err = txn->err;
	if (!err && txn->count)
		err = fuse_regions_apply(txn->conn, txn->nodeid, txn->records, txn->count);
	fuse_regions_txn_abort(txn);
	return err;
}

void fuse_regions_txn_abort(struct fuse_regions_txn *txn)
{
	if (!txn)
		return;
	free(txn->records);
	free(txn);
}

/*
 * Rebinding: the kernel's map may be empty, or equal to ours. The records
 * below make it ours in both cases, and no byte is wrong in between.
 */

/*
 * A region that was bound as 0/0 must be bound as 0/0 again to say where the
 * file ends. It goes first, and then loses the bytes that it lacks here.
 */
static void add_whole(struct fuse_regions_txn *txn, const struct fr_region *whole)
{
	const struct backing *backing = fr_region_backing(whole);
	uint32_t flags = fr_region_flags(whole) & ~FR_WHOLE;

	fuse_regions_txn_bind(txn, 0, 0, backing->id, whole->backing_start - whole->start,
			      flags | FUSE_REGION_REPLACE);
}

/* A part of what add_whole() binds */
static bool is_of_whole(const struct fr_region *region, const struct fr_region *whole)
{
	return whole && region->backing_flags == whole->backing_flags &&
	       region->backing_start - region->start == whole->backing_start - whole->start;
}

static void add_piece(struct fuse_regions_txn *txn, const struct fr_piece *piece,
		      const struct fr_region *whole)
{
	uint64_t length = piece->last - piece->pos + 1;

	if (piece->region && !is_of_whole(piece->region, whole))
		fuse_regions_txn_bind(txn, piece->pos, length,
				      ((struct backing *)fr_region_backing(piece->region))->id,
				      piece->region->backing_start,
				      (fr_region_flags(piece->region) & ~FR_WHOLE) |
					      FUSE_REGION_REPLACE);
	else if (!piece->region && whole)
		fuse_regions_txn_unbind(txn, piece->pos, length);
}

static int send_txn(struct fuse_regions_txn *txn)
{
	int err = txn->err;

	if (!err && txn->count)
		err = kernel_send(txn->conn, txn->nodeid, txn->records, txn->count);
	txn->count = 0;
	return err;
}

static int send_map(struct fuse_regions_txn *txn, const struct fr_node *root)
{
	const struct fr_region *whole = fr_map_whole_tail(root);
	struct fr_piece piece = { .last = UINT64_MAX };
	int err;

	if (whole)
		add_whole(txn, whole);
	do {
		/* Parts of a whole-file region's message would show wrong bytes. */
		if (!whole && txn->count == txn->conn->attach.max_records) {
			err = send_txn(txn);
			if (err)
				return err;
		}
		fr_map_find(root, piece.last + 1, &piece);
		add_piece(txn, &piece, whole);
	} while (piece.last < FR_LAST_MAX);
	return send_txn(txn);
}

int fuse_regions_rebind(struct fuse_regions_conn *conn, uint64_t nodeid)
{
	struct fuse_regions_txn *txn;
	struct inode *inode;
	int err = -ENOMEM;

	inode = conn->control < 0 ? NULL : inode_get(conn, nodeid);
	if (!inode)
		return 0;
	/* For writing: no change may come between the parts. */
	pthread_rwlock_wrlock(&inode->lock);
	txn = fuse_regions_txn_begin(conn, nodeid);
	if (txn)
		err = send_map(txn, inode->map.root);
	fuse_regions_txn_abort(txn);
	pthread_rwlock_unlock(&inode->lock);
	inode_put(inode);
	return err;
}
