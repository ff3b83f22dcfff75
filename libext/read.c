// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0
/* Answering READ from the map: the fallback, and what still reaches the server. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pieces.h"
#include "pipe.h"

/* More buffers than this are not worth a pipe: they are copied together. */
#define SPLICE_MAX_PIECES 16

/* libfuse copies less than two pages anyway */
#define SPLICE_MIN_SIZE 8192

/**
 * struct reading - a read under way
 * @req:	the bytes
 * @file_size:	what the server says the size is
 * @gap:	asks the server; NULL: zeroes
 * @ctx:	for @gap
 * @mem:	memory for all of the bytes, or NULL as long as none is needed
 * @err:	what ended the read early
 */
struct reading {
	struct request req;
	uint64_t file_size;
	fuse_regions_gap_read_t gap;
	void *ctx;
	char *mem;
	int err;
};

static uint64_t backing_size(int fd)
{
	struct stat st;

	return fstat(fd, &st) < 0 || st.st_size < 0 ? 0 : (uint64_t)st.st_size;
}

/* A whole-file region that reaches the end says where that is. */
static uint64_t file_end(const struct reading *r)
{
	const struct fr_region *whole = fr_map_whole_tail(inode_root(r->req.inode));
	int64_t end;

	if (!whole)
		return r->file_size;
	end = backing_size(((struct backing *)fr_region_backing(whole))->fd) -
	      whole->backing_start + whole->start;
	return end < 0 ? 0 : end;
}

static int cut(struct reading *r, uint64_t wanted)
{
	uint64_t end = file_end(r);

	r->err = 0;
	/* No file has bytes behind that. */
	if (end > FR_LAST_MAX + 1)
		end = FR_LAST_MAX + 1;
	r->req.len = wanted;
	if (r->req.pos >= end)
		r->req.len = 0;
	else if (r->req.len > end - r->req.pos)
		r->req.len = end - r->req.pos;
	return request_cut(&r->req, FR_READ);
}

static char *piece_mem(const struct reading *r, const struct piece *piece)
{
	return r->mem + (piece->pos - r->req.pos);
}

static int ask_server(struct reading *r, struct piece *piece)
{
	int err;

	piece->gap = (struct fuse_buf){
		.size = piece->len,
		.mem = piece_mem(r, piece),
		.fd = -1,
	};
	err = r->gap(r->ctx, r->req.nodeid, piece->pos, &piece->gap);
	if (piece->gap.size > piece->len)
		piece->gap.size = piece->len;
	return err;
}

static void ask_for_gaps(struct reading *r)
{
	for (size_t i = 0; i < r->req.nr; i++) {
		if (r->req.v[i].backing)
			continue;
		r->err = ask_server(r, &r->req.v[i]);
		if (r->err) {
			request_cut_short(&r->req, i, 0);
			return;
		}
	}
}

/* Everything but the bound bytes, which can then be read: the lock is held. */
static int prepare(struct reading *r, uint64_t wanted)
{
	int err;

	request_lock(&r->req);
	for (;;) {
		err = cut(r, wanted);
		if (err || !r->req.has_gap || !r->gap)
			return err;
		request_unlock(&r->req);
		if (!r->mem)
			r->mem = malloc(wanted);
		if (!r->mem)
			return -ENOMEM;
		ask_for_gaps(r);
		if (request_relock(&r->req))
			return 0;
	}
}

/* Some bytes at @pos, or the next ones of what has no positions */
static ssize_t read_some(int fd, char *data, uint64_t len, uint64_t pos, bool seek)
{
	if (!seek)
		return read(fd, data, len);
	return pos > INT64_MAX ? 0 : pread(fd, data, len, (off_t)pos);
}

/* Bytes past the end of the file behind @fd are zeroes. */
static int read_fd(int fd, char *data, uint64_t len, uint64_t pos, bool seek)
{
	uint64_t done = 0;

	while (done < len) {
		ssize_t n = read_some(fd, data + done, len - done, pos + done, seek);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		done += n;
	}
	memset(data + done, 0, len - done);
	return 0;
}

static int read_gap(const struct piece *piece, char *data)
{
	const struct fuse_buf *gap = &piece->gap;

	if (gap->flags & FUSE_BUF_IS_FD) {
		int err =
			read_fd(gap->fd, data, gap->size, gap->pos, gap->flags & FUSE_BUF_FD_SEEK);

		if (err)
			return err;
	} else if (gap->mem && gap->mem != data) {
		memcpy(data, gap->mem, gap->size);
	}
	memset(data + gap->size, 0, piece->len - gap->size);
	return 0;
}

/* Put all bytes into @data. The number of them, or a negative errno. */
static ssize_t copy_pieces(struct reading *r, char *data)
{
	size_t done = 0;

	for (size_t i = 0; i < r->req.nr; i++) {
		struct piece *piece = &r->req.v[i];
		int err = piece->backing ? read_fd(piece->backing->fd, data + done, piece->len,
						   piece->backing_pos, true)
					 : read_gap(piece, data + done);

		if (err) {
			r->err = err;
			break;
		}
		done += piece->len;
	}
	return done ? (ssize_t)done : r->err;
}

