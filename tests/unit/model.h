/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What a map should be, told without a tree: an array with a cell per byte.
 *
 * The cells are the bytes base + 1, base + 2, ..., but for the first cell,
 * which is all bytes up to base, and the last, which is all the others. So a
 * few thousand cells describe a file of any size, whose edges lie in a window.
 */
#ifndef MODEL_H
#define MODEL_H

#include "cut.h"
#include "fake.h"

#define MODEL_CELLS_MAX 4200

/**
 * struct model_cell - a byte
 * @region:		which region has it; 0: none
 * @backing:		index of the backing
 * @flags:		FR_*
 * @backing_pos:	the backing's byte that the (first) byte is
 */
struct model_cell {
	u32 region;
	u8 backing;
	u8 flags;
	u64 backing_pos;
};

struct model {
	u64 base;
	unsigned int cells;
	u32 last_region;
	struct model_cell cell[MODEL_CELLS_MAX];
};

void model_init(struct model *model, u64 base, unsigned int cells);
void model_copy(struct model *dst, const struct model *src);

/* The first and the last byte of a cell; the cell that has a byte. */
u64 model_first(const struct model *model, unsigned int cell);
u64 model_last(const struct model *model, unsigned int cell);
unsigned int model_cell(const struct model *model, u64 pos);

/* On cells @from to @to, inclusive: */
bool model_is_bound(const struct model *model, unsigned int from, unsigned int to);
void model_unbind(struct model *model, unsigned int from, unsigned int to);
void model_bind(struct model *model, unsigned int from, unsigned int to, unsigned int backing,
		unsigned int flags, u64 backing_start);

/* The first and the last cell of the region or gap that @cell belongs to. */
unsigned int model_run_first(const struct model *model, unsigned int cell);
unsigned int model_run_last(const struct model *model, unsigned int cell);

u64 model_regions(const struct model *model);

/* Abort unless @piece, as found at @pos, is what the model says. */
void model_check_piece(const struct model *model, u64 pos, const struct fr_piece *piece);

/* Abort unless the map with this root is what the model says, everywhere. */
void model_check(const struct model *model, const struct fr_node *root);

/* Abort unless an I/O on these bytes is cut as the model says. */
void model_check_cut(const struct model *model, const struct fr_node *root, u64 pos, u64 len,
		     unsigned int access);

#endif /* MODEL_H */
