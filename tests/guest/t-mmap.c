// SPDX-License-Identifier: GPL-2.0
/* M1 to M4, as seen by those who read through a mapping. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <sys/mman.h>

#include "harness.h"

#define SIZE (64 * PAGE)

static struct backing *b, *c;

static struct tfile *file_of_size(uint64_t size)
{
	struct tfile *f = srv_simple(size);

	b = backing_new(SIZE);
	c = backing_new(SIZE);
	srv_register(f->srv, b);
	srv_register(f->srv, c);
	close(srv_open(f, O_RDONLY));
	return f;
}

/* Aligned and congruent; aligned but shifted by bytes; unaligned; short; and gaps */
static void bind_mix(struct tfile *f)
{
	CHECK_ZERO(region_bind(f, PAGE, 10 * PAGE, b, 3 * PAGE, 0));
	CHECK_ZERO(region_bind(f, 12 * PAGE, 5 * PAGE, b, 7, 0));
	CHECK_ZERO(region_bind(f, 20 * PAGE + 100, 9999, c, 100, 0));
	CHECK_ZERO(region_bind(f, 30 * PAGE + 5, 3, c, 1, 0));
	CHECK_ZERO(region_bind(f, 40 * PAGE, 4 * PAGE, c, SIZE - 2 * PAGE + 11, 0));
}

/* The mapped pages hold the file's bytes, and zeroes after its end */
static void expect_map(const struct tfile *f, const unsigned char *p, uint64_t off, size_t len)
{
	uint64_t eof = expected_eof(f), end = off + len;

	if (end > eof)
		end = eof;
	expect_content(f, "mmap", off, p, end - off);
	for (uint64_t pos = end; pos < off + len && pos % PAGE; pos++)
		if (p[pos - off])
			FAIL("mmap: byte %#llx is past the end, and not zero",
			     (unsigned long long)pos);
}

static void maps_as_model(int prot, int flags)
{
	struct tfile *f = file_of_size(SIZE - 77);
	int fd = srv_open(f, O_RDWR);

	bind_mix(f);
	expect_map(f, map_file(fd, prot, flags, 0, SIZE), 0, SIZE);
	expect_map(f, map_file(fd, prot, flags, 2 * PAGE, 4 * PAGE), 2 * PAGE, 4 * PAGE);
	expect_map(f, map_file(fd, prot, flags, 12 * PAGE, 4 * PAGE), 12 * PAGE, 4 * PAGE);
	expect_map(f, map_file(fd, prot, flags, 20 * PAGE, 12 * PAGE), 20 * PAGE, 12 * PAGE);
	expect_map(f, map_file(fd, prot, flags, 50 * PAGE, 14 * PAGE), 50 * PAGE, 14 * PAGE);
	expect_file(f, fd, 10 * PAGE);
	CHECK_EQ(f->asked_bound, 0);
}

TEST(m3_private)
{
	maps_as_model(PROT_READ | PROT_WRITE, MAP_PRIVATE);
}

TEST(m3_private_populated)
{
	maps_as_model(PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_POPULATE);
}

TEST(m3_shared_read)
{
	maps_as_model(PROT_READ, MAP_SHARED);
}

/* Pages that are read in odd orders, a few at a time, by way of readahead or not */
TEST(m3_random_faults)
{
	struct tfile *f = file_of_size(SIZE - 77);
	int fd = srv_open(f, O_RDONLY);
	unsigned char *p;

	bind_mix(f);
	p = map_file(fd, PROT_READ, MAP_SHARED, 0, SIZE);
	CHECK_OK(madvise(p, SIZE, MADV_RANDOM));
	for (int i = 0; i < 60; i++) {
		uint64_t off = rnd_below(SIZE - 200);

		expect_content(f, "mmap", off, p + off, 100);
	}
	CHECK_OK(madvise(p, SIZE, MADV_DONTNEED));
	expect_map(f, p, 0, SIZE);
}

/* Nothing of what a private mapping's owner writes is seen elsewhere. */
TEST(m3_private_writes_stay_private)
{
	struct tfile *f = file_of_size(SIZE);
	int fd = srv_open(f, O_RDONLY);
	unsigned char *p, *q;

	bind_mix(f);
	p = map_file(fd, PROT_READ | PROT_WRITE, MAP_PRIVATE, 0, SIZE);
	q = map_file(fd, PROT_READ | PROT_WRITE, MAP_PRIVATE, 2 * PAGE, 4 * PAGE);
	memset(p, 'p', SIZE);
	memset(q, 'q', 4 * PAGE);
	CHECK_OK(msync(p, SIZE, MS_SYNC));
	expect_file(f, fd, 10 * PAGE);
	expect_map(f, map_file(fd, PROT_READ, MAP_SHARED, 0, SIZE), 0, SIZE);
	CHECK(p[5 * PAGE] == 'p' && q[0] == 'q');
}

