// SPDX-License-Identifier: GPL-2.0
/*
 * Readers without locks beside a writer. Each message binds two far ends of the
 * file to one backing, among many other changes: whoever holds a root finds
 * both the same, whatever is published meanwhile. Readers hold a lock only to
 * keep the nodes alive, as SRCU does in the module.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdlib.h>

#include "unit.h"

#define READERS 3
#define MESSAGES 3000
#define ENDS_APART 100000

static struct fr_map map;
/* The kind that readers cannot keep from the writer. */
static pthread_rwlock_t alive = PTHREAD_RWLOCK_WRITER_NONRECURSIVE_INITIALIZER_NP;
static bool stop;

static const void *backing_at(const struct fr_node *root, u64 pos)
{
	struct fr_piece piece;

	fr_map_find(root, pos, &piece);
	must(piece.region, "an end is not bound");
	return fr_region_backing(piece.region);
}

static void *reader(void *unused)
{
	u64 number = 0, seen;

	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
		const struct fr_node *root;

		pthread_rwlock_rdlock(&alive);
		root = fr_load_root(map.root);
		must(backing_at(root, 0) == backing_at(root, ENDS_APART), "half of a message");
		seen = fr_map_txn(root);
		must(seen >= number, "an older state after a newer one");
		number = seen;
		pthread_rwlock_unlock(&alive);
	}
	return unused;
}

static void replace(struct fr_txn *txn, unsigned int backing, u64 start, u64 last)
{
	struct fr_region r = unit_region(backing, start, last, 0, FR_READ);

	must(!fr_txn_bind(txn, &r, true), "replace failed");
}

static void message(u64 n, u64 *seed)
{
	struct fr_txn txn;
	unsigned int i;

	fr_txn_begin(&txn, &map);
	for (i = 0; i < 20; i++) {
		u64 start = 1 + fake_below(seed, ENDS_APART - 300);

		if (i % 4)
			replace(&txn, 0, start, start + fake_below(seed, 10));
		else
			must(!fr_txn_unbind(&txn, start, start + fake_below(seed, 300)),
			     "unbind failed");
	}
	replace(&txn, n % FAKE_BACKINGS, 0, 0);
	replace(&txn, n % FAKE_BACKINGS, ENDS_APART, ENDS_APART);
	fr_txn_commit(&txn);

	pthread_rwlock_wrlock(&alive);
	pthread_rwlock_unlock(&alive);
	fr_nodes_free(&fake_ops, txn.retired);
}

START_TEST(readers_never_see_half_of_a_message)
{
	pthread_t thread[READERS];
	u64 n, seed = 1;
	unsigned int i;

	map = (struct fr_map){ .ops = &fake_ops };
	message(0, &seed);
	for (i = 0; i < READERS; i++)
		must(!pthread_create(&thread[i], NULL, reader, NULL), "no thread");
	for (n = 1; n < MESSAGES; n++)
		message(n, &seed);
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	for (i = 0; i < READERS; i++)
		pthread_join(thread[i], NULL);
	ck_assert_ptr_null(fr_map_check(&map));
	fr_map_destroy(&map);
	fake_check_none_left();
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("map-threads");

	unit_tcase(suite, "threads", readers_never_see_half_of_a_message);
	return unit_run(suite);
}
