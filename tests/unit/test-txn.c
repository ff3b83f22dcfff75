// SPDX-License-Identifier: GPL-2.0
/* What a transaction on a map promises, a test for each promise. */
#include "unit.h"

#define RW (FR_READ | FR_WRITE)

static struct fr_map map;
static struct fr_txn txn;

static void empty_map(void)
{
	map = (struct fr_map){ .ops = &fake_ops };
}

static void one_region(void)
{
	empty_map();
	ck_assert_int_eq(unit_bind(&map, unit_region(0, 10, 19, 0, RW)), 0);
}

/* One byte at 0, 2, 4 ...: three levels of nodes. */
static void many_regions(void)
{
	empty_map();
	unit_fill(&map, 1000);
}

static void nothing_is_left(void)
{
	const char *broken = fr_map_check(&map);

	ck_assert_msg(!broken, "%s", broken);
	fake_check_refs();
	fr_map_destroy(&map);
	fake_check_none_left();
}

static int bind(u64 start, u64 last)
{
	struct fr_region r = unit_region(1, start, last, 0, RW);

	return fr_txn_bind(&txn, &r, false);
}

static int replace(u64 start, u64 last)
{
	struct fr_region r = unit_region(2, start, last, 0, RW);

	return fr_txn_bind(&txn, &r, true);
}

START_TEST(commit_publishes_all_operations_at_once)
{
	const struct fr_region want[] = { unit_region(0, 10, 14, 0, RW),
					  unit_region(1, 30, 39, 0, RW) };
	const struct fr_node *before = map.root;

	fr_txn_begin(&txn, &map);
	ck_assert_int_eq(bind(30, 39), 0);
	ck_assert_int_eq(fr_txn_unbind(&txn, 15, 19), 0);
	ck_assert_ptr_eq(map.root, before);
	ck_assert_uint_eq(map.nr, 1);
	unit_commit(&txn);
	unit_expect(&map, want, COUNT(want));
}
END_TEST

START_TEST(later_operation_sees_earlier_ones)
{
	fr_txn_begin(&txn, &map);
	ck_assert_int_eq(bind(30, 39), 0);
	ck_assert_int_eq(bind(35, 36), -EEXIST);
	fr_txn_abort(&txn);

	fr_txn_begin(&txn, &map);
	ck_assert_int_eq(fr_txn_unbind(&txn, 10, 19), 0);
	ck_assert_int_eq(bind(10, 19), 0);
	unit_commit(&txn);
}
END_TEST

START_TEST(abort_leaves_no_trace)
{
	const struct fr_region want[] = { unit_region(0, 10, 19, 0, RW) };
	const struct fr_node *before = map.root;
	long nodes = fake_nodes;

	fr_txn_begin(&txn, &map);
	ck_assert_int_eq(replace(15, 25), 0);
	ck_assert_int_eq(bind(100, 199), 0);
	ck_assert_int_eq(fr_txn_unbind(&txn, 0, 12), 0);
	fr_txn_abort(&txn);
	ck_assert_ptr_eq(map.root, before);
	ck_assert_int_eq(fake_nodes, nodes);
	fake_check_refs();
	unit_expect(&map, want, COUNT(want));
}
END_TEST

START_TEST(abort_of_nothing_is_fine)
{
	fr_txn_begin(&txn, &map);
	fr_txn_abort(&txn);
}
END_TEST

START_TEST(reader_of_the_old_root_sees_the_old_state)
{
	const struct fr_node *old = map.root;
	struct fr_piece piece;

	fr_txn_begin(&txn, &map);
	ck_assert_int_eq(replace(0, 1999), 0);
	fr_txn_commit(&txn);
	fr_map_find(old, 500, &piece);
	ck_assert_ptr_eq(fr_region_backing(piece.region), &fake_backing[0]);
	ck_assert_uint_eq(piece.last, 500);
	fr_map_find(old, 501, &piece);
	ck_assert_ptr_null(piece.region);
	ck_assert_int_eq(fake_backing[0].refs, 1000);
	fr_nodes_free(&fake_ops, txn.retired);
	ck_assert_int_eq(fake_backing[0].refs, 0);
}
END_TEST

