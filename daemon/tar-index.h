/* SPDX-License-Identifier: GPL-2.0 */
/* What is in an archive: a tree, and where each file's bytes are. */
#ifndef REGIONFS_TAR_INDEX_H
#define REGIONFS_TAR_INDEX_H

#include "tree.h"

#define TAR_NAME_MAX 1023 /* bytes of a name; what FUSE can list */
#define TAR_ALL_HOLE UINT32_MAX /* tree_inode.extra of a file without any data */

/**
 * struct tar_segment - bytes of a file that the archive holds
 * @offset:	first byte in the file
 * @length:	number of bytes, never 0
 * @data:	first byte in the archive
 */
struct tar_segment {
	uint64_t offset;
	uint64_t length;
	uint64_t data;
};

/**
 * struct tar_index - what is in an archive; zero it, tree_init() its @tree
 * @tree:		inodes and names. Regular files: extra 0: all bytes are
 *			at data in the archive. Else extra is the number of
 *			segments, and data the number of the first
 * @segments:		segments of the sparse files
 * @nr_segments:	number of them
 * @room_segments:	and of those there is memory for
 */
struct tar_index {
	struct tree tree;
	struct tar_segment *segments;
	uint64_t nr_segments, room_segments;
};

void tar_index_free(struct tar_index *index);

/* Store a segment of the member that is being made. 0 or -ENOMEM. */
int tar_add_segment(struct tar_index *index, const struct tar_segment *segment);

/* The data of a regular file, as segments in order. */
uint32_t tar_segment_count(const struct tree_inode *inode);
struct tar_segment tar_segment(const struct tar_index *index, const struct tree_inode *inode,
			       uint32_t i);

/* The first segment that ends after @offset; tar_segment_count() when there is none. */
uint32_t tar_segment_after(const struct tar_index *index, const struct tree_inode *inode,
			   uint64_t offset);

/* Bytes that the archive holds of a file. */
uint64_t tar_stored(const struct tar_index *index, const struct tree_inode *inode);

#endif /* REGIONFS_TAR_INDEX_H */
