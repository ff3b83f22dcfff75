// SPDX-License-Identifier: GPL-2.0
/*
 * Buffers that are awkward: partly in memory, not there at all, mapped from
 * the very server or file that the I/O is about; and asynchronous writes.
 */
#define _GNU_SOURCE
#include <libaio.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "harness.h"

#define SIZE (256 * PAGE)
#define LEN (64 * PAGE)

static struct backing *b;

static struct tfile *bound(const char *dir, bool split)
{
	struct srv *s = srv_new(NULL);
	struct tfile *f = srv_store_file(s, "f", SIZE);

	srv_store_file(s, "g", SIZE);
	srv_start(s);
	b = backing_new_in(dir, SIZE);
	CHECK_OK(fsync(b->fd));
	srv_register(s, b);
	close(srv_open(f, O_RDONLY));
	CHECK_ZERO(region_bind(f, PAGE, 100 * PAGE, b, 3 * PAGE, RW));
	if (split)
		CHECK_ZERO(region_bind(f, 20 * PAGE, 10 * PAGE, b, 150 * PAGE,
				       RW | FUSE_REGION_REPLACE));
	return f;
}

/* Anonymous memory of which every other stretch was never touched */
static unsigned char *sparse_memory(void)
{
	unsigned char *p =
		mmap(NULL, LEN, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CHECK(p != MAP_FAILED);
	for (uint64_t i = 0; i < LEN / PAGE; i++)
		if (i % 7 < 3)
			p[i * PAGE] = 1;
	return p;
}

/* A private mapping of a file whose pages have not been read yet, and its content */
static unsigned char *cold_mapping(uint64_t *seed)
{
	struct backing *src = backing_new_in(shared_ext4(), LEN);
	unsigned char *p;

	*seed = src->seed;
	CHECK_OK(fsync(src->fd));
	CHECK_ZERO(posix_fadvise(src->fd, 0, 0, POSIX_FADV_DONTNEED));
	p = mmap(NULL, LEN, PROT_READ | PROT_WRITE, MAP_PRIVATE, src->fd, 0);
	CHECK(p != MAP_FAILED);
	CHECK_OK(madvise(p, LEN, MADV_RANDOM));
	CHECK_EQ(p[0], pattern_byte(*seed, 0));
	return p;
}

static long aio(int fd, int opcode, void *buf, size_t len, uint64_t off)
{
	struct iocb cb, *list = &cb;
	io_context_t ctx = NULL;
	struct io_event event;

	CHECK_ZERO(io_setup(2, &ctx));
	if (opcode == IO_CMD_PREAD)
		io_prep_pread(&cb, fd, buf, len, (long long)off);
	else
		io_prep_pwrite(&cb, fd, buf, len, (long long)off);
	CHECK_EQ(io_submit(ctx, 1, &list), 1);
	CHECK_EQ(io_getevents(ctx, 1, 1, &event, NULL), 1);
	CHECK_ZERO(io_destroy(ctx));
	return (long)event.res;
}

static void reads(bool split, bool async)
{
	struct tfile *f = bound(shared_ext4(), split);
	int fd = srv_open(f, O_RDWR | O_DIRECT);

	for (int i = 0; i < 4; i++) {
		unsigned char *p = sparse_memory();
		uint64_t off = (2 + 3 * (uint64_t)i) * PAGE;

		if (async)
			CHECK_EQ(aio(fd, IO_CMD_PREAD, p, LEN, off), LEN);
		else
			CHECK_EQ(pread(fd, p, LEN, (off_t)off), LEN);
		expect_content(f, "direct read", off, p, LEN);
		munmap(p, LEN);
	}
}

static void writes(bool split, bool async)
{
	struct tfile *f = bound(shared_ext4(), split);
	int fd = srv_open(f, O_RDWR | O_DIRECT);
	struct oracle o;

	oracle_load(&o, f);
	for (int i = 0; i < 4; i++) {
		uint64_t off = (2 + 3 * (uint64_t)i) * PAGE, seed;
		unsigned char *p = cold_mapping(&seed), *want = malloc(LEN);

		if (async)
			CHECK_EQ(aio(fd, IO_CMD_PWRITE, p, LEN, off), LEN);
		else
			CHECK_EQ(pwrite(fd, p, LEN, (off_t)off), LEN);
		pattern_fill(want, seed, 0, LEN);
		oracle_note(&o, want, off, LEN);
		oracle_check(&o, fd, 0, SIZE);
		free(want);
		munmap(p, LEN);
	}
	expect_file(f, fd, SIZE);
	oracle_free(&o);
}

TEST(r5_read_into_sparse_memory)
{
	reads(false, false);
}

TEST(r5_read_into_sparse_memory_many_pieces)
{
	reads(true, false);
}

TEST(r4_libaio_read_into_sparse_memory)
{
	reads(false, true);
}

TEST(r4_libaio_read_into_sparse_memory_many_pieces)
{
	reads(true, true);
}

TEST(w1_direct_write_of_cold_memory)
{
	writes(false, false);
}

TEST(w1_direct_write_of_cold_memory_many_pieces)
{
	writes(true, false);
}

TEST(w1_libaio_write_of_cold_memory)
{
	writes(false, true);
}

TEST(w1_libaio_write_of_cold_memory_many_pieces)
{
	writes(true, true);
}

/* As g4-buffer-needs-server, for a read that another one completes */
static uint64_t *unbinds;

static int unbind_once(struct srv *s, struct tfile *g, uint64_t off, size_t size)
{
	(void)g, (void)off, (void)size;
	if (!(*unbinds)++)
		CHECK_ZERO(region_unbind(&s->files[0], 0, 0));
	return 0;
}

static void async_buffer_needs_server(const char *dir, bool holes)
{
	struct tfile *f, *g;
	unsigned char *p;
	int fd;

	test_watchdog(60);
	unbinds = shared_alloc(sizeof(*unbinds));
	f = bound(dir, false);
	g = &f->srv->files[1];
	if (holes)
		CHECK_OK(fallocate(b->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, SIZE));
	fd = srv_open(f, O_RDONLY | O_DIRECT);
	p = mmap(NULL, LEN, PROT_READ | PROT_WRITE, MAP_PRIVATE, srv_open(g, O_RDWR), 0);
	CHECK(p != MAP_FAILED);
	g->hook[OP_READ] = unbind_once;
	CHECK_EQ(aio(fd, IO_CMD_PREAD, p, LEN, 2 * PAGE), LEN);
	CHECK(*unbinds > 0);
	for (uint64_t i = 0; i < LEN; i++)
		if (p[i] != pattern_byte(f->seed, 2 * PAGE + i) &&
		    p[i] != (holes ? 0 : pattern_byte(b->seed, 4 * PAGE + i)))
			FAIL("byte %llu is %02x", (unsigned long long)i, p[i]);
}

/* Reads that tmpfs, and a hole on ext4, answer by copying rather than by DMA */
TEST(g4_async_buffer_needs_server)
{
	async_buffer_needs_server(NULL, false);
}

TEST(g4_async_buffer_needs_server_disk)
{
	async_buffer_needs_server(shared_ext4(), false);
}

TEST(g4_async_buffer_needs_server_hole)
{
	async_buffer_needs_server(shared_ext4(), true);
}

/* The other direction: a write whose bytes have to be fetched from this server */
TEST(g4_write_of_bytes_from_this_server)
{
	struct tfile *f, *g;
	unsigned char *p;
	int fd;

	test_watchdog(60);
	unbinds = shared_alloc(sizeof(*unbinds));
	f = bound(NULL, false);
	g = &f->srv->files[1];
	fd = srv_open(f, O_RDWR);
	p = mmap(NULL, LEN, PROT_READ, MAP_SHARED, srv_open(g, O_RDONLY), 0);
	CHECK(p != MAP_FAILED);
	g->hook[OP_READ] = unbind_once;
	CHECK_EQ(pwrite(fd, p, LEN, 2 * PAGE), LEN);
	CHECK(*unbinds > 0);
	g->hook[OP_READ] = NULL;
	{
		unsigned char *got = malloc(LEN);

		/* Bytes that the old region took before it went are in the backing: read what is seen. */
		CHECK_EQ(pread(fd, got, LEN, 2 * PAGE), LEN);
		expect_read(f, fd, 0, SIZE);
		free(got);
	}
}

/* From and into a mapping of the same file, over gaps and regions */
TEST(r3_buffer_is_a_mapping_of_the_file)
{
	struct tfile *f;
	unsigned char *p, *q;
	struct oracle o;
	int fd, ro;

	test_watchdog(60);
	f = bound(NULL, true);
	fd = srv_open(f, O_RDWR);
	ro = srv_open(f, O_RDONLY);
	oracle_load(&o, f);
	p = mmap(NULL, SIZE, PROT_READ, MAP_SHARED, ro, 0);
	q = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	CHECK(p != MAP_FAILED && q != MAP_FAILED);
	for (int i = 0; i < 20; i++) {
		uint64_t from = rnd_below(SIZE / 2 - 9000),
			 to = SIZE / 2 + rnd_below(SIZE / 2 - 9000);
		uint64_t len = 1 + rnd_below(9000);

		if (i % 2) {
			uint64_t t = from;

			from = to;
			to = t;
		}
		CHECK_OK(madvise(p, SIZE, MADV_DONTNEED));
		CHECK_EQ(pwrite(fd, p + from, len, (off_t)to), len);
		{
			unsigned char *copy = malloc(len);

			memcpy(copy, o.bytes + from, len);
			oracle_note(&o, copy, to, len);
			free(copy);
		}
		oracle_check(&o, ro, 0, SIZE);
		CHECK_EQ(pread(fd, q + to, len, (off_t)from), len);
		oracle_compare(&o, "pread into a mapping", q + to, from, 0);
		CHECK_EQ(memcmp(q + to, o.bytes + from, len), 0);
	}
	oracle_free(&o);
}

/* Memory that can be touched, but never be the end of a DMA */
TEST(r5_secret_memory)
{
	struct tfile *f;
	unsigned char *p;
	ssize_t n;
	int fd, secret;

	test_watchdog(60);
	f = bound(shared_ext4(), true);
	fd = srv_open(f, O_RDWR | O_DIRECT);
	secret = (int)syscall(SYS_memfd_secret, 0);
	if (secret < 0)
		SKIP("no memfd_secret(2): %m");
	CHECK_OK(ftruncate(secret, LEN));
	p = mmap(NULL, LEN, PROT_READ | PROT_WRITE, MAP_SHARED, secret, 0);
	CHECK(p != MAP_FAILED);
	memset(p, 1, LEN);
	/* As natively: an error, or the bytes, but an end. */
	n = pread(fd, p, LEN, 2 * PAGE);
	note("read: %zd (%m)", n);
	if (n > 0)
		expect_content(f, "read into secret memory", 2 * PAGE, p, (size_t)n);
	n = pwrite(fd, p, LEN, 2 * PAGE);
	note("write: %zd (%m)", n);
	fd = srv_open(f, O_RDONLY);
	CHECK_EQ(pread(fd, p, LEN, 2 * PAGE), LEN);
}

/* The same memory, into a file that was stored into through a mapping */
TEST(w1_write_of_secret_memory_beside_stores)
{
	struct tfile *f = bound(NULL, true);
	int fd = srv_open(f, O_RDWR), secret = (int)syscall(SYS_memfd_secret, 0);
	unsigned char *p, *q;

	if (secret < 0)
		SKIP("no memfd_secret(2): %m");
	CHECK_OK(ftruncate(secret, LEN));
	p = mmap(NULL, LEN, PROT_READ | PROT_WRITE, MAP_SHARED, secret, 0);
	q = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK(p != MAP_FAILED && q != MAP_FAILED);
	memset(p, 1, LEN);
	q[50 * PAGE] = 2;
	CHECK_EQ(pwrite(fd, p, 100, 2 * PAGE), 100);
	CHECK_EQ(pwrite(fd, p, LEN, 2 * PAGE), LEN); /* over edges */
	expect_file(f, fd, SIZE);
}

/* The buffer is a mapping of more than all memory that the writer may have. */
TEST(w1_write_without_memory)
{
	const uint64_t len = 8 * MIB;
	struct backing *src = backing_new_in(mount_ext4(100), len), *to;
	struct tfile *f = srv_stored((struct srv_opts){ 0 }, NULL, len, &to, NULL);
	int fd = srv_open(f, O_RDWR);
	unsigned char *p;

	CHECK_ZERO(region_bind(f, 5, len - 5, to, 5, RW));
	CHECK_OK(fsync(src->fd));
	CHECK_ZERO(posix_fadvise(src->fd, 0, 0, POSIX_FADV_DONTNEED));
	p = mmap(NULL, len, PROT_READ, MAP_SHARED, src->fd, 0);
	CHECK(p != MAP_FAILED);
	test_watchdog(400); /* the debug kernel takes its time to find memory */
	join_memory_group("memory.max=4M");
	CHECK_EQ(pwrite(fd, p, len - 10, 10), len - 10);
	to->seed = src->seed;
	expect_read(f, fd, MIB, MIB);
	expect_read(f, fd, len - MIB, MIB);
	munmap(p, len);
	close(src->fd);
}

/* Somebody watches the backing: events are raised where sleeping is allowed. */
TEST(r4_libaio_on_a_watched_backing)
{
	struct tfile *f = bound(shared_ext4(), false);
	int fd = srv_open(f, O_RDWR | O_DIRECT), watch = inotify_init1(IN_NONBLOCK);
	unsigned char *p = direct_alloc(LEN);
	struct oracle o;
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", b->fd);
	CHECK_OK(inotify_add_watch(watch, path, IN_ALL_EVENTS));
	CHECK_OK(inotify_add_watch(watch, shared_ext4(), IN_ALL_EVENTS));
	oracle_load(&o, f);
	for (int i = 0; i < 20; i++) {
		CHECK_EQ(aio(fd, IO_CMD_PREAD, p, LEN, 2 * PAGE), LEN);
		oracle_compare(&o, "libaio", p, 2 * PAGE, LEN);
		oracle_fresh(&o, p, LEN);
		CHECK_EQ(aio(fd, IO_CMD_PWRITE, p, LEN, 2 * PAGE), LEN);
		oracle_note(&o, p, 2 * PAGE, LEN);
	}
	oracle_check(&o, fd, 0, SIZE);
	oracle_free(&o);
}

TEST(r4_libaio_short_backing)
{
	struct tfile *f = bound(shared_ext4(), false);
	int fd = srv_open(f, O_RDONLY | O_DIRECT);
	unsigned char *p = direct_alloc(LEN);

	CHECK_OK(ftruncate(b->fd, 30 * PAGE + 700));
	CHECK_EQ(aio(fd, IO_CMD_PREAD, p, LEN, 2 * PAGE), LEN);
	expect_content(f, "libaio", 2 * PAGE, p, LEN);
	CHECK_EQ(aio(fd, IO_CMD_PREAD, p, 4 * PAGE, 60 * PAGE), 4 * PAGE);
	expect_content(f, "libaio", 60 * PAGE, p, 4 * PAGE);
}
