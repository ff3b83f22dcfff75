// SPDX-License-Identifier: GPL-2.0
/* What a record may look like: each rule of the uapi header, a test for each. */
#include "msg.h"
#include "unit.h"

#define MAX_BYTES ((u64)S64_MAX)

static struct fuse_passthrough_region rec;
static struct fr_op op;

static void good_bind(void)
{
	rec = (struct fuse_passthrough_region){
		.offset = 4096,
		.length = 100,
		.backing_id = 7,
		.flags = FUSE_REGION_READ,
		.backing_offset = 512,
	};
}

static void good_unbind(void)
{
	rec = (struct fuse_passthrough_region){
		.offset = 4096,
		.length = 100,
		.flags = FUSE_REGION_UNBIND,
	};
}

static void good_whole(void)
{
	rec = (struct fuse_passthrough_region){ .backing_id = 7, .flags = FUSE_REGION_READ };
}

static int parse(void)
{
	/* Whatever was in there must not shine through. */
	memset(&op, 0xa5, sizeof(op));
	return fr_msg_op(&rec, MAX_BYTES, &op);
}

START_TEST(bind_says_what_it_says)
{
	ck_assert_int_eq(parse(), 0);
	ck_assert_int_eq(op.kind, FR_OP_BIND);
	ck_assert_uint_eq(op.flags, FR_READ);
	ck_assert_uint_eq(op.backing_id, 7);
	ck_assert_uint_eq(op.start, 4096);
	ck_assert_uint_eq(op.last, 4195);
	ck_assert_uint_eq(op.backing_start, 512);
}
END_TEST

START_TEST(replace_is_a_bind_that_takes_over)
{
	rec.flags |= FUSE_REGION_REPLACE;
	ck_assert_int_eq(parse(), 0);
	ck_assert_int_eq(op.kind, FR_OP_REPLACE);
	ck_assert_uint_eq(op.flags, FR_READ);
}
END_TEST

START_TEST(every_sensible_access_is_understood)
{
	static const u32 access[][2] = {
		{ FUSE_REGION_READ, FR_READ },
		{ FUSE_REGION_WRITE, FR_WRITE },
		{ FUSE_REGION_READ | FUSE_REGION_WRITE, FR_READ | FR_WRITE },
		{ FUSE_REGION_WRITE | FUSE_REGION_GROW, FR_WRITE | FR_GROW },
		{ FUSE_REGION_READ | FUSE_REGION_WRITE | FUSE_REGION_GROW,
		  FR_READ | FR_WRITE | FR_GROW },
	};
	unsigned int i;

	for (i = 0; i < COUNT(access); i++) {
		rec.flags = access[i][0];
		ck_assert_int_eq(parse(), 0);
		ck_assert_uint_eq(op.flags, access[i][1]);
	}
}
END_TEST

START_TEST(no_flag_is_einval)
{
	rec.flags = 0;
	ck_assert_int_eq(parse(), -EINVAL);
}
END_TEST

START_TEST(replace_without_access_is_einval)
{
	rec.flags = FUSE_REGION_REPLACE;
	ck_assert_int_eq(parse(), -EINVAL);
}
END_TEST

START_TEST(grow_without_write_is_einval)
{
	rec.flags = FUSE_REGION_GROW;
	ck_assert_int_eq(parse(), -EINVAL);
	rec.flags = FUSE_REGION_READ | FUSE_REGION_GROW;
	ck_assert_int_eq(parse(), -EINVAL);
}
END_TEST

START_TEST(unknown_flag_is_einval)
{
	unsigned int bit;

	for (bit = 5; bit < 32; bit++) {
		rec.flags = FUSE_REGION_READ | 1U << bit;
		ck_assert_int_eq(parse(), -EINVAL);
		rec.flags = 1U << bit;
		ck_assert_int_eq(parse(), -EINVAL);
	}
}
END_TEST

START_TEST(record_with_a_reserved_bit_is_einval)
{
	unsigned int bit;

	for (bit = 0; bit < 64; bit++) {
		rec.reserved = 1ULL << bit;
		ck_assert_int_eq(parse(), -EINVAL);
	}
}
END_TEST

