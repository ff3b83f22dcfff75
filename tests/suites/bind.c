// SPDX-License-Identifier: GPL-2.0
/* Binding, and binding again. */

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#include <linux/falloc.h>

#include "cutfs.h"

#define RW (FUSE_REGION_READ | FUSE_REGION_WRITE | FUSE_REGION_REPLACE)

/* Bind bytes from @skip up to @end of the extent, as far as it is bound at all. */
static void add(struct node *node, struct fuse_regions_txn *txn, const struct extent *extent,
		uint64_t skip, uint64_t end, uint32_t flags)
{
	fuse_regions_txn_bind(txn, extent->offset + skip, end - skip,
			      (uint32_t)node->content->chunks[extent->chunk].id,
			      layout_backing_offset(node->content, extent) + skip, flags);
}

int bind_range(struct node *node, uint64_t offset, uint64_t length)
{
	struct fuse_regions_txn *txn;
	uint64_t end = offset + length;

	if (end > LAYOUT_END)
		end = LAYOUT_END;
	txn = fuse_regions_txn_begin(cutfs.conn, node_id(node));
	while (offset < end) {
		struct extent extent = layout_find(offset);

		if (extent.slot >= 0)
			add(node, txn, &extent, 0, extent.length, RW);
		offset = extent.offset + extent.length;
	}
	return fuse_regions_txn_commit(txn);
}

/*
 * The file grows from @size on. Where it was truncated its region ends, maybe inside a page, and
 * mappings are not stored into over such an edge. What lies behind it in the backing is a hole.
 */
void bind_end(struct node *node, uint64_t size)
{
	if (size % 4096)
		bind_range(node, size, 1);
}

/* As two regions, or three, or for reading only, or not at all */
static void rebind(struct node *node, const struct extent *extent, unsigned int *seed)
{
	struct fuse_regions_txn *txn = fuse_regions_txn_begin(cutfs.conn, node_id(node));
	uint64_t a = 0, b = extent->length;

	if (extent->length > 2 * 4096) {
		a = (uint64_t)rand_r(seed) % (extent->length - 4096);
		b = a + 4096;
		if (cutfs.aligned)
			a = a & ~4095ULL, b = b & ~4095ULL;
	}
	switch (rand_r(seed) % 5) {
	case 0:
		add(node, txn, extent, 0, extent->length, RW);
		break;
	case 1:
		fuse_regions_txn_unbind(txn, extent->offset + a, b - a);
		break;
	case 2:
		add(node, txn, extent, 0, extent->length, RW);
		add(node, txn, extent, a, b, FUSE_REGION_READ | FUSE_REGION_REPLACE);
		break;
	case 3:
		fuse_regions_txn_unbind(txn, 0, 0);
		add(node, txn, extent, 0, extent->length, RW);
		break;
	default:
		add(node, txn, extent, 0, b, RW);
		add(node, txn, extent, a, extent->length, RW);
		break;
	}
	fuse_regions_txn_commit(txn);
}

static int copy_out(struct node *node, const struct extent *extent, char *data)
{
	ssize_t n = content_read(node->content, data, extent->length, extent->offset);

	return n == (ssize_t)extent->length ? 0 : -EIO;
}

/*
 * Keep a region's bytes elsewhere. Once it is unbound nobody else writes to
 * where they were: that promise is under test here.
 */
static void move(struct node *node, const struct extent *extent)
{
	struct content *content = node->content;
	char *data = malloc(extent->length);
	uint8_t bit = (uint8_t)(1 << extent->slot % 8);

	if (!content->moved)
		content->moved = calloc(1, LAYOUT_END / 8192);
	if (data && content->moved &&
	    !fuse_regions_unbind(cutfs.conn, node_id(node), extent->offset, extent->length) &&
	    !copy_out(node, extent, data)) {
		content_fallocate(content, FALLOC_FL_PUNCH_HOLE, extent->offset, extent->length);
		content->moved[extent->slot / 8] ^= bit;
		if (content_write(content, data, extent->length, extent->offset) < 0)
			abort();
		bind_range(node, extent->offset, 1);
	}
	free(data);
}

void bind_something(struct node *node, unsigned int *seed)
{
	struct stat st;
	struct extent extent;

	if (fstat(node->content->fd, &st) < 0 || !st.st_size)
		return;
	extent = layout_find((uint64_t)rand_r(seed) % (uint64_t)st.st_size);
	if (extent.slot < 0)
		return;
	/* What a truncation trimmed is bound again when it is written to. */
	if (extent.offset + extent.length > (uint64_t)st.st_size)
		return;
	if (cutfs.move && rand_r(seed) % 4 == 0)
		move(node, &extent);
	else
		rebind(node, &extent, seed);
}
