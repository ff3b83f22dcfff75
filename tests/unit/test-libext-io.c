// SPDX-License-Identifier: GPL-2.0
/* libfuse-regions without the module: what reads and writes through a map do. */
#include "unit.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fuse_lowlevel.h>

#include "fuse_regions.h"

#define NODE 5
#define READ FUSE_REGION_READ
#define WRITE FUSE_REGION_WRITE
#define REPLACE FUSE_REGION_REPLACE

static struct fuse_regions_conn *conn;

static int make_file(const void *data, size_t size)
{
	int fd = memfd_create("test", MFD_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(pwrite(fd, data, size, 0), (ssize_t)size);
	return fd;
}

static uint32_t make_backing(int fd)
{
	int id = fuse_regions_backing_open(conn, fd);

	ck_assert_int_gt(id, 0);
	return (uint32_t)id;
}

static void setup(void)
{
	const struct fuse_regions_config config = { .flags = FUSE_REGIONS_USER_MODE };

	ck_assert_int_eq(fuse_regions_open(NULL, &config, &conn), 0);
}

static void teardown(void)
{
	fuse_regions_close(conn);
}

static void must_bind(uint64_t offset, uint64_t length, uint32_t id, uint64_t backing_offset,
		      uint32_t flags)
{
	ck_assert_int_eq(fuse_regions_bind(conn, NODE, offset, length, id, backing_offset, flags),
			 0);
}

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

/* --- everything at random, against an array of bytes --- */

#define FILE_BYTES 20000
#define BACKINGS 3
#define ROUNDS 5000

/* A byte of the file: where it is bound to */
struct model_byte {
	uint8_t backing; /* BACKINGS: gap */
	uint8_t flags;
	uint16_t offset;
};

static struct model_byte model[FILE_BYTES];
static char gaps[FILE_BYTES];
static char contents[BACKINGS][FILE_BYTES * 2];
static size_t sizes[BACKINGS] = { 100, 9000, FILE_BYTES };
static int files[BACKINGS], gap_file;
static uint32_t ids[BACKINGS];
static unsigned int seed;

static unsigned int number(unsigned int below)
{
	return (unsigned int)rand_r(&seed) % below;
}

static void noise(char *data, size_t size)
{
	for (size_t i = 0; i < size; i++)
		data[i] = (char)number(256);
}

static int model_gap_read(void *ctx, uint64_t nodeid, uint64_t offset, struct fuse_buf *buf)
{
	(void)ctx;
	(void)nodeid;
	switch (number(4)) {
	case 0:
		memcpy(buf->mem, gaps + offset, buf->size);
		break;
	case 1:
		buf->mem = gaps + offset;
		break;
	case 2:
		buf->flags = FUSE_BUF_IS_FD | FUSE_BUF_FD_SEEK;
		buf->fd = gap_file;
		buf->pos = (off_t)offset;
		break;
	default: /* without the zeroes at the end */
		memcpy(buf->mem, gaps + offset, buf->size);
		while (buf->size && !gaps[offset + buf->size - 1])
			buf->size--;
	}
	return 0;
}

static ssize_t model_gap_write(void *ctx, uint64_t nodeid, uint64_t offset, const void *data,
			       size_t size, unsigned int flags)
{
	(void)ctx;
	(void)nodeid;
	for (size_t i = 0; i < size; i++) {
		must(!(model[offset + i].flags & WRITE), "asked to write bound bytes");
		must(model[offset + i].flags == flags, "told the wrong flags");
	}
	memcpy(gaps + offset, data, size);
	ck_assert_int_eq(pwrite(gap_file, data, size, (off_t)offset), (ssize_t)size);
	return (ssize_t)size;
}

static char model_value(size_t pos)
{
	const struct model_byte *byte = &model[pos];

	if (!(byte->flags & READ))
		return gaps[pos];
	return byte->offset < sizes[byte->backing] ? contents[byte->backing][byte->offset] : 0;
}

static void random_read(size_t offset, size_t length)
{
	static char got[FILE_BYTES];
	size_t file_size = FILE_BYTES - number(2000), want = 0;
	ssize_t n = fuse_regions_read(conn, NODE, got, length, (off_t)offset, file_size,
				      model_gap_read, NULL);

	if (offset < file_size)
		want = length < file_size - offset ? length : file_size - offset;
	ck_assert_int_eq(n, (ssize_t)want);
	for (size_t i = 0; i < want; i++)
		must(got[i] == model_value(offset + i), "read a wrong byte");
}

/* From memory, or from a pipe as libfuse has it when it splices */
static ssize_t write_somehow(const char *data, size_t length, size_t offset)
{
	struct fuse_bufvec in = FUSE_BUFVEC_INIT(length);
	int ends[2];
	ssize_t n;

	if (number(2))
		return fuse_regions_write(conn, NODE, data, length, (off_t)offset, model_gap_write,
					  NULL);
	if (number(2)) {
		in.buf[0].mem = (void *)data;
		return fuse_regions_write_buf(conn, NODE, &in, (off_t)offset, model_gap_write,
					      NULL);
	}
	ck_assert_int_eq(pipe(ends), 0);
	ck_assert_int_eq(write(ends[1], data, length), (ssize_t)length);
	in.buf[0].flags = FUSE_BUF_IS_FD;
	in.buf[0].fd = ends[0];
	n = fuse_regions_write_buf(conn, NODE, &in, (off_t)offset, model_gap_write, NULL);
	close(ends[0]);
	close(ends[1]);
	return n;
}

static void random_write(size_t offset, size_t length)
{
	static char data[FILE_BYTES];

	noise(data, length);
	ck_assert_int_eq(write_somehow(data, length, offset), (ssize_t)length);
	for (size_t i = 0; i < length; i++) {
		const struct model_byte *byte = &model[offset + i];

		if (!(byte->flags & WRITE))
			continue;
		contents[byte->backing][byte->offset] = data[i];
		if (byte->offset >= sizes[byte->backing])
			sizes[byte->backing] = byte->offset + 1u;
	}
}

static void random_bind(size_t offset, size_t length)
{
	unsigned int backing = number(BACKINGS), flags = 1 + number(3);
	size_t to = number(FILE_BYTES);

	must_bind(offset, length, ids[backing], to, flags | REPLACE);
	for (size_t i = 0; i < length; i++)
		model[offset + i] = (struct model_byte){
			.backing = (uint8_t)backing,
			.flags = (uint8_t)flags,
			.offset = (uint16_t)(to + i),
		};
}

static void clear(size_t offset, size_t length)
{
	for (size_t i = 0; i < length; i++)
		model[offset + i] = (struct model_byte){ .backing = BACKINGS };
}

static void random_change(size_t offset, size_t length)
{
	switch (number(8)) {
	case 0:
		ck_assert_int_eq(fuse_regions_unbind(conn, NODE, offset, length), 0);
		clear(offset, length);
		break;
	case 1:
		ck_assert_int_eq(fuse_regions_truncate(conn, NODE, offset), 0);
		clear(offset, FILE_BYTES - offset);
		break;
	default:
		random_bind(offset, length);
	}
}

static void same_backings(void)
{
	static char got[FILE_BYTES * 2];

	for (unsigned int i = 0; i < BACKINGS; i++) {
		ck_assert_int_eq(pread(files[i], got, sizeof(got), 0), (ssize_t)sizes[i]);
		ck_assert(!memcmp(got, contents[i], sizes[i]));
	}
}

START_TEST(at_random)
{
	seed = (unsigned int)_i + 1;
	clear(0, FILE_BYTES);
	noise(gaps, FILE_BYTES / 2);
	gap_file = make_file(gaps, FILE_BYTES / 2);
	for (unsigned int i = 0; i < BACKINGS; i++) {
		noise(contents[i], sizes[i]);
		files[i] = make_file(contents[i], sizes[i]);
		ids[i] = make_backing(files[i]);
	}
	for (unsigned int round = 0; round < ROUNDS; round++) {
		size_t offset = number(FILE_BYTES), length = 1 + number(1u << number(15));

		if (length > FILE_BYTES - offset)
			length = FILE_BYTES - offset;
		switch (number(3)) {
		case 0:
			random_read(offset, length);
			break;
		case 1:
			random_write(offset, length);
			break;
		default:
			random_change(offset, length);
		}
	}
	random_read(0, FILE_BYTES);
	ck_assert_int_eq(fuse_regions_fsync(conn, NODE, 1), 0);
	same_backings();
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("libext-io");
	TCase *loop;

	unit_tcase_with(suite, "reads", setup, teardown, pieces, short_backing_is_no_end,
			whole_file, read_at_the_end_of_everything, write_only_is_no_source,
			odd_descriptors);
	unit_tcase_with(suite, "callbacks", setup, teardown, gap_errors, gap_that_binds,
			gap_whose_bind_fails, gap_that_is_unbound_again, copy_on_write,
			short_writes);
	loop = unit_add_tcase(suite, "random", (const TTest *const[]){ NULL }, setup, teardown);
	tcase_add_loop_test(loop, at_random, 0, 4);
	return unit_run(suite);
}
