// SPDX-License-Identifier: GPL-2.0
#include "unit.h"

#include <stdlib.h>

int unit_run(Suite *suite)
{
	SRunner *runner = srunner_create(suite);
	int failed;

	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

TCase *unit_add_tcase(Suite *suite, const char *name, const TTest *const tests[],
		      void (*setup)(void), void (*teardown)(void))
{
	TCase *tcase = tcase_create(name);

	if (setup)
		tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_set_timeout(tcase, 0);
	while (*tests)
		tcase_add_test(tcase, *tests++);
	suite_add_tcase(suite, tcase);
	return tcase;
}

struct fr_region unit_region(unsigned int backing, u64 start, u64 last, u64 backing_start,
			     unsigned int flags)
{
	return (struct fr_region){
		.start = start,
		.last = last,
		.backing_start = backing_start,
		.backing_flags = (uintptr_t)&fake_backing[backing] | flags,
	};
}

void unit_commit(struct fr_txn *txn)
{
	fr_txn_commit(txn);
	fr_nodes_free(txn->map->ops, txn->retired);
}

static int end(struct fr_txn *txn, int err)
{
	if (err)
		fr_txn_abort(txn);
	else
		unit_commit(txn);
	return err;
}

int unit_bind(struct fr_map *map, struct fr_region r)
{
	struct fr_txn txn;

	fr_txn_begin(&txn, map);
	return end(&txn, fr_txn_bind(&txn, &r, false));
}

int unit_replace(struct fr_map *map, struct fr_region r)
{
	struct fr_txn txn;

	fr_txn_begin(&txn, map);
	return end(&txn, fr_txn_bind(&txn, &r, true));
}

int unit_unbind(struct fr_map *map, u64 start, u64 last)
{
	struct fr_txn txn;

	fr_txn_begin(&txn, map);
	return end(&txn, fr_txn_unbind(&txn, start, last));
}

void unit_fill(struct fr_map *map, u64 nr)
{
	struct fr_txn txn;
	u64 i;

	fr_txn_begin(&txn, map);
	for (i = 0; i < nr; i++) {
		struct fr_region r = unit_region(0, 2 * i, 2 * i, 2 * i, FR_READ);

		must(!fr_txn_bind(&txn, &r, false), "filling the map failed");
	}
	unit_commit(&txn);
}

void unit_expect(const struct fr_map *map, const struct fr_region *want, unsigned int nr)
{
	const char *broken = fr_map_check(map);
	struct fr_piece piece = { .last = FR_LAST_MAX };
	unsigned int seen = 0;
	u64 pos = 0;

	ck_assert_msg(!broken, "%s", broken);
	do {
		fr_map_find(map->root, pos, &piece);
		if (piece.region) {
			ck_assert_uint_lt(seen, nr);
			ck_assert_uint_eq(piece.region->start, want[seen].start);
			ck_assert_uint_eq(piece.region->last, want[seen].last);
			ck_assert_uint_eq(piece.region->backing_start, want[seen].backing_start);
			ck_assert_uint_eq(piece.region->backing_flags, want[seen].backing_flags);
			seen++;
		}
		pos = piece.last + 1;
	} while (pos <= FR_LAST_MAX);
	ck_assert_uint_eq(seen, nr);
	ck_assert_uint_eq(map->nr, nr);
}
