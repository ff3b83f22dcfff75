// SPDX-License-Identifier: GPL-2.0
/*
 * Applying a message: all of its records in one transaction of the inode's
 * map, published with one store.
 */

#include <linux/fuse.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/uio.h>

#include "fuse.h"
#include "msg.h"
#include "regions.h"

/*
 * Nodes that readers may still be in, after a message that only added. They keep
 * backings open: where the inode ends before, and its readers with it, they go with
 * it, so that the backings' file systems can be unmounted.
 */
struct fr_retired {
	struct rcu_head rcu;
	struct fr_conn *conn;
	struct list_head entry;		/* in fr_inode.retired */
	struct fr_node *nodes;
};

static void fr_retired_free(struct rcu_head *rcu)
{
	struct fr_retired *retired = container_of(rcu, struct fr_retired, rcu);
	struct fr_node *nodes = NULL;

	spin_lock(&retired->conn->lock);
	swap(nodes, retired->nodes);
	spin_unlock(&retired->conn->lock);
	fr_nodes_free(&fr_node_ops, nodes);
	/* Only now, as fr_bind_end() waits for that */
	spin_lock(&retired->conn->lock);
	list_del(&retired->entry);
	spin_unlock(&retired->conn->lock);
	kfree(retired);
}

static void fr_retired_add(struct fr_inode *fi, struct fr_retired *retired,
			   struct fr_node *nodes)
{
	retired->nodes = nodes;
	retired->conn = fi->conn;
	spin_lock(&fi->conn->lock);
	list_add(&retired->entry, &fi->retired);
	spin_unlock(&fi->conn->lock);
	call_srcu(&fi->conn->srcu, &retired->rcu, fr_retired_free);
}

/* True: there may be more. */
static bool fr_bind_end_one(struct fr_inode *fi)
{
	struct fr_retired *retired;
	struct fr_node *nodes = NULL;
	bool none;

	spin_lock(&fi->conn->lock);
	none = list_empty(&fi->retired);
	list_for_each_entry(retired, &fi->retired, entry) {
		if (!retired->nodes)
			continue;
		swap(nodes, retired->nodes);
		list_del_init(&retired->entry);
		break;
	}
	spin_unlock(&fi->conn->lock);
	if (nodes)
		fr_nodes_free(&fr_node_ops, nodes);
	else if (!none)		/* fr_retired_free() is about to be done */
		schedule_timeout_uninterruptible(1);
	return !none;
}

/* @fi ends: nobody is in its map any more. */
void fr_bind_end(struct fr_inode *fi)
{
	while (fr_bind_end_one(fi))
		;
}

/* Read and check @count records; the caller frees them with kvfree(). */
static struct fr_op *fr_bind_ops(struct iov_iter *from, u32 count, u64 max_bytes)
{
	struct fr_op *ops;
	int err = 0;
	u32 i;

	ops = kvmalloc_array(count, sizeof(*ops), GFP_KERNEL_ACCOUNT);
	if (!ops)
		return ERR_PTR(-ENOMEM);
	for (i = 0; i < count && !err; i++) {
		struct fuse_passthrough_region rec;

		if (!copy_from_iter_full(&rec, sizeof(rec), from))
			err = -EFAULT;
		else
			err = fr_msg_op(&rec, max_bytes, &ops[i]);
	}
	if (err) {
		kvfree(ops);
		return ERR_PTR(err);
	}
	return ops;
}

/*
 * Neither the access nor the end of a region is looked at again, unless it is a
 * whole-file one: an I/O inside it does not end where no file can go on.
 */
static int fr_bind_access(const struct fr_backing *backing, const struct fr_op *op)
{
	unsigned int flags = op->flags;

	if (!(flags & FR_WHOLE) &&
	    op->backing_start + (op->last - op->start) >= backing->max)
		return -EINVAL;
	if (likely(!(flags & (FR_READ | FR_WRITE) & ~backing->access)))
		return 0;
	/* Regions have no end to append to */
	if ((flags & FR_WRITE) && IS_APPEND(file_inode(backing->file)))
		return -EPERM;
	return -EBADF;
}

