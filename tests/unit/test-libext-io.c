// SPDX-License-Identifier: GPL-2.0
/* libfuse-regions without the module: what reads and writes through a map do. */
#include "unit.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <fuse_lowlevel.h>

#include "libext-unit.h"

static void expect_read(const char *want, size_t size, off_t offset, uint64_t file_size)
{
	char got[256];
	ssize_t n;

	memset(got, '?', sizeof(got));
	n = fuse_regions_read(conn, NODE, got, size, offset, file_size, NULL, NULL);
	ck_assert_int_eq(n, (ssize_t)strlen(want));
	for (ssize_t i = 0; i < n; i++)
		if (!got[i])
			got[i] = '0';
	ck_assert_msg(!memcmp(got, want, (size_t)n), "%.*s, not %s", (int)n, got, want);
}

/* --- what is read --- */

START_TEST(pieces)
{
	uint32_t a = make_backing(make_file("abcdefghij", 10));
	uint32_t b = make_backing(make_file("ABCDE", 5));

	expect_read("000", 3, 5, 8);
	must_bind(2, 3, a, 4, READ);
	must_bind(5, 2, b, 0, READ);
	must_bind(8, 1, a, 9, READ);
	expect_read("00efgAB0j0", 20, 0, 10);
	expect_read("fgA", 3, 3, 10);
	expect_read("fg", 3, 3, 5);
	expect_read("", 3, 10, 10);
	expect_read("", 3, 11, 10);
	ck_assert_int_eq(fuse_regions_read(conn, NODE, NULL, 1, -1, 10, NULL, NULL), -EINVAL);
}
END_TEST

START_TEST(short_backing_is_no_end)
{
	uint32_t a = make_backing(make_file("abc", 3));

	must_bind(0, 6, a, 1, READ);
	must_bind(6, 2, a, 100, READ);
	expect_read("bc0000000", 9, 0, 9);
	expect_read("0000", 4, 5, 9);
}
END_TEST

START_TEST(whole_file)
{
	int fd = make_file("abcdef", 6);
	uint32_t a = make_backing(fd);

	must_bind(0, 0, a, 2, READ);
	expect_read("cdef", 10, 0, 1);
	ck_assert_int_eq(ftruncate(fd, 8), 0);
	expect_read("cdef00", 10, 0, 1);
	ck_assert_int_eq(ftruncate(fd, 1), 0);
	expect_read("", 10, 0, 100);
	/* Cut at its far end, it no longer decides. */
	ck_assert_int_eq(fuse_regions_unbind(conn, NODE, 50, (uint64_t)INT64_MAX - 50), 0);
	expect_read("00000", 10, 0, 5);
}
END_TEST

/* No file has more bytes than that. */
START_TEST(read_at_the_end_of_everything)
{
	expect_read("000", 100, (off_t)INT64_MAX - 3, UINT64_MAX);
	expect_read("", 100, INT64_MAX, UINT64_MAX);
}
END_TEST

START_TEST(write_only_is_no_source)
{
	uint32_t a = make_backing(make_file("abc", 3));

	must_bind(0, 3, a, 0, WRITE);
	expect_read("000", 3, 0, 3);
}
END_TEST

START_TEST(odd_descriptors)
{
	char path[] = "/tmp/test-libext-XXXXXX";
	int fd = mkstemp(path), id;

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, "abcdef", 6), 6);
	close(fd);
	fd = open(path, O_RDWR | O_APPEND | O_DIRECT);
	if (fd < 0)
		fd = open(path, O_RDWR | O_APPEND);
	id = fuse_regions_backing_open(conn, fd);
	close(fd);
	unlink(path);
	ck_assert_int_gt(id, 0);
	must_bind(0, 6, (uint32_t)id, 0, READ | WRITE);
	ck_assert_int_eq(fuse_regions_write(conn, NODE, "XY", 2, 1, NULL, NULL), 2);
	expect_read("aXYdef", 10, 0, 6);
}
END_TEST

/* --- callbacks --- */

/* What a test wants its callback to do */
struct asked {
	int err_at; /* fail when a gap begins here */
	uint32_t bind; /* bind all of the gap to this backing */
	unsigned int calls;
};

static int gap_letters(void *ctx, uint64_t nodeid, uint64_t offset, struct fuse_buf *buf)
{
	struct asked *asked = ctx;

	ck_assert_uint_eq(nodeid, NODE);
	asked->calls++;
	if (asked->err_at == (int)offset)
		return -EILSEQ;
	memset(buf->mem, '-', buf->size);
	if (asked->bind)
		must_bind(offset, buf->size, asked->bind, offset, READ);
	return 0;
}

