/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The inside of a map's nodes, for the map's own files alone, and for the
 * look-up that is inlined into reads and writes.
 *
 *   map.c		looking things up
 *   map-node.c		nodes: making, owning, retiring, moving entries
 *   map-balance.c	paths, and keeping the nodes on them half full
 *   map-txn.c		binding and unbinding
 *   map-check.c	the invariants, spelled out
 *
 * Invariants, which hold between any two operations of a transaction:
 *
 *   - All leaves are at level 0, a node's children one level below it.
 *   - An inner node's key[i] is the start of the first region below child[i],
 *     exactly: a lookup learns from the keys alone where a gap ends.
 *   - Every node is at least half full, but for the root, and for the last
 *     node of each level: appending starts a new last node and leaves a full
 *     one behind, so that a map filled in order has no slack. No node is
 *     empty, and an inner root has at least two children.
 *   - A node made by an older transaction has only such nodes below it.
 */
#ifndef FR_MAP_NODE_H
#define FR_MAP_NODE_H

#include "map.h"

/*
 * Entries a node has room for. A tree of ten levels has more than 15^8 inner
 * nodes with leaves of 7 regions below them: no memory holds another level.
 * The tests override these, to get high trees out of few regions.
 */
#ifndef FR_LEAF_MAX
#define FR_LEAF_MAX 15
#define FR_INNER_MAX 30
#define FR_LEVELS 10
#endif
#define FR_LEAF_MIN (FR_LEAF_MAX / 2)
#define FR_INNER_MIN (FR_INNER_MAX / 2)

/* Where the region after the last one would start */
#define FR_END (FR_LAST_MAX + 1)

/**
 * struct fr_node - a node of the tree
 * @txn:	transaction that made it
 * @link:	next on a list of nodes that are on their way out; the writer's
 * @spare:	puts @region on its own half cache lines
 * @nr:		regions, or children
 * @level:	0 for a leaf
 * @shape:	the three around here in one word
 * @tail:	the last region below ends at FR_LAST_MAX and is FR_WHOLE
 * @region:	leaf: regions in order
 * @key:	inner: start of the first region below the child
 * @child:	inner: children in order
 */
struct fr_node {
	u64 txn;
	struct fr_node *link;
	u64 spare;
	union {
		struct {
			u16 nr;
			u8 level;
			u8 tail;
		};
		u32 shape;
	};
	u32 spare2;
	union {
		struct fr_region region[FR_LEAF_MAX];
		struct {
			u64 key[FR_INNER_MAX];
			struct fr_node *child[FR_INNER_MAX];
		};
	};
};

static_assert(sizeof(struct fr_node) <= FR_NODE_SIZE, "a node fits");

static inline u64 fr_node_first(const struct fr_node *node)
{
	return node->level ? node->key[0] : node->region[0].start;
}

static inline unsigned int fr_node_max(const struct fr_node *node)
{
	return node->level ? FR_INNER_MAX : FR_LEAF_MAX;
}

static inline unsigned int fr_node_min(const struct fr_node *node)
{
	return node->level ? FR_INNER_MIN : FR_LEAF_MIN;
}

static inline bool fr_region_is_tail(const struct fr_region *r)
{
	return r->last == FR_LAST_MAX && (r->backing_flags & FR_WHOLE);
}

/*
 * The largest power of two that is not above @n. A binary search that begins
 * with one comparison at n - p2 goes on with windows of p2 entries, p2 / 2, ...
 * and so needs nothing but a shift to find its next step.
 */
static inline unsigned int fr_window(unsigned int n)
{
	return 1u << (31 - __builtin_clz(n));
}

/* The last child whose key is not above @pos, or the first child. */
static inline unsigned int fr_inner_slot(const struct fr_node *node, u64 pos)
{
	/* A plain pointer: kernels built with UBSAN check each index otherwise */
	const u64 *key = node->key;
	unsigned int step = fr_window(node->nr);
	unsigned long base = node->nr - step;

	base = key[base] <= pos ? base : 0;
	while (step >>= 1)
		base = key[base + step] <= pos ? base + step : base;
	return base;
}

/* The child on the way to @pos, for readers. */
static inline const struct fr_node *fr_inner_child(const struct fr_node *node, u64 pos)
{
	struct fr_node *const *child = node->child;

	return child[fr_inner_slot(node, pos)];
}

/* The last region that does not start above @pos, or the first region. */
static inline const struct fr_region *fr_leaf_find(const struct fr_node *node, u64 pos)
{
	const struct fr_region *base = node->region;
	unsigned int step;

	/* Most files with regions have one. */
	if (node->nr == 1)
		return base;
	step = fr_window(node->nr);
	if (base[node->nr - step].start <= pos)
		base += node->nr - step;
	while (step >>= 1)
		base = base[step].start <= pos ? base + step : base;
	return base;
}

/* The shape of most roots: a leaf with one region, which is not the tail */
#define FR_SHAPE_ONE	1u	/* little endian: nr 1, level 0, tail 0 */

/*
 * fr_map_lookup() without a call for that shape; the region may end before
 * @pos, which the caller is about to compare anyway. Not NULL: there is a root.
 */
static __always_inline const struct fr_region *
fr_map_lookup_fast(const struct fr_node *root, u64 pos)
{
	const struct fr_region *r;

	if (likely(root && root->shape == FR_SHAPE_ONE &&
		   FR_LITTLE_ENDIAN)) {
		r = root->region;
		if (!r)		/* the compiler would have the caller test it */
			__builtin_unreachable();
		return likely(pos >= r->start) ? r : NULL;
	}
	return fr_map_lookup(root, pos);
}

/* map-node.c */
struct fr_node *fr_node_new(struct fr_txn *txn, unsigned int level);
struct fr_node *fr_node_own(struct fr_txn *txn, struct fr_node **where);
void fr_node_move(struct fr_node *dst, unsigned int to, const struct fr_node *src,
		  unsigned int from, unsigned int nr);
void fr_node_set_tail(struct fr_node *node);
void fr_node_absorb(struct fr_txn *txn, struct fr_node *dst, struct fr_node *src);
void fr_node_drop(struct fr_txn *txn, struct fr_node *node);
void fr_leaf_cut_out(struct fr_txn *txn, struct fr_node *leaf, unsigned int at, unsigned int nr);
void fr_inner_cut_out(struct fr_node *node, unsigned int at, unsigned int nr);
void fr_tree_drop(struct fr_txn *txn, struct fr_node *root);

/**
 * struct fr_path - the way from the root to a leaf, by level
 * @node:	the nodes, all made by the running transaction
 * @slot:	the child taken; in the leaf: where a region that starts at @pos
 *		goes
 * @top:	the root's level
 * @pos:	what it leads to
 * @next:	start of the first region behind the leaf, or FR_END
 */
struct fr_path {
	struct fr_node *node[FR_LEVELS];
	u8 slot[FR_LEVELS];
	unsigned int top;
	u64 pos;
	u64 next;
};

/* map-balance.c */
int fr_path_seek(struct fr_txn *txn, u64 pos, struct fr_path *path);
void fr_path_fix(struct fr_path *path);
int fr_path_insert(struct fr_txn *txn, struct fr_path *path, const struct fr_region *r);
int fr_path_rebalance(struct fr_txn *txn, struct fr_path *path, unsigned int level);

#endif /* FR_MAP_NODE_H */
