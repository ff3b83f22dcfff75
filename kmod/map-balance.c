// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Paths from the root to a leaf, and how an insertion or a removal at their
 * end keeps every node within its bounds.
 *
 * After -ENOMEM the tree may be out of shape, but each node that the
 * transaction made can be reached from txn->root: that is what an abort needs.
 */
#include "map-node.h"

/* As fr_inner_slot(), quick when @pos is behind all keys: regions come in order. */
static unsigned int inner_slot_append(const struct fr_node *node, u64 pos)
{
	if (node->key[node->nr - 1] <= pos)
		return node->nr - 1;
	return fr_inner_slot(node, pos);
}

/* Where in the leaf a region goes that starts at @pos: after its equal. */
static unsigned int leaf_place(const struct fr_node *leaf, u64 pos)
{
	if (leaf->region[leaf->nr - 1].start <= pos)
		return leaf->nr;
	if (pos < leaf->region[0].start)
		return 0;
	return fr_leaf_find(leaf, pos) - leaf->region + 1;
}

/* Find the place for @pos, making the nodes on the way our own. -ENOMEM. */
int fr_path_seek(struct fr_txn *txn, u64 pos, struct fr_path *path)
{
	struct fr_node **where = &txn->root, *node;
	unsigned int level = txn->root->level, i;

	path->top = level;
	path->pos = pos;
	path->next = FR_END;
	for (;;) {
		node = fr_node_own(txn, where);
		if (!node)
			return -ENOMEM;
		path->node[level] = node;
		if (!level)
			break;
		i = inner_slot_append(node, pos);
		if (i + 1 < node->nr)
			path->next = node->key[i + 1];
		path->slot[level] = i;
		where = &node->child[i];
		level--;
	}
	path->slot[0] = leaf_place(node, pos);
	return 0;
}

/* The leaf's first or last region changed: tell the nodes above. */
void fr_path_fix(struct fr_path *path)
{
	struct fr_node *node = path->node[0];
	unsigned int level;

	fr_node_set_tail(node);
	for (level = 1; level <= path->top; level++) {
		struct fr_node *parent = path->node[level];
		unsigned int i = path->slot[level];
		u64 first = fr_node_first(node);
		bool last_child = i + 1 == parent->nr;

		if (parent->key[i] == first && (!last_child || parent->tail == node->tail))
			break;
		parent->key[i] = first;
		if (last_child)
			parent->tail = node->tail;
		node = parent;
	}
}

/* Put a new root above the old one, which is full. */
static int grow_root(struct fr_txn *txn, struct fr_path *path)
{
	struct fr_node *old = txn->root, *root;

	if (path->top + 1 == FR_LEVELS)
		return -ENOMEM;
	root = fr_node_new(txn, old->level + 1);
	if (!root)
		return -ENOMEM;
	root->nr = 1;
	root->key[0] = fr_node_first(old);
	root->child[0] = old;
	root->tail = old->tail;
	txn->root = root;
	path->node[++path->top] = root;
	path->slot[path->top] = 0;
	return 0;
}

/*
 * How many entries stay when the node at @level is split: half of them, or all
 * that can when the new one goes behind everything else, for the next ones will
 * go there too.
 */
static unsigned int split_point(const struct fr_path *path, unsigned int level)
{
	const struct fr_node *node = path->node[level];
	bool append = path->next == FR_END && path->slot[0] == path->node[0]->nr;

	if (!append)
		return (node->nr + 1) / 2;
	/* An inner node needs a key from the start, so it takes a child along. */
	return level ? node->nr - 1 : node->nr;
}

/* Split the full node at @level, whose parent has room, and stay on the path. */
static int split(struct fr_txn *txn, struct fr_path *path, unsigned int level)
{
	struct fr_node *left = path->node[level], *right;
	struct fr_node *parent = path->node[level + 1];
	unsigned int at = path->slot[level + 1] + 1;
	unsigned int keep = split_point(path, level);

	right = fr_node_new(txn, level);
	if (!right)
		return -ENOMEM;
	right->nr = left->nr - keep;
	fr_node_move(right, 0, left, keep, right->nr);
	left->nr = keep;

	fr_node_move(parent, at + 1, parent, at, parent->nr - at);
	parent->key[at] = right->nr ? fr_node_first(right) : path->pos;
	parent->child[at] = right;
	parent->nr++;

	fr_node_set_tail(left);
	fr_node_set_tail(right);
	if (path->slot[level] >= keep) {
		path->slot[level] -= keep;
		path->node[level] = right;
		path->slot[level + 1] = at;
	}
	return 0;
}

