// SPDX-License-Identifier: GPL-2.0
/* libfuse-regions without the module, everything at random, against an array of bytes. */
#include "unit.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <fuse_lowlevel.h>

#include "libext-unit.h"

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
	Suite *suite = suite_create("libext-random");
	TCase *loop = unit_add_tcase(suite, "random", (const TTest *const[]){ NULL }, conn_setup,
				     conn_teardown);

	tcase_add_loop_test(loop, at_random, 0, 4);
	return unit_run(suite);
}
