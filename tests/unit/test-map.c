// SPDX-License-Identifier: GPL-2.0
/* What the map promises, a test for each promise. */
#include "unit.h"

#define RW (FR_READ | FR_WRITE)

static struct fr_map map;

static void empty_map(void)
{
	map = (struct fr_map){ .ops = &fake_ops };
}

/* Regions [10, 19] and [30, 39] of two backings. */
static void two_regions(void)
{
	empty_map();
	ck_assert_int_eq(unit_bind(&map, unit_region(0, 10, 19, 100, RW)), 0);
	ck_assert_int_eq(unit_bind(&map, unit_region(1, 30, 39, 300, FR_READ)), 0);
}

static void whole_file(void)
{
	empty_map();
	ck_assert_int_eq(unit_bind(&map, unit_region(0, 0, FR_LAST_MAX, 7, RW | FR_WHOLE)), 0);
}

static void nothing_is_left(void)
{
	const char *broken = fr_map_check(&map);

	ck_assert_msg(!broken, "%s", broken);
	fr_map_destroy(&map);
	fake_check_none_left();
}

#define expect(...)                                               \
	do {                                                      \
		const struct fr_region want_[] = { __VA_ARGS__ }; \
		unit_expect(&map, want_, COUNT(want_));           \
	} while (0)

static void expect_gap(u64 pos, u64 last)
{
	struct fr_piece piece;

	fr_map_find(map.root, pos, &piece);
	ck_assert_ptr_null(piece.region);
	ck_assert_uint_eq(piece.pos, pos);
	ck_assert_uint_eq(piece.last, last);
}

static void expect_region(u64 pos, unsigned int backing, u64 backing_pos, u64 last)
{
	struct fr_piece piece;

	fr_map_find(map.root, pos, &piece);
	ck_assert_ptr_nonnull(piece.region);
	ck_assert_uint_eq(piece.pos, pos);
	ck_assert_uint_eq(piece.last, last);
	ck_assert_ptr_eq(fr_region_backing(piece.region), &fake_backing[backing]);
	ck_assert_uint_eq(fr_region_backing_pos(piece.region, pos), backing_pos);
}

START_TEST(empty_map_is_one_gap)
{
	expect_gap(0, FR_LAST_MAX);
	expect_gap(12345, FR_LAST_MAX);
	expect_gap(FR_LAST_MAX, FR_LAST_MAX);
}
END_TEST

START_TEST(region_is_found_from_its_first_to_its_last_byte)
{
	expect_region(10, 0, 100, 19);
	expect_region(15, 0, 105, 19);
	expect_region(19, 0, 109, 19);
	expect_region(30, 1, 300, 39);
}
END_TEST

START_TEST(gap_ends_where_the_next_region_begins)
{
	expect_gap(0, 9);
	expect_gap(9, 9);
	expect_gap(20, 29);
	expect_gap(29, 29);
}
END_TEST

START_TEST(last_gap_ends_with_the_last_byte)
{
	expect_gap(40, FR_LAST_MAX);
	expect_gap(FR_LAST_MAX, FR_LAST_MAX);
}
END_TEST

START_TEST(bind_over_a_region_is_eexist)
{
	static const u64 ranges[][2] = {
		{ 10, 19 }, { 12, 15 }, { 5, 25 },	    { 0, 10 },
		{ 19, 29 }, { 15, 35 }, { 0, FR_LAST_MAX },
	};
	unsigned int i;

	for (i = 0; i < COUNT(ranges); i++)
		ck_assert_int_eq(unit_bind(&map, unit_region(2, ranges[i][0], ranges[i][1], 0, RW)),
				 -EEXIST);
	expect(unit_region(0, 10, 19, 100, RW), unit_region(1, 30, 39, 300, FR_READ));
}
END_TEST

START_TEST(bind_between_regions_fits_to_the_byte)
{
	ck_assert_int_eq(unit_bind(&map, unit_region(2, 20, 29, 0, RW)), 0);
	expect(unit_region(0, 10, 19, 100, RW), unit_region(2, 20, 29, 0, RW),
	       unit_region(1, 30, 39, 300, FR_READ));
}
END_TEST

START_TEST(neighbours_that_would_fit_together_stay_two)
{
	ck_assert_int_eq(unit_bind(&map, unit_region(0, 20, 24, 110, RW)), 0);
	expect_region(19, 0, 109, 19);
	expect_region(20, 0, 110, 24);
}
END_TEST

