// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* What can be said about a message's bytes alone, see msg.h. */
#include "msg.h"

int fr_msg_check(const struct fuse_notify_passthrough_out *head, size_t size, u32 max_records)
{
	const u64 record_size = sizeof(struct fuse_passthrough_region);

	if (size < sizeof(*head))
		return -EINVAL;
	if (head->flags || head->reserved || !head->count)
		return -EINVAL;
	if (size - sizeof(*head) != head->count * record_size)
		return -EINVAL;
	if (head->count > max_records)
		return -E2BIG;
	return 0;
}

/* Does [@start, @start + @length) wrap, or end past @max_bytes? */
static bool too_far(u64 start, u64 length, u64 max_bytes)
{
	return length > max_bytes || start > max_bytes - length;
}

/* The flags of a bind, as the map knows them; 0 when they make no sense. */
static unsigned int bind_flags(u32 flags)
{
	unsigned int map_flags = 0;

	if (flags &
	    ~(FUSE_REGION_READ | FUSE_REGION_WRITE | FUSE_REGION_GROW | FUSE_REGION_REPLACE))
		return 0;
	/* Growing is a thing that writes do. */
	if ((flags & FUSE_REGION_GROW) && !(flags & FUSE_REGION_WRITE))
		return 0;
	if (flags & FUSE_REGION_READ)
		map_flags |= FR_READ;
	if (flags & FUSE_REGION_WRITE)
		map_flags |= FR_WRITE;
	if (flags & FUSE_REGION_GROW)
		map_flags |= FR_GROW;
	return map_flags;
}

static int unbind_op(const struct fuse_passthrough_region *rec, struct fr_op *op)
{
	if (rec->flags != FUSE_REGION_UNBIND || rec->backing_id || rec->backing_offset)
		return -EINVAL;
	op->kind = FR_OP_UNBIND;
	op->flags = 0;
	op->backing_id = 0;
	op->backing_start = 0;
	return 0;
}

static int bind_op(const struct fuse_passthrough_region *rec, u64 max_bytes, struct fr_op *op)
{
	op->flags = bind_flags(rec->flags);
	if (!op->flags)
		return -EINVAL;
	if (too_far(rec->backing_offset, rec->length, max_bytes))
		return -EINVAL;
	if (!rec->length)
		op->flags |= FR_WHOLE;
	op->kind = rec->flags & FUSE_REGION_REPLACE ? FR_OP_REPLACE : FR_OP_BIND;
	op->backing_id = rec->backing_id;
	op->backing_start = rec->backing_offset;
	return 0;
}

int fr_msg_op(const struct fuse_passthrough_region *rec, u64 max_bytes, struct fr_op *op)
{
	int err;

	if (max_bytes > S64_MAX)
		max_bytes = S64_MAX;
	if (rec->reserved || (!rec->length && rec->offset) ||
	    too_far(rec->offset, rec->length, max_bytes))
		return -EINVAL;

	if (rec->flags & FUSE_REGION_UNBIND)
		err = unbind_op(rec, op);
	else
		err = bind_op(rec, max_bytes, op);
	if (err)
		return err;
	op->start = rec->offset;
	op->last = rec->length ? rec->offset + rec->length - 1 : FR_LAST_MAX;

	/* Checked last: the record makes sense, the backing cannot exist. */
	if (op->kind != FR_OP_UNBIND && (!op->backing_id || op->backing_id > S32_MAX))
		return -ENOENT;
	return 0;
}