/* A mapping that was there first sees every later change of the map. */
static void changes_under_mapping(int prot, int flags)
{
	struct tfile *f = file_of_size(SIZE);
	int fd = srv_open(f, O_RDONLY);
	unsigned char *p = map_file(fd, prot, flags, 0, SIZE);

	expect_map(f, p, 0, SIZE);
	CHECK_ZERO(region_bind(f, 2 * PAGE, 5 * PAGE, b, 0, 0));
	expect_map(f, p, 0, SIZE);
	CHECK_ZERO(region_bind(f, 10 * PAGE + 3, 9999, b, 5, 0));
	expect_map(f, p, 0, SIZE);
	CHECK_ZERO(region_bind(f, 4 * PAGE + 9, 2 * PAGE, c, 0, FUSE_REGION_REPLACE));
	expect_map(f, p, 0, SIZE);
	CHECK_ZERO(region_unbind(f, 3 * PAGE, 10));
	expect_map(f, p, 0, SIZE);
	CHECK_ZERO(region_unbind(f, 0, 0));
	expect_map(f, p, 0, SIZE);
	CHECK_ZERO(region_bind(f, 0, SIZE, c, 0, 0));
	expect_map(f, p, 0, SIZE);
}

TEST(m4_changes_under_shared_mapping)
{
	changes_under_mapping(PROT_READ, MAP_SHARED);
}

TEST(m4_changes_under_private_mapping)
{
	changes_under_mapping(PROT_READ | PROT_WRITE, MAP_PRIVATE);
}

TEST(m4_changes_under_mapping_of_mixed_file)
{
	struct tfile *f = file_of_size(SIZE);
	int fd = srv_open(f, O_RDONLY);
	unsigned char *p;

	bind_mix(f);
	p = map_file(fd, PROT_READ, MAP_SHARED, 0, SIZE);
	for (int i = 0; i < 25; i++) {
		uint64_t off = rnd_below(SIZE - PAGE), len = 1 + rnd_below(3 * PAGE);

		expect_map(f, p, 0, SIZE);
		if (i % 3)
			CHECK_ZERO(region_bind(f, off, len, i % 2 ? b : c, rnd_below(PAGE),
					       FUSE_REGION_REPLACE));
		else
			CHECK_ZERO(region_unbind(f, off, len));
	}
	expect_map(f, p, 0, SIZE);
}

/*
 * A mapping of the backing itself may go on showing the backing after an
 * unbind. Mapped anew, the file shows what it is now.
 */
TEST(m4_mapped_anew_after_unbind)
{
	struct tfile *f = file_of_size(SIZE);
	int fd = srv_open(f, O_RDONLY);
	unsigned char *p, *q;

	CHECK_ZERO(region_bind(f, 0, SIZE, b, 0, 0));
	p = map_file(fd, PROT_READ, MAP_SHARED, 0, SIZE);
	expect_map(f, p, 0, SIZE);
	CHECK_ZERO(region_bind(f, 0, SIZE, c, 0, FUSE_REGION_REPLACE));
	q = map_file(fd, PROT_READ, MAP_SHARED, 0, SIZE);
	expect_map(f, q, 0, SIZE);
	for (uint64_t off = 0; off < SIZE; off += 1001)
		CHECK(p[off] == pattern_byte(b->seed, off) || p[off] == pattern_byte(c->seed, off));
	munmap(p, SIZE);
	CHECK_ZERO(region_unbind(f, 0, 0));
	expect_map(f, map_file(fd, PROT_READ, MAP_SHARED, 0, SIZE), 0, SIZE);
	expect_file(f, fd, SIZE);
}