START_TEST(length_zero_with_an_offset_is_einval)
{
	rec.length = 0;
	ck_assert_int_eq(parse(), -EINVAL);
}
END_TEST

START_TEST(range_that_wraps_is_einval)
{
	rec.offset = UINT64_MAX - 50;
	ck_assert_int_eq(parse(), -EINVAL);
	rec.offset = 1;
	rec.length = UINT64_MAX;
	ck_assert_int_eq(parse(), -EINVAL);
	rec.offset = UINT64_MAX;
	ck_assert_int_eq(parse(), -EINVAL);
}
END_TEST

START_TEST(range_to_the_largest_size_passes)
{
	rec.offset = MAX_BYTES - 100;
	ck_assert_int_eq(parse(), 0);
	ck_assert_uint_eq(op.last, FR_LAST_MAX);
}
END_TEST

START_TEST(range_past_the_largest_size_is_einval)
{
	rec.offset = MAX_BYTES - 99;
	ck_assert_int_eq(parse(), -EINVAL);
}
END_TEST

START_TEST(smaller_file_systems_have_a_smaller_largest_size)
{
	ck_assert_int_eq(fr_msg_op(&rec, 4196, &op), 0);
	ck_assert_int_eq(fr_msg_op(&rec, 4195, &op), -EINVAL);
}
END_TEST

START_TEST(no_file_system_has_a_larger_one)
{
	rec.offset = MAX_BYTES - 99;
	ck_assert_int_eq(fr_msg_op(&rec, UINT64_MAX, &op), -EINVAL);
}
END_TEST

START_TEST(backing_range_that_wraps_is_einval)
{
	rec.backing_offset = UINT64_MAX - 50;
	ck_assert_int_eq(parse(), -EINVAL);
}
END_TEST

START_TEST(backing_range_to_the_largest_size_passes)
{
	rec.backing_offset = MAX_BYTES - 100;
	ck_assert_int_eq(parse(), 0);
}
END_TEST

START_TEST(backing_range_past_the_largest_size_is_einval)
{
	rec.backing_offset = MAX_BYTES - 99;
	ck_assert_int_eq(parse(), -EINVAL);
}
END_TEST

START_TEST(backing_id_that_cannot_be_is_enoent)
{
	rec.backing_id = 0;
	ck_assert_int_eq(parse(), -ENOENT);
	rec.backing_id = 1U << 31;
	ck_assert_int_eq(parse(), -ENOENT);
	rec.backing_id = UINT32_MAX;
	ck_assert_int_eq(parse(), -ENOENT);
	rec.backing_id = INT32_MAX;
	ck_assert_int_eq(parse(), 0);
}
END_TEST

START_TEST(nonsense_is_einval_even_with_a_bad_backing_id)
{
	rec.backing_id = 0;
	rec.flags = 0;
	ck_assert_int_eq(parse(), -EINVAL);
}
END_TEST

START_TEST(whole_file_is_every_byte)
{
	ck_assert_int_eq(parse(), 0);
	ck_assert_int_eq(op.kind, FR_OP_BIND);
	ck_assert_uint_eq(op.flags, FR_READ | FR_WHOLE);
	ck_assert_uint_eq(op.start, 0);
	ck_assert_uint_eq(op.last, FR_LAST_MAX);
}
END_TEST

START_TEST(whole_file_is_every_byte_on_any_file_system)
{
	ck_assert_int_eq(fr_msg_op(&rec, 4096, &op), 0);
	ck_assert_uint_eq(op.last, FR_LAST_MAX);
}
END_TEST

START_TEST(whole_file_may_begin_anywhere_in_the_backing)
{
	rec.backing_offset = MAX_BYTES;
	ck_assert_int_eq(parse(), 0);
	ck_assert_uint_eq(op.backing_start, MAX_BYTES);
	rec.backing_offset = MAX_BYTES + 1;
	ck_assert_int_eq(parse(), -EINVAL);
}
END_TEST

