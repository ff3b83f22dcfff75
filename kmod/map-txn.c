// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* The writer's side of the map: transactions of binds and unbinds, see map.h. */
#include "map-node.h"

void fr_txn_begin(struct fr_txn *txn, struct fr_map *map)
{
	txn->map = map;
	txn->root = map->root;
	txn->nr = map->nr;
	txn->id = ++map->txn;
	txn->retired = NULL;
	txn->removed = false;
}

void fr_txn_commit(struct fr_txn *txn)
{
	txn->map->nr = txn->nr;
	fr_publish(txn->map->root, txn->root);
}

/* Is any byte up to @last bound, where @piece is what begins the range? */
static bool is_bound(const struct fr_piece *piece, u64 last)
{
	return piece->region || piece->last < last;
}

/* Something in [@start, @last] goes. Could readers see it? */
static void note_removal(struct fr_txn *txn, u64 start, u64 last)
{
	struct fr_piece piece;

	if (txn->removed)
		return;
	fr_map_find(txn->map->root, start, &piece);
	txn->removed = is_bound(&piece, last);
}

/* What is left of @r from @start on. */
static void region_advance(struct fr_region *r, u64 start)
{
	r->backing_start = fr_region_backing_pos(r, start);
	r->start = start;
}

/*
 * Cut off the end of the region that holds the byte before @start, so that it
 * ends there; what it had behind @last stays, as a region of its own.
 */
static int cut_before(struct fr_txn *txn, u64 start, u64 last)
{
	struct fr_region rest, *r;
	struct fr_path path;
	int err;

	err = fr_path_seek(txn, start, &path);
	if (err)
		return err;
	r = &path.node[0]->region[path.slot[0] - 1];
	rest = *r;
	r->last = start - 1;
	if (rest.last > last) {
		region_advance(&rest, last + 1);
		path.pos = rest.start;
		return fr_path_insert(txn, &path, &rest);
	}
	fr_path_fix(&path);
	return 0;
}

/* Cut off the beginning of the region that holds @last and goes on after it. */
static int cut_after(struct fr_txn *txn, u64 last)
{
	struct fr_path path;
	int err;

	err = fr_path_seek(txn, last, &path);
	if (err)
		return err;
	region_advance(&path.node[0]->region[path.slot[0] - 1], last + 1);
	fr_path_fix(&path);
	return 0;
}

/*
 * In the inner node @node, the children from *@from on whose regions all lie in
 * [@start, @last]; @end is where the first region behind the node starts.
 */
static unsigned int children_inside(const struct fr_node *node, u64 end, u64 start, u64 last,
				    unsigned int *from)
{
	unsigned int i = fr_inner_slot(node, start);

	if (node->key[i] < start)
		i++;
	*from = i;
	for (; i < node->nr; i++) {
		if ((i + 1 < node->nr ? node->key[i + 1] : end) > last + 1)
			break;
	}
	return i - *from;
}

/* Drop @nr children of the path's node at @level, with all below them. */
static int drop_children(struct fr_txn *txn, struct fr_path *path, unsigned int level,
			 unsigned int from, unsigned int nr)
{
	struct fr_node *node = path->node[level];
	unsigned int i;

	for (i = from; i < from + nr; i++)
		fr_tree_drop(txn, node->child[i]);
	fr_inner_cut_out(node, from, nr);
	return fr_path_rebalance(txn, path, level);
}

/* Drop the regions of the path's leaf that start in [@start, @last]. */
static int drop_regions(struct fr_txn *txn, struct fr_path *path, u64 start, u64 last)
{
	struct fr_node *leaf = path->node[0];
	unsigned int from = fr_leaf_find(leaf, start) - leaf->region;
	unsigned int to = from;

	while (to < leaf->nr && leaf->region[to].start <= last)
		to++;
	fr_leaf_cut_out(txn, leaf, from, to - from);
	return fr_path_rebalance(txn, path, 0);
}

/*
 * A region starts at @start, and none crosses @last. Drop the longest run of
 * entries in [@start, @last] that one node has, in the highest node that has
 * one: no subtree is opened that goes as a whole.
 */
