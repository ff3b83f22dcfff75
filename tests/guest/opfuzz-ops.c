// SPDX-License-Identifier: GPL-2.0
/* What applications do to a file, see opfuzz.h. */
#define _GNU_SOURCE
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/uio.h>

#include "opfuzz.h"

struct range {
	uint64_t off, len;
};

static struct range inside(const struct opfuzz *z)
{
	struct range r = { .off = rnd_below(z->o.size + 1) };

	r.len = 1 + rnd_below(rnd_below(2) ? 500 : 40000);
	if (r.off + r.len > z->o.size)
		r.len = z->o.size - r.off;
	return r;
}

/* For writing: may reach past the end, or begin there */
static struct range anywhere(const struct opfuzz *z)
{
	struct range r = { .off = rnd_below(z->o.size + 1) };

	if (rnd_below(10) == 0)
		r.off = rnd_below(z->opts.max);
	r.len = 1 + rnd_below(rnd_below(2) ? 500 : 40000);
	if (r.off + r.len > z->opts.max)
		r.len = z->opts.max - r.off;
	return r;
}

static int some_fd(const struct opfuzz *z)
{
	if (rnd_below(3))
		return z->fd;
	/* FUSE's direct reads end where the server ends, which may lack what is to be written back. */
	if (z->opts.srv.writeback)
		CHECK_OK(fsync(z->fd));
	return z->direct;
}

static void compare(struct opfuzz *z, const char *how, struct range r, ssize_t n)
{
	if (n != (ssize_t)r.len)
		FAIL("%s of %llu at %#llx: %zd (errno %d)", how, (unsigned long long)r.len,
		     (unsigned long long)r.off, n, errno);
	oracle_compare(&z->o, how, z->buf, r.off, r.len);
}

static void noted(struct opfuzz *z, const char *how, struct range r, ssize_t n)
{
	if (n != (ssize_t)r.len)
		FAIL("%s of %llu at %#llx: %zd (errno %d)", how, (unsigned long long)r.len,
		     (unsigned long long)r.off, n, errno);
	oracle_note(&z->o, z->buf, r.off, r.len);
}

#define LOG(z, r, what)                                                                 \
	opfuzz_log(z, "%s %#llx+%#llx (size %#llx)", what, (unsigned long long)(r).off, \
		   (unsigned long long)(r).len, (unsigned long long)(z)->o.size)

static void op_read(struct opfuzz *z)
{
	struct range r = inside(z);

	LOG(z, r, "pread");
	memset(z->buf, 0xA5, r.len);
	compare(z, "pread", r, pread(some_fd(z), z->buf, r.len, (off_t)r.off));
}

static int split(struct opfuzz *z, struct range r, struct iovec *iov)
{
	uint64_t a = rnd_below(r.len + 1), b = a + rnd_below(r.len - a + 1);

	iov[0] = (struct iovec){ z->buf, a };
	iov[1] = (struct iovec){ z->buf + a, b - a };
	iov[2] = (struct iovec){ z->buf + b, r.len - b };
	return 3;
}

static void op_readv(struct opfuzz *z)
{
	struct range r = inside(z);
	struct iovec iov[3];

	LOG(z, r, "preadv");
	memset(z->buf, 0xA5, r.len);
	compare(z, "preadv", r, preadv(some_fd(z), iov, split(z, r, iov), (off_t)r.off));
}

static void op_read_mapped(struct opfuzz *z)
{
	struct range r = inside(z);
	uint64_t start = r.off / PAGE * PAGE;
	unsigned char *p;

	if (!r.len)
		return;
	LOG(z, r, "read mapping");
	p = mmap(NULL, r.off + r.len - start, PROT_READ, rnd_below(2) ? MAP_SHARED : MAP_PRIVATE,
		 rnd_below(2) ? z->fd : z->in, (off_t)start);
	CHECK(p != MAP_FAILED);
	oracle_compare(&z->o, "mapping", p + (r.off - start), r.off, r.len);
	munmap(p, r.off + r.len - start);
}

static void op_splice(struct opfuzz *z)
{
	struct range r = inside(z);
	off_t pos = (off_t)r.off;
	size_t got = 0;
	int fds[2];
	ssize_t n;

	if (r.len > 60000)
		r.len = 60000;
	LOG(z, r, "splice");
	CHECK_OK(pipe(fds));
	while (got < r.len) {
		n = splice(z->in, &pos, fds[1], NULL, r.len - got, 0);
		if (n <= 0)
			break;
		got += (size_t)CHECK_OK(read(fds[0], z->buf + got, (size_t)n));
	}
	close(fds[0]);
	close(fds[1]);
	compare(z, "splice", r, (ssize_t)got);
}

