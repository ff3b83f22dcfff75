/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A host for the map: backings that are only counters, and nodes whose
 * allocation can be made to fail. One map at a time.
 */
#ifndef FAKE_H
#define FAKE_H

#include "map.h"

#define FAKE_BACKINGS 16

struct fake_backing {
	_Alignas(16) long refs;
};

extern struct fake_backing fake_backing[FAKE_BACKINGS];
extern const struct fr_map_ops fake_ops;

/* Nodes that were allocated and not freed. */
extern long fake_nodes;

/* Abort with the sentence, unless @ok. */
#define must(ok, ...)                                              \
	do {                                                       \
		if (unlikely(!(ok)))                               \
			fake_die(__FILE__, __LINE__, __VA_ARGS__); \
	} while (0)

void fake_die(const char *file, int line, const char *format, ...)
	__attribute__((noreturn, format(printf, 3, 4)));

/* The allocation after @n good ones fails, once. Negative: none does. */
void fake_fail_after(long n);

/* Has the failure that was asked for happened? */
bool fake_has_failed(void);

/* The next one on a list of retired nodes. */
struct fr_node *fake_next_retired(const struct fr_node *node);

/* A leaf refers once to the backing of each of its regions, and nobody else does. */
void fake_check_refs(void);

/* No node and no reference is left. */
void fake_check_none_left(void);

/* A reproducible random number; and one below @n. */
u64 fake_random(u64 *state);
u64 fake_below(u64 *state, u64 n);

#endif /* FAKE_H */