static int drop_run(struct fr_txn *txn, u64 start, u64 last)
{
	struct fr_node **where = &txn->root, *node;
	unsigned int level = txn->root->level;
	unsigned int from, nr;
	struct fr_path path;
	u64 end = FR_END;

	path.top = level;
	for (;; level--) {
		node = fr_node_own(txn, where);
		if (!node)
			return -ENOMEM;
		path.node[level] = node;
		if (!level)
			return drop_regions(txn, &path, start, last);
		nr = children_inside(node, end, start, last, &from);
		if (nr)
			return drop_children(txn, &path, level, from, nr);
		from = fr_inner_slot(node, start);
		if (from + 1 < node->nr)
			end = node->key[from + 1];
		path.slot[level] = from;
		where = &node->child[from];
	}
}

/* Drop all regions that lie in [@start, @last]; none crosses its edges. */
static int drop_inside(struct fr_txn *txn, u64 start, u64 last)
{
	struct fr_piece piece;
	int err;

	for (;;) {
		fr_map_find(txn->root, start, &piece);
		if (!piece.region) {
			if (piece.last >= last)
				return 0;
			start = piece.last + 1;
		}
		err = drop_run(txn, start, last);
		if (err)
			return err;
	}
}

/* Make a gap of [@start, @last], which begins with @piece. */
static int make_gap(struct fr_txn *txn, u64 start, u64 last, struct fr_piece *piece)
{
	u64 region_last;
	int err;

	if (!is_bound(piece, last))
		return 0;
	note_removal(txn, start, last);

	/* Nothing needs to be allocated, so this cannot fail. */
	if (start <= fr_node_first(txn->root) && last == FR_LAST_MAX) {
		fr_tree_drop(txn, txn->root);
		txn->root = NULL;
		return 0;
	}

	if (piece->region && piece->region->start < start) {
		region_last = piece->region->last;
		err = cut_before(txn, start, last);
		if (err || region_last >= last)
			return err;
	}
	fr_map_find(txn->root, last, piece);
	if (piece->region && piece->region->last > last) {
		err = cut_after(txn, last);
		if (err)
			return err;
	}
	return drop_inside(txn, start, last);
}

int fr_txn_unbind(struct fr_txn *txn, u64 start, u64 last)
{
	struct fr_piece piece;

	fr_map_find(txn->root, start, &piece);
	return make_gap(txn, start, last, &piece);
}

/* Bind anew the very bytes that a region has: nothing moves. */
static int rebind(struct fr_txn *txn, const struct fr_region *r)
{
	struct fr_region *old;
	struct fr_path path;
	int err;

	note_removal(txn, r->start, r->last);
	err = fr_path_seek(txn, r->start, &path);
	if (err)
		return err;
	old = &path.node[0]->region[path.slot[0] - 1];
	txn->map->ops->get(fr_region_backing(r));
	txn->map->ops->put(fr_region_backing(old));
	*old = *r;
	fr_path_fix(&path);
	return 0;
}

/* The first region of an empty map. */
static int bind_first(struct fr_txn *txn, const struct fr_region *r)
{
	struct fr_node *leaf = fr_node_new(txn, 0);

	if (!leaf)
		return -ENOMEM;
	leaf->region[0] = *r;
	leaf->nr = 1;
	fr_node_set_tail(leaf);
	txn->map->ops->get(fr_region_backing(r));
	txn->root = leaf;
	txn->nr++;
	return 0;
}

/* Bind @r where nothing else is bound. */
static int bind(struct fr_txn *txn, const struct fr_region *r)
{
	const struct fr_node *leaf;
	struct fr_path path;
	unsigned int at;
	u64 next;
	int err;

	if (!txn->root)
		return bind_first(txn, r);
	err = fr_path_seek(txn, r->start, &path);
	if (err)
		return err;
	leaf = path.node[0];
	at = path.slot[0];
	next = at < leaf->nr ? leaf->region[at].start : path.next;
	if ((at && leaf->region[at - 1].last >= r->start) || next <= r->last)
		return -EEXIST;
	return fr_path_insert(txn, &path, r);
}

int fr_txn_bind(struct fr_txn *txn, const struct fr_region *r, bool replace)
{
	struct fr_piece piece;
	int err;

	if (replace) {
		fr_map_find(txn->root, r->start, &piece);
		if (piece.region && piece.region->start == r->start && piece.last == r->last)
			return rebind(txn, r);
		err = make_gap(txn, r->start, r->last, &piece);
		if (err)
			return err;
	}
	return bind(txn, r);
}