/* Apply the records to @txn. The leaves take their own references. */
static int fr_bind_apply(struct fr_conn *conn, struct fr_txn *txn,
			 const struct fr_op *ops, u32 count)
{
	struct fr_backing *backing = NULL;
	u32 id = 0;
	int err = 0;
	u32 i;

	for (i = 0; i < count && !err; i++) {
		const struct fr_op *op = &ops[i];
		struct fr_region r = {
			.start = op->start,
			.last = op->last,
			.backing_start = op->backing_start,
		};

		cond_resched();
		if (op->kind == FR_OP_UNBIND) {
			err = fr_txn_unbind(txn, op->start, op->last);
			continue;
		}
		if (op->backing_id != id) {
			if (backing)
				fr_backing_put(backing);
			id = op->backing_id;
			backing = fr_backing_lookup(conn, id);
		}
		if (!backing) {
			err = -ENOENT;
			break;
		}
		err = fr_bind_access(backing, op);
		if (err)
			break;
		r.backing_flags = (uintptr_t)backing | op->flags;
		err = fr_txn_bind(txn, &r, op->kind == FR_OP_REPLACE);
	}
	if (backing)
		fr_backing_put(backing);
	/* Where the limit was lowered, what makes fewer is welcome */
	if (!err && txn->nr > txn->map->nr &&
	    txn->nr > READ_ONCE(fr_max_regions))
		err = -ENOSPC;
	return err;
}

/*
 * Free what the transaction, of @ops, took out of the tree @old, once no reader
 * is in it.
 */
static void fr_bind_retire(struct fr_inode *fi, struct fr_txn *txn,
			   const struct fr_node *old, const struct fr_op *ops,
			   u32 count, struct fr_retired *retired)
{
	lockdep_assert_held(&fi->map_lock);
	if (txn->removed) {
		/* The promise to the server: nobody uses it any more */
		synchronize_srcu_expedited(&fi->conn->srcu);
		fr_splice_part(fi, old, ops, count, true);
		if (!fi->map.root)
			WRITE_ONCE(fi->spliced, false);
		fr_nodes_free(&fr_node_ops, txn->retired);
	} else if (txn->retired) {
		fr_retired_add(fi, retired, txn->retired);
		return;
	}
	kfree(retired);
}

/* The bytes from @first to @last are other ones now; none, if @first is past @last. */
static void fr_bind_range(const struct fr_txn *txn, const struct fr_op *ops,
			  u32 count, u64 *first, u64 *last)
{
	u32 i;

	*first = U64_MAX;
	*last = 0;
	for (i = 0; i < count; i++) {
		if (ops[i].kind == FR_OP_UNBIND && !txn->removed)
			continue;	/* nothing was bound there */
		*first = min(*first, ops[i].start);
		*last = max(*last, ops[i].last);
	}
}

static int fr_bind_inode(struct fr_inode *fi, const struct fr_op *ops, u32 count)
{
	struct fr_retired *retired;
	const struct fr_node *old;
	struct fr_hold hold;
	struct fr_txn txn;
	u64 first, last;
	int err;

	retired = kmalloc(sizeof(*retired), GFP_KERNEL_ACCOUNT);
	if (!retired)
		return -ENOMEM;
	mutex_lock(&fi->map_lock);
	fr_txn_begin(&txn, &fi->map);
	err = fr_bind_apply(fi->conn, &txn, ops, count);
	if (err) {
		fr_txn_abort(&txn);
		mutex_unlock(&fi->map_lock);
		kfree(retired);
		return err;
	}
	fr_cache_take_over(fi);
	fr_attr_take_over(fi);
	/*
	 * Always ready, says FUSE's poll of a regular file, and io_uring would
	 * believe it 128 times over before it lets a thread wait.
	 */
	WRITE_ONCE(fi->fops.poll, NULL);
	fr_bind_range(&txn, ops, count, &first, &last);
	/* What is dirty is not the new regions', from the beginning */
	fr_hold_begin(fi, &hold, first, last, FR_DROP_BOUND);
	old = fi->map.root;
	fr_txn_commit(&txn);
	WRITE_ONCE(fi->txn, fr_map_txn(txn.root));
	fr_bind_retire(fi, &txn, old, ops, count, retired);
	mutex_unlock(&fi->map_lock);
	/* What is dirty goes to the server, who may bind where it puts that */
	if (first <= last)
		fr_drop(fi, first, last, FR_DROP_BOUND);
	fr_hold_end(fi, &hold);
	return 0;
}

