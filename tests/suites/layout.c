// SPDX-License-Identifier: GPL-2.0
/*
 * Where a byte is kept.
 *
 * The same pattern is repeated to LAYOUT_END: two regions that touch, a gap
 * of one page or of one byte, a long region, a gap, a region of one page or
 * of one byte.
 */

#include "cutfs.h"

#define PERIOD 49152
#define PARTS 6

struct part {
	uint64_t end;
	int slot; /* -1: gap */
	unsigned int chunk;
};

static const struct part unaligned[PARTS] = {
	{ 5000, 0, 0 },	 { 12289, 1, 1 },  { 12290, -1, 0 },
	{ 40961, 2, 0 }, { 49151, -1, 0 }, { 49152, 3, 1 },
};

static const struct part aligned[PARTS] = {
	{ 8192, 0, 0 },	 { 12288, 1, 1 },  { 16384, -1, 0 },
	{ 36864, 2, 0 }, { 45056, -1, 0 }, { 49152, 3, 1 },
};

#define SLOTS 4

struct extent layout_find(uint64_t offset)
{
	const struct part *parts = cutfs.aligned ? aligned : unaligned;
	uint64_t base = offset / PERIOD * PERIOD, start = base;
	struct extent extent = { LAYOUT_END, INT64_MAX - LAYOUT_END, -1, 0 };

	if (base + PERIOD > LAYOUT_END) {
		extent.offset = LAYOUT_END / PERIOD * PERIOD;
		extent.length = INT64_MAX - extent.offset;
		return extent;
	}
	for (int i = 0; i < PARTS; i++) {
		if (offset < base + parts[i].end) {
			extent.offset = start;
			extent.length = base + parts[i].end - start;
			extent.chunk = parts[i].chunk;
			if (parts[i].slot >= 0)
				extent.slot = (int64_t)(base / PERIOD * SLOTS) + parts[i].slot;
			break;
		}
		start = base + parts[i].end;
	}
	return extent;
}

/* Slots have room for the longest region, twice, and begin at all kinds of offsets. */
uint64_t layout_backing_offset(const struct content *content, const struct extent *extent)
{
	uint64_t slot = (uint64_t)extent->slot;
	uint64_t shift = cutfs.aligned ? slot % 3 * 4096 : slot * 1237 % 5003;
	bool moved = content->moved && (content->moved[slot / 8] & 1 << slot % 8);

	return (2 * slot + moved) * PERIOD + shift;
}
