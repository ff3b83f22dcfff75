// SPDX-License-Identifier: GPL-2.0
/* The table parser: what each line means, and what is said of each mistake. */
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "table.h"

/* All that was reported, as "LINE: MESSAGE\n" */
static char reported[65536];

static void report(void *ctx, unsigned int line, const char *message)
{
	size_t used = strlen(reported);

	ck_assert_ptr_eq(ctx, reported);
	snprintf(reported + used, sizeof(reported) - used, "%u: %s\n", line, message);
}

static struct table table;

static int parse_bytes(const char *text, size_t len)
{
	/* Exactly as many bytes as there are, so that a sanitizer sees one too many read. */
	char *copy = malloc(len ? len : 1);
	int ret;

	ck_assert_ptr_nonnull(copy);
	memcpy(copy, text, len);
	reported[0] = 0;
	table_free(&table);
	ret = table_parse(&table, copy, len, report, reported);
	free(copy);
	return ret;
}

static int parse(const char *text)
{
	return parse_bytes(text, strlen(text));
}

static void teardown(void)
{
	table_free(&table);
}

static const struct table_file *good(const char *text)
{
	int ret = parse(text);

	ck_assert_msg(ret == 0, "%s", reported);
	ck_assert_uint_gt(table.nr_files, 0);
	return table.files;
}

static void expect_region(const struct table_file *file, size_t i, uint64_t offset, uint64_t length,
			  const char *backing, uint64_t backing_offset, bool writable)
{
	ck_assert_uint_lt(i, file->nr_regions);
	ck_assert_uint_eq(file->regions[i].offset, offset);
	ck_assert_uint_eq(file->regions[i].length, length);
	ck_assert_str_eq(file->regions[i].backing, backing);
	ck_assert_uint_eq(file->regions[i].backing_offset, backing_offset);
	ck_assert_int_eq(file->regions[i].writable, writable);
}

START_TEST(one_line)
{
	const struct table_file *file = good("a/b 5 10 back/ing 7 rw\n");

	ck_assert_str_eq(file->name, "a/b");
	ck_assert_uint_eq(file->size, 15);
	ck_assert(file->writable);
	ck_assert(!file->whole);
	ck_assert_uint_eq(file->nr_regions, 1);
	expect_region(file, 0, 5, 10, "back/ing", 7, true);
}
END_TEST

START_TEST(nothing)
{
	ck_assert_int_eq(parse(""), 0);
	ck_assert_uint_eq(table.nr_files, 0);
	ck_assert_int_eq(parse("\n\n  \t\r\n# a comment\n   # another"), 0);
	ck_assert_uint_eq(table.nr_files, 0);
}
END_TEST

START_TEST(regions_are_sorted)
{
	const struct table_file *file = good("x 200 10 b 0\nx 0 100 a 1 ro # text\nx 100 100 c 2");

	ck_assert_uint_eq(table.nr_files, 1);
	ck_assert_uint_eq(file->nr_regions, 3);
	ck_assert_uint_eq(file->line, 1);
	ck_assert(!file->writable);
	expect_region(file, 0, 0, 100, "a", 1, false);
	expect_region(file, 1, 100, 100, "c", 2, false);
	expect_region(file, 2, 200, 10, "b", 0, false);
	ck_assert_uint_eq(file->regions[2].line, 1);
}
END_TEST

START_TEST(files_are_sorted)
{
	good("b 0 1 x 0\na-c 0 1 x 0\na/b 0 1 x 0\n");
	ck_assert_uint_eq(table.nr_files, 3);
	ck_assert_str_eq(table.files[0].name, "a/b");
	ck_assert_str_eq(table.files[1].name, "a-c");
	ck_assert_str_eq(table.files[2].name, "b");
}
END_TEST

START_TEST(whole_file)
{
	const struct table_file *file = good("a 0 0 b 12 rw\n");

	ck_assert(file->whole);
	expect_region(file, 0, 0, 0, "b", 12, true);
}
END_TEST

START_TEST(sizes)
{
	const struct table_file *file = good("a 0 10 b 0\na size 1K rw\n");

	ck_assert_uint_eq(file->size, 1024);
	ck_assert_uint_eq(file->size_line, 2);
	ck_assert(file->writable);
	ck_assert_uint_eq(file->nr_regions, 1);
	file = good("empty size 0");
	ck_assert_uint_eq(file->size, 0);
	ck_assert_uint_eq(file->nr_regions, 0);
	/* "size" is no number, so that only the second field is special. */
	file = good("size 0 1 size 0");
	ck_assert_str_eq(file->name, "size");
}
END_TEST

START_TEST(numbers)
{
	const struct table_file *file = good("a 0x1F 2k b 3M\n");

	expect_region(file, 0, 31, 2048, "b", 3 << 20, false);
	file = good("a 1G 1T b 0xfg\n");
	expect_region(file, 0, 1ULL << 30, 1ULL << 40, "b", 15ULL << 30, false);
	file = good("a 0 9223372036854775807 b 0");
	ck_assert_uint_eq(file->size, INT64_MAX);
}
END_TEST

