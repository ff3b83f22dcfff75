// SPDX-License-Identifier: GPL-2.0
/* How an I/O is cut at region edges, a test for each promise. */
#include "trial.h"
#include "unit.h"

#define RW (FR_READ | FR_WRITE)

static struct fr_map map;

/* READ [10, 19], WRITE [20, 29], both [40, 49], READ [50, 59] */
static void some_regions(void)
{
	map = (struct fr_map){ .ops = &fake_ops };
	ck_assert_int_eq(unit_bind(&map, unit_region(0, 10, 19, 0, FR_READ)), 0);
	ck_assert_int_eq(unit_bind(&map, unit_region(1, 20, 29, 0, FR_WRITE)), 0);
	ck_assert_int_eq(unit_bind(&map, unit_region(2, 40, 49, 0, RW)), 0);
	ck_assert_int_eq(unit_bind(&map, unit_region(3, 50, 59, 0, FR_READ)), 0);
}

static void nothing_is_left(void)
{
	fr_map_destroy(&map);
	fake_check_none_left();
}

/* A piece as a test writes it down: backing -1 is a gap. */
struct want {
	u64 pos;
	u64 last;
	int backing;
};

static void expect_pieces(u64 pos, u64 len, unsigned int access, const struct want *want,
			  unsigned int nr)
{
	struct fr_piece piece;
	struct fr_cut cut;
	unsigned int i;

	fr_cut_begin(&cut, map.root, pos, len, access);
	for (i = 0; i < nr; i++) {
		ck_assert(fr_cut_next(&cut, &piece));
		ck_assert_uint_eq(piece.pos, want[i].pos);
		ck_assert_uint_eq(piece.last, want[i].last);
		if (want[i].backing < 0)
			ck_assert_ptr_null(piece.region);
		else
			ck_assert_ptr_eq(fr_region_backing(piece.region),
					 &fake_backing[want[i].backing]);
	}
	ck_assert(!fr_cut_next(&cut, &piece));
	ck_assert(!fr_cut_next(&cut, &piece));
}

#define expect(pos, len, access, ...)                                 \
	do {                                                          \
		const struct want want_[] = { __VA_ARGS__ };          \
		expect_pieces(pos, len, access, want_, COUNT(want_)); \
	} while (0)

START_TEST(io_inside_a_region_is_one_piece)
{
	expect(12, 3, FR_READ, { 12, 14, 0 });
	expect(10, 10, FR_READ, { 10, 19, 0 });
	expect(25, 1, FR_WRITE, { 25, 25, 1 });
}
END_TEST

START_TEST(io_inside_a_gap_is_one_piece)
{
	expect(0, 10, FR_READ, { 0, 9, -1 });
	expect(3, 1, FR_WRITE, { 3, 3, -1 });
	expect(60, 1000, FR_READ, { 60, 1059, -1 });
}
END_TEST

START_TEST(region_without_the_access_is_gap)
{
	expect(12, 3, FR_WRITE, { 12, 14, -1 });
	expect(20, 10, FR_READ, { 20, 29, -1 });
}
END_TEST

START_TEST(gaps_that_touch_are_one_piece)
{
	/* The gap [0, 9] and the READ region behind it, for a write. */
	expect(0, 25, FR_WRITE, { 0, 19, -1 }, { 20, 24, 1 });
	/* The WRITE region and the gap behind it, for a read. */
	expect(15, 30, FR_READ, { 15, 19, 0 }, { 20, 39, -1 }, { 40, 44, 2 });
	/* A READ region at the end, and all that follows. */
	expect(45, 100, FR_WRITE, { 45, 49, 2 }, { 50, 144, -1 });
}
END_TEST

START_TEST(regions_that_touch_are_two_pieces)
{
	expect(40, 20, FR_READ, { 40, 49, 2 }, { 50, 59, 3 });
}
END_TEST

START_TEST(io_over_everything_has_all_pieces)
{
	expect(0, 100, FR_READ, { 0, 9, -1 }, { 10, 19, 0 }, { 20, 39, -1 }, { 40, 49, 2 },
	       { 50, 59, 3 }, { 60, 99, -1 });
	expect(0, 100, FR_WRITE, { 0, 19, -1 }, { 20, 29, 1 }, { 30, 39, -1 }, { 40, 49, 2 },
	       { 50, 99, -1 });
}
END_TEST

