/* SPDX-License-Identifier: GPL-2.0 */
/* What the unit tests share: Check, and changing a map in one line. */
#ifndef UNIT_H
#define UNIT_H

#include <check.h>

#include "fake.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* Run a suite; what main() returns. */
int unit_run(Suite *suite);

/* A test case called @name with these tests; no time limit. */
#define unit_tcase(suite, name, ...) \
	unit_add_tcase(suite, name, (const TTest *const[]){ __VA_ARGS__, NULL }, NULL, NULL)

/* The same; @setup and @teardown run around each test. */
#define unit_tcase_with(suite, name, setup, teardown, ...) \
	unit_add_tcase(suite, name, (const TTest *const[]){ __VA_ARGS__, NULL }, setup, teardown)

TCase *unit_add_tcase(Suite *suite, const char *name, const TTest *const tests[],
		      void (*setup)(void), void (*teardown)(void));

/* Region number @backing: [@start, @last] is what begins at @backing_start. */
struct fr_region unit_region(unsigned int backing, u64 start, u64 last, u64 backing_start,
			     unsigned int flags);

/*
 * One transaction with one operation. What it returned; it is committed, and
 * what it retired is freed, unless it failed.
 */
int unit_bind(struct fr_map *map, struct fr_region r);
int unit_replace(struct fr_map *map, struct fr_region r);
int unit_unbind(struct fr_map *map, u64 start, u64 last);

/* Commit, and free what nobody sees any more. */
void unit_commit(struct fr_txn *txn);

/* Regions of one byte at 0, 2, 4, ...: @nr of them, in one transaction. */
void unit_fill(struct fr_map *map, u64 nr);

/* The map is sound, and is these regions in this order. */
void unit_expect(const struct fr_map *map, const struct fr_region *want, unsigned int nr);

#endif /* UNIT_H */
