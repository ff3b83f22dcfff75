// SPDX-License-Identifier: GPL-2.0
/* libfuse-regions' replies to READ: what fuse_regions_reply_read() hands to libfuse. */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <fuse_lowlevel.h>

#include "fuse_regions.h"

#define NODE 5
#define PIECE 1024
#define SIZE (16 * PIECE)

static struct fuse_regions_conn *conn;
static uint32_t backing; /* half a PIECE of 'b' */

/* The library finds these before libfuse's. */
#define interposed __attribute__((visibility("default")))

/* What the library replied */
static char replied[2 * SIZE];
static ssize_t reply_size;
static size_t reply_bufs;

interposed int fuse_reply_data(fuse_req_t req, struct fuse_bufvec *in,
			       enum fuse_buf_copy_flags flags)
{
	struct fuse_bufvec out = FUSE_BUFVEC_INIT(sizeof(replied));

	(void)req;
	(void)flags;
	out.buf[0].mem = replied;
	reply_bufs = in->count;
	reply_size = fuse_buf_copy(&out, in, 0);
	return 0;
}

interposed int fuse_reply_buf(fuse_req_t req, const char *data, size_t size)
{
	(void)req;
	ck_assert_uint_le(size, sizeof(replied));
	if (size)
		memcpy(replied, data, size);
	reply_bufs = 0;
	reply_size = (ssize_t)size;
	return 0;
}

interposed int fuse_reply_err(fuse_req_t req, int err)
{
	(void)req;
	reply_size = -err;
	return 0;
}

static void setup(void)
{
	const struct fuse_regions_config config = { .flags = FUSE_REGIONS_USER_MODE };
	int fd = memfd_create("test", MFD_CLOEXEC), id;
	char data[PIECE / 2];

	memset(data, 'b', sizeof(data));
	ck_assert_int_eq(write(fd, data, sizeof(data)), sizeof(data));
	ck_assert_int_eq(fuse_regions_open(NULL, &config, &conn), 0);
	id = fuse_regions_backing_open(conn, fd);
	ck_assert_int_gt(id, 0);
	backing = (uint32_t)id;
	close(fd);
}

static void teardown(void)
{
	fuse_regions_close(conn);
}

static void bind_piece(unsigned int i, uint32_t flags)
{
	ck_assert_int_eq(
		fuse_regions_bind(conn, NODE, (uint64_t)i * PIECE, PIECE, backing, 0, flags), 0);
}

/* What gaps are filled from */
struct source {
	int fd;
	unsigned int flags;
	off_t pos; /* of the gap's first byte */
	size_t size; /* at most */
};

static int from_source(void *ctx, uint64_t nodeid, uint64_t offset, struct fuse_buf *buf)
{
	const struct source *source = ctx;

	(void)nodeid;
	(void)offset;
	buf->flags = source->flags;
	buf->fd = source->fd;
	buf->pos = source->pos;
	if (buf->size > source->size)
		buf->size = source->size;
	return 0;
}

static void read_all(struct source *source)
{
	memset(replied, '?', sizeof(replied));
	fuse_regions_reply_read(conn, NULL, NODE, SIZE, 0, SIZE, from_source, source);
	ck_assert_int_eq(reply_size, SIZE);
}

/* @size letters at @offset, and zeroes up to the piece's end */
static void expect_piece(unsigned int i, char letter, size_t size)
{
	for (size_t j = 0; j < PIECE; j++)
		ck_assert_msg(replied[i * PIECE + j] == (j < size ? letter : 0),
			      "piece %u: byte %zu is %#x", i, j, replied[i * PIECE + j]);
}

/* As many buffers as pieces can have: bytes, their file's end, and their own. */
static void many_buffers(uint32_t even_flags, bool even_is_bound)
{
	struct source source = { .flags = FUSE_BUF_IS_FD | FUSE_BUF_FD_SEEK, .size = 600 };
	char letters[100];

	memset(letters, 'g', sizeof(letters));
	source.fd = memfd_create("gaps", MFD_CLOEXEC);
	ck_assert_int_eq(write(source.fd, letters, sizeof(letters)), sizeof(letters));
	for (unsigned int i = 0; i < 16; i++)
		bind_piece(i, i % 2 ? FUSE_REGION_WRITE : even_flags);
	read_all(&source);
	ck_assert_uint_gt(reply_bufs, 32);
	for (unsigned int i = 0; i < 16; i++) {
		if (i % 2 || !even_is_bound)
			expect_piece(i, 'g', 100);
		else
			expect_piece(i, 'b', PIECE / 2);
	}
	close(source.fd);
}

START_TEST(many_buffers_half_bound)
{
	many_buffers(FUSE_REGION_READ, true);
}
END_TEST

START_TEST(many_buffers_all_gaps)
{
	many_buffers(FUSE_REGION_WRITE, false);
}
END_TEST

/* A descriptor whose size says nothing; a device of blocks is another. */
START_TEST(gap_from_proc_file)
{
	static char letters[SIZE];
	struct source source = { .flags = FUSE_BUF_IS_FD | FUSE_BUF_FD_SEEK, .size = SIZE };

	memset(letters, 'p', sizeof(letters));
	source.fd = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
	ck_assert_int_ge(source.fd, 0);
	source.pos = (off_t)(uintptr_t)letters;
	read_all(&source);
	ck_assert(!memcmp(replied, letters, SIZE));
	close(source.fd);
}
END_TEST

/* Without FUSE_BUF_FD_SEEK the next bytes are meant, wherever those are. */
START_TEST(gap_from_pipe)
{
	static char letters[SIZE];
	struct source source = { .flags = FUSE_BUF_IS_FD, .size = SIZE };
	int ends[2];

	memset(letters, 'q', sizeof(letters));
	ck_assert_int_eq(pipe(ends), 0);
	ck_assert_int_eq(write(ends[1], letters, SIZE), SIZE);
	close(ends[1]);
	source.fd = ends[0];
	read_all(&source);
	ck_assert(!memcmp(replied, letters, SIZE));
	close(ends[0]);
}
END_TEST

START_TEST(gap_from_file_is_spliced)
{
	static char letters[SIZE];
	struct source source = { .flags = FUSE_BUF_IS_FD | FUSE_BUF_FD_SEEK, .size = SIZE };

	memset(letters, 'f', sizeof(letters));
	source.fd = memfd_create("gaps", MFD_CLOEXEC);
	ck_assert_int_eq(write(source.fd, letters, SIZE), SIZE);
	bind_piece(3, FUSE_REGION_READ);
	source.pos = 0;
	source.size = PIECE;
	read_all(&source);
	ck_assert_uint_gt(reply_bufs, 0);
	expect_piece(0, 'f', PIECE);
	expect_piece(3, 'b', PIECE / 2);
	close(source.fd);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("libext-reply");

	unit_tcase_with(suite, "reply", setup, teardown, many_buffers_half_bound,
			many_buffers_all_gaps, gap_from_proc_file, gap_from_pipe,
			gap_from_file_is_spliced);
	return unit_run(suite);
}
