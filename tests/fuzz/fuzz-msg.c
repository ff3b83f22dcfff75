// SPDX-License-Identifier: GPL-2.0
/*
 * Messages as a server writes them: checked, taken apart, applied to a map and
 * to its model.
 *
 * grammar:  input   = { message }
 *           message = size, 2 bytes, then that many bytes, which follow the
 *                     fuse_out_header: head { record }
 *
 * What the checks should say is worked out here once more, from the uapi
 * header's prose and in 128 bits, where nothing wraps.
 */
#include "fuzz.h"
#include "msg.h"
#include "trial.h"

#define CELLS 513
#define MAX_RECORDS 64
#define MAX_BYTES ((u64)S64_MAX)

typedef unsigned __int128 wide;

static int want_check(const struct fuse_notify_passthrough_out *head, size_t size)
{
	wide want = sizeof(*head) + (wide)head->count * sizeof(struct fuse_passthrough_region);

	if (head->flags || head->reserved || head->count < 1 || size != want)
		return -EINVAL;
	return head->count > MAX_RECORDS ? -E2BIG : 0;
}

static bool flags_make_sense(const struct fuse_passthrough_region *rec)
{
	const u32 access = FUSE_REGION_READ | FUSE_REGION_WRITE;

	if (rec->flags == FUSE_REGION_UNBIND)
		return !rec->backing_id && !rec->backing_offset;
	if (rec->flags >= FUSE_REGION_UNBIND || !(rec->flags & access))
		return false;
	return (rec->flags & FUSE_REGION_WRITE) || !(rec->flags & FUSE_REGION_GROW);
}

static int want_op(const struct fuse_passthrough_region *rec)
{
	if (rec->reserved || !flags_make_sense(rec))
		return -EINVAL;
	if (!rec->length && rec->offset)
		return -EINVAL;
	if ((wide)rec->offset + rec->length > MAX_BYTES ||
	    (wide)rec->backing_offset + rec->length > MAX_BYTES)
		return -EINVAL;
	if (rec->flags != FUSE_REGION_UNBIND && (int32_t)rec->backing_id <= 0)
		return -ENOENT;
	return 0;
}

/* Does @op say what @rec says? */
static void check_op(const struct fuse_passthrough_region *rec, const struct fr_op *op)
{
	bool whole = !rec->length, unbind = rec->flags == FUSE_REGION_UNBIND;
	const u32 same = FUSE_REGION_READ | FUSE_REGION_WRITE | FUSE_REGION_GROW;

	must(op->start == rec->offset, "another start");
	must(op->last == (whole ? FR_LAST_MAX : rec->offset + rec->length - 1), "another end");
	must(op->backing_id == rec->backing_id, "another backing");
	must(op->backing_start == rec->backing_offset, "another place in the backing");
	must((op->kind == FR_OP_UNBIND) == unbind, "not what it was");
	must((op->kind == FR_OP_REPLACE) == !!(rec->flags & FUSE_REGION_REPLACE), "replace?");
	must((op->flags & ~FR_WHOLE) == (rec->flags & same), "other flags");
	must(!!(op->flags & FR_WHOLE) == (whole && !unbind), "whole?");
}

/* Can the model tell this range? It knows the first bytes, and the rest as one. */
static bool fits(const struct fr_op *op)
{
	return op->start < CELLS && (op->last < CELLS - 1 || op->last == FR_LAST_MAX);
}

static void apply(struct trial *trial, const struct fr_op *op)
{
	unsigned int from, to;

	if (!fits(op))
		return;
	from = model_cell(&trial->model, op->start);
	to = model_cell(&trial->model, op->last);
	if (op->kind == FR_OP_UNBIND)
		trial_unbind(trial, from, to);
	else
		trial_bind(trial, from, to, op->backing_id % FAKE_BACKINGS, op->flags,
			   op->backing_start, op->kind == FR_OP_REPLACE);
}

/* All records, or none: one that makes no sense undoes the ones before it. */
static void run_records(struct trial *trial, const u8 *data, u32 count)
{
	struct fuse_passthrough_region rec;
	struct fr_op op;
	int err = 0;

	trial_begin(trial, -1);
	for (; count && !err; count--, data += sizeof(rec)) {
		memcpy(&rec, data, sizeof(rec));
		err = fr_msg_op(&rec, MAX_BYTES, &op);
		must(err == want_op(&rec), "record: %d, not %d", err, want_op(&rec));
		if (err)
			break;
		check_op(&rec, &op);
		apply(trial, &op);
	}
	trial_end(trial, err);
}

static void run_message(struct trial *trial, const u8 *data, size_t size)
{
	struct fuse_notify_passthrough_out head = { 0 };
	int err;

	/* The head is not all there when there are too few bytes for it. */
	memcpy(&head, data, size < sizeof(head) ? size : sizeof(head));
	err = fr_msg_check(&head, size, MAX_RECORDS);
	must(err == want_check(&head, size), "head: %d, not %d", err, want_check(&head, size));
	if (!err)
		run_records(trial, data + sizeof(head), head.count);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct trial *trial = trial_new(0, CELLS);
	size_t len;

	while (size > 2) {
		len = data[0] | data[1] << 8;
		data += 2;
		size -= 2;
		if (len > size)
			len = size;
		run_message(trial, data, len);
		data += len;
		size -= len;
	}
	trial_free(trial);
	return 0;
}