START_TEST(replace_takes_over_a_region)
{
	ck_assert_int_eq(unit_replace(&map, unit_region(2, 10, 19, 5, FR_WRITE)), 0);
	expect(unit_region(2, 10, 19, 5, FR_WRITE), unit_region(1, 30, 39, 300, FR_READ));
}
END_TEST

START_TEST(replace_cuts_a_region_in_two)
{
	ck_assert_int_eq(unit_replace(&map, unit_region(2, 13, 15, 0, RW)), 0);
	expect(unit_region(0, 10, 12, 100, RW), unit_region(2, 13, 15, 0, RW),
	       unit_region(0, 16, 19, 106, RW), unit_region(1, 30, 39, 300, FR_READ));
}
END_TEST

START_TEST(replace_cuts_off_a_beginning_and_an_end)
{
	ck_assert_int_eq(unit_replace(&map, unit_region(2, 15, 34, 0, RW)), 0);
	expect(unit_region(0, 10, 14, 100, RW), unit_region(2, 15, 34, 0, RW),
	       unit_region(1, 35, 39, 305, FR_READ));
}
END_TEST

START_TEST(replace_swallows_all_it_covers)
{
	ck_assert_int_eq(unit_replace(&map, unit_region(2, 0, 1000, 0, RW)), 0);
	expect(unit_region(2, 0, 1000, 0, RW));
}
END_TEST

START_TEST(unbind_cuts_a_region_in_two)
{
	ck_assert_int_eq(unit_unbind(&map, 11, 18), 0);
	expect(unit_region(0, 10, 10, 100, RW), unit_region(0, 19, 19, 109, RW),
	       unit_region(1, 30, 39, 300, FR_READ));
}
END_TEST

START_TEST(unbind_cuts_off_a_beginning_and_an_end)
{
	ck_assert_int_eq(unit_unbind(&map, 19, 30), 0);
	expect(unit_region(0, 10, 18, 100, RW), unit_region(1, 31, 39, 301, FR_READ));
}
END_TEST

START_TEST(unbind_of_a_gap_changes_nothing)
{
	const struct fr_node *root = map.root;

	ck_assert_int_eq(unit_unbind(&map, 20, 29), 0);
	ck_assert_int_eq(unit_unbind(&map, 0, 9), 0);
	ck_assert_int_eq(unit_unbind(&map, 40, FR_LAST_MAX), 0);
	ck_assert_ptr_eq(map.root, root);
	expect(unit_region(0, 10, 19, 100, RW), unit_region(1, 30, 39, 300, FR_READ));
}
END_TEST

START_TEST(unbind_of_everything_empties_the_map)
{
	ck_assert_int_eq(unit_unbind(&map, 0, FR_LAST_MAX), 0);
	ck_assert_ptr_null(map.root);
	ck_assert_uint_eq(map.nr, 0);
	ck_assert_int_eq(fake_nodes, 0);
}
END_TEST

START_TEST(unbind_of_an_empty_map_is_no_error)
{
	ck_assert_int_eq(unit_unbind(&map, 0, FR_LAST_MAX), 0);
	ck_assert_ptr_null(map.root);
}
END_TEST

START_TEST(last_byte_of_all_can_be_bound)
{
	ck_assert_int_eq(unit_bind(&map, unit_region(0, FR_LAST_MAX, FR_LAST_MAX, 0, RW)), 0);
	expect_gap(0, FR_LAST_MAX - 1);
	expect_region(FR_LAST_MAX, 0, 0, FR_LAST_MAX);
	ck_assert_int_eq(unit_unbind(&map, FR_LAST_MAX, FR_LAST_MAX), 0);
	ck_assert_ptr_null(map.root);
}
END_TEST

START_TEST(cut_piece_keeps_its_place_in_a_far_backing)
{
	ck_assert_int_eq(unit_bind(&map, unit_region(0, 0, FR_LAST_MAX, S64_MAX, RW)), 0);
	ck_assert_int_eq(unit_unbind(&map, 1, FR_LAST_MAX - 1), 0);
	expect(unit_region(0, 0, 0, S64_MAX, RW),
	       unit_region(0, FR_LAST_MAX, FR_LAST_MAX, (u64)S64_MAX + FR_LAST_MAX, RW));
}
END_TEST