START_TEST(quotes)
{
	const struct table_file *file =
		good("\"a b\\\"\\\\\\n\\t\\x41\\xff#\"\t0 1 \"back ing\" 0 # \"\n");

	ck_assert_str_eq(file->name, "a b\"\\\n\tA\xff#");
	ck_assert_str_eq(file->regions[0].backing, "back ing");
	file = good("a#b 0 1 c#d 0 #e\n");
	ck_assert_str_eq(file->name, "a#b");
}
END_TEST

START_TEST(names_are_tidied)
{
	ck_assert_str_eq(good("a//b///c 0 1 x 0")->name, "a/b/c");
	/* So these two are one */
	good("a//b 0 1 x 0\na/b 1 1 x 0");
	ck_assert_uint_eq(table.nr_files, 1);
}
END_TEST

START_TEST(neighbours)
{
	good("a 0 10 x 0\na 10 10 x 0\n");
	good("a 9223372036854775806 1 x 0\na 0 9223372036854775806 x 0");
}
END_TEST

/* A text, and what is said of it */
struct mistake {
	const char *text;
	const char *said;
};

static const struct mistake mistakes[] = {
	{ "a 0 1 b",
	  "1: fields are missing; it must be NAME OFFSET LENGTH BACKING BACKING_OFFSET [ro|rw], or "
	  "NAME size LENGTH [ro|rw]\n" },
	{ "a",
	  "1: fields are missing; it must be NAME OFFSET LENGTH BACKING BACKING_OFFSET [ro|rw], or "
	  "NAME size LENGTH [ro|rw]\n" },
	{ "a 0 1 b 0 ro rw",
	  "1: too many fields; it must be NAME OFFSET LENGTH BACKING BACKING_OFFSET [ro|rw], or "
	  "NAME size LENGTH [ro|rw]\n" },
	{ "a size", "1: LENGTH is missing; it must be NAME size LENGTH [ro|rw]\n" },
	{ "a size 1 rw 2", "1: too many fields; it must be NAME size LENGTH [ro|rw]\n" },
	{ "a size -1", "1: LENGTH '-1' is not a number of bytes (123, 0x7b, 4K, 2M, 1G, 1T)\n" },
	{ "a size 1 wr", "1: 'wr' is neither 'ro' nor 'rw'\n" },
	{ "a x 1 b 0", "1: OFFSET 'x' is not a number of bytes (123, 0x7b, 4K, 2M, 1G, 1T)\n" },
	{ "a 0 1KB b 0", "1: LENGTH '1KB' is not a number of bytes (123, 0x7b, 4K, 2M, 1G, 1T)\n" },
	{ "a 0 0x b 0", "1: LENGTH '0x' is not a number of bytes (123, 0x7b, 4K, 2M, 1G, 1T)\n" },
	{ "a 0 \"\" b 0", "1: LENGTH '' is not a number of bytes (123, 0x7b, 4K, 2M, 1G, 1T)\n" },
	{ "a 0 \"4 \" b 0",
	  "1: LENGTH '4 ' is not a number of bytes (123, 0x7b, 4K, 2M, 1G, 1T)\n" },
	{ "a 0 K b 0", "1: LENGTH 'K' is not a number of bytes (123, 0x7b, 4K, 2M, 1G, 1T)\n" },
	{ "a 0 1 b 1f",
	  "1: BACKING_OFFSET '1f' is not a number of bytes (123, 0x7b, 4K, 2M, 1G, 1T)\n" },
	{ "a 0 18446744073709551616 b 0", "1: LENGTH '18446744073709551616' is too large\n" },
	{ "a 0 9223372036854775808 b 0", "1: LENGTH '9223372036854775808' is too large\n" },
	{ "a 0 99999999T b 0", "1: LENGTH '99999999T' is too large\n" },
	{ "a 1 9223372036854775807 b 0", "1: OFFSET and LENGTH end past the largest file size\n" },
	{ "a 0 9223372036854775807 b 1",
	  "1: BACKING_OFFSET and LENGTH end past the largest file size\n" },
	{ "a 5 0 b 0", "1: LENGTH is 0, which is the whole file only with OFFSET 0\n" },
	{ "a 0 1 b 0 w", "1: 'w' is neither 'ro' nor 'rw'\n" },
	{ "a 0 1 \"\" 0", "1: BACKING is empty\n" },
	{ "\"\" 0 1 b 0", "1: NAME is empty\n" },
	{ "/a 0 1 b 0", "1: NAME '/a' begins with a slash; names are relative\n" },
	{ "a/ 0 1 b 0", "1: NAME ends with a slash; directories come with their files\n" },
	{ "a/./b 0 1 b 0", "1: NAME 'a/./b' has a part that is '.' or '..'\n" },
	{ ".. 0 1 b 0", "1: NAME '..' has a part that is '.' or '..'\n" },
	{ "\"a 0 1 b 0", "1: a \" is missing at the end\n" },
	{ "\"a\\", "1: a \" is missing at the end\n" },
	{ "\"a\"b 0 1 b 0", "1: a blank is missing after the closing \"\n" },
	{ "a\"b\" 0 1 b 0", "1: a \" in the middle of a field; put all of the field in quotes\n" },
	{ "\"\\q\" 0 1 b 0", "1: unknown escape; there are \\\", \\\\, \\n, \\t and \\xHH\n" },
	{ "\"\\x4\" 0 1 b 0", "1: \\x must be followed by two hexadecimal digits\n" },
	{ "\"\\x", "1: \\x must be followed by two hexadecimal digits\n" },
	{ "\"\\x00\" 0 1 b 0", "1: \\x00 cannot be in a name\n" },
	{ "a 0 10 b 0\n\na 5 10 b 0", "3: overlaps line 1: both have the bytes from 5 to 9\n" },
	{ "a 5 10 b 0\na 0 100 b 0", "2: overlaps line 1: both have the bytes from 5 to 14\n" },
	{ "a 0 0 b 0\na 5 1 b 0",
	  "2: overlaps line 1: a whole-file region must be a file's only one\n" },
	{ "a 5 1 b 0\na 0 0 b 0",
	  "2: overlaps line 1: a whole-file region must be a file's only one\n" },
	{ "a 0 10 b 0\na size 9", "2: size 9 is less than the end of line 1, 10\n" },
	{ "a 0 0 b 0\na size 9", "2: line 1 is a whole-file region, whose backing has the size\n" },
	{ "a size 9\na size 9", "2: line 1 gives a size already\n" },
	{ "a 0 1 b 0\na/b 0 1 b 0", "2: 'a' cannot be a file and a directory: see line 1\n" },
	{ "a/b/c 0 1 b 0\na-b size 0\na size 0",
	  "3: 'a' cannot be a file and a directory: see line 1\n" },
};

