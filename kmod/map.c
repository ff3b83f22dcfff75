// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* The readers' side of the map: no locks, no writes, see map.h. */
#include "map-node.h"

void fr_map_find(const struct fr_node *root, u64 pos, struct fr_piece *piece)
{
	const struct fr_node *node = root;
	const struct fr_region *r;
	u64 next = FR_END;
	unsigned int i;

	piece->pos = pos;
	if (unlikely(!node))
		goto gap;
	/* From here on exact keys lead to a region that starts at or before pos. */
	if (unlikely(pos < fr_node_first(node))) {
		next = fr_node_first(node);
		goto gap;
	}
	while (node->level) {
		i = fr_inner_slot(node, pos);
		if (i + 1 < node->nr)
			next = node->key[i + 1];
		node = node->child[i];
	}
	r = fr_leaf_find(node, pos);
	if (likely(pos <= r->last)) {
		piece->last = r->last;
		piece->region = r;
		return;
	}
	if (r + 1 < node->region + node->nr)
		next = r[1].start;
gap:
	piece->last = next - 1;
	piece->region = NULL;
}

const struct fr_region *fr_map_lookup(const struct fr_node *root, u64 pos)
{
	const struct fr_node *node = root;
	const struct fr_region *r;

	if (unlikely(!node))
		return NULL;
	while (node->level)
		node = fr_inner_child(node, pos);
	r = fr_leaf_find(node, pos);
	if (unlikely(pos < r->start || pos > r->last))
		return NULL;
	if (unlikely(root->tail) && !fr_region_is_tail(r))
		return NULL;
	return r;
}

u64 fr_map_txn(const struct fr_node *root)
{
	return root ? root->txn : 0;
}

const struct fr_region *fr_map_whole_tail(const struct fr_node *root)
{
	const struct fr_node *node = root;

	if (likely(!node || !node->tail))
		return NULL;
	while (node->level)
		node = node->child[node->nr - 1];
	return &node->region[node->nr - 1];
}

/* Calls itself once a level: FR_LEVELS deep at the most. */
u64 fr_map_nodes(const struct fr_node *root)
{
	unsigned int i;
	u64 nodes = 1;

	if (!root)
		return 0;
	if (root->level == 1)
		return nodes + root->nr;
	for (i = 0; root->level && i < root->nr; i++)
		nodes += fr_map_nodes(root->child[i]);
	return nodes;
}