START_TEST(whole_file_region_is_the_tail)
{
	const struct fr_region *tail = fr_map_whole_tail(map.root);

	ck_assert_ptr_nonnull(tail);
	ck_assert_uint_eq(fr_region_backing_pos(tail, 0), 7);
}
END_TEST

START_TEST(whole_file_region_cut_at_its_end_is_no_tail)
{
	ck_assert_int_eq(unit_unbind(&map, FR_LAST_MAX, FR_LAST_MAX), 0);
	ck_assert_ptr_null(fr_map_whole_tail(map.root));
	expect(unit_region(0, 0, FR_LAST_MAX - 1, 7, RW | FR_WHOLE));
}
END_TEST

START_TEST(whole_file_region_cut_elsewhere_is_still_the_tail)
{
	ck_assert_int_eq(unit_unbind(&map, 0, 9), 0);
	ck_assert_int_eq(unit_replace(&map, unit_region(1, 20, 29, 0, RW)), 0);
	expect(unit_region(0, 10, 19, 17, RW | FR_WHOLE), unit_region(1, 20, 29, 0, RW),
	       unit_region(0, 30, FR_LAST_MAX, 37, RW | FR_WHOLE));
	ck_assert_uint_eq(fr_map_whole_tail(map.root)->start, 30);
}
END_TEST

START_TEST(whole_file_region_bound_anew_is_the_new_tail)
{
	ck_assert_int_eq(unit_replace(&map, unit_region(1, 0, FR_LAST_MAX, 9, RW | FR_WHOLE)), 0);
	ck_assert_uint_eq(fr_map_whole_tail(map.root)->backing_start, 9);
	ck_assert_int_eq(unit_replace(&map, unit_region(1, 0, FR_LAST_MAX, 9, RW)), 0);
	ck_assert_ptr_null(fr_map_whole_tail(map.root));
	expect(unit_region(1, 0, FR_LAST_MAX, 9, RW));
}
END_TEST

START_TEST(tail_is_found_below_many_regions)
{
	u64 i;

	for (i = 0; i < 1000; i++)
		ck_assert_int_eq(unit_replace(&map, unit_region(1, 2 * i, 2 * i, 0, RW)), 0);
	ck_assert_uint_eq(fr_map_whole_tail(map.root)->start, 1999);
	ck_assert_int_eq(unit_unbind(&map, 1 << 20, FR_LAST_MAX), 0);
	ck_assert_ptr_null(fr_map_whole_tail(map.root));
}
END_TEST

START_TEST(region_to_the_last_byte_without_the_flag_is_no_tail)
{
	ck_assert_int_eq(unit_bind(&map, unit_region(0, 0, FR_LAST_MAX, 0, RW)), 0);
	ck_assert_ptr_null(fr_map_whole_tail(map.root));
}
END_TEST

START_TEST(empty_map_has_no_tail)
{
	ck_assert_ptr_null(fr_map_whole_tail(map.root));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("map");

	unit_tcase_with(suite, "empty", empty_map, nothing_is_left, empty_map_is_one_gap,
			unbind_of_an_empty_map_is_no_error, last_byte_of_all_can_be_bound,
			cut_piece_keeps_its_place_in_a_far_backing,
			region_to_the_last_byte_without_the_flag_is_no_tail, empty_map_has_no_tail);
	unit_tcase_with(suite, "find", two_regions, nothing_is_left,
			region_is_found_from_its_first_to_its_last_byte,
			gap_ends_where_the_next_region_begins, last_gap_ends_with_the_last_byte);
	unit_tcase_with(suite, "bind", two_regions, nothing_is_left, bind_over_a_region_is_eexist,
			bind_between_regions_fits_to_the_byte,
			neighbours_that_would_fit_together_stay_two, replace_takes_over_a_region,
			replace_cuts_a_region_in_two, replace_cuts_off_a_beginning_and_an_end,
			replace_swallows_all_it_covers);
	unit_tcase_with(suite, "unbind", two_regions, nothing_is_left, unbind_cuts_a_region_in_two,
			unbind_cuts_off_a_beginning_and_an_end, unbind_of_a_gap_changes_nothing,
			unbind_of_everything_empties_the_map);
	unit_tcase_with(suite, "whole", whole_file, nothing_is_left, whole_file_region_is_the_tail,
			whole_file_region_cut_at_its_end_is_no_tail,
			whole_file_region_cut_elsewhere_is_still_the_tail,
			whole_file_region_bound_anew_is_the_new_tail,
			tail_is_found_below_many_regions);
	return unit_run(suite);
}