TEST(m1_backing_writes_show)
{
	struct tfile *f = file_of_size(SIZE);
	int fd = srv_open(f, O_RDONLY);
	unsigned char *p;

	CHECK_ZERO(region_bind(f, PAGE, 20 * PAGE, b, 3 * PAGE, 0));
	p = map_file(fd, PROT_READ, MAP_SHARED, 2 * PAGE, 10 * PAGE);
	expect_map(f, p, 2 * PAGE, 10 * PAGE);
	for (uint64_t i = 0; i < 10; i++) {
		pattern_write(b->fd, 50 + i, rnd_below(SIZE / 2), 1 + rnd_below(3 * PAGE));
		expect_map(f, p, 2 * PAGE, 10 * PAGE);
		expect_read(f, fd, 0, 30 * PAGE);
	}
	CHECK_EQ(f->asked_bound, 0);
}

/* One copy in memory: the mapping's pages are the backing's. */
TEST(m1_mapped_backing_is_mapped_itself)
{
	struct tfile *f = file_of_size(SIZE);
	int fd = srv_open(f, O_RDONLY);
	unsigned char *p, *q = map_file(b->fd, PROT_READ | PROT_WRITE, MAP_SHARED, 0, SIZE);

	CHECK_ZERO(region_bind(f, PAGE, 20 * PAGE, b, 3 * PAGE, 0));
	p = map_file(fd, PROT_READ, MAP_SHARED, 2 * PAGE, 10 * PAGE);
	for (uint64_t i = 0; i < 10; i++) {
		q[4 * PAGE + i * PAGE + i] ^= 0x55;
		CHECK_EQ(p[i * PAGE + i], q[4 * PAGE + i * PAGE + i]);
	}
}

/* /proc/PID/maps names the FUSE file, whatever is behind it */
TEST(m3_maps_names_the_fuse_file)
{
	struct tfile *f = file_of_size(SIZE);
	int fd = srv_open(f, O_RDONLY);
	char path[128];

	CHECK_ZERO(region_bind(f, 0, SIZE, b, 0, 0));
	srv_path(path, sizeof(path), f);
	map_file(fd, PROT_READ, MAP_SHARED, PAGE, 10 * PAGE);
	CHECK_ZERO(sh("grep -q ' %s$' /proc/%d/maps", path, getpid()));
}

TEST(m3_short_backing_is_zeroes)
{
	struct tfile *f = file_of_size(SIZE);
	int fd = srv_open(f, O_RDONLY);

	CHECK_OK(ftruncate(b->fd, 5 * PAGE + 99));
	CHECK_ZERO(region_bind(f, 2 * PAGE, 20 * PAGE, b, 0, 0));
	CHECK_ZERO(region_bind(f, 30 * PAGE + 1, 20 * PAGE, b, 2 * PAGE, 0));
	expect_map(f, map_file(fd, PROT_READ, MAP_SHARED, 0, SIZE), 0, SIZE);
	expect_map(f, map_file(fd, PROT_READ, MAP_PRIVATE, 3 * PAGE, 8 * PAGE), 3 * PAGE, 8 * PAGE);
}

static sigjmp_buf on_sigbus;

static void sigbus(int sig)
{
	(void)sig;
	siglongjmp(on_sigbus, 1);
}

/* Does reading this byte end in SIGBUS? */
static bool faults(const volatile unsigned char *p)
{
	signal(SIGBUS, sigbus);
	if (sigsetjmp(on_sigbus, 1))
		return true;
	(void)*p;
	return false;
}

TEST(m3_sigbus_past_the_end)
{
	struct tfile *f = file_of_size(10 * PAGE + 5);
	int fd = srv_open(f, O_RDONLY);
	unsigned char *p;

	CHECK_ZERO(region_bind(f, 8 * PAGE, 30 * PAGE, b, 0, 0));
	p = map_file(fd, PROT_READ, MAP_SHARED, 0, 20 * PAGE);
	CHECK(!faults(p + 10 * PAGE));
	CHECK(faults(p + 11 * PAGE));
	p = map_file(fd, PROT_READ, MAP_PRIVATE, 8 * PAGE, 8 * PAGE);
	CHECK(!faults(p + 2 * PAGE));
	CHECK(faults(p + 3 * PAGE));
	expect_map(f, p, 8 * PAGE, 3 * PAGE);
}

TEST(m3_sigbus_when_the_server_fails)
{
	struct tfile *f = file_of_size(SIZE);
	int fd = srv_open(f, O_RDONLY);
	unsigned char *p;

	CHECK_ZERO(region_bind(f, 10 * PAGE, 5 * PAGE + 9, b, 3, 0));
	p = map_file(fd, PROT_READ, MAP_SHARED, 0, SIZE);
	f->bad_start = 15 * PAGE;
	f->bad_last = 20 * PAGE;
	f->bad_errno = EIO;
	CHECK(!faults(p + 12 * PAGE));
	CHECK(faults(p + 15 * PAGE));
	CHECK(faults(p + 17 * PAGE));
	CHECK(!faults(p + 40 * PAGE));
	f->bad_errno = 0;
	expect_map(f, p, 0, SIZE);
}