START_TEST(io_of_one_byte_at_each_edge)
{
	expect(9, 1, FR_READ, { 9, 9, -1 });
	expect(10, 1, FR_READ, { 10, 10, 0 });
	expect(19, 1, FR_READ, { 19, 19, 0 });
	expect(20, 1, FR_READ, { 20, 20, -1 });
}
END_TEST

START_TEST(io_may_end_with_the_last_byte)
{
	expect(FR_LAST_MAX, 1, FR_READ, { FR_LAST_MAX, FR_LAST_MAX, -1 });
	ck_assert_int_eq(unit_bind(&map, unit_region(4, FR_LAST_MAX, FR_LAST_MAX, 0, RW)), 0);
	expect(FR_LAST_MAX, 1, FR_READ, { FR_LAST_MAX, FR_LAST_MAX, 4 });
	expect(FR_LAST_MAX - 4, 5, FR_READ, { FR_LAST_MAX - 4, FR_LAST_MAX - 1, -1 },
	       { FR_LAST_MAX, FR_LAST_MAX, 4 });
	expect(59, FR_LAST_MAX - 58, FR_WRITE, { 59, FR_LAST_MAX - 1, -1 },
	       { FR_LAST_MAX, FR_LAST_MAX, 4 });
}
END_TEST

START_TEST(empty_map_is_one_gap)
{
	ck_assert_int_eq(unit_unbind(&map, 0, FR_LAST_MAX), 0);
	expect(0, 1, FR_READ, { 0, 0, -1 });
	expect(0, FR_LAST_MAX + 1, FR_WRITE, { 0, FR_LAST_MAX, -1 });
}
END_TEST

START_TEST(all_pieces_come_from_the_state_at_the_beginning)
{
	struct fr_region r = unit_region(5, 0, 99, 0, RW);
	struct fr_piece piece;
	struct fr_txn txn;
	struct fr_cut cut;

	fr_cut_begin(&cut, map.root, 10, 50, FR_READ);
	ck_assert(fr_cut_next(&cut, &piece));
	fr_txn_begin(&txn, &map);
	ck_assert_int_eq(fr_txn_bind(&txn, &r, true), 0);
	fr_txn_commit(&txn);
	ck_assert(fr_cut_next(&cut, &piece));
	ck_assert_ptr_null(piece.region);
	ck_assert(fr_cut_next(&cut, &piece));
	ck_assert_ptr_eq(fr_region_backing(piece.region), &fake_backing[2]);
	fr_nodes_free(&fake_ops, txn.retired);
}
END_TEST

/* Every I/O there is, on one state of a small file. */
static void check_all_ios(const struct trial *trial)
{
	unsigned int from, to;

	for (from = 0; from < trial->model.cells; from++) {
		for (to = from; to < trial->model.cells; to++) {
			u64 pos = model_first(&trial->model, from);
			u64 len = model_last(&trial->model, to) - pos + 1;

			model_check_cut(&trial->model, trial->map.root, pos, len, FR_READ);
			model_check_cut(&trial->model, trial->map.root, pos, len, FR_WRITE);
		}
	}
}

START_TEST(every_io_on_random_maps_is_cut_as_the_model_says)
{
	u64 base = _i ? FR_LAST_MAX - 39 : 0, seed = 1, round;
	struct trial *trial = trial_new(base, 40);

	for (round = 0; round < 300; round++) {
		unsigned int from = fake_below(&seed, 40), len = fake_below(&seed, 8);

		trial_begin(trial, -1);
		trial_bind(trial, from, from + len < 40 ? from + len : 39,
			   fake_below(&seed, FAKE_BACKINGS), 1 + fake_below(&seed, RW), 0, true);
		trial_end(trial, false);
		if (round % 3 == 0)
			check_all_ios(trial);
	}
	trial_free(trial);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("cut");
	TCase *tcase = tcase_create("model");

	unit_tcase_with(suite, "pieces", some_regions, nothing_is_left,
			io_inside_a_region_is_one_piece, io_inside_a_gap_is_one_piece,
			region_without_the_access_is_gap, gaps_that_touch_are_one_piece,
			regions_that_touch_are_two_pieces, io_over_everything_has_all_pieces,
			io_of_one_byte_at_each_edge, io_may_end_with_the_last_byte,
			empty_map_is_one_gap, all_pieces_come_from_the_state_at_the_beginning);
	tcase_add_loop_test(tcase, every_io_on_random_maps_is_cut_as_the_model_says, 0, 2);
	tcase_set_timeout(tcase, 0);
	suite_add_tcase(suite, tcase);
	return unit_run(suite);
}
