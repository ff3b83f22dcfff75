// SPDX-License-Identifier: GPL-2.0
/*
 * The test server's answers that move bytes. Each byte is where the model says
 * that it is: a server that binds regions knows them.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "handlers.h"

static bool overlaps_bound(struct tfile *f, uint64_t off, uint64_t size, uint32_t access)
{
	struct model_op run = { .last = off - 1 };

	for (uint64_t pos = off; size && pos < off + size; pos = run.last + 1)
		if (model_find(f->model, pos, &run) && (run.flags & access))
			return true;
	return false;
}

void do_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, struct fuse_file_info *fi)
{
	struct tfile *f = file_of(req, ino);
	uint64_t off = (uint64_t)offset;
	char *buf;

	(void)fi;
	if (f && overlaps_bound(f, off, size, FUSE_REGION_READ))
		__atomic_add_fetch(&f->asked_bound, 1, __ATOMIC_SEQ_CST);
	if (!enter_at(req, f, OP_READ, off, size))
		return;
	if (f->bad_errno && off <= f->bad_last && off + size > f->bad_start) {
		fuse_reply_err(req, f->bad_errno);
		return;
	}
	learn_size(f);
	if (off >= f->size)
		size = 0;
	else if (size > f->size - off)
		size = f->size - off;
	buf = malloc(size + 1);
	CHECK(buf);
	if (f->store)
		backing_bytes(f->store, buf, off + f->store_shift, size);
	else
		pattern_fill(buf, f->seed, off, size);
	fuse_reply_buf(req, buf, size);
	free(buf);
}

/* Each piece goes to where the model says that its bytes are. */
static int put_bytes(struct tfile *f, const char *buf, size_t size, uint64_t off)
{
	while (size) {
		struct model_op run;
		bool bound = model_find(f->model, off, &run);
		const struct backing *b = bound ? run.b : f->store;
		uint64_t to = bound ? run.bstart : off + f->store_shift;
		size_t n = size;
		ssize_t done;
		int fd;

		if (run.last - off < size)
			n = run.last - off + 1;
		if (!b)
			return EROFS;
		fd = backing_reopen(b, O_WRONLY);
		if (fd < 0)
			return errno;
		done = pwrite(fd, buf, n, (off_t)to);
		close(fd);
		if (done != (ssize_t)n)
			return EIO;
		buf += n;
		off += n;
		size -= n;
	}
	return 0;
}

void do_write(fuse_req_t req, fuse_ino_t ino, const char *buf, size_t size, off_t offset,
	      struct fuse_file_info *fi)
{
	struct tfile *f = file_of(req, ino);
	uint64_t off = (uint64_t)offset;
	int err;

	(void)fi;
	if (f && overlaps_bound(f, off, size, FUSE_REGION_WRITE))
		__atomic_add_fetch(&f->wrote_bound, 1, __ATOMIC_SEQ_CST);
	if (!enter_at(req, f, OP_WRITE, off, size))
		return;
	learn_size(f);
	err = put_bytes(f, buf, size, off);
	if (err) {
		fuse_reply_err(req, err);
		return;
	}
	if (off + size > f->size)
		f->size = off + size;
	touch(f);
	fuse_reply_write(req, size);
}

/* Only what keeps all later bytes in their places */
static int allocate(struct tfile *f, int mode, uint64_t off, uint64_t len)
{
	uint64_t end = off + len;

	if (mode & ~(FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE))
		return EOPNOTSUPP;
	learn_size(f);
	if (!(mode & FALLOC_FL_KEEP_SIZE) && end > f->size)
		f->size = end;
	for (uint64_t pos = off; pos < end;) {
		struct model_op run;
		bool bound = model_find(f->model, pos, &run);
		const struct backing *b = bound ? run.b : f->store;
		uint64_t n = run.last - pos < end - pos ? run.last - pos + 1 : end - pos;
		int res, fd;

		if (!b)
			return EROFS;
		fd = backing_reopen(b, O_WRONLY);
		if (fd < 0)
			return errno;
		res = fallocate(fd, mode, (off_t)(bound ? run.bstart : pos + f->store_shift),
				(off_t)n);
		close(fd);
		if (res)
			return errno;
		pos += n;
	}
	touch(f);
	return 0;
}

