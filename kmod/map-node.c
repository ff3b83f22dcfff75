// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Nodes of the map: making them, owning them, retiring them.
 *
 * Who holds what: a leaf has a reference for each entry in it, from the moment
 * the entry is there until the leaf is freed. Moving an entry from one leaf of
 * the transaction to another moves its reference; copying it takes a new one.
 */
#include "map-node.h"

/* A node that the running transaction may change; empty. */
struct fr_node *fr_node_new(struct fr_txn *txn, unsigned int level)
{
	struct fr_node *node = txn->map->ops->alloc();

	if (!node)
		return NULL;
	node->txn = txn->id;
	node->nr = 0;
	node->level = level;
	node->tail = false;
	return node;
}

/* Move entries; they may overlap. The callers account for nr and references. */
void fr_node_move(struct fr_node *dst, unsigned int to, const struct fr_node *src,
		  unsigned int from, unsigned int nr)
{
	if (src->level) {
		memmove(&dst->key[to], &src->key[from], nr * sizeof(src->key[0]));
		memmove(&dst->child[to], &src->child[from], nr * sizeof(src->child[0]));
	} else {
		memmove(&dst->region[to], &src->region[from], nr * sizeof(src->region[0]));
	}
}

static void leaf_get(const struct fr_map_ops *ops, const struct fr_node *leaf, unsigned int from,
		     unsigned int to)
{
	for (; from < to; from++)
		ops->get(fr_region_backing(&leaf->region[from]));
}

static void leaf_put(const struct fr_map_ops *ops, const struct fr_node *leaf, unsigned int from,
		     unsigned int to)
{
	for (; from < to; from++)
		ops->put(fr_region_backing(&leaf->region[from]));
}

static void node_free(const struct fr_map_ops *ops, struct fr_node *node)
{
	if (!node->level)
		leaf_put(ops, node, 0, node->nr);
	ops->free(node);
}

/* Whatever changed at the end of @node, does it now end in a whole tail? */
void fr_node_set_tail(struct fr_node *node)
{
	unsigned int last = node->nr - 1;

	if (!node->nr)
		node->tail = false;
	else if (node->level)
		node->tail = node->child[last]->tail;
	else
		node->tail = fr_region_is_tail(&node->region[last]);
}

/*
 * Take a node out of the new tree: ours vanishes, one that readers may be
 * looking at waits on the list of the retired.
 */
void fr_node_drop(struct fr_txn *txn, struct fr_node *node)
{
	if (node->txn == txn->id) {
		node_free(txn->map->ops, node);
	} else {
		node->link = txn->retired;
		txn->retired = node;
	}
}

/* Make *@where a node that may be changed, by copying a published one. */
struct fr_node *fr_node_own(struct fr_txn *txn, struct fr_node **where)
{
	struct fr_node *old = *where, *node;

	if (old->txn == txn->id)
		return old;
	node = fr_node_new(txn, old->level);
	if (!node)
		return NULL;
	node->nr = old->nr;
	node->tail = old->tail;
	fr_node_move(node, 0, old, 0, old->nr);
	if (!node->level)
		leaf_get(txn->map->ops, node, 0, node->nr);
	*where = node;
	fr_node_drop(txn, old);
	return node;
}

/* Append everything in @src, which leaves the tree, to @dst, which is ours. */
void fr_node_absorb(struct fr_txn *txn, struct fr_node *dst, struct fr_node *src)
{
	unsigned int nr = src->nr;

	fr_node_move(dst, dst->nr, src, 0, nr);
	dst->nr += nr;
	fr_node_set_tail(dst);
	if (src->txn == txn->id)
		src->nr = 0;
	else if (!dst->level)
		leaf_get(txn->map->ops, dst, dst->nr - nr, dst->nr);
	fr_node_drop(txn, src);
}

/* Remove regions from a leaf of ours. */
void fr_leaf_cut_out(struct fr_txn *txn, struct fr_node *leaf, unsigned int at, unsigned int nr)
{
	leaf_put(txn->map->ops, leaf, at, at + nr);
	fr_node_move(leaf, at, leaf, at + nr, leaf->nr - at - nr);
	leaf->nr -= nr;
	txn->nr -= nr;
}

/* Forget children of an inner node of ours; what becomes of them is not said. */
void fr_inner_cut_out(struct fr_node *node, unsigned int at, unsigned int nr)
{
	fr_node_move(node, at, node, at + nr, node->nr - at - nr);
	node->nr -= nr;
}

/* Put the children of @node on @list, and return it. */
static struct fr_node *push_children(struct fr_node *node, struct fr_node *list)
{
	unsigned int i;

	for (i = 0; i < node->nr; i++) {
		node->child[i]->link = list;
		list = node->child[i];
	}
	return list;
}

/* Take a whole tree out of the new tree. */
void fr_tree_drop(struct fr_txn *txn, struct fr_node *root)
{
	struct fr_node *list = root, *node;

	root->link = NULL;
	while ((node = list)) {
		list = node->link;
		if (node->level)
			list = push_children(node, list);
		else
			txn->nr -= node->nr;
		fr_node_drop(txn, node);
	}
}

void fr_txn_abort(struct fr_txn *txn)
{
	struct fr_node *list = NULL, *node;
	unsigned int i;

	if (txn->root && txn->root->txn == txn->id) {
		list = txn->root;
		list->link = NULL;
	}
	while ((node = list)) {
		list = node->link;
		for (i = 0; node->level && i < node->nr; i++) {
			if (node->child[i]->txn != txn->id)
				continue;
			node->child[i]->link = list;
			list = node->child[i];
		}
		node_free(txn->map->ops, node);
	}
	txn->root = NULL;
	txn->retired = NULL;
}

void fr_nodes_free(const struct fr_map_ops *ops, struct fr_node *list)
{
	struct fr_node *node;

	while ((node = list)) {
		list = node->link;
		node_free(ops, node);
	}
}

void fr_map_destroy(struct fr_map *map)
{
	struct fr_node *list = map->root, *node;

	if (list)
		list->link = NULL;
	while ((node = list)) {
		list = node->link;
		if (node->level)
			list = push_children(node, list);
		node_free(map->ops, node);
	}
	map->root = NULL;
	map->nr = 0;
}