/* Fail each allocation that @op needs, one after the other, until it needs no more. */
static long fail_each(int (*op)(void))
{
	const struct fr_node *before = map.root;
	u64 nr = map.nr;
	long n = 0;
	int err;

	for (;; n++) {
		long nodes = fake_nodes;

		fake_fail_after(n);
		fr_txn_begin(&txn, &map);
		err = op();
		fake_fail_after(-1);
		if (!err)
			break;
		ck_assert_int_eq(err, -ENOMEM);
		fr_txn_abort(&txn);
		ck_assert_ptr_eq(map.root, before);
		ck_assert_uint_eq(map.nr, nr);
		ck_assert_int_eq(fake_nodes, nodes);
		fake_check_refs();
		ck_assert_ptr_null(fr_map_check(&map));
	}
	unit_commit(&txn);
	return n;
}

/* Into a full leaf of a full inner node. */
static int bind_op(void)
{
	return bind(1001, 1001);
}

static int cut_in_two_op(void)
{
	return replace(500, 500) ?: replace(501, 999) ?: replace(600, 601);
}

static int unbind_much_op(void)
{
	return fr_txn_unbind(&txn, 101, 1899);
}

static int unbind_all_op(void)
{
	return fr_txn_unbind(&txn, 0, FR_LAST_MAX);
}

START_TEST(bind_without_memory_changes_nothing)
{
	ck_assert_int_gt(fail_each(bind_op), 3);
}
END_TEST

START_TEST(cut_without_memory_changes_nothing)
{
	ck_assert_int_gt(fail_each(cut_in_two_op), 3);
}
END_TEST

START_TEST(unbind_without_memory_changes_nothing)
{
	ck_assert_int_gt(fail_each(unbind_much_op), 3);
}
END_TEST

static u64 sweep_start;

static int sweep_op(void)
{
	return fr_txn_unbind(&txn, sweep_start, 1599);
}

START_TEST(sweep_opens_no_node_that_goes_as_a_whole)
{
	/* From where a leaf begins: the root, two nodes and the last leaf are opened. */
	sweep_start = 120;
	ck_assert_int_le(fail_each(sweep_op), 4);
}
END_TEST

START_TEST(sweep_from_inside_a_leaf_opens_that_and_a_neighbour)
{
	/* What is left of the leaf is too little, and is joined with the one before it. */
	sweep_start = 122;
	ck_assert_int_le(fail_each(sweep_op), 6);
}
END_TEST

START_TEST(unbind_of_everything_needs_no_memory)
{
	ck_assert_int_eq(fail_each(unbind_all_op), 0);
	ck_assert_int_eq(fake_nodes, 0);
}
END_TEST

START_TEST(bind_into_a_gap_removes_nothing)
{
	fr_txn_begin(&txn, &map);
	ck_assert_int_eq(bind(30, 39), 0);
	ck_assert(!txn.removed);
	unit_commit(&txn);
}
END_TEST

START_TEST(replace_of_a_gap_removes_nothing)
{
	fr_txn_begin(&txn, &map);
	ck_assert_int_eq(replace(20, 39), 0);
	ck_assert_int_eq(replace(0, 9), 0);
	ck_assert(!txn.removed);
	unit_commit(&txn);
}
END_TEST

START_TEST(replace_of_what_was_never_published_removes_nothing)
{
	fr_txn_begin(&txn, &map);
	ck_assert_int_eq(bind(30, 39), 0);
	ck_assert_int_eq(replace(35, 50), 0);
	ck_assert_int_eq(fr_txn_unbind(&txn, 20, 32), 0);
	ck_assert(!txn.removed);
	unit_commit(&txn);
}
END_TEST

START_TEST(unbind_of_one_published_byte_removes)
{
	fr_txn_begin(&txn, &map);
	ck_assert_int_eq(fr_txn_unbind(&txn, 19, 30), 0);
	ck_assert(txn.removed);
	unit_commit(&txn);
}
END_TEST

START_TEST(replace_of_one_published_byte_removes)
{
	fr_txn_begin(&txn, &map);
	ck_assert_int_eq(replace(0, 10), 0);
	ck_assert(txn.removed);
	unit_commit(&txn);
}
END_TEST

START_TEST(region_holds_one_reference)
{
	ck_assert_int_eq(fake_backing[0].refs, 1);
	ck_assert_int_eq(unit_replace(&map, unit_region(1, 13, 15, 0, RW)), 0);
	ck_assert_int_eq(fake_backing[0].refs, 2);
	ck_assert_int_eq(fake_backing[1].refs, 1);
	ck_assert_int_eq(unit_unbind(&map, 0, 15), 0);
	ck_assert_int_eq(fake_backing[0].refs, 1);
	ck_assert_int_eq(fake_backing[1].refs, 0);
}
END_TEST

