// SPDX-License-Identifier: GPL-2.0
/* libfuse-regions' replies to READ: what fuse_regions_reply_read() hands to libfuse. */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
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

/* The disk cannot read what that file has from @bad_pos on. */
static ino_t bad_inode;
static off64_t bad_pos;

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

/* How much of @size bytes can be read; -1: none, for there is a bad sector. */
static ssize_t readable(int fd, off64_t pos, size_t size)
{
	struct stat st;

	if (!bad_inode || fstat(fd, &st) < 0 || st.st_ino != bad_inode ||
	    pos + (off64_t)size <= bad_pos)
		return (ssize_t)size;
	errno = EIO;
	return pos < bad_pos ? (ssize_t)(bad_pos - pos) : -1;
}

interposed ssize_t pread(int fd, void *data, size_t size, off_t pos)
{
	ssize_t n = readable(fd, pos, size);

	return n < 0 ? n : syscall(SYS_pread64, fd, data, (size_t)n, pos);
}

interposed ssize_t splice(int from, off64_t *pos, int to, off64_t *to_pos, size_t size,
			  unsigned int flags)
{
	ssize_t n = pos ? readable(from, *pos, size) : (ssize_t)size;

	return n < 0 ? n : syscall(SYS_splice, from, pos, to, to_pos, (size_t)n, flags);
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

static void read_some(struct source *source, size_t size)
{
	memset(replied, '?', sizeof(replied));
	fuse_regions_reply_read(conn, NULL, NODE, size, 0, SIZE, from_source, source);
}

static void read_all(struct source *source)
{
	read_some(source, SIZE);
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
	ck_assert_uint_eq(reply_bufs, 16);
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

/* A new file of SIZE bytes, of which those from @bad on cannot be read, and its backing id */
static int bad_file(off64_t bad, uint32_t *id)
{
	static char letters[SIZE];
	struct stat st;
	int fd = memfd_create("bad", MFD_CLOEXEC), ret;

	memset(letters, 'B', sizeof(letters));
	ck_assert_int_eq(write(fd, letters, SIZE), SIZE);
	ck_assert_int_eq(fstat(fd, &st), 0);
	bad_inode = st.st_ino;
	bad_pos = bad;
	ret = fuse_regions_backing_open(conn, fd);
	ck_assert_int_gt(ret, 0);
	*id = (uint32_t)ret;
	return fd;
}

static void expect_error(size_t size, int err)
{
	struct source source = { .size = 0 };

	read_some(&source, size);
	ck_assert_int_eq(reply_size, -err);
}

/* FUSE would take what a short reply ends with for the end of the file. */
static void bad_region(size_t size)
{
	uint32_t id;

	close(bad_file(0, &id));
	bind_piece(0, FUSE_REGION_READ);
	ck_assert_int_eq(
		fuse_regions_bind(conn, NODE, PIECE, SIZE - PIECE, id, 0, FUSE_REGION_READ), 0);
	expect_error(size, EIO);
	read_some(NULL, PIECE);
	ck_assert_int_eq(reply_size, PIECE);
}

START_TEST(region_that_cannot_be_read)
{
	bad_region(SIZE);
}
END_TEST

START_TEST(small_region_that_cannot_be_read)
{
	bad_region(2 * PIECE);
}
END_TEST

START_TEST(region_that_can_be_read_in_part)
{
	uint32_t id;

	close(bad_file(SIZE / 2, &id));
	ck_assert_int_eq(fuse_regions_bind(conn, NODE, 0, SIZE, id, 0, FUSE_REGION_READ), 0);
	expect_error(SIZE, EIO);
	read_some(NULL, SIZE / 2);
	ck_assert_int_eq(reply_size, SIZE / 2);
}
END_TEST

START_TEST(gap_that_can_be_read_in_part)
{
	uint32_t id;
	int fd = bad_file(SIZE / 2, &id);
	struct source source = {
		.fd = fd,
		.flags = FUSE_BUF_IS_FD | FUSE_BUF_FD_SEEK,
		.size = SIZE,
	};

	read_some(&source, SIZE);
	ck_assert_int_eq(reply_size, -EIO);
	close(fd);
}
END_TEST

static int refuse(void *ctx, uint64_t nodeid, uint64_t offset, struct fuse_buf *buf)
{
	(void)ctx;
	(void)nodeid;
	(void)buf;
	return offset ? -ENXIO : 0;
}

START_TEST(gap_that_is_refused_behind_a_region)
{
	bind_piece(0, FUSE_REGION_READ);
	fuse_regions_reply_read(conn, NULL, NODE, SIZE, 0, SIZE, refuse, NULL);
	ck_assert_int_eq(reply_size, -ENXIO);
}
END_TEST

/* Before the region the callback failed; what it bound is all that counts then. */
static int refuse_and_bind(void *ctx, uint64_t nodeid, uint64_t offset, struct fuse_buf *buf)
{
	(void)ctx;
	(void)nodeid;
	(void)offset;
	(void)buf;
	for (unsigned int i = 0; i < SIZE / PIECE; i++)
		bind_piece(i, FUSE_REGION_READ | FUSE_REGION_REPLACE);
	return -ENXIO;
}

START_TEST(refusal_of_what_is_bound_meanwhile)
{
	fuse_regions_reply_read(conn, NULL, NODE, SIZE, 0, SIZE, refuse_and_bind, NULL);
	ck_assert_int_eq(reply_size, SIZE);
	expect_piece(3, 'b', PIECE / 2);
}
END_TEST

/* What fstat() says of procfs' files is 0. */
START_TEST(region_from_proc_file)
{
	int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
	int id = fuse_regions_backing_open(conn, fd);

	ck_assert_int_gt(id, 0);
	ck_assert_int_eq(fuse_regions_bind(conn, NODE, 0, SIZE, (uint32_t)id, 0, FUSE_REGION_READ),
			 0);
	read_all(NULL);
	ck_assert(memchr(replied, '-', 100));
	close(fd);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("libext-reply");

	unit_tcase_with(suite, "reply", setup, teardown, many_buffers_half_bound,
			many_buffers_all_gaps, gap_from_proc_file, gap_from_pipe,
			gap_from_file_is_spliced, region_that_cannot_be_read,
			small_region_that_cannot_be_read, region_that_can_be_read_in_part,
			gap_that_can_be_read_in_part, gap_that_is_refused_behind_a_region,
			refusal_of_what_is_bound_meanwhile, region_from_proc_file);
	return unit_run(suite);
}
