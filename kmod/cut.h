/* SPDX-License-Identifier: (GPL-2.0 WITH Linux-syscall-note) OR BSD-2-Clause */
/*
 * Cutting an I/O into pieces at region edges.
 *
 * grammar:  io    = piece { piece }
 *           piece = region-bytes | gap-bytes
 *
 * Pieces come in order, without holes, never empty, and two gap pieces never
 * follow each other: a region without the wanted access counts as gap, for
 * the server answers there. Plain code, see map.h.
 */
#ifndef FR_CUT_H
#define FR_CUT_H

#include "map.h"

/**
 * struct fr_cut - an I/O being cut
 * @root:	the state of the map that all pieces come from
 * @pos:	first byte not yet handed out
 * @last:	last byte of the I/O, inclusive
 * @access:	FR_READ, FR_WRITE, or both: either will do
 * @done:	all handed out
 */
struct fr_cut {
	const struct fr_node *root;
	u64 pos;
	u64 last;
	unsigned int access;
	bool done;
};

/* @len > 0 and [@pos, @pos + @len) ends at FR_LAST_MAX or before. */
void fr_cut_begin(struct fr_cut *cut, const struct fr_node *root, u64 pos,
		  u64 len, unsigned int access);

/* The next piece, clipped to the I/O; false when there is none left. */
bool fr_cut_next(struct fr_cut *cut, struct fr_piece *piece);

#endif /* FR_CUT_H */
