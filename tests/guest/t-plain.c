// SPDX-License-Identifier: GPL-2.0
/*
 * G6: FUSE as it was. A script of calls runs on a mount that uses no regions,
 * and what each returned is written down: the same with the module and without
 * it, and the same on an attached connection whose files have no regions.
 */
#define _GNU_SOURCE
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/uio.h>
#include <sys/xattr.h>

#include "harness.h"

#define SIZE (40 * PAGE + 123)

struct record {
	char *text;
	size_t len;
	FILE *out;
	bool writeback; /* when the server is told of a write is chance */
};

static void *nowhere; /* memory that can't be used */

static void begin(struct record *r)
{
	nowhere = mmap(NULL, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	r->out = open_memstream(&r->text, &r->len);
	CHECK(r->out);
}

/* A result: the value, or the errno */
#define DO(r, call)                                             \
	({                                                      \
		long long do_;                                  \
		errno = 0;                                      \
		do_ = (long long)(call);                        \
		fprintf((r)->out, "%s = %lld %s\n", #call, do_, \
			do_ < 0 ? strerrorname_np(errno) : ""); \
		do_;                                            \
	})

/* What is in a buffer, or in a file */
static void sum(struct record *r, const char *what, const void *buf, size_t len)
{
	const unsigned char *p = buf;
	uint64_t h = 14695981039346656037ull;

	for (size_t i = 0; i < len; i++)
		h = (h ^ p[i]) * 1099511628211ull;
	fprintf(r->out, "%s: %016llx\n", what, (unsigned long long)h);
}

static void attributes(struct record *r, int fd)
{
	struct stat st;

	DO(r, fstat(fd, &st));
	fprintf(r->out, "size %lld blocks %lld mode %o nlink %d\n", (long long)st.st_size,
		r->writeback ? -1 : (long long)st.st_blocks, st.st_mode, (int)st.st_nlink);
}

/* Of those kinds alone that don't depend on what the page cache and the clock are up to */
static void counters(struct record *r, const struct tfile *f)
{
	static const enum srv_op ops[] = { OP_OPEN, OP_CREATE, OP_FSYNC, OP_FALLOCATE, OP_COPY };

	for (size_t i = 0; i < ARRAY_SIZE(ops); i++)
		fprintf(r->out, "requests of kind %d: %llu\n", ops[i],
			(unsigned long long)srv_count(f, ops[i]));
}

static void mapped(struct record *r, int fd, int flags)
{
	struct stat st;
	void *p;

	CHECK_OK(fstat(fd, &st));
	p = mmap(NULL, (size_t)st.st_size, PROT_READ, flags, fd, 0);
	if (p == MAP_FAILED) {
		fprintf(r->out, "no mapping: %s\n", strerrorname_np(errno));
		return;
	}
	sum(r, "mmap", p, (size_t)st.st_size);
	munmap(p, (size_t)st.st_size);
}

static void script_read(struct record *r, struct tfile *f, int flags)
{
	int fd = srv_open(f, O_RDONLY | flags), fds[2], out = backing_new(0)->fd;
	char *buf = direct_alloc(SIZE + PAGE);
	struct iovec iov[2] = { { buf, 5000 }, { buf + 8192, 3000 } };
	off_t pos = 3;

	sum(r, "read", buf, (size_t)DO(r, pread(fd, buf, SIZE + PAGE, 0)));
	sum(r, "part", buf, (size_t)DO(r, pread(fd, buf, 5000, 4097)));
	DO(r, pread(fd, buf, 10, SIZE));
	DO(r, pread(fd, buf, 10, SIZE + 5));
	DO(r, pread(fd, buf, 10, -1));
	DO(r, pread(fd, nowhere, 10, 0));
	DO(r, pwrite(fd, buf, 10, 0));
	DO(r, preadv2(fd, iov, 2, 77, 0));
	sum(r, "vectors", buf, 8192 + 3000);
	/* An attached connection's files can do this, for their regions; only the errno tells. */
	CHECK_ERR(preadv2(fd, iov, 2, 77, RWF_NOWAIT), errno == EAGAIN ? EAGAIN : EOPNOTSUPP);
	DO(r, preadv2(fd, iov, 2, 77, RWF_HIPRI));
	DO(r, lseek(fd, 0, SEEK_END));
	DO(r, lseek(fd, 5, SEEK_DATA));
	DO(r, lseek(fd, 5, SEEK_HOLE));
	DO(r, lseek(fd, SIZE, SEEK_HOLE));
	DO(r, lseek(fd, -5, SEEK_SET));
	DO(r, sendfile(out, fd, &pos, 10000));
	DO(r, copy_file_range(fd, NULL, out, NULL, 100, 0));
	CHECK_OK(pipe(fds));
	pos = 5;
	DO(r, splice(fd, &pos, fds[1], NULL, 3000, 0));
	DO(r, read(fds[0], buf, 3000));
	sum(r, "splice", buf, 3000);
	DO(r, readahead(fd, 0, SIZE));
	DO(r, posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED));
	DO(r, posix_fadvise(fd, 0, 0, 77));
	mapped(r, fd, MAP_SHARED);
	mapped(r, fd, MAP_PRIVATE);
	DO(r, ioctl(fd, _IO('x', 1)));
	DO(r, fgetxattr(fd, "user.x", buf, 10));
	attributes(r, fd);
	DO(r, close(fd));
	free(buf);
}

