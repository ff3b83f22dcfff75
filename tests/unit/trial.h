/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A map and its model, side by side: whatever is done to one is done to the
 * other, and all that the map promises is checked after each step. Old states
 * of the map are kept for a while, as readers would, and must stay what they
 * were. Used by the random tests and by the fuzzers.
 */
#ifndef TRIAL_H
#define TRIAL_H

#include "model.h"

#define TRIAL_SNAPSHOTS 8

/**
 * struct snapshot - a state of the map that a reader still looks at
 * @root:	its root
 * @model:	what is in it
 * @retired:	what the next transaction retired
 */
struct snapshot {
	struct fr_node *root;
	struct model model;
	struct fr_node *retired;
};

/**
 * struct trial - the two, and a transaction on both
 * @map:	the map
 * @model:	its model
 * @txn:	the transaction that runs
 * @next:	the model as the transaction has changed it
 * @err:	what the transaction failed with
 * @removed:	the transaction took a published byte away
 * @snapshot:	old states, a ring
 * @oldest:	the first of them
 * @snapshots:	how many there are
 */
struct trial {
	struct fr_map map;
	struct model model;
	struct fr_txn txn;
	struct model next;
	int err;
	bool removed;
	struct snapshot snapshot[TRIAL_SNAPSHOTS];
	unsigned int oldest;
	unsigned int snapshots;
};

/* An empty map; there is one trial at a time. */
struct trial *trial_new(u64 base, unsigned int cells);

/* Nothing of it may be left afterwards. */
void trial_free(struct trial *trial);

/* A transaction, in which allocation number @fail_after (from 0) fails. */
void trial_begin(struct trial *trial, long fail_after);

/* On cells. Nothing happens once an operation of the transaction has failed. */
void trial_bind(struct trial *trial, unsigned int from, unsigned int to, unsigned int backing,
		unsigned int flags, u64 backing_start, bool replace);
void trial_unbind(struct trial *trial, unsigned int from, unsigned int to);

/* Commit, or abort if @abort is set or something has failed. */
void trial_end(struct trial *trial, bool abort);

/* Look at all there is. */
void trial_check(struct trial *trial);

#endif /* TRIAL_H */
