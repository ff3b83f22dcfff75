// SPDX-License-Identifier: GPL-2.0
/*
 * What the map costs. Run by bench-map.sh, which counts the instructions of
 * body(): one call for each thing done.
 *
 *   bench-map find|bind|replace sequential|random REGIONS
 *
 * find: 1,000 lookups of random bytes in a map of REGIONS regions.
 * bind: REGIONS regions bound in messages of 1,000, the last of which counts.
 * replace: the same, but the last message is sent once more, and that counts.
 * All print the memory a region takes.
 */
#include <stdio.h>
#include <stdlib.h>

#include "map.h"

#define OPS 1000
#define STRIDE 8192
#define LENGTH 4096

/* A function that callgrind finds by its name. */
#ifdef __clang__
#define separate __attribute__((noinline))
#else
#define separate __attribute__((noinline, noclone))
#endif

static _Alignas(16) char backing;
static long nodes;
static u64 state = 1;

static void *node_alloc(void)
{
	nodes++;
	return aligned_alloc(16, FR_NODE_SIZE);
}

static void node_free(void *node)
{
	nodes--;
	free(node);
}

/* As cheap as what the module does, but for the atomic. */
static void count(void *unused)
{
	__atomic_fetch_add((long *)unused, 1, __ATOMIC_RELAXED);
}

static const struct fr_map_ops ops = { node_alloc, node_free, count, count };
static struct fr_map map = { .ops = &ops };

static u64 random_below(u64 n)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state % n;
}

/* Numbers 0 to nr - 1 in order, or shuffled. */
static u64 *numbers(u64 nr, bool shuffled)
{
	u64 *number = malloc(nr * sizeof(*number)), i;

	for (i = 0; i < nr; i++)
		number[i] = i;
	for (i = nr; shuffled && i > 1; i--) {
		u64 other = random_below(i), swap = number[other];

		number[other] = number[i - 1];
		number[i - 1] = swap;
	}
	return number;
}

/* What bench-map.sh counts. */
separate static void body_find(const struct fr_node *root, const u64 *number, u64 nr)
{
	struct fr_piece piece;

	while (nr--) {
		fr_map_find(root, *number++, &piece);
		__asm__ volatile("" : : "r"(&piece) : "memory");
	}
}

separate static void body_bind(const u64 *number, u64 nr, bool replace)
{
	struct fr_txn txn;

	fr_txn_begin(&txn, &map);
	while (nr--) {
		struct fr_region r = {
			.start = *number * STRIDE,
			.last = *number * STRIDE + LENGTH - 1,
			.backing_start = *number,
			.backing_flags = (uintptr_t)&backing | FR_READ,
		};

		number++;
		if (fr_txn_bind(&txn, &r, replace))
			abort();
	}
	fr_txn_commit(&txn);
	fr_nodes_free(&ops, txn.retired);
}

separate static void prepare(const u64 *number, u64 nr)
{
	while (nr) {
		u64 some = nr < OPS ? nr : OPS;

		body_bind(number, some, false);
		number += some;
		nr -= some;
	}
}

separate static void measure_find(u64 nr)
{
	u64 *pos = malloc(OPS * sizeof(*pos)), i;

	for (i = 0; i < OPS; i++)
		pos[i] = random_below(nr) * STRIDE + random_below(LENGTH);
	body_find(map.root, pos, OPS);
	free(pos);
}

/* Not inlined either: callgrind tells it from what went before. */
separate static void measure_bind(const u64 *number, bool replace)
{
	body_bind(number, OPS, replace);
}

int main(int argc, char **argv)
{
	u64 *number, nr;
	bool find, replace;

	if (argc != 4) {
		fprintf(stderr, "usage: bench-map find|bind|replace sequential|random REGIONS\n");
		return 2;
	}
	find = !strcmp(argv[1], "find");
	replace = !strcmp(argv[1], "replace");
	nr = strtoull(argv[3], NULL, 0);
	if (!find && nr < OPS)
		nr = OPS;
	number = numbers(nr, !strcmp(argv[2], "random"));
	prepare(number, find || replace ? nr : nr - OPS);
	if (find)
		measure_find(nr);
	else
		measure_bind(number + nr - OPS, replace);
	printf("%.1f\n", (double)nodes * FR_NODE_SIZE / map.nr);
	free(number);
	fr_map_destroy(&map);
	return 0;
}