static void op_sendfile(struct opfuzz *z)
{
	struct range r = inside(z);
	int out = (int)CHECK_OK(memfd_create("out", MFD_CLOEXEC));
	off_t pos = (off_t)r.off;
	size_t got = 0;
	ssize_t n;

	LOG(z, r, "sendfile");
	while (got < r.len && (n = sendfile(out, z->in, &pos, r.len - got)) > 0)
		got += (size_t)n;
	CHECK_EQ(pread(out, z->buf, got, 0), got);
	close(out);
	compare(z, "sendfile", r, (ssize_t)got);
}

static ssize_t by_aio(struct opfuzz *z, int fd, struct range r, bool write)
{
	struct iocb cb, *list = &cb;
	struct io_event event;

	if (write)
		io_prep_pwrite(&cb, fd, z->buf, r.len, (long long)r.off);
	else
		io_prep_pread(&cb, fd, z->buf, r.len, (long long)r.off);
	CHECK_EQ(io_submit(z->aio, 1, &list), 1);
	CHECK_EQ(io_getevents(z->aio, 1, 1, &event, NULL), 1);
	return (ssize_t)event.res;
}

static ssize_t by_uring(struct opfuzz *z, int fd, struct range r, bool write)
{
	struct io_uring_sqe *sqe;
	struct io_uring_cqe *cqe;
	ssize_t res;

	if (!z->have_ring)
		return by_aio(z, fd, r, write);
	sqe = io_uring_get_sqe(&z->ring);
	if (write)
		io_uring_prep_write(sqe, fd, z->buf, (unsigned int)r.len, r.off);
	else
		io_uring_prep_read(sqe, fd, z->buf, (unsigned int)r.len, r.off);
	CHECK_EQ(io_uring_submit(&z->ring), 1);
	CHECK_ZERO(io_uring_wait_cqe(&z->ring, &cqe));
	res = cqe->res;
	io_uring_cqe_seen(&z->ring, cqe);
	return res;
}

static void op_async_read(struct opfuzz *z)
{
	struct range r = inside(z);
	bool ring = rnd_below(2);

	LOG(z, r, ring ? "io_uring read" : "aio read");
	memset(z->buf, 0xA5, r.len);
	compare(z, ring ? "io_uring" : "aio", r,
		(ring ? by_uring : by_aio)(z, some_fd(z), r, false));
}

static void op_write(struct opfuzz *z)
{
	struct range r = anywhere(z);

	LOG(z, r, "pwrite");
	oracle_fresh(&z->o, z->buf, r.len);
	noted(z, "pwrite", r, pwrite(some_fd(z), z->buf, r.len, (off_t)r.off));
}

static void op_writev(struct opfuzz *z)
{
	struct range r = anywhere(z);
	struct iovec iov[3];

	LOG(z, r, "pwritev");
	oracle_fresh(&z->o, z->buf, r.len);
	noted(z, "pwritev", r,
	      pwritev2(some_fd(z), iov, split(z, r, iov), (off_t)r.off,
		       rnd_below(8) ? 0 : RWF_DSYNC));
}

static void op_async_write(struct opfuzz *z)
{
	struct range r = anywhere(z);
	bool ring = rnd_below(2);

	LOG(z, r, ring ? "io_uring write" : "aio write");
	oracle_fresh(&z->o, z->buf, r.len);
	noted(z, ring ? "io_uring" : "aio", r, (ring ? by_uring : by_aio)(z, some_fd(z), r, true));
}

static void op_append(struct opfuzz *z)
{
	struct range r = { .off = z->o.size, .len = 1 + rnd_below(5000) };

	if (r.off + r.len > z->opts.max)
		return;
	LOG(z, r, "append");
	oracle_fresh(&z->o, z->buf, r.len);
	noted(z, "append", r, write(z->append, z->buf, r.len));
}

static void op_write_mapped(struct opfuzz *z)
{
	struct range r = inside(z);
	uint64_t start = r.off / PAGE * PAGE;
	unsigned char *p;

	if (!r.len)
		return;
	LOG(z, r, "store into mapping");
	/* A page that gets an edge now is one that can't be stored into. */
	pthread_mutex_lock(&z->regions);
	p = mmap(NULL, r.off + r.len - start, PROT_READ | PROT_WRITE, MAP_SHARED, z->fd,
		 (off_t)start);
	if (p == MAP_FAILED) {
		CHECK_EQ(errno, ENODEV); /* an edge inside a page */
		pthread_mutex_unlock(&z->regions);
		return;
	}
	oracle_fresh(&z->o, z->buf, r.len);
	memcpy(p + (r.off - start), z->buf, r.len);
	pthread_mutex_unlock(&z->regions);
	oracle_note(&z->o, z->buf, r.off, r.len);
	if (rnd_below(2))
		CHECK_OK(msync(p, r.off + r.len - start, MS_SYNC));
	munmap(p, r.off + r.len - start);
}

