// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* The map's invariants, spelled out; for tests and for debugging. */
#include "map-node.h"

/**
 * struct walk - what a check carries from node to node, in order
 * @seen:	some region was seen
 * @last:	its last byte
 * @nr:		how many were seen
 */
struct walk {
	bool seen;
	u64 last;
	u64 nr;
};

static const char *check_region(const struct fr_region *r, struct walk *walk)
{
	if (r->start > r->last)
		return "a region ends before it starts";
	if (r->last > FR_LAST_MAX)
		return "a region ends past the last byte a file can have";
	if (walk->seen && r->start <= walk->last)
		return "regions overlap, or are out of order";
	if (!fr_region_backing(r))
		return "a region has no backing";
	if (r->backing_start + (r->last - r->start) < r->backing_start)
		return "a region's bytes of the backing wrap around";
	walk->seen = true;
	walk->last = r->last;
	walk->nr++;
	return NULL;
}

static const char *check_leaf(const struct fr_node *leaf, struct walk *walk)
{
	const char *broken;
	unsigned int i;

	for (i = 0; i < leaf->nr; i++) {
		broken = check_region(&leaf->region[i], walk);
		if (broken)
			return broken;
	}
	if (leaf->tail != fr_region_is_tail(&leaf->region[leaf->nr - 1]))
		return "a leaf is wrong about its tail";
	return NULL;
}

static const char *check_child(const struct fr_node *node, unsigned int i)
{
	const struct fr_node *child = node->child[i];

	if (child->level + 1 != node->level)
		return "a child is at the wrong level";
	if (child->txn > node->txn)
		return "a child is younger than its parent";
	if (!child->nr)
		return "a node is empty";
	if (node->key[i] != fr_node_first(child))
		return "a key is not the start of the first region below";
	if (i && node->key[i] <= node->key[i - 1])
		return "keys are out of order";
	return NULL;
}

/*
 * @edge: nothing lies behind the node, so it may be less than half full. Calls
 * itself once a level.
 */
static const char *check_node(const struct fr_node *node, bool edge, struct walk *walk)
{
	const char *broken;
	unsigned int i;

	if (node->nr > fr_node_max(node))
		return "a node has too many entries";
	if (!edge && node->nr < fr_node_min(node))
		return "a node is less than half full";
	if (!node->level)
		return check_leaf(node, walk);

	for (i = 0; i < node->nr; i++) {
		broken = check_child(node, i);
		if (!broken)
			broken = check_node(node->child[i], edge && i + 1 == node->nr, walk);
		if (broken)
			return broken;
	}
	if (node->tail != node->child[node->nr - 1]->tail)
		return "an inner node is wrong about its tail";
	return NULL;
}

const char *fr_map_check(const struct fr_map *map)
{
	const struct fr_node *root = map->root;
	struct walk walk = { .nr = 0 };
	const char *broken;

	if (root) {
		if (!root->nr)
			return "the root is empty";
		if (root->level >= FR_LEVELS)
			return "the tree is too high";
		if (root->level && root->nr < 2)
			return "an inner root has one child";
		if (root->txn > map->txn)
			return "the root is from the future";
		broken = check_node(root, true, &walk);
		if (broken)
			return broken;
	}
	if (walk.nr != map->nr)
		return "the number of regions is wrong";
	return NULL;
}