static void script_write(struct record *r, struct tfile *f, int flags)
{
	int fd = srv_open(f, O_RDWR | flags), in = srv_open(f, O_RDONLY);
	char *buf = direct_alloc(SIZE + PAGE), *p;
	struct iovec iov[2] = { { buf, 512 }, { buf + 8192, 1024 } };
	off_t to = 20 * PAGE, from = 0;

	pattern_fill(buf, 7, 0, SIZE);
	DO(r, pwrite(fd, buf, 5120, 1024));
	DO(r, pwrite(fd, buf, 4096, SIZE / 4096 * 4096));
	attributes(r, fd);
	DO(r, pwritev2(fd, iov, 2, 4096, RWF_DSYNC));
	DO(r, pwritev2(fd, iov, 2, -1, RWF_APPEND));
	attributes(r, fd);
	DO(r, pwrite(fd, nowhere, 512, 0));
	DO(r, pwrite(fd, buf, 512, -1));
	DO(r, pwrite(fd, buf, 512, INT64_MAX - 511));
	DO(r, fsync(fd));
	DO(r, fdatasync(fd));
	DO(r, ftruncate(fd, 100000));
	attributes(r, fd);
	DO(r, ftruncate(fd, 130000));
	DO(r, fallocate(fd, 0, 0, 140000));
	DO(r, fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 5000, 5000));
	DO(r, fallocate(fd, FALLOC_FL_COLLAPSE_RANGE, 4096, 4096));
	attributes(r, fd);
	DO(r, copy_file_range(in, &from, fd, &to, 8192, 0));
	p = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 4096);
	if (p != MAP_FAILED) {
		memset(p + 100, 'm', 5000);
		DO(r, msync(p, 8192, MS_SYNC));
		munmap(p, 8192);
	} else {
		fprintf(r->out, "no shared mapping: %s\n", strerrorname_np(errno));
	}
	DO(r, fchmod(fd, 0600));
	DO(r, futimens(fd, (struct timespec[2]){ { 5, 0 }, { 6, 0 } }));
	sum(r, "all", buf, (size_t)DO(r, pread(in, buf, SIZE, 0)));
	DO(r, close(fd));
	DO(r, close(in));
	backing_bytes(f->store, buf, 0, SIZE);
	sum(r, "in the server", buf, SIZE);
	free(buf);
}

static void script_names(struct record *r, struct srv *s)
{
	char path[128];
	struct stat st;
	int fd;

	snprintf(path, sizeof(path), "%s/none", s->mnt);
	DO(r, open(path, O_RDONLY));
	DO(r, open(path, O_RDWR | O_CREAT, 0644));
	snprintf(path, sizeof(path), "%s/new", s->mnt);
	fd = open(path, O_RDWR | O_CREAT | O_EXCL, 0640);
	fprintf(r->out, "create %s\n", fd < 0 ? strerrorname_np(errno) : "");
	DO(r, pwrite(fd, "abc", 3, 10));
	attributes(r, fd);
	DO(r, open(path, O_RDWR | O_CREAT | O_EXCL, 0640));
	DO(r, close(fd));
	fd = open(path, O_RDWR | O_TRUNC | O_APPEND);
	DO(r, write(fd, "xyz", 3));
	DO(r, write(fd, "xyz", 3));
	attributes(r, fd);
	DO(r, unlink(path));
	DO(r, pread(fd, path, 10, 0));
	DO(r, close(fd));
	DO(r, stat(path, &st));
	DO(r, truncate(path, 5));
	DO(r, open(s->mnt, O_RDWR));
}

/* All of it, on a server of its own */
static char *run_script(struct srv_opts opts, bool direct_io)
{
	struct srv *s = srv_new(&opts);
	struct tfile *f = srv_store_file(s, "f", SIZE), *new = srv_store_file(s, "new", 0);
	struct record r = { .writeback = opts.writeback };

	new->hidden = true;
	f->seed = f->store->seed = 31;
	backing_reseed(f->store, 31);
	f->direct_io = direct_io;
	srv_start(s);
	begin(&r);
	script_read(&r, f, 0);
	script_read(&r, f, O_DIRECT);
	script_write(&r, f, 0);
	script_read(&r, f, 0);
	script_write(&r, f, O_DIRECT);
	script_write(&r, f, O_SYNC);
	script_names(&r, s);
	if (!r.writeback)
		counters(&r, f);
	fclose(r.out);
	srv_stop(s);
	return r.text;
}