/* Whole-file: the backing's size is the file's, also where the server knows another. */
TEST(m3_whole_file)
{
	static const uint64_t sizes[] = { 0, 5 * PAGE, 30 * PAGE };

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct tfile *f = file_of_size(sizes[i]);
		int fd = srv_open(f, O_RDONLY);

		CHECK_OK(ftruncate(b->fd, 12 * PAGE + 345));
		CHECK_ZERO(region_bind(f, 0, 0, b, 0, 0));
		expect_map(f, map_file(fd, PROT_READ, MAP_SHARED, 0, 13 * PAGE), 0, 13 * PAGE);
		expect_map(f, map_file(fd, PROT_READ, MAP_PRIVATE, 3 * PAGE, 2 * PAGE), 3 * PAGE,
			   2 * PAGE);
		CHECK_EQ(srv_count(f, OP_READ), 0);
	}
}

/* Faults on bound pages are filled in the kernel: the server may be asleep. */
TEST(g5_faults_with_stopped_server)
{
	struct tfile *f = file_of_size(SIZE);
	int fd = srv_open(f, O_RDONLY);
	unsigned char *p, *q;

	test_watchdog(60);
	CHECK_ZERO(region_bind(f, 0, 20 * PAGE, b, 0, 0));
	CHECK_ZERO(region_bind(f, 20 * PAGE, 20 * PAGE, c, 11, 0));
	p = map_file(fd, PROT_READ, MAP_SHARED, 0, SIZE);
	q = map_file(fd, PROT_READ, MAP_SHARED, PAGE, 10 * PAGE);
	CHECK_OK(madvise(p, SIZE, MADV_RANDOM));
	srv_signal(f->srv, SIGSTOP);
	expect_map(f, p + 2 * PAGE, 2 * PAGE, 36 * PAGE);
	expect_map(f, q, PAGE, 10 * PAGE);
	srv_signal(f->srv, SIGCONT);
	expect_map(f, p, 0, SIZE);
}

/* Readers of a mapping and of the file while the map changes between equal contents */
struct mapped {
	struct tfile *f;
	int fd;
	unsigned char *p;
};

static void read_mapping(void *arg)
{
	struct mapped *m = arg;
	uint64_t off = rnd_below(SIZE - 3 * PAGE);
	size_t len = 1 + rnd_below(3 * PAGE), i;

	i = pattern_differs(m->p + off, b->seed, off, len);
	if (i < len)
		FAIL("mmap: byte %#llx is %02x", (unsigned long long)(off + i), m->p[off + i]);
	if (rnd_below(8) == 0)
		CHECK_OK(madvise(m->p + off / PAGE * PAGE, 4 * PAGE, MADV_DONTNEED));
}

TEST(m4_rebind_storm_under_mapping)
{
	struct srv *s = srv_new(&(struct srv_opts){ .model_max = 1 << 18 });
	struct mapped m = { .f = srv_store_file(s, "f", SIZE) };
	uint64_t until = now_ms() + test_storm_ms(2500);
	struct threads readers;

	srv_start(s);
	/* all the same bytes, wherever they come from */
	b = m.f->store;
	c = backing_new(SIZE);
	backing_reseed(c, b->seed);
	srv_register(s, b);
	srv_register(s, c);
	m.fd = srv_open(m.f, O_RDONLY);
	m.p = map_file(m.fd, PROT_READ, MAP_SHARED, 0, SIZE);
	threads_start(&readers, 3, read_mapping, &m);
	for (uint64_t i = 0; now_ms() < until; i++) {
		uint64_t off = rnd_below(SIZE - 100), len = 1 + rnd_below(8 * PAGE);

		if (off + len > SIZE)
			len = SIZE - off;
		if (i % 3 == 2)
			CHECK_ZERO(region_unbind(m.f, off, len));
		else
			CHECK_ZERO(region_bind(m.f, off, len, i % 2 ? b : c, off,
					       FUSE_REGION_REPLACE));
	}
	threads_stop(&readers);
	note("%llu reads", (unsigned long long)readers.rounds);
}