static void op_truncate(struct opfuzz *z)
{
	uint64_t size = rnd_below(3) ? z->o.size + rnd_below(9000) : rnd_below(z->opts.max);

	if (size > z->opts.max)
		size = z->opts.max;
	if (rnd_below(40) == 0)
		size = 0;
	opfuzz_log(z, "truncate %#llx to %#llx", (unsigned long long)z->o.size,
		   (unsigned long long)size);
	pthread_mutex_lock(&z->regions);
	CHECK_OK(ftruncate(z->fd, (off_t)size));
	oracle_truncate(&z->o, size);
	pthread_mutex_unlock(&z->regions);
}

static void op_fallocate(struct opfuzz *z)
{
	static const int modes[] = { FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
				     FALLOC_FL_KEEP_SIZE };
	int mode = modes[rnd_below(ARRAY_SIZE(modes))];
	struct range r = anywhere(z);

	if (!r.len || z->opts.whole)
		return;
	LOG(z, r, mode & FALLOC_FL_PUNCH_HOLE ? "punch" : mode ? "allocate" : "extend");
	pthread_mutex_lock(&z->regions);
	CHECK_OK(fallocate(z->fd, mode, (off_t)r.off, (off_t)r.len));
	if (!mode && r.off + r.len > z->o.size)
		oracle_truncate(&z->o, r.off + r.len);
	if (mode & FALLOC_FL_PUNCH_HOLE && r.off < z->o.size) {
		if (r.off + r.len > z->o.size)
			r.len = z->o.size - r.off;
		memset(z->buf, 0, r.len);
		oracle_note(&z->o, z->buf, r.off, r.len);
	}
	pthread_mutex_unlock(&z->regions);
}

static void op_copy(struct opfuzz *z)
{
	struct range r = inside(z);
	loff_t from = (loff_t)r.off, to;
	uint64_t done = 0;
	ssize_t n;

	r.len = r.len > 20000 ? 20000 : r.len;
	to = (loff_t)rnd_below(z->opts.max - r.len);
	if (!r.len || ((uint64_t)to < r.off + r.len && r.off < (uint64_t)to + r.len))
		return;
	opfuzz_log(z, "copy %#llx+%#llx to %#llx", (unsigned long long)r.off,
		   (unsigned long long)r.len, (unsigned long long)to);
	memcpy(z->buf, z->o.bytes + r.off, r.len);
	oracle_note(&z->o, z->buf, (uint64_t)to, r.len);
	while (done < r.len) {
		n = copy_file_range(z->fd, &from, z->fd, &to, r.len - done, 0);
		if (n <= 0)
			FAIL("copy_file_range: %zd (%m)", n);
		done += (uint64_t)n;
	}
}

static void op_sync(struct opfuzz *z)
{
	opfuzz_log(z, "sync");
	CHECK_OK(rnd_below(2) ? fsync(z->fd) : fdatasync(z->in));
}

static void op_advise(struct opfuzz *z)
{
	static const int advice[] = { POSIX_FADV_WILLNEED, POSIX_FADV_DONTNEED };

	opfuzz_log(z, "fadvise");
	CHECK_ZERO(posix_fadvise(z->in, 0, 0, advice[rnd_below(2)]));
	CHECK_ZERO(posix_fadvise(z->pool[0]->fd, 0, 0, POSIX_FADV_DONTNEED));
}

static void op_reopen(struct opfuzz *z)
{
	opfuzz_log(z, "reopen");
	close(z->fd);
	close(z->in);
	z->fd = srv_open(z->f, O_RDWR | (rnd_below(4) ? 0 : O_SYNC));
	z->in = srv_open(z->f, O_RDONLY);
}

void opfuzz_app_op(struct opfuzz *z)
{
	static void (*const ops[])(struct opfuzz *) = {
		op_read,	op_read,       op_readv,	op_read_mapped, op_splice,
		op_sendfile,	op_async_read, op_write,	op_write,	op_writev,
		op_async_write, op_append,     op_write_mapped, op_truncate,	op_fallocate,
		op_copy,	op_sync,       op_advise,	op_reopen,
	};

	ops[rnd_below(ARRAY_SIZE(ops))](z);
}