/* Say where two accounts part ways */
static void expect_same(const char *a, const char *a_name, const char *b, const char *b_name)
{
	int line = 1;

	for (const char *p = a, *q = b; *p || *q; line++) {
		size_t n = strcspn(p, "\n"), m = strcspn(q, "\n");

		if (n != m || memcmp(p, q, n))
			FAIL("line %d: %s: '%.*s', %s: '%.*s'", line, a_name, (int)n, p, b_name,
			     (int)m, q);
		p += n + (p[n] != 0);
		q += m + (q[m] != 0);
	}
	note("%d lines are the same", line - 1);
}

static void same_with_and_without(struct srv_opts opts, bool direct_io)
{
	uint64_t until = now_ms() + 5000;
	char *with, *without, *attached;
	int res;

	close(raw_device());
	attached = run_script(opts, direct_io);
	opts.no_attach = true;
	with = run_script(opts, direct_io);
	while ((res = module_unload()) && now_ms() < until)
		sleep_ms(20);
	CHECK_ZERO(res);
	without = run_script(opts, direct_io);
	expect_same(without, "without the module", with, "with it");
	expect_same(without, "without the module", attached, "attached, no regions");
	free(with);
	free(without);
	free(attached);
}

TEST(g6_same_results)
{
	same_with_and_without((struct srv_opts){ 0 }, false);
}

TEST(g6_same_results_direct_io)
{
	same_with_and_without((struct srv_opts){ 0 }, true);
}

TEST(g6_same_results_writeback_cache)
{
	same_with_and_without((struct srv_opts){ .writeback = true }, false);
}

TEST(g6_same_results_without_open)
{
	same_with_and_without((struct srv_opts){ .no_open = true }, false);
}

TEST(g6_same_results_no_attr_cache)
{
	same_with_and_without((struct srv_opts){ .no_attr_cache = true }, false);
}

TEST(g6_same_results_server_copies)
{
	same_with_and_without((struct srv_opts){ .copy = true }, false);
}

/* A file that had regions once is an ordinary one again. */
TEST(g6_after_the_last_unbind)
{
	struct srv *s = srv_new(NULL);
	struct tfile *f = srv_store_file(s, "f", SIZE);
	struct backing *b = backing_new(SIZE);
	unsigned char buf[PAGE];
	uint64_t reads;
	int fd;

	srv_start(s);
	srv_register(s, b);
	fd = srv_open(f, O_RDWR);
	CHECK_ZERO(region_bind(f, PAGE, 5 * PAGE, b, 0, 0));
	expect_file(f, fd, 10 * PAGE);
	CHECK_ZERO(region_unbind(f, 0, 0));
	expect_file(f, fd, 10 * PAGE);
	CHECK_EQ(pread(fd, buf, PAGE, 3 * PAGE), PAGE);
	reads = srv_count(f, OP_READ);
	for (int i = 0; i < 10; i++)
		CHECK_EQ(pread(fd, buf, PAGE, 3 * PAGE), PAGE);
	/* the page cache serves it */
	CHECK_EQ(srv_count(f, OP_READ), reads);
	CHECK_EQ(pwrite(fd, "x", 1, 3 * PAGE), 1);
	expect_file(f, fd, 10 * PAGE);
}

/* Mainline's own passthrough, on a connection that is attached and on one that is not */
static void mainline_passthrough(bool attach)
{
	struct srv *s = srv_new(&(struct srv_opts){ .mainline = 1, .no_attach = !attach });
	struct tfile *f = srv_store_file(s, "f", SIZE);
	unsigned char buf[PAGE];
	char *p;
	int fd;

	f->mainline = true;
	srv_start(s);
	fd = srv_open(f, O_RDWR);
	expect_file(f, fd, 7 * PAGE);
	if (srv_count(f, OP_READ))
		SKIP("this kernel has no mainline passthrough");
	pattern_fill(buf, 5, 0, PAGE);
	CHECK_EQ(pwrite(fd, buf, PAGE, 5), PAGE);
	expect_file(f, fd, 7 * PAGE);
	p = mmap(NULL, SIZE, PROT_READ, MAP_SHARED, fd, 0);
	CHECK(p != MAP_FAILED);
	expect_content(f, "mmap", 0, p, SIZE);
	munmap(p, SIZE);
	p = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK(p != MAP_FAILED);
	p[PAGE + 7] = 'm';
	p[3 * PAGE] = 'n';
	CHECK_OK(msync(p, SIZE, MS_SYNC));
	munmap(p, SIZE);
	CHECK_EQ(pread(f->store->fd, buf, 1, PAGE + 7), 1);
	CHECK_EQ(buf[0], 'm');
	expect_file(f, fd, 7 * PAGE);
	CHECK_EQ(srv_count(f, OP_READ) + srv_count(f, OP_WRITE), 0);
	close(fd);
	srv_stop(s);
}

TEST(g6_mainline_passthrough)
{
	mainline_passthrough(false);
}

TEST(g6_mainline_passthrough_attached)
{
	mainline_passthrough(true);
}
