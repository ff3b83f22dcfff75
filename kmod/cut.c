// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Cutting an I/O into pieces at region edges, see cut.h. */
#include "cut.h"

void fr_cut_begin(struct fr_cut *cut, const struct fr_node *root, u64 pos, u64 len,
		  unsigned int access)
{
	cut->root = root;
	cut->pos = pos;
	cut->last = pos + (len - 1);
	cut->access = access;
	cut->done = false;
}

/* Find the piece at @pos; a region without the wanted access makes a gap. */
static void find(const struct fr_cut *cut, u64 pos, struct fr_piece *piece)
{
	fr_map_find(cut->root, pos, piece);
	if (piece->region && !(piece->region->backing_flags & cut->access))
		piece->region = NULL;
}

bool fr_cut_next(struct fr_cut *cut, struct fr_piece *piece)
{
	struct fr_piece more;

	if (cut->done)
		return false;
	find(cut, cut->pos, piece);

	/* The server gets all bytes up to the next region in one request. */
	while (!piece->region && piece->last < cut->last) {
		find(cut, piece->last + 1, &more);
		if (more.region)
			break;
		piece->last = more.last;
	}
	if (piece->last >= cut->last) {
		piece->last = cut->last;
		cut->done = true;
	}
	cut->pos = piece->last + 1;
	return true;
}
