// SPDX-License-Identifier: GPL-2.0
/* The request handlers: a flat directory, inode numbers made from enum kind. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server.h"

#define FOREVER		1e6

static const char *const names[NR_KINDS] = {
	[KIND_REGION] = "region",
	[KIND_WHOLE] = "whole",
	[KIND_MANY] = "many",
	[KIND_PASSTHROUGH] = "passthrough",
	[KIND_SERVER] = "server",
	[KIND_CACHED] = "cached",
};

static enum kind kind_of(fuse_ino_t ino)
{
	return ino - FUSE_ROOT_ID - 1;
}

static void fill_attr(const struct server *s, fuse_ino_t ino, struct stat *st)
{
	memset(st, 0, sizeof(*st));
	st->st_ino = ino;
	st->st_nlink = 1;
	st->st_blksize = BLOCK;
	if (ino == FUSE_ROOT_ID) {
		st->st_mode = S_IFDIR | 0755;
		return;
	}
	st->st_mode = S_IFREG | 0644;
	st->st_size = file_size(s, kind_of(ino));
	st->st_blocks = st->st_size / 512;
}

static void op_init(void *data, struct fuse_conn_info *conn)
{
	struct server *s = data;
	int err;

	conn->want |= conn->capable & (FUSE_CAP_SPLICE_WRITE | FUSE_CAP_SPLICE_READ |
				       FUSE_CAP_PASSTHROUGH);
	err = attach(s);
	if (err) {
		fprintf(stderr, "bench-server: cannot attach: %s\n", strerror(-err));
		fuse_session_exit(s->session);
	}
	if (s->mode == MODE_LIBRARY && fuse_regions_mode(s->conn) == FUSE_REGIONS_MODE_USER)
		fprintf(stderr, "bench-server: without regions: %s\n",
			fuse_regions_reason(s->conn));
}

static void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct fuse_entry_param e = { .attr_timeout = FOREVER, .entry_timeout = FOREVER };

	for (int kind = 0; parent == FUSE_ROOT_ID && kind < NR_KINDS; kind++) {
		if (strcmp(name, names[kind]) == 0) {
			e.ino = FUSE_ROOT_ID + 1 + kind;
			fill_attr(fuse_req_userdata(req), e.ino, &e.attr);
			fuse_reply_entry(req, &e);
			return;
		}
	}
	fuse_reply_err(req, ENOENT);
}

static void op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct stat st;

	(void)fi;
	fill_attr(fuse_req_userdata(req), ino, &st);
	fuse_reply_attr(req, &st, FOREVER);
}

/* Times are of no interest here, and no file changes its size. */
static void op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int set,
		       struct fuse_file_info *fi)
{
	(void)attr;
	(void)set;
	op_getattr(req, ino, fi);
}

static int open_passthrough(struct server *s, fuse_req_t req, struct fuse_file_info *fi)
{
	if (s->passthrough_id <= 0)
		s->passthrough_id = fuse_passthrough_open(req, s->backing);
	if (s->passthrough_id <= 0)
		return -EOPNOTSUPP;
	fi->backing_id = s->passthrough_id;
	return 0;
}

static void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct server *s = fuse_req_userdata(req);
	enum kind kind = kind_of(ino);
	int err = 0;

	switch (kind) {
	case KIND_PASSTHROUGH:
		err = open_passthrough(s, req, fi);
		break;
	case KIND_SERVER:
		fi->direct_io = 1;
		break;
	case KIND_CACHED:
		fi->keep_cache = 1;
		break;
	default:
		err = bind_file(s, ino, kind);
	}
	if (err)
		fuse_reply_err(req, -err);
	else
		fuse_reply_open(req, fi);
}

static void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		    struct fuse_file_info *fi)
{
	struct fuse_bufvec buf = FUSE_BUFVEC_INIT(size);
	struct server *s = fuse_req_userdata(req);
	enum kind kind = kind_of(ino);

	(void)fi;
	if (kind <= KIND_MANY) {
		if (s->conn)
			fuse_regions_reply_read(s->conn, req, ino, size, off, file_size(s, kind),
						NULL, NULL);
		else
			fuse_reply_err(req, EIO);
		return;
	}
	if ((uint64_t)off >= s->size)
		size = 0;
	else if (size > s->size - off)
		size = s->size - off;
	buf.buf[0].size = size;
	buf.buf[0].flags = FUSE_BUF_IS_FD | FUSE_BUF_FD_SEEK;
	buf.buf[0].fd = s->backing;
	buf.buf[0].pos = off;
	fuse_reply_data(req, &buf, FUSE_BUF_SPLICE_MOVE);
}

static void op_write_buf(fuse_req_t req, fuse_ino_t ino, struct fuse_bufvec *in, off_t off,
			 struct fuse_file_info *fi)
{
	struct fuse_bufvec out = FUSE_BUFVEC_INIT(fuse_buf_size(in));
	struct server *s = fuse_req_userdata(req);
	ssize_t ret = -EIO;

	(void)fi;
	if (kind_of(ino) > KIND_MANY) {
		out.buf[0].flags = FUSE_BUF_IS_FD | FUSE_BUF_FD_SEEK;
		out.buf[0].fd = s->backing;
		out.buf[0].pos = off;
		ret = fuse_buf_copy(&out, in, 0);
	} else if (s->conn) {
		ret = fuse_regions_write_buf(s->conn, ino, in, off, NULL, NULL);
	}
	if (ret < 0)
		fuse_reply_err(req, -ret);
	else
		fuse_reply_write(req, ret);
}

static void op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	(void)fi;
	fuse_reply_err(req, 0);
}

const struct fuse_lowlevel_ops server_ops = {
	.init = op_init,
	.lookup = op_lookup,
	.getattr = op_getattr,
	.setattr = op_setattr,
	.open = op_open,
	.read = op_read,
	.write_buf = op_write_buf,
	.release = op_release,
};
