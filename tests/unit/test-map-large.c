// SPDX-License-Identifier: GPL-2.0
/* Maps of 100,000 regions: their height, their memory, and lookups in them. */
#include <stdlib.h>

#include "map-node.h"
#include "unit.h"

#define NR 100000
#define STRIDE 8192
#define LENGTH 4096
#define BYTES_MAX 96

static struct fr_map map;
static u64 seed = 1;

static void empty_map(void)
{
	map = (struct fr_map){ .ops = &fake_ops };
}

/* Region number @i begins here; with big strides the last ones are at 2^62. */
static u64 start_of(u64 i, u64 stride)
{
	return i * stride;
}

static struct fr_region region_of(u64 i, u64 stride)
{
	u64 start = start_of(i, stride);

	return unit_region(i % FAKE_BACKINGS, start, start + LENGTH - 1, i << 20, FR_READ);
}

/* Bind or unbind the regions with these numbers, a thousand in a message. */
static void change(const u64 *number, u64 nr, u64 stride, bool binding)
{
	struct fr_txn txn;
	u64 i;

	for (i = 0; i < nr; i++) {
		struct fr_region r = region_of(number[i], stride);

		if (i % 1000 == 0)
			fr_txn_begin(&txn, &map);
		must(!(binding ? fr_txn_bind(&txn, &r, false)
			       : fr_txn_unbind(&txn, r.start, r.last)),
		     "change %llu failed", (unsigned long long)i);
		if (i % 1000 == 999 || i + 1 == nr)
			unit_commit(&txn);
	}
}

static u64 *numbers(void)
{
	u64 *number = malloc(NR * sizeof(*number)), i;

	must(number, "out of memory");
	for (i = 0; i < NR; i++)
		number[i] = i;
	return number;
}

static u64 *shuffled(void)
{
	u64 *number = numbers(), i;

	for (i = NR; i > 1; i--) {
		u64 other = fake_below(&seed, i), swap = number[other];

		number[other] = number[i - 1];
		number[i - 1] = swap;
	}
	return number;
}

static void expect_memory(double most)
{
	double bytes = (double)fake_nodes * FR_NODE_SIZE / map.nr;
	const char *broken = fr_map_check(&map);

	ck_assert_msg(!broken, "%s", broken);
	ck_assert_int_eq(fake_nodes, fr_map_nodes(map.root));
	ck_assert_double_le(bytes, most);
	fake_check_refs();
}

static void expect_all_found(u64 stride)
{
	struct fr_piece piece;
	u64 i;

	for (i = 0; i < NR; i++) {
		u64 pos = start_of(i, stride) + i % LENGTH;

		fr_map_find(map.root, pos, &piece);
		must(piece.region, "region %llu is missing", (unsigned long long)i);
		must(fr_region_backing(piece.region) == &fake_backing[i % FAKE_BACKINGS] &&
			     fr_region_backing_pos(piece.region, pos) == (i << 20) + i % LENGTH,
		     "region %llu is another", (unsigned long long)i);
		fr_map_find(map.root, start_of(i, stride) + LENGTH, &piece);
		must(!piece.region, "no gap after region %llu", (unsigned long long)i);
		must(piece.last == (i + 1 < NR ? start_of(i + 1, stride) - 1 : FR_LAST_MAX),
		     "wrong gap after region %llu", (unsigned long long)i);
	}
}

static void destroy(u64 *number)
{
	free(number);
	fr_map_destroy(&map);
	fake_check_none_left();
}

START_TEST(map_filled_in_order_has_no_slack)
{
	u64 *number = numbers();

	change(number, NR, STRIDE, true);
	expect_memory(36);
	ck_assert_uint_le(map.root->level, 3);
	expect_all_found(STRIDE);
	destroy(number);
}
END_TEST

START_TEST(map_filled_backwards_is_half_full)
{
	u64 *number = numbers(), i;

	for (i = 0; i < NR; i++)
		number[i] = NR - 1 - i;
	change(number, NR, STRIDE, true);
	expect_memory(BYTES_MAX);
	expect_all_found(STRIDE);
	destroy(number);
}
END_TEST

START_TEST(map_filled_at_random_is_within_its_memory)
{
	u64 *number = shuffled();

	change(number, NR, STRIDE, true);
	expect_memory(BYTES_MAX);
	ck_assert_uint_le(map.root->level, 4);
	expect_all_found(STRIDE);
	destroy(number);
}
END_TEST

START_TEST(map_of_a_huge_file_is_as_good)
{
	u64 *number = shuffled(), stride = FR_LAST_MAX / NR;

	change(number, NR, stride, true);
	expect_memory(BYTES_MAX);
	expect_all_found(stride);
	destroy(number);
}
END_TEST

START_TEST(map_emptied_at_random_gives_its_memory_back)
{
	u64 *number = shuffled();

	change(number, NR, STRIDE, true);
	change(number, NR - 1000, STRIDE, false);
	expect_memory(BYTES_MAX);
	ck_assert_uint_eq(map.nr, 1000);
	change(number + NR - 1000, 1000, STRIDE, false);
	ck_assert_ptr_null(map.root);
	ck_assert_int_eq(fake_nodes, 0);
	destroy(number);
}
END_TEST

START_TEST(map_thinned_out_evenly_stays_half_full)
{
	u64 *number = numbers(), i;

	change(number, NR, STRIDE, true);
	/* Of each full leaf the same eight go, which leaves it with the least it may have. */
	for (i = 0; i < NR; i++) {
		struct fr_region r = region_of(i, STRIDE);

		if (i % FR_LEAF_MAX >= FR_LEAF_MIN)
			ck_assert_int_eq(unit_unbind(&map, r.start, r.last), 0);
	}
	expect_memory(BYTES_MAX);
	destroy(number);
}
END_TEST

START_TEST(sweeps_leave_a_sound_map)
{
	u64 *number = shuffled();

	change(number, NR, STRIDE, true);
	while (map.root) {
		u64 from = fake_below(&seed, NR), nr = fake_below(&seed, NR);

		ck_assert_int_eq(unit_unbind(&map, start_of(from, STRIDE) + LENGTH / 2,
					     start_of(from + nr, STRIDE) + LENGTH / 2),
				 0);
		expect_memory(map.nr < 100 ? FR_NODE_SIZE : BYTES_MAX);
		if (map.nr < 100)
			ck_assert_int_eq(unit_unbind(&map, 0, FR_LAST_MAX), 0);
	}
	destroy(number);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("map-large");

	unit_tcase_with(suite, "large", empty_map, NULL, map_filled_in_order_has_no_slack,
			map_filled_backwards_is_half_full,
			map_filled_at_random_is_within_its_memory, map_of_a_huge_file_is_as_good,
			map_emptied_at_random_gives_its_memory_back,
			map_thinned_out_evenly_stays_half_full, sweeps_leave_a_sound_map);
	return unit_run(suite);
}
