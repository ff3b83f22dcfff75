// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0
/* Carrying out WRITE from the map. */

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pieces.h"

/* The server's callback */
struct taker {
	fuse_regions_gap_write_t gap;
	void *ctx;
};

/* Writes the piece's bytes; the number written, or a negative errno. */
static ssize_t write_bound(struct request *req, const struct piece *piece, struct fuse_bufvec *in)
{
	struct fuse_bufvec out = FUSE_BUFVEC_INIT(piece->len);
	/* Before writing: bytes that cannot be synced later must not be written. */
	int err = inode_mark_dirty(req->inode, piece->backing);

	if (err)
		return err;
	if (piece->backing_pos > (uint64_t)INT64_MAX - piece->len)
		return -EFBIG;
	out.buf[0].flags = FUSE_BUF_IS_FD | FUSE_BUF_FD_SEEK | FUSE_BUF_FD_RETRY;
	out.buf[0].fd = piece->backing->fd;
	out.buf[0].pos = (off_t)piece->backing_pos;
	return fuse_buf_copy(&out, in, 0);
}

/*
 * Write the bound pieces from @in, passing over the others, which the server
 * has taken. The number of bytes, or a negative errno when there is none.
 */
static ssize_t write_pieces(struct request *req, struct fuse_bufvec *in, const char *data)
{
	size_t done = 0;

	for (size_t i = 0; i < req->nr; i++) {
		const struct piece *piece = &req->v[i];
		struct fuse_bufvec mem = FUSE_BUFVEC_INIT(piece->len);
		ssize_t n = piece->len;

		if (piece->backing) {
			mem.buf[0].mem = (void *)(data + done);
			n = write_bound(req, piece, in ? in : &mem);
		}
		if (n < 0)
			return done ? (ssize_t)done : n;
		done += n;
		if ((size_t)n < piece->len)
			break;
	}
	return done;
}

static ssize_t ask_server(struct request *req, const struct taker *taker, const struct piece *piece,
			  const char *data)
{
	unsigned int flags = piece->flags & FR_READ ? FUSE_REGION_READ : 0;
	ssize_t n;

	if (!taker->gap)
		return -EROFS;
	n = taker->gap(taker->ctx, req->nodeid, piece->pos, data, piece->len, flags);
	return n > (ssize_t)piece->len ? (ssize_t)piece->len : n;
}

/* Give the gaps to the server. When it takes less, the request ends there. */
static int give_gaps(struct request *req, const struct taker *taker, const char *data)
{
	for (size_t i = 0; i < req->nr; i++) {
		const struct piece *piece = &req->v[i];
		ssize_t n;

		if (piece->backing)
			continue;
		n = ask_server(req, taker, piece, data + (piece->pos - req->pos));
		if (n == (ssize_t)piece->len)
			continue;
		request_cut_short(req, i, n < 0 ? 0 : n);
		/* 0 says that the map was changed. If it was, nobody sees this error. */
		return n < 0 ? (int)n : n == 0 ? -EIO : 0;
	}
	return 0;
}

static ssize_t write_mem(struct request *req, const struct taker *taker, const char *data)
{
	ssize_t done;
	int err;

	for (;;) {
		err = request_cut(req, FR_WRITE);
		if (err)
			return err;
		if (!req->has_gap)
			break;
		request_unlock(req);
		err = give_gaps(req, taker, data);
		if (request_relock(req))
			break;
	}
	done = write_pieces(req, NULL, data);
	return done ? done : err;
}

/* The bytes not yet consumed */
static size_t bytes_left(const struct fuse_bufvec *in)
{
	size_t sum = 0;

	for (size_t i = in->idx; i < in->count; i++)
		sum += in->buf[i].size;
	return sum - in->off;
}

static void free_mem(char **mem)
{
	free(*mem);
}

/* All of @in in one piece of memory, its own if it is that already; else @mem is to be freed. */
static int as_memory(struct fuse_bufvec *in, size_t size, char **mem, const char **data)
{
	struct fuse_bufvec out = FUSE_BUFVEC_INIT(size);
	ssize_t n;

	if (in->idx + 1 == in->count && !(in->buf[in->idx].flags & FUSE_BUF_IS_FD)) {
		*data = (char *)in->buf[in->idx].mem + in->off;
		return 0;
	}
	*mem = malloc(size);
	if (!*mem)
		return -ENOMEM;
	out.buf[0].mem = *mem;
	*data = *mem;
	n = fuse_buf_copy(&out, in, 0);
	if (n < 0)
		return (int)n;
	return n == (ssize_t)size ? 0 : -EIO;
}

static int check_range(size_t size, off_t offset)
{
	if (offset < 0)
		return -EINVAL;
	return size > (uint64_t)INT64_MAX - (uint64_t)offset ? -EFBIG : 0;
}

ssize_t fuse_regions_write_buf(struct fuse_regions_conn *conn, uint64_t nodeid,
			       struct fuse_bufvec *in, off_t offset, fuse_regions_gap_write_t gap,
			       void *ctx)
{
	size_t size = bytes_left(in);
	cleanup(request_end) struct request req = {
		.conn = conn,
		.nodeid = nodeid,
		.pos = offset,
		.len = size,
	};
	struct taker taker = { gap, ctx };
	cleanup(free_mem) char *mem = NULL;
	const char *data;
	int err = check_range(size, offset);

	if (err)
		return err;
	request_lock(&req);
	err = request_cut(&req, FR_WRITE);
	if (err)
		return err;
	if (!req.has_gap)
		return write_pieces(&req, in, NULL);
	err = as_memory(in, size, &mem, &data);
	if (err)
		return err;
	return write_mem(&req, &taker, data);
}

ssize_t fuse_regions_write(struct fuse_regions_conn *conn, uint64_t nodeid, const void *data,
			   size_t size, off_t offset, fuse_regions_gap_write_t gap, void *ctx)
{
	cleanup(request_end) struct request req = {
		.conn = conn,
		.nodeid = nodeid,
		.pos = offset,
		.len = size,
	};
	struct taker taker = { gap, ctx };
	int err = check_range(size, offset);

	if (err)
		return err;
	request_lock(&req);
	return write_mem(&req, &taker, data);
}
