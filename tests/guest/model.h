/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The regions of a file as anybody would write them down: a list of what was
 * done, in order. Which byte is bound to what is decided by the latest entry
 * that covers it. Slow, and simple enough to be right.
 *
 * Lives in shared memory, so that a server sees what a test did and the other
 * way round.
 */
#ifndef FR_TEST_MODEL_H
#define FR_TEST_MODEL_H

#include "backing.h"

#define MODEL_LAST ((uint64_t)INT64_MAX - 1) /* last byte a file can have */
#define MODEL_WHOLE (1u << 31) /* in flags: was bound as 0/0 */

/**
 * struct model_op - one thing done to a map
 * @start:	first byte
 * @last:	last byte, inclusive
 * @b:		what it was bound to, NULL for an unbind
 * @bstart:	the backing's byte that @start is
 * @flags:	FUSE_REGION_READ, _WRITE, _GROW, MODEL_WHOLE
 */
struct model_op {
	uint64_t start;
	uint64_t last;
	struct backing *b;
	uint64_t bstart;
	uint32_t flags;
};

struct model {
	int lock;
	uint64_t nr;
	uint64_t max;
	struct model_op ops[];
};

struct model *model_new(uint64_t max);
void model_free(struct model *m);

void model_bind(struct model *m, uint64_t off, uint64_t len, struct backing *b, uint64_t boff,
		uint32_t flags);
void model_unbind(struct model *m, uint64_t off, uint64_t len);

/* The file was cut to @size: what lay past it is gone, but for whole-file regions */
void model_trim(struct model *m, uint64_t size);

/* Bytes from @pos on that have one answer; false: they are a gap. @run->last is the last of them. */
bool model_find(struct model *m, uint64_t pos, struct model_op *run);

/* A whole-file region that still reaches the end: the end of the file is *@eof */
bool model_whole_eof(struct model *m, uint64_t *eof);

#endif
