// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0
/*
 * Changing maps. A change is made in the library's map first, which checks
 * it; then sent to the kernel; and published here when the kernel took it.
 */

#include <errno.h>

#include "internal.h"
#include "msg.h"

static void unlock_and_put(struct inode **inode)
{
	if (!*inode)
		return;
	pthread_rwlock_unlock(&(*inode)->lock);
	inode_put(*inode);
}

static int bind_op(struct fuse_regions_conn *conn, struct fr_txn *txn, const struct fr_op *op)
{
	struct backing *backing = backing_get_by_id(conn, op->backing_id);
	int err;

	if (!backing)
		return -ENOENT;
	if (op->flags & (FR_READ | FR_WRITE) & ~backing->access) {
		err = -EBADF;
	} else {
		struct fr_region region = {
			.start = op->start,
			.last = op->last,
			.backing_start = op->backing_start,
			.backing_flags = (uintptr_t)backing | op->flags,
		};

		err = fr_txn_bind(txn, &region, op->kind == FR_OP_REPLACE);
	}
	backing_put(backing);
	return err;
}

static int apply_record(struct fuse_regions_conn *conn, struct fr_txn *txn,
			const struct fuse_passthrough_region *record)
{
	struct fr_op op;
	int err = fr_msg_op(record, INT64_MAX, &op);

	if (err)
		return err;
	if (op.kind == FR_OP_UNBIND)
		return fr_txn_unbind(txn, op.start, op.last);
	return bind_op(conn, txn, &op);
}

static int prepare(struct fuse_regions_conn *conn, struct fr_txn *txn,
		   const struct fuse_passthrough_region *records, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		int err = apply_record(conn, txn, &records[i]);

		if (err)
			return err;
	}
	return txn->nr > conn->attach.max_regions ? -ENOSPC : 0;
}

/* The inode's lock is held for writing. */
static int change(struct fuse_regions_conn *conn, struct inode *inode,
		  const struct fuse_passthrough_region *records, uint32_t count)
{
	const struct fr_node *root = inode->map.root;
	uint64_t before = inode->map.nr;
	struct fr_txn txn;
	int err;

	fr_txn_begin(&txn, &inode->map);
	err = prepare(conn, &txn, records, count);
	if (!err && conn->control >= 0)
		err = kernel_send(conn, inode->link.key, records, count);
	if (err) {
		fr_txn_abort(&txn);
		return err;
	}
	fr_txn_commit(&txn);
	if (inode->map.root != root)
		inode->changes++;
	/* Readers hold the lock, so there are none. */
	fr_nodes_free(inode->map.ops, txn.retired);
	atomic_fetch_add_explicit(&conn->regions, inode->map.nr - before, memory_order_relaxed);
	return 0;
}

int fuse_regions_apply(struct fuse_regions_conn *conn, uint64_t nodeid,
		       const struct fuse_passthrough_region *records, uint32_t count)
{
	const struct fuse_notify_passthrough_out head = { .nodeid = nodeid, .count = count };
	cleanup(unlock_and_put) struct inode *inode = NULL;
	int err;

	err = fr_msg_check(&head, sizeof(head) + (size_t)count * sizeof(*records),
			   conn->attach.max_records);
	if (err)
		return err;
	inode = inode_get_locked(conn, nodeid);
	if (!inode)
		return -ENOMEM;
	err = change(conn, inode, records, count);
	/* An inode that the kernel does not know will never be forgotten. */
	if (err && !inode->map.root && !inode_is_dirty(inode)) {
		inode_kill(conn, inode);
		inode = NULL;
	}
	return err;
}

int fuse_regions_bind(struct fuse_regions_conn *conn, uint64_t nodeid, uint64_t offset,
		      uint64_t length, uint32_t backing, uint64_t backing_offset, uint32_t flags)
{
	const struct fuse_passthrough_region record = {
		.offset = offset,
		.length = length,
		.backing_id = backing,
		.flags = flags,
		.backing_offset = backing_offset,
	};

	return fuse_regions_apply(conn, nodeid, &record, 1);
}

int fuse_regions_unbind(struct fuse_regions_conn *conn, uint64_t nodeid, uint64_t offset,
			uint64_t length)
{
	return fuse_regions_bind(conn, nodeid, offset, length, 0, 0, FUSE_REGION_UNBIND);
}

int fuse_regions_truncate(struct fuse_regions_conn *conn, uint64_t nodeid, uint64_t size)
{
	cleanup(unlock_and_put) struct inode *inode = inode_get(conn, nodeid);
	struct fuse_passthrough_region record = { .offset = size, .flags = FUSE_REGION_UNBIND };
	const struct fr_region *whole;
	struct fr_piece piece;
	uint64_t last;

	if (!inode)
		return 0;
	pthread_rwlock_wrlock(&inode->lock);
	whole = fr_map_whole_tail(inode->map.root);
	last = whole ? whole->start - 1 : FR_LAST_MAX;
	if (size > FR_LAST_MAX || (whole && whole->start <= size))
		return 0;
	/* Most truncates have nothing to trim: no message then. */
	fr_map_find(inode->map.root, size, &piece);
	if (!piece.region && piece.last >= last)
		return 0;
	record.length = last - size + 1;
	return change(conn, inode, &record, 1);
}

int fuse_regions_find(struct fuse_regions_conn *conn, uint64_t nodeid, uint64_t offset,
		      struct fuse_regions_extent *extent)
{
	cleanup(unlock_and_put) struct inode *inode = NULL;
	struct fr_piece piece;

	if (offset > FR_LAST_MAX)
		return -EINVAL;
	inode = inode_get_locked_shared(conn, nodeid);
	fr_map_find(inode_root(inode), offset, &piece);
	*extent = (struct fuse_regions_extent){
		.offset = offset,
		.length = piece.last - offset + 1,
	};
	if (piece.region) {
		extent->backing_offset = fr_region_backing_pos(piece.region, offset);
		extent->backing = ((struct backing *)fr_region_backing(piece.region))->id;
		extent->flags = fr_region_flags(piece.region) &
				(FUSE_REGION_READ | FUSE_REGION_WRITE | FUSE_REGION_GROW);
	}
	return 0;
}