static size_t total(const struct reading *r)
{
	size_t sum = 0;

	for (size_t i = 0; i < r->req.nr; i++)
		sum += r->req.v[i].len;
	return sum;
}

static bool splice_gap(const struct reading *r, struct pipe *pipe, const struct piece *piece)
{
	const struct fuse_buf *gap = &piece->gap;
	const char *zeroes = r->req.conn->zeroes;
	bool ok;

	if (gap->flags & FUSE_BUF_IS_FD)
		ok = pipe_splice(pipe, gap->fd, gap->pos, gap->size, zeroes);
	else
		ok = pipe_add(pipe, gap->mem ? gap->mem : zeroes, gap->size);
	return ok && pipe_add(pipe, zeroes, piece->len - gap->size);
}

/* Reply with all bytes in @pipe, so that libfuse can splice them on. */
static int reply_piped(const struct reading *r, struct fuse_req *req, const struct pipe *pipe)
{
	struct {
		struct fuse_bufvec vec;
		struct fuse_buf more[SPLICE_MAX_PIECES];
	} bufs = { .vec = { .count = r->req.nr } };
	struct fuse_buf *buf = bufs.vec.buf;

	/* As many as there are, for libfuse guesses from that how large a pipe it needs. */
	for (size_t i = 0; i < r->req.nr; i++)
		*buf++ = (struct fuse_buf){
			.size = r->req.v[i].len,
			.flags = FUSE_BUF_IS_FD | FUSE_BUF_FD_RETRY,
			.fd = pipe->out,
		};
	return fuse_reply_data(req, &bufs.vec, 0);
}

/* false: there is no reply yet, and what goes wrong will be seen by copying. */
static bool reply_spliced(struct reading *r, struct fuse_req *req, int *ret)
{
	size_t slots = 0;
	struct pipe *pipe;
	bool ok = true;

	for (size_t i = 0; i < r->req.nr; i++)
		slots += pipe_slots(r->req.v[i].len);
	pipe = pipe_get(r->req.conn, slots);
	if (!pipe)
		return false;
	for (size_t i = 0; ok && i < r->req.nr; i++) {
		const struct piece *piece = &r->req.v[i];

		ok = piece->backing ? pipe_splice(pipe, piece->backing->fd, piece->backing_pos,
						  piece->len, r->req.conn->zeroes)
				    : splice_gap(r, pipe, piece);
	}
	if (ok)
		*ret = reply_piped(r, req, pipe);
	pipe_put(r->req.conn, pipe);
	return ok;
}

static int reply_copied(struct reading *r, struct fuse_req *req)
{
	char *data = malloc(r->req.len);
	ssize_t size = -ENOMEM;
	int ret;

	if (data)
		size = copy_pieces(r, data);
	if (r->err)
		size = r->err;
	ret = size < 0 ? fuse_reply_err(req, (int)-size) : fuse_reply_buf(req, data, size);
	free(data);
	return ret;
}

static bool can_splice(const struct reading *r)
{
	if (r->req.nr > SPLICE_MAX_PIECES || r->req.len < SPLICE_MIN_SIZE ||
	    r->req.len > ZEROES_SIZE)
		return false;
	for (size_t i = 0; i < r->req.nr; i++) {
		const struct piece *piece = &r->req.v[i];

		/* What is taken out of one that has no positions is gone. */
		if (!piece->backing && piece->gap.flags & FUSE_BUF_IS_FD &&
		    !(piece->gap.flags & FUSE_BUF_FD_SEEK))
			return false;
	}
	return true;
}

static void end(struct reading *r)
{
	request_end(&r->req);
	free(r->mem);
}

static void begin(struct reading *r, struct fuse_regions_conn *conn, uint64_t nodeid, off_t offset,
		  uint64_t file_size)
{
	*r = (struct reading){
		.req = { .conn = conn, .nodeid = nodeid, .pos = offset },
		.file_size = file_size,
	};
}

int fuse_regions_reply_read(struct fuse_regions_conn *conn, struct fuse_req *req, uint64_t nodeid,
			    size_t size, off_t offset, uint64_t file_size,
			    fuse_regions_gap_read_t gap, void *ctx)
{
	cleanup(end) struct reading r;
	int err, ret;

	begin(&r, conn, nodeid, offset, file_size);
	r.gap = gap;
	r.ctx = ctx;
	err = offset < 0 ? -EINVAL : prepare(&r, size);
	/* All or nothing: FUSE takes the end of a short reply for the file's. */
	if (!err)
		err = r.err;
	if (err)
		return fuse_reply_err(req, -err);
	if (!total(&r))
		return fuse_reply_buf(req, NULL, 0);
	if (can_splice(&r) && reply_spliced(&r, req, &ret))
		return ret;
	return reply_copied(&r, req);
}

ssize_t fuse_regions_read(struct fuse_regions_conn *conn, uint64_t nodeid, void *data, size_t size,
			  off_t offset, uint64_t file_size, fuse_regions_gap_read_t gap, void *ctx)
{
	cleanup(end) struct reading r;
	int err;

	begin(&r, conn, nodeid, offset, file_size);
	r.gap = gap;
	r.ctx = ctx;
	err = offset < 0 ? -EINVAL : prepare(&r, size);
	return err ? err : copy_pieces(&r, data);
}
