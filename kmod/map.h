/* SPDX-License-Identifier: (GPL-2.0 WITH Linux-syscall-note) OR BSD-2-Clause */
/*
 * The regions of one inode: an ordered map of disjoint byte ranges.
 *
 * Plain code without VFS: the same source is built into the module, into the
 * library and into the unit tests. plain.h supplies the types for each.
 *
 * A persistent B+tree. A published node never changes: a transaction copies
 * the nodes on its path, changes the copies, and publishes the new root with
 * one store. So a reader that holds a root sees one state of the map for as
 * long as the nodes live, and takes no lock. Nodes made by the transaction
 * itself are changed in place, so that a message of 1,000 records copies each
 * node once.
 *
 * Ownership: every leaf holds one reference (fr_map_ops.get) on the backing
 * of each of its entries, taken when the entry is stored and dropped when the
 * leaf is freed. Nobody else counts regions on a backing.
 *
 * Locking: fr_map and fr_txn belong to one writer at a time (the caller's
 * lock). Readers use a root alone, and the caller keeps the nodes alive for
 * them (SRCU in the module).
 */
#ifndef FR_MAP_H
#define FR_MAP_H

#include "plain.h"

/* Last byte a file can have: positions are loff_t, sizes end at 2^63 - 1 */
#define FR_LAST_MAX	((u64)S64_MAX - 1)

/* fr_region flags, in the low bits of .backing_flags */
#define FR_READ		1u
#define FR_WRITE	2u
#define FR_GROW		4u
#define FR_WHOLE	8u	/* bound as 0/0: the backing says where EOF is */
#define FR_FLAGS	15u

/**
 * struct fr_region - bytes of the file, bound to bytes of a backing
 * @start:		first byte in the file
 * @last:		last byte in the file, inclusive
 * @backing_start:	the backing's byte that @start is
 * @backing_flags:	pointer to the backing (16-byte aligned) | FR_* flags
 */
struct fr_region {
	u64 start;
	u64 last;
	u64 backing_start;
	uintptr_t backing_flags;
};

static inline void *fr_region_backing(const struct fr_region *r)
{
	return (void *)(r->backing_flags & ~(uintptr_t)FR_FLAGS);
}

static inline unsigned int fr_region_flags(const struct fr_region *r)
{
	return r->backing_flags & FR_FLAGS;
}

/* The backing's byte at @pos of the file; @pos lies in the region */
static inline u64 fr_region_backing_pos(const struct fr_region *r, u64 pos)
{
	return r->backing_start + (pos - r->start);
}

struct fr_node;		/* opaque: map-node.h */

/**
 * struct fr_map_ops - what the map needs from its host
 * @alloc:	FR_NODE_SIZE bytes, uninitialised, 16-byte aligned, or NULL
 * @free:	gives them back; never sleeps in the module
 * @get:	one more region entry refers to @backing
 * @put:	one fewer
 */
struct fr_map_ops {
	void *(*alloc)(void);
	void (*free)(void *node);
	void (*get)(void *backing);
	void (*put)(void *backing);
};

#define FR_NODE_SIZE	512

/**
 * struct fr_map - the writer's handle on a map; zero it, set @ops, use it
 * @root:	published root, NULL when the map is empty; readers load it with
 *		fr_load_root() under whatever keeps nodes alive
 * @nr:		number of regions
 * @txn:	id of the last transaction
 */
struct fr_map {
	struct fr_node *root;
	u64 nr;
	u64 txn;
	const struct fr_map_ops *ops;
};

/**
 * struct fr_txn - a change in the making
 * @map:	what it changes
 * @root:	the new root so far
 * @nr:		number of regions so far
 * @id:		marks nodes that this transaction made and may change in place
 * @retired:	old nodes that the new tree does not use (a private list)
 * @removed:	true when it removed, cut or replaced a region: readers of the
 *		old state must be waited for
 */
struct fr_txn {
	struct fr_map *map;
	struct fr_node *root;
	u64 nr;
	u64 id;
	struct fr_node *retired;
	bool removed;
};

/**
 * struct fr_piece - a run of bytes that is served by one party
 * @pos:	first byte
 * @last:	last byte, inclusive
 * @region:	the region that holds all of [@pos, @last], NULL for a gap
 */
struct fr_piece {
	u64 pos;
	u64 last;
	const struct fr_region *region;
};

/* --- readers: lock-free on a root that the caller keeps alive --- */

/*
 * The longest run of bytes from @pos on that lies in one region or in one
 * gap. For a gap, last is the byte before the next region, or FR_LAST_MAX.
 * @root may be NULL (all gap). @pos <= FR_LAST_MAX.
 */
void fr_map_find(const struct fr_node *root, u64 pos, struct fr_piece *piece);

/*
 * For the common case: the region that holds @pos, where it alone says what
 * there is to know. NULL for a gap, and where another region decides the end
 * of file; ask fr_map_find() and fr_map_whole_tail() then.
 */
const struct fr_region *fr_map_lookup(const struct fr_node *root, u64 pos);

/*
 * The transaction that made this state, 0 for an empty map. Two roots of one
 * map with the same number have the same content.
 */
u64 fr_map_txn(const struct fr_node *root);

/*
 * The region that decides the end of file: the last one, when it is FR_WHOLE
 * and reaches FR_LAST_MAX. NULL otherwise. O(1) when there is none.
 */
const struct fr_region *fr_map_whole_tail(const struct fr_node *root);

/* --- writers --- */

void fr_txn_begin(struct fr_txn *txn, struct fr_map *map);

/*
 * Bind @r. With @replace, first cut away what it overlaps; without it an
 * overlap is -EEXIST. -ENOMEM. After an error the transaction can only be
 * aborted.
 */
int fr_txn_bind(struct fr_txn *txn, const struct fr_region *r, bool replace);

/* Make [@start, @last] a gap. -ENOMEM; then the transaction can only be aborted. */
int fr_txn_unbind(struct fr_txn *txn, u64 start, u64 last);

/*
 * Publish. Cannot fail. txn->retired is then the caller's: fr_nodes_free()
 * once no reader can hold the old root. txn->removed says whether a reader of
 * the old state may still use something that is gone.
 */
void fr_txn_commit(struct fr_txn *txn);

/* Undo everything; the map is as before fr_txn_begin(). */
void fr_txn_abort(struct fr_txn *txn);

/* Free a list of retired nodes, dropping their leaves' references. */
void fr_nodes_free(const struct fr_map_ops *ops, struct fr_node *list);

/* Free a whole tree; the map is empty afterwards. No reader may be left. */
void fr_map_destroy(struct fr_map *map);

/* Number of nodes in the tree, for memory figures and tests. */
u64 fr_map_nodes(const struct fr_node *root);

/* Check every invariant of the tree; NULL, or a sentence saying what is broken. */
const char *fr_map_check(const struct fr_map *map);

#endif /* FR_MAP_H */