START_TEST(region_bound_anew_moves_its_reference)
{
	struct fr_region r = unit_region(1, 10, 19, 0, RW);

	fr_txn_begin(&txn, &map);
	ck_assert_int_eq(fr_txn_bind(&txn, &r, true), 0);
	ck_assert(txn.removed);
	fr_txn_commit(&txn);
	/* The old state has the old one, until nobody looks at it. */
	ck_assert_int_eq(fake_backing[0].refs, 1);
	ck_assert_int_eq(fake_backing[1].refs, 1);
	fr_nodes_free(&fake_ops, txn.retired);
	ck_assert_int_eq(fake_backing[0].refs, 0);
	ck_assert_int_eq(fake_backing[1].refs, 1);
}
END_TEST

START_TEST(region_bound_and_unbound_in_one_message_holds_none)
{
	fr_txn_begin(&txn, &map);
	ck_assert_int_eq(bind(30, 39), 0);
	ck_assert_int_eq(fr_txn_unbind(&txn, 30, 39), 0);
	ck_assert_int_eq(fake_backing[1].refs, 0);
	unit_commit(&txn);
}
END_TEST

START_TEST(each_state_has_a_greater_number)
{
	u64 number = fr_map_txn(map.root), i;

	/* On its way down the tree loses all its levels. */
	for (i = 999; i > 0; i--) {
		ck_assert_int_eq(unit_unbind(&map, 2 * i, 2 * i), 0);
		ck_assert_uint_gt(fr_map_txn(map.root), number);
		number = fr_map_txn(map.root);
	}
}
END_TEST

START_TEST(number_of_a_sweep_that_leaves_one_leaf_is_new)
{
	u64 number = fr_map_txn(map.root);

	ck_assert_int_eq(unit_unbind(&map, 29, FR_LAST_MAX), 0);
	ck_assert_uint_eq(map.nr, 15);
	ck_assert_uint_gt(fr_map_txn(map.root), number);
}
END_TEST

START_TEST(state_that_nothing_changed_keeps_its_number)
{
	u64 number = fr_map_txn(map.root);

	ck_assert_int_eq(unit_unbind(&map, 501, 501), 0);
	ck_assert_uint_eq(fr_map_txn(map.root), number);
}
END_TEST

START_TEST(message_copies_a_node_once)
{
	u64 i;

	/* 1,000 regions: 67 full leaves, 3 nodes above them, the root. */
	ck_assert_uint_eq(fr_map_nodes(map.root), 71);
	fr_txn_begin(&txn, &map);
	for (i = 0; i < 1000; i++)
		ck_assert_int_eq(replace(2 * i, 2 * i), 0);
	fr_txn_commit(&txn);
	/* Both states are there, and nothing else. */
	ck_assert_int_le(fake_nodes, 71 + fr_map_nodes(map.root));
	fr_nodes_free(&fake_ops, txn.retired);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("txn");

	unit_tcase_with(suite, "one", one_region, nothing_is_left,
			commit_publishes_all_operations_at_once, later_operation_sees_earlier_ones,
			abort_leaves_no_trace, abort_of_nothing_is_fine);
	unit_tcase_with(suite, "many", many_regions, nothing_is_left,
			reader_of_the_old_root_sees_the_old_state, message_copies_a_node_once);
	unit_tcase_with(suite, "memory", many_regions, nothing_is_left,
			bind_without_memory_changes_nothing, cut_without_memory_changes_nothing,
			unbind_without_memory_changes_nothing,
			sweep_opens_no_node_that_goes_as_a_whole,
			sweep_from_inside_a_leaf_opens_that_and_a_neighbour,
			unbind_of_everything_needs_no_memory);
	unit_tcase_with(suite, "removed", one_region, nothing_is_left,
			bind_into_a_gap_removes_nothing, replace_of_a_gap_removes_nothing,
			replace_of_what_was_never_published_removes_nothing,
			unbind_of_one_published_byte_removes,
			replace_of_one_published_byte_removes);
	unit_tcase_with(suite, "references", one_region, nothing_is_left,
			region_holds_one_reference, region_bound_anew_moves_its_reference,
			region_bound_and_unbound_in_one_message_holds_none);
	unit_tcase_with(suite, "numbers", many_regions, nothing_is_left,
			each_state_has_a_greater_number,
			number_of_a_sweep_that_leaves_one_leaf_is_new,
			state_that_nothing_changed_keeps_its_number);
	return unit_run(suite);
}
