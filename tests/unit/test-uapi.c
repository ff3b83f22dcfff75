// SPDX-License-Identifier: GPL-2.0
/*
 * The uapi header as a text, and its numbers. Its layout is checked by the
 * compiler, see uapi-layout.c.
 */
#include <linux/fuse.h>
#include <linux/fuse_regions.h>
#include <stdio.h>

#include "unit.h"

static char text[65536];

static void read_header(void)
{
	FILE *file = fopen(UAPI_HEADER, "r");
	size_t size;

	ck_assert_ptr_nonnull(file);
	size = fread(text, 1, sizeof(text) - 1, file);
	fclose(file);
	ck_assert_uint_gt(size, 0);
	text[size] = '\0';
}

/* The prose ends where the code begins. */
static void read_prose(void)
{
	char *code;

	read_header();
	code = strstr(text, "#ifndef");
	ck_assert_ptr_nonnull(code);
	*code = '\0';
}

START_TEST(licence_is_in_the_first_line)
{
	static const char line[] = "/* SPDX-License-Identifier: (GPL-2.0 WITH Linux-syscall-note) "
				   "OR BSD-2-Clause */\n/*\n";

	ck_assert_int_eq(strncmp(text, line, strlen(line)), 0);
}
END_TEST

START_TEST(prose_comes_first_and_names_each_call)
{
	static const char *const calls[] = {
		"FUSE_REGIONS_IOC_ATTACH",
		"FUSE_REGIONS_IOC_BACKING_OPEN",
		"FUSE_REGIONS_IOC_BACKING_CLOSE",
		"FUSE_NOTIFY_PASSTHROUGH",
	};
	unsigned int i;

	for (i = 0; i < COUNT(calls); i++)
		ck_assert_msg(strstr(text, calls[i]), "%s is not explained", calls[i]);
}
END_TEST

START_TEST(prose_names_each_flag_of_a_record)
{
	static const char *const flags[] = { "FUSE_REGION_READ", "FUSE_REGION_WRITE",
					     "FUSE_REGION_GROW", "FUSE_REGION_REPLACE",
					     "FUSE_REGION_UNBIND" };
	unsigned int i;

	for (i = 0; i < COUNT(flags); i++)
		ck_assert_msg(strstr(text, flags[i]), "%s is not explained", flags[i]);
}
END_TEST

START_TEST(prose_names_each_errno)
{
	static const char *const errnos[] = { "EBADF",	"EINVAL", "EOPNOTSUPP",	    "ENOTCONN",
					      "EBUSY",	"EPERM",  "EISDIR",	    "ELOOP",
					      "ENOSPC", "ENOENT", "E2BIG",	    "EEXIST",
					      "ENOMEM", "EFAULT", "EPROTONOSUPPORT" };
	unsigned int i;

	for (i = 0; i < COUNT(errnos); i++)
		ck_assert_msg(strstr(text, errnos[i]), "%s is not explained", errnos[i]);
}
END_TEST

START_TEST(notify_code_is_clear_of_the_kernels)
{
	/* Mainline counts up from 1; the field is a signed int, and negative is an errno. */
	ck_assert_int_gt(FUSE_NOTIFY_PASSTHROUGH, 1 << 16);
	ck_assert_int_gt((int)FUSE_NOTIFY_PASSTHROUGH, 0);
	ck_assert_int_gt(FUSE_NOTIFY_PASSTHROUGH, FUSE_NOTIFY_CODE_MAX);
}
END_TEST

START_TEST(ioctls_are_no_others_of_dev_fuse)
{
	static const unsigned int ours[] = { FUSE_REGIONS_IOC_ATTACH, FUSE_REGIONS_IOC_BACKING_OPEN,
					     FUSE_REGIONS_IOC_BACKING_CLOSE };
	unsigned int i;

	for (i = 0; i < COUNT(ours); i++) {
		ck_assert_uint_eq(_IOC_TYPE(ours[i]), FUSE_REGIONS_IOC_MAGIC);
		ck_assert_uint_ne(_IOC_TYPE(ours[i]), _IOC_TYPE(FUSE_DEV_IOC_CLONE));
	}
}
END_TEST

START_TEST(flags_are_single_bits_from_the_lowest_on)
{
	ck_assert_uint_eq(FUSE_REGION_READ, 1);
	ck_assert_uint_eq(FUSE_REGION_WRITE, 2);
	ck_assert_uint_eq(FUSE_REGION_GROW, 4);
	ck_assert_uint_eq(FUSE_REGION_REPLACE, 8);
	ck_assert_uint_eq(FUSE_REGION_UNBIND, 16);
	ck_assert_uint_eq(FUSE_REGIONS_FEATURE_READ, 1);
	ck_assert_uint_eq(FUSE_REGIONS_FEATURE_WRITE, 2);
	ck_assert_uint_eq(FUSE_REGIONS_FEATURE_MMAP, 4);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("uapi");

	unit_tcase_with(suite, "text", read_header, NULL, licence_is_in_the_first_line);
	unit_tcase_with(suite, "prose", read_prose, NULL, prose_comes_first_and_names_each_call,
			prose_names_each_flag_of_a_record, prose_names_each_errno);
	unit_tcase(suite, "numbers", notify_code_is_clear_of_the_kernels,
		   ioctls_are_no_others_of_dev_fuse, flags_are_single_bits_from_the_lowest_on);
	return unit_run(suite);
}