START_TEST(gap_errors)
{
	uint32_t a = make_backing(make_file("abcdefghij", 10));
	struct asked asked = { .err_at = 5 };
	char got[10];

	must_bind(2, 3, a, 2, READ);
	ck_assert_int_eq(fuse_regions_read(conn, NODE, got, 10, 0, 10, gap_letters, &asked), 5);
	ck_assert(!memcmp(got, "--cde", 5));
	asked.err_at = 0;
	ck_assert_int_eq(fuse_regions_read(conn, NODE, got, 10, 0, 10, gap_letters, &asked),
			 -EILSEQ);
	asked.err_at = 7;
	ck_assert_int_eq(fuse_regions_read(conn, NODE, got, 10, 0, 10, gap_letters, &asked), 10);
	ck_assert(!memcmp(got, "--cde-----", 10));
}
END_TEST

/* A callback that binds what it is asked for: the bytes come from there. */
START_TEST(gap_that_binds)
{
	uint32_t a = make_backing(make_file("abcdefghij", 10));
	struct asked asked = { .err_at = -1, .bind = a };
	char got[10];

	ck_assert_int_eq(fuse_regions_read(conn, NODE, got, 10, 0, 10, gap_letters, &asked), 10);
	ck_assert(!memcmp(got, "abcdefghij", 10));
	ck_assert_uint_eq(asked.calls, 1);
}
END_TEST

/*
 * A callback whose bind is refused, or finds nothing to do, has not changed
 * the map: its own bytes are the answer, and nobody asks again.
 */
static void try_to_bind(uint64_t offset, uint64_t size, struct asked *asked)
{
	ck_assert_uint_lt(asked->calls++, 5);
	ck_assert_int_eq(fuse_regions_bind(conn, NODE, offset, size, 999, 0, READ | WRITE),
			 -ENOENT);
	ck_assert_int_eq(fuse_regions_bind(conn, NODE, 2, size, asked->bind, 0, READ), -EEXIST);
	ck_assert_int_eq(fuse_regions_unbind(conn, NODE, 0, 2), 0);
}

static int gap_refused(void *ctx, uint64_t nodeid, uint64_t offset, struct fuse_buf *buf)
{
	(void)nodeid;
	try_to_bind(offset, buf->size, ctx);
	memset(buf->mem, '-', buf->size);
	return 0;
}

static ssize_t copy_up_refused(void *ctx, uint64_t nodeid, uint64_t offset, const void *data,
			       size_t size, unsigned int flags)
{
	(void)nodeid;
	(void)data;
	(void)flags;
	try_to_bind(offset, size, ctx);
	return (ssize_t)size;
}

/* It binds what it is asked for, and somebody else unbinds all before anyone looks. */
static ssize_t bind_in_vain(void *ctx, uint64_t nodeid, uint64_t offset, const void *data,
			    size_t size, unsigned int flags)
{
	struct asked *asked = ctx;

	(void)nodeid;
	(void)data;
	(void)flags;
	if (asked->calls++ == 1)
		return (ssize_t)size;
	must_bind(offset, size, asked->bind, offset, READ | WRITE);
	ck_assert_int_eq(fuse_regions_unbind(conn, NODE, 0, 0), 0);
	return 0;
}

START_TEST(gap_that_is_unbound_again)
{
	struct asked asked = { .bind = make_backing(make_file("abcdefghij", 10)) };

	must_bind(0, 1, asked.bind, 0, READ);
	ck_assert_int_eq(fuse_regions_unbind(conn, NODE, 0, 0), 0);
	ck_assert_int_eq(fuse_regions_write(conn, NODE, "XYZ", 3, 4, bind_in_vain, &asked), 3);
	ck_assert_uint_eq(asked.calls, 2);
}
END_TEST

START_TEST(gap_whose_bind_fails)
{
	uint32_t a = make_backing(make_file("abcdefghij", 10));
	struct asked asked = { .bind = a };
	char got[10];

	must_bind(2, 3, a, 2, READ);
	ck_assert_int_eq(fuse_regions_read(conn, NODE, got, 10, 0, 10, gap_refused, &asked), 10);
	ck_assert(!memcmp(got, "--cde-----", 10));
	ck_assert_uint_eq(asked.calls, 2);
	asked.calls = 0;
	ck_assert_int_eq(fuse_regions_write(conn, NODE, "0123", 4, 0, copy_up_refused, &asked), 4);
	ck_assert_uint_eq(asked.calls, 2);
}
END_TEST

