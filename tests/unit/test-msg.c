// SPDX-License-Identifier: GPL-2.0
/* What a message's head may look like: each rule of the uapi header, a test for each. */
#include "msg.h"
#include "unit.h"

#define RECORD sizeof(struct fuse_passthrough_region)
#define MAX_RECORDS 100

static struct fuse_notify_passthrough_out head;
static size_t size;

/* A good message of two records, for each test to spoil. */
static void good_head(void)
{
	head = (struct fuse_notify_passthrough_out){ .nodeid = 1, .count = 2 };
	size = sizeof(head) + 2 * RECORD;
}

static int check(void)
{
	return fr_msg_check(&head, size, MAX_RECORDS);
}

START_TEST(good_message_passes)
{
	ck_assert_int_eq(check(), 0);
}
END_TEST

START_TEST(size_less_than_the_head_is_einval)
{
	for (size = 0; size < sizeof(head); size++)
		ck_assert_int_eq(check(), -EINVAL);
}
END_TEST

START_TEST(size_less_than_the_records_is_einval)
{
	size--;
	ck_assert_int_eq(check(), -EINVAL);
	size = sizeof(head) + RECORD;
	ck_assert_int_eq(check(), -EINVAL);
}
END_TEST

START_TEST(size_more_than_the_records_is_einval)
{
	size++;
	ck_assert_int_eq(check(), -EINVAL);
	size = sizeof(head) + 3 * RECORD;
	ck_assert_int_eq(check(), -EINVAL);
}
END_TEST

START_TEST(size_that_only_agrees_when_it_wraps_is_einval)
{
	/* 2^31 records make 20 * 2^32 bytes. */
	head.count = 1U << 31;
	size = sizeof(head);
	ck_assert_int_eq(fr_msg_check(&head, size, UINT32_MAX), -EINVAL);
}
END_TEST

START_TEST(count_zero_is_einval)
{
	head.count = 0;
	size = sizeof(head);
	ck_assert_int_eq(check(), -EINVAL);
}
END_TEST

START_TEST(head_with_any_flag_is_einval)
{
	unsigned int bit;

	for (bit = 0; bit < 32; bit++) {
		head.flags = 1U << bit;
		ck_assert_int_eq(check(), -EINVAL);
	}
}
END_TEST

START_TEST(head_with_a_reserved_bit_is_einval)
{
	unsigned int bit;

	for (bit = 0; bit < 64; bit++) {
		head.reserved = 1ULL << bit;
		ck_assert_int_eq(check(), -EINVAL);
	}
}
END_TEST

START_TEST(as_many_records_as_allowed_pass)
{
	head.count = MAX_RECORDS;
	size = sizeof(head) + MAX_RECORDS * RECORD;
	ck_assert_int_eq(check(), 0);
}
END_TEST

START_TEST(one_record_too_many_is_e2big)
{
	head.count = MAX_RECORDS + 1;
	size = sizeof(head) + (MAX_RECORDS + 1) * RECORD;
	ck_assert_int_eq(check(), -E2BIG);
}
END_TEST

START_TEST(any_nodeid_passes)
{
	/* Which inodes there are is not known here. */
	head.nodeid = 0;
	ck_assert_int_eq(check(), 0);
	head.nodeid = UINT64_MAX;
	ck_assert_int_eq(check(), 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("msg");

	unit_tcase_with(suite, "head", good_head, NULL, good_message_passes,
			size_less_than_the_head_is_einval, size_less_than_the_records_is_einval,
			size_more_than_the_records_is_einval,
			size_that_only_agrees_when_it_wraps_is_einval, count_zero_is_einval,
			head_with_any_flag_is_einval, head_with_a_reserved_bit_is_einval,
			as_many_records_as_allowed_pass, one_record_too_many_is_e2big,
			any_nodeid_passes);
	return unit_run(suite);
}