void do_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t off, off_t len,
		  struct fuse_file_info *fi)
{
	struct tfile *f = file_of(req, ino);

	(void)fi;
	if (enter(req, f, OP_FALLOCATE))
		fuse_reply_err(req, allocate(f, mode, (uint64_t)off, (uint64_t)len));
}

/* Is the byte at @off in a hole? So are, or are not, all before @end. */
static bool in_hole(struct tfile *f, uint64_t off, uint64_t *end)
{
	struct model_op run;
	bool bound = model_find(f->model, off, &run) && (run.flags & FUSE_REGION_READ);
	const struct backing *b = bound ? run.b : f->store;
	off_t at = (off_t)(bound ? run.bstart : off + f->store_shift), data, next;
	int fd;

	*end = run.last + 1;
	if (!b)
		return false;
	fd = (int)CHECK_OK(backing_reopen(b, O_RDONLY));
	data = lseek(fd, at, SEEK_DATA);
	next = data == at ? lseek(fd, at, SEEK_HOLE) : data;
	close(fd);
	/* none: nothing but a hole is left of the backing */
	if (next > at && (uint64_t)(next - at) < *end - off)
		*end = off + (uint64_t)(next - at);
	return data != at;
}

void do_lseek(fuse_req_t req, fuse_ino_t ino, off_t off, int whence, struct fuse_file_info *fi)
{
	struct tfile *f = file_of(req, ino);
	uint64_t pos = (uint64_t)off, end;

	(void)fi;
	if (!f || !f->srv->opts.lseek) {
		fuse_reply_err(req, ENOSYS);
		return;
	}
	if (!enter(req, f, OP_LSEEK))
		return;
	learn_size(f);
	if (pos >= f->size) {
		fuse_reply_err(req, ENXIO);
		return;
	}
	while (pos < f->size && in_hole(f, pos, &end) != (whence == SEEK_HOLE))
		pos = end;
	if (pos < f->size)
		fuse_reply_lseek(req, (off_t)pos);
	else if (whence == SEEK_HOLE)
		fuse_reply_lseek(req, (off_t)f->size);
	else
		fuse_reply_err(req, ENXIO);
}

/* The bytes as the model sees them: what a server that knows its regions would copy */
static void get_bytes(struct tfile *f, char *buf, size_t size, uint64_t off)
{
	while (size) {
		struct model_op run;
		bool bound = model_find(f->model, off, &run) && (run.flags & FUSE_REGION_READ);
		size_t n = run.last - off < size ? run.last - off + 1 : size;

		if (bound)
			backing_bytes(run.b, buf, run.bstart, n);
		else if (f->store)
			backing_bytes(f->store, buf, off + f->store_shift, n);
		else
			pattern_fill(buf, f->seed, off, n);
		buf += n;
		off += n;
		size -= n;
	}
}

void do_copy(fuse_req_t req, fuse_ino_t ino_in, off_t off_in, struct fuse_file_info *fi_in,
	     fuse_ino_t ino_out, off_t off_out, struct fuse_file_info *fi_out, size_t len,
	     int flags)
{
	struct tfile *in = file_of(req, ino_in), *out = file_of(req, ino_out);
	char *buf;
	int err;

	(void)fi_in;
	(void)fi_out;
	(void)flags;
	if (!in || !in->srv->opts.copy) {
		fuse_reply_err(req, ENOSYS);
		return;
	}
	if (!enter(req, out, OP_COPY))
		return;
	learn_size(in);
	learn_size(out);
	if ((uint64_t)off_in + len > in->size)
		len = (uint64_t)off_in < in->size ? in->size - (uint64_t)off_in : 0;
	buf = malloc(len + 1);
	CHECK(buf);
	get_bytes(in, buf, len, (uint64_t)off_in);
	err = put_bytes(out, buf, len, (uint64_t)off_out);
	free(buf);
	if (err) {
		fuse_reply_err(req, err);
		return;
	}
	if ((uint64_t)off_out + len > out->size)
		out->size = (uint64_t)off_out + len;
	touch(out);
	fuse_reply_write(req, len);
}