START_TEST(each_mistake)
{
	for (size_t i = 0; i < COUNT(mistakes); i++) {
		int ret = parse(mistakes[i].text);

		ck_assert_msg(!strcmp(reported, mistakes[i].said), "'%s': %s", mistakes[i].text,
			      reported);
		ck_assert_int_eq(ret, 1);
	}
}
END_TEST

START_TEST(all_mistakes_in_order)
{
	ck_assert_int_eq(parse("a 0 10 b 0\n"
			       "b x y b z\n"
			       "a 9 1 b 0\n"
			       "c 0 1 b 0\n"
			       "d 0 1\n"),
			 5);
	ck_assert_str_eq(reported,
			 "2: OFFSET 'x' is not a number of bytes (123, 0x7b, 4K, 2M, 1G, 1T)\n"
			 "2: LENGTH 'y' is not a number of bytes (123, 0x7b, 4K, 2M, 1G, 1T)\n"
			 "2: BACKING_OFFSET 'z' is not a number of bytes (123, 0x7b, 4K, 2M, 1G, "
			 "1T)\n"
			 "3: overlaps line 1: both have the bytes from 9 to 9\n"
			 "5: fields are missing; it must be NAME OFFSET LENGTH BACKING "
			 "BACKING_OFFSET [ro|rw], or NAME size LENGTH [ro|rw]\n");
}
END_TEST

START_TEST(no_text)
{
	ck_assert_int_eq(parse_bytes("a 0 1 b\0c 0", 11), 1);
	ck_assert_str_eq(reported, "1: there is a NUL byte; is this a text file?\n");
}
END_TEST

START_TEST(long_part)
{
	char text[512];

	memset(text, 'x', 256);
	strcpy(text + 256, " 0 1 b 0");
	ck_assert_int_eq(parse(text), 1);
	ck_assert_str_eq(reported, "1: NAME has a part of 256 characters; the most is 255\n");
	ck_assert_int_eq(parse(text + 1), 0);
}
END_TEST

/* Any bytes at all: nothing to expect but that it comes back. */
START_TEST(anything)
{
	static const char parts[] = "a /\"\\x0#\n.12KM\tsize rw";
	unsigned int seed = 1;
	char text[200];

	for (int round = 0; round < 20000; round++) {
		size_t len = (size_t)rand_r(&seed) % sizeof(text);

		for (size_t i = 0; i < len; i++)
			text[i] = parts[(size_t)rand_r(&seed) % (sizeof(parts) - 1)];
		ck_assert_int_ge(parse_bytes(text, len), 0);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("table");

	unit_tcase_with(suite, "meaning", NULL, teardown, one_line, nothing, regions_are_sorted,
			files_are_sorted, whole_file, sizes, numbers, quotes, names_are_tidied,
			neighbours);
	unit_tcase_with(suite, "mistakes", NULL, teardown, each_mistake, all_mistakes_in_order,
			no_text, long_part, anything);
	return unit_run(suite);
}
