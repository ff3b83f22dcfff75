// SPDX-License-Identifier: GPL-2.0
/* Where the bytes of an archive's files are: see tar-index.h. */

#include <stdlib.h>

#include "tar-index.h"

void tar_index_free(struct tar_index *index)
{
	tree_free(&index->tree);
	free(index->segments);
}

int tar_add_segment(struct tar_index *index, const struct tar_segment *segment)
{
	int err = array_grow(&index->segments, &index->room_segments, index->nr_segments + 1,
			     sizeof(*segment));

	if (!err)
		index->segments[index->nr_segments++] = *segment;
	return err;
}

uint32_t tar_segment_count(const struct tree_inode *inode)
{
	if (inode->extra == TAR_ALL_HOLE || !inode->size)
		return 0;
	return inode->extra ? inode->extra : 1;
}

struct tar_segment tar_segment(const struct tar_index *index, const struct tree_inode *inode,
			       uint32_t i)
{
	if (inode->extra)
		return index->segments[inode->data + i];
	return (struct tar_segment){ .length = inode->size, .data = inode->data };
}

uint32_t tar_segment_after(const struct tar_index *index, const struct tree_inode *inode,
			   uint64_t offset)
{
	uint32_t low = 0, high = tar_segment_count(inode);

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		struct tar_segment segment = tar_segment(index, inode, middle);

		if (segment.offset + segment.length <= offset)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

uint64_t tar_stored(const struct tar_index *index, const struct tree_inode *inode)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < tar_segment_count(inode); i++)
		sum += tar_segment(index, inode, i).length;
	return sum;
}