/* Copy on write: the callback binds its own copy for writing, and says "look again". */
static ssize_t copy_up(void *ctx, uint64_t nodeid, uint64_t offset, const void *data, size_t size,
		       unsigned int flags)
{
	struct asked *asked = ctx;

	(void)data;
	ck_assert_uint_eq(nodeid, NODE);
	ck_assert_uint_eq(flags, READ);
	asked->calls++;
	if (asked->bind)
		must_bind(offset, size, asked->bind, offset, READ | WRITE | REPLACE);
	return 0;
}

START_TEST(copy_on_write)
{
	int upper = make_file("", 0);
	uint32_t low = make_backing(make_file("abcdefghij", 10)), up = make_backing(upper);
	struct asked asked = { .bind = up };
	char got[10] = "";

	must_bind(0, 10, low, 0, READ);
	ck_assert_int_eq(fuse_regions_write(conn, NODE, "XYZ", 3, 4, copy_up, &asked), 3);
	ck_assert_uint_eq(asked.calls, 1);
	expect_read("abcdXYZhij", 10, 0, 10);
	ck_assert_int_eq(pread(upper, got, 10, 0), 7);
	ck_assert(!memcmp(got + 4, "XYZ", 3));
	ck_assert_int_eq(fuse_regions_fsync(conn, NODE, 0), 0);
	/* It says so, but does not do it. */
	asked.bind = 0;
	ck_assert_int_eq(fuse_regions_write(conn, NODE, "XYZ", 3, 0, copy_up, &asked), -EIO);
	ck_assert_int_eq(fuse_regions_write(conn, NODE, "123", 3, 5, copy_up, &asked), 2);
	expect_read("abcdX12hij", 10, 0, 10);
}
END_TEST

static ssize_t take_four(void *ctx, uint64_t nodeid, uint64_t offset, const void *data, size_t size,
			 unsigned int flags)
{
	struct asked *asked = ctx;

	(void)nodeid;
	(void)data;
	ck_assert_uint_eq(flags, 0);
	if (asked->err_at == (int)offset)
		return -EDQUOT;
	return size < 4 ? (ssize_t)size : 4;
}

START_TEST(short_writes)
{
	int fd = make_file("abcdefghijklmnop", 16);
	uint32_t a = make_backing(fd);
	struct asked asked = { .err_at = 6 };
	char got[17] = "";

	must_bind(4, 2, a, 4, WRITE);
	must_bind(12, 4, a, 12, WRITE);
	/* 0..3 taken, 4..5 written, 6 refused */
	ck_assert_int_eq(
		fuse_regions_write(conn, NODE, "0123456789ABCDEF", 16, 0, take_four, &asked), 6);
	ck_assert_int_eq(pread(fd, got, 16, 0), 16);
	ck_assert_str_eq(got, "abcd45ghijklmnop");
	/* 6..9 taken of 6..11 */
	asked.err_at = -1;
	ck_assert_int_eq(
		fuse_regions_write(conn, NODE, "0123456789ABCDEF", 16, 0, take_four, &asked), 10);
	ck_assert_int_eq(pread(fd, got, 16, 0), 16);
	ck_assert_str_eq(got, "abcd45ghijklmnop");
	ck_assert_int_eq(fuse_regions_write(conn, NODE, "x", 1, 0, NULL, NULL), -EROFS);
	ck_assert_int_eq(fuse_regions_write(conn, NODE, "x", 1, -1, NULL, NULL), -EINVAL);
	ck_assert_int_eq(fuse_regions_write(conn, NODE, "xy", 2, INT64_MAX - 1, NULL, NULL),
			 -EFBIG);
	ck_assert_int_eq(fuse_regions_write(conn, NODE, "", 0, 0, NULL, NULL), 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("libext-io");

	unit_tcase_with(suite, "reads", conn_setup, conn_teardown, pieces, short_backing_is_no_end,
			whole_file, read_at_the_end_of_everything, write_only_is_no_source,
			odd_descriptors);
	unit_tcase_with(suite, "callbacks", conn_setup, conn_teardown, gap_errors, gap_that_binds,
			gap_whose_bind_fails, gap_that_is_unbound_again, copy_on_write,
			short_writes);
	return unit_run(suite);
}