/* Make room for one more region in the path's leaf. */
static int make_room(struct fr_txn *txn, struct fr_path *path)
{
	unsigned int level = 0;
	int err;

	while (level <= path->top && path->node[level]->nr == fr_node_max(path->node[level]))
		level++;
	if (level > path->top) {
		err = grow_root(txn, path);
		if (err)
			return err;
	}
	/* From above, so that each parent has room for its child's other half. */
	while (level--) {
		err = split(txn, path, level);
		if (err)
			return err;
	}
	return 0;
}

/* Store a region at the path's end, which is where it belongs. -ENOMEM. */
int fr_path_insert(struct fr_txn *txn, struct fr_path *path, const struct fr_region *r)
{
	struct fr_node *leaf;
	unsigned int at;
	int err;

	if (path->node[0]->nr == FR_LEAF_MAX) {
		err = make_room(txn, path);
		if (err)
			return err;
	}
	leaf = path->node[0];
	at = path->slot[0];
	fr_node_move(leaf, at + 1, leaf, at, leaf->nr - at);
	leaf->region[at] = *r;
	leaf->nr++;
	txn->map->ops->get(fr_region_backing(r));
	txn->nr++;
	fr_path_fix(path);
	return 0;
}

/*
 * Share out the entries of two of our nodes, which follow each other. The last
 * of all stays the last of the right one, so neither's tail changes.
 */
static void even_out(struct fr_node *left, struct fr_node *right)
{
	unsigned int half = (left->nr + right->nr) / 2, n;

	if (left->nr > half) {
		n = left->nr - half;
		fr_node_move(right, n, right, 0, right->nr);
		fr_node_move(right, 0, left, half, n);
		left->nr -= n;
		right->nr += n;
	} else {
		n = half - left->nr;
		fr_node_move(left, left->nr, right, 0, n);
		fr_node_move(right, 0, right, n, right->nr - n);
		left->nr += n;
		right->nr -= n;
	}
}

/* Make one good node, or two, of the children @i and @i + 1 of @parent. */
static int join(struct fr_txn *txn, struct fr_node *parent, unsigned int i)
{
	struct fr_node *left, *right = parent->child[i + 1];

	left = fr_node_own(txn, &parent->child[i]);
	if (!left)
		return -ENOMEM;
	if (left->nr + right->nr <= fr_node_max(left)) {
		fr_node_absorb(txn, left, right);
		fr_inner_cut_out(parent, i + 1, 1);
		return 0;
	}
	right = fr_node_own(txn, &parent->child[i + 1]);
	if (!right)
		return -ENOMEM;
	even_out(left, right);
	parent->key[i + 1] = fr_node_first(right);
	return 0;
}

/* The child on the path at @level lost entries: put @level + 1 right. */
static int rebalance_child(struct fr_txn *txn, struct fr_path *path, unsigned int level)
{
	struct fr_node *node = path->node[level];
	struct fr_node *parent = path->node[level + 1];
	unsigned int i = path->slot[level + 1];
	int err;

	if (!node->nr) {
		fr_inner_cut_out(parent, i, 1);
		fr_node_drop(txn, node);
	} else {
		parent->key[i] = fr_node_first(node);
		while (parent->child[i]->nr < fr_node_min(node) && parent->nr > 1) {
			if (i)
				i--;
			err = join(txn, parent, i);
			if (err)
				return err;
			node = parent->child[i];
		}
	}
	fr_node_set_tail(parent);
	return 0;
}

/*
 * An inner root with one child gives way to it. The child becomes ours even if
 * nothing in it changes, for a root says which transaction made the state.
 */
static int lower_root(struct fr_txn *txn)
{
	struct fr_node *root = txn->root, *child;

	while (root->level && root->nr == 1) {
		child = fr_node_own(txn, &root->child[0]);
		if (!child)
			return -ENOMEM;
		fr_node_drop(txn, root);
		root = child;
		txn->root = child;
	}
	if (!root->nr) {
		fr_node_drop(txn, root);
		txn->root = NULL;
	}
	return 0;
}

/*
 * The node on the path at @level lost entries. Mend it, and all above it. The
 * path cannot be used afterwards. -ENOMEM.
 */
int fr_path_rebalance(struct fr_txn *txn, struct fr_path *path, unsigned int level)
{
	int err;

	fr_node_set_tail(path->node[level]);
	for (; level < path->top; level++) {
		err = rebalance_child(txn, path, level);
		if (err)
			return err;
	}
	return lower_root(txn);
}