/*
 * The file has been truncated to @size: regions end there, so that a file
 * that grows again shows zeroes. A whole-file region has been truncated with
 * its backing.
 */
void fr_bind_trim(struct fr_inode *fi, u64 size)
{
	const struct fr_region *tail;
	u64 end = FR_LAST_MAX + 1;
	const struct fr_node *old;
	struct fr_piece piece;
	struct fr_txn txn;
	struct fr_op op;

	mutex_lock(&fi->map_lock);
	tail = fr_map_whole_tail(fi->map.root);
	if (tail)
		end = tail->start;
	if (size >= end)
		goto out;
	fr_map_find(fi->map.root, size, &piece);
	if (!piece.region && piece.last >= end - 1)
		goto out;
	fi->map.ops = &fr_node_nofail_ops;
	fr_txn_begin(&txn, &fi->map);
	op = (struct fr_op){
		.kind = FR_OP_UNBIND, .start = size, .last = end - 1,
	};
	WARN_ON_ONCE(fr_txn_unbind(&txn, op.start, op.last));
	old = fi->map.root;
	fr_txn_commit(&txn);
	fi->map.ops = &fr_node_ops;
	fr_bind_retire(fi, &txn, old, &op, 1, NULL);
out:
	mutex_unlock(&fi->map_lock);
}

/* May this inode have regions at all? */
static int fr_bind_check(struct inode *inode)
{
	if (!inode->i_mode)
		return -ENOENT;	/* just being read in */
	/* fuseblk's blocks may be smaller than pages, and have a state each */
	if (!S_ISREG(inode->i_mode) || IS_DAX(inode) || inode->i_sb->s_bdev)
		return -EOPNOTSUPP;
	/* Edges and holds are looked at page by page (hold.c, mmap.c) */
	if (mapping_large_folio_support(inode->i_mapping))
		return -EOPNOTSUPP;
	/* FUSE stores this table last */
	if (!smp_load_acquire(&inode->i_mapping->a_ops)->direct_IO)
		return -ENOENT;
	if (!fr_file_learn(inode->i_fop))
		return -EOPNOTSUPP;
	if (fr_fuse_in_passthrough(inode))
		return -EBUSY;
	return 0;
}

static int fr_bind_nodeid(struct fr_conn *conn, u64 nodeid, struct iov_iter *from,
			  u32 count)
{
	struct fr_inode *fi;
	struct inode *inode;
	struct fr_op *ops;
	int err;

	ops = fr_bind_ops(from, count, MAX_LFS_FILESIZE);
	if (IS_ERR(ops))
		return PTR_ERR(ops);
	err = -ENOTCONN;
	if (!fr_fuse_connected(conn->fc))
		goto err_ops;
	err = -ENOENT;
	inode = fr_fuse_ilookup(conn->fc, nodeid);
	if (!inode)
		goto err_ops;
	err = fr_bind_check(inode);
	if (err)
		goto err_iput;
	fi = fr_inode_get(inode, conn);
	err = PTR_ERR_OR_ZERO(fi);
	if (err)
		goto err_iput;
	err = fr_bind_inode(fi, ops, count);
	fr_inode_put(fi);
err_iput:
	fr_fuse_iput(inode);
err_ops:
	kvfree(ops);
	return err;
}

/* A FUSE_NOTIFY_PASSTHROUGH of @len bytes, all of which are in @from. */
ssize_t fr_bind_message(struct fr_conn *conn, u32 len, struct iov_iter *from)
{
	struct fuse_notify_passthrough_out out;
	size_t size = iov_iter_count(from);
	int err;

	if (len != size || size < sizeof(struct fuse_out_header) + sizeof(out))
		return -EINVAL;
	iov_iter_advance(from, sizeof(struct fuse_out_header));
	if (!copy_from_iter_full(&out, sizeof(out), from))
		return -EFAULT;
	err = fr_msg_check(&out, size - sizeof(struct fuse_out_header),
			   READ_ONCE(fr_max_records));
	if (!err)
		err = fr_bind_nodeid(conn, out.nodeid, from, out.count);
	return err ?: (ssize_t)size;
}