START_TEST(range_of_every_byte_is_not_the_whole_file)
{
	/* It has an end, and says it: the backing does not decide. */
	rec.length = MAX_BYTES;
	ck_assert_int_eq(parse(), 0);
	ck_assert_uint_eq(op.flags, FR_READ);
	ck_assert_uint_eq(op.last, FR_LAST_MAX);
}
END_TEST

START_TEST(unbind_says_what_it_says)
{
	ck_assert_int_eq(parse(), 0);
	ck_assert_int_eq(op.kind, FR_OP_UNBIND);
	ck_assert_uint_eq(op.flags, 0);
	ck_assert_uint_eq(op.backing_id, 0);
	ck_assert_uint_eq(op.start, 4096);
	ck_assert_uint_eq(op.last, 4195);
}
END_TEST

START_TEST(unbind_of_zero_zero_is_everything)
{
	rec.offset = 0;
	rec.length = 0;
	ck_assert_int_eq(parse(), 0);
	ck_assert_uint_eq(op.start, 0);
	ck_assert_uint_eq(op.last, FR_LAST_MAX);
	ck_assert_uint_eq(op.flags, 0);
}
END_TEST

START_TEST(unbind_with_any_other_flag_is_einval)
{
	unsigned int bit;

	for (bit = 0; bit < 32; bit++) {
		if (1U << bit == FUSE_REGION_UNBIND)
			continue;
		rec.flags = FUSE_REGION_UNBIND | 1U << bit;
		ck_assert_int_eq(parse(), -EINVAL);
	}
}
END_TEST

START_TEST(unbind_with_a_backing_id_is_einval)
{
	rec.backing_id = 1;
	ck_assert_int_eq(parse(), -EINVAL);
}
END_TEST

START_TEST(unbind_with_a_backing_offset_is_einval)
{
	rec.backing_offset = 1;
	ck_assert_int_eq(parse(), -EINVAL);
}
END_TEST

START_TEST(unbind_of_a_bad_range_is_einval)
{
	rec.length = 0;
	ck_assert_int_eq(parse(), -EINVAL);
	rec.length = UINT64_MAX;
	ck_assert_int_eq(parse(), -EINVAL);
	rec.length = MAX_BYTES - rec.offset + 1;
	ck_assert_int_eq(parse(), -EINVAL);
	rec.length--;
	ck_assert_int_eq(parse(), 0);
}
END_TEST

START_TEST(unbind_with_a_reserved_bit_is_einval)
{
	rec.reserved = 1;
	ck_assert_int_eq(parse(), -EINVAL);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("record");

	unit_tcase_with(
		suite, "bind", good_bind, NULL, bind_says_what_it_says,
		replace_is_a_bind_that_takes_over, every_sensible_access_is_understood,
		no_flag_is_einval, replace_without_access_is_einval, grow_without_write_is_einval,
		unknown_flag_is_einval, record_with_a_reserved_bit_is_einval,
		length_zero_with_an_offset_is_einval, range_that_wraps_is_einval,
		range_to_the_largest_size_passes, range_past_the_largest_size_is_einval,
		smaller_file_systems_have_a_smaller_largest_size, no_file_system_has_a_larger_one,
		backing_range_that_wraps_is_einval, backing_range_to_the_largest_size_passes,
		backing_range_past_the_largest_size_is_einval, backing_id_that_cannot_be_is_enoent,
		nonsense_is_einval_even_with_a_bad_backing_id);
	unit_tcase_with(suite, "whole", good_whole, NULL, whole_file_is_every_byte,
			whole_file_is_every_byte_on_any_file_system,
			whole_file_may_begin_anywhere_in_the_backing,
			range_of_every_byte_is_not_the_whole_file);
	unit_tcase_with(suite, "unbind", good_unbind, NULL, unbind_says_what_it_says,
			unbind_of_zero_zero_is_everything, unbind_with_any_other_flag_is_einval,
			unbind_with_a_backing_id_is_einval, unbind_with_a_backing_offset_is_einval,
			unbind_of_a_bad_range_is_einval, unbind_with_a_reserved_bit_is_einval);
	return unit_run(suite);
}
