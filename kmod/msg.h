/* SPDX-License-Identifier: (GPL-2.0 WITH Linux-syscall-note) OR BSD-2-Clause */
/*
 * Checking a FUSE_NOTIFY_PASSTHROUGH message, which nobody trusts: everything
 * that can be said about its bytes without looking at an inode or a backing.
 * Plain code, see map.h.
 */
#ifndef FR_MSG_H
#define FR_MSG_H

#include "map.h"
#include <linux/fuse_regions.h>

enum fr_op_kind {
	FR_OP_BIND,
	FR_OP_REPLACE,
	FR_OP_UNBIND,
};

/**
 * struct fr_op - a record that makes sense
 * @kind:		what to do
 * @flags:		FR_READ, FR_WRITE, FR_GROW, FR_WHOLE; 0 for an unbind
 * @backing_id:		positive; 0 for an unbind
 * @start:		first byte in the file
 * @last:		last byte in the file, inclusive, <= FR_LAST_MAX
 * @backing_start:	first byte in the backing
 */
struct fr_op {
	enum fr_op_kind kind;
	unsigned int flags;
	u32 backing_id;
	u64 start;
	u64 last;
	u64 backing_start;
};

/*
 * @size is the number of bytes that follow the fuse_out_header. 0, -EINVAL, or
 * -E2BIG when there are more than @max_records.
 */
int fr_msg_check(const struct fuse_notify_passthrough_out *head, size_t size,
		 u32 max_records);

/*
 * Turn a record into an op. @max_bytes is the file system's s_maxbytes: no
 * region ends past it, in the file or (unless whole-file) in the backing.
 * 0, -EINVAL, or -ENOENT for a backing id that no backing can have.
 */
int fr_msg_op(const struct fuse_passthrough_region *rec, u64 max_bytes,
	      struct fr_op *op);

#endif /* FR_MSG_H */
