// SPDX-License-Identifier: GPL-2.0
/* R1 to R3: where the bytes of a read come from. */
#define _GNU_SOURCE
#include <sys/uio.h>

#include "harness.h"

#define SIZE (64 * PAGE)
#define MAXLEN ((uint64_t)INT64_MAX)

static struct backing *b, *c;

static struct tfile *empty_file(uint64_t size)
{
	struct tfile *f = srv_simple(size);

	b = backing_new(SIZE);
	c = backing_new(SIZE);
	close(srv_open(f, O_RDONLY));
	srv_register(f->srv, b);
	srv_register(f->srv, c);
	return f;
}

TEST(r1_one_region)
{
	struct tfile *f = empty_file(SIZE);
	int fd = srv_open(f, O_RDONLY);

	CHECK_ZERO(region_bind(f, 0, SIZE, b, 0, 0));
	expect_file(f, fd, 4096);
	expect_file(f, fd, 10000);
	expect_read(f, fd, 0, SIZE * 2);
	CHECK_EQ(srv_count(f, OP_READ), 0);
}

TEST(r1_shifted_region)
{
	struct tfile *f = empty_file(SIZE);
	int fd = srv_open(f, O_RDONLY);

	CHECK_ZERO(region_bind(f, 1001, 20 * PAGE, b, 77, 0));
	CHECK_ZERO(region_bind(f, 30 * PAGE, 3, b, 0, 0));
	expect_file(f, fd, 4096);
	expect_file(f, fd, 7777);
	expect_read(f, fd, 0, SIZE);
	CHECK_EQ(f->asked_bound, 0);
}

/* Edges: each read begins, ends or is cut exactly there. */
TEST(r1_cut_at_edges)
{
	struct tfile *f = empty_file(SIZE);
	static const uint64_t edges[] = { 1,	4095,  4096,  4097,  8191, 8192,
					  8193, 20000, 20001, 65535, 65536 };
	int fd = srv_open(f, O_RDONLY);

	for (size_t i = 0; i + 1 < ARRAY_SIZE(edges); i += 2)
		CHECK_ZERO(region_bind(f, edges[i], edges[i + 1] - edges[i], i % 4 ? b : c, i * 321,
				       0));
	for (size_t i = 0; i < ARRAY_SIZE(edges); i++)
		for (int d = -1; d <= 1; d++) {
			expect_read(f, fd, edges[i] + (uint64_t)d, 1);
			expect_read(f, fd, edges[i] + (uint64_t)d, PAGE);
			expect_read(f, fd, 0, edges[i] + (uint64_t)d);
			expect_read(f, fd, edges[i] + (uint64_t)d, SIZE);
		}
	CHECK_EQ(f->asked_bound, 0);
}

TEST(r1_one_byte_regions)
{
	struct tfile *f = empty_file(SIZE);
	int fd = srv_open(f, O_RDONLY);

	for (uint64_t i = 0; i < 100; i++)
		CHECK_ZERO(region_bind(f, PAGE - 50 + i, 1, i % 2 ? b : c, rnd_below(SIZE), 0));
	for (uint64_t i = 0; i < 50; i++)
		CHECK_ZERO(region_bind(f, 2 * PAGE + 2 * i, 1, b, rnd_below(SIZE), 0));
	expect_read(f, fd, 0, 4 * PAGE);
	for (uint64_t i = 0; i < 120; i += 7)
		expect_read(f, fd, PAGE - 60 + i, 1 + i);
	CHECK_EQ(f->asked_bound, 0);
}

TEST(r1_page_edges_plus_minus_one)
{
	struct tfile *f = empty_file(SIZE);
	int fd = srv_open(f, O_RDONLY);

	for (uint64_t i = 0; i < 9; i++) {
		uint64_t start = (4 + 6 * i) * PAGE + i % 3 - 1,
			 end = (6 + 6 * i) * PAGE + i / 3 - 1;

		CHECK_ZERO(region_bind(f, start, end - start, i % 2 ? b : c, i % 5 * 511, 0));
	}
	expect_file(f, fd, PAGE);
	expect_file(f, fd, PAGE + 1);
	expect_file(f, fd, PAGE - 1);
	expect_read(f, fd, 0, SIZE);
	CHECK_EQ(f->asked_bound, 0);
}

TEST(r1_across_a_thousand_regions)
{
	struct tfile *f = empty_file(SIZE);
	struct fuse_passthrough_region recs[1000];
	struct backing *bs[1000];
	int fd = srv_open(f, O_RDONLY);

	for (uint64_t i = 0; i < 1000; i++) {
		bs[i] = rnd_below(2) ? b : c;
		recs[i] = REC(100 * i, 100, bs[i]->id, rnd_below(SIZE - 100), FUSE_REGION_READ);
	}
	CHECK_ZERO(region_send(f, recs, 1000, bs));
	expect_read(f, fd, 0, 100000);
	CHECK_EQ(srv_count(f, OP_READ), 0);
	expect_random_reads(f, fd, 10, 0, 100000, 50000);
	CHECK_EQ(f->asked_bound, 0);
}

TEST(r1_random_mixes)
{
	struct tfile *f = empty_file(SIZE);
	int fd = srv_open(f, O_RDONLY);

	for (unsigned int round = 0; round < test_scaled(40); round++) {
		for (int i = 0; i < 8; i++) {
			uint64_t off = rnd_below(SIZE),
				 len = 1 + rnd_below(rnd_below(2) ? 100 : SIZE / 4);

			if (rnd_below(4))
				CHECK_ZERO(region_bind(f, off, len, rnd_below(2) ? b : c,
						       rnd_below(SIZE), FUSE_REGION_REPLACE));
			else
				CHECK_ZERO(region_unbind(f, off, len));
		}
		expect_read(f, fd, 0, SIZE);
		expect_random_reads(f, fd, 8, 0, SIZE, 10 * PAGE);
	}
	CHECK_EQ(f->asked_bound, 0);
}

/* The end of all files: a region whose last byte is the last that a file can have */
TEST(r1_at_the_largest_offset)
{
	struct tfile *f = empty_file(MAXLEN);
	int fd = srv_open(f, O_RDONLY);
	uint64_t start = MAXLEN - 3 * PAGE;

	CHECK_ZERO(region_bind(f, start, 3 * PAGE, b, 11, 0));
	expect_read(f, fd, start - PAGE, PAGE);
	expect_read(f, fd, start, PAGE);
	expect_read(f, fd, start + 100, PAGE);
	expect_read(f, fd, MAXLEN - PAGE, PAGE);
	expect_read(f, fd, MAXLEN - 1, 1);
	expect_read(f, fd, start - 10, 100);
}

TEST(r1_at_the_backings_largest_offset)
{
	struct tfile *f = empty_file(SIZE);
	int fd = srv_open(f, O_RDONLY);

	CHECK_ZERO(region_bind(f, PAGE, 3 * PAGE, b, MAXLEN - 3 * PAGE, 0));
	expect_read(f, fd, 0, SIZE);
	expect_read(f, fd, 2 * PAGE, 2 * PAGE);
}

TEST(r1_beyond_four_gib)
{
	struct tfile *f = empty_file(1 * TIB);
	struct backing *far = backing_new(0);
	int fd = srv_open(f, O_RDONLY);

	pattern_write(far->fd, far->seed, 6 * GIB, 10 * PAGE);
	srv_register(f->srv, far);
	CHECK_ZERO(region_bind(f, 500 * GIB - 100, 200, b, 5, 0));
	CHECK_ZERO(region_bind(f, 8 * GIB + 1, 5 * PAGE, far, 6 * GIB + 3, 0));
	CHECK_ZERO(region_bind(f, 4 * GIB - 5, 10, c, 9, 0));
	expect_read(f, fd, 500 * GIB - PAGE, 2 * PAGE);
	expect_read(f, fd, 8 * GIB - PAGE, 8 * PAGE);
	expect_read(f, fd, 4 * GIB - 50, 100);
}

/* A gap after a region after a gap, with every length of each up to a few bytes */
TEST(r1_small_patterns)
{
	struct tfile *f = empty_file(SIZE);
	int fd = srv_open(f, O_RDONLY);
	uint64_t at = PAGE - 30;

	for (uint64_t len = 1; len <= 8; len++, at += 2 * len)
		CHECK_ZERO(region_bind(f, at, len, b, at * 3, 0));
	for (uint64_t off = PAGE - 40; off < PAGE + 60; off += 3)
		for (size_t len = 1; len < 40; len += 5)
			expect_read(f, fd, off, len);
}

TEST(r1_write_only_region_is_the_servers)
{
	struct tfile *f = empty_file(SIZE);
	int fd = srv_open(f, O_RDONLY);

	CHECK_ZERO(region_bind(f, 100, 20000, b, 0, FUSE_REGION_WRITE));
	CHECK_ZERO(region_bind(f, 30000, 20000, b, 0, FUSE_REGION_READ));
	expect_file(f, fd, 9999);
	CHECK(srv_count(f, OP_READ) > 0);
}

TEST(r1_many_files_one_backing)
{
	struct srv *s = srv_new(NULL);
	struct tfile *f[50];
	char name[16];

	for (int i = 0; i < 50; i++) {
		snprintf(name, sizeof(name), "f%d", i);
		f[i] = srv_file(s, name, 5000);
	}
	srv_start(s);
	b = backing_new(50 * 5000);
	srv_register(s, b);
	for (uint64_t i = 0; i < 50; i++) {
		int fd = srv_open(f[i], O_RDONLY);

		CHECK_ZERO(region_bind(f[i], 0, 5000, b, i * 5000, 0));
		close(fd);
	}
	for (int i = 0; i < 50; i++) {
		int fd = srv_open(f[i], O_RDONLY);

		expect_file(f[i], fd, 3000);
		CHECK_EQ(srv_count(f[i], OP_READ), 0);
		close(fd);
	}
}

/* read(), which has a position of its own, and readv(), with vectors of all lengths */
TEST(r1_position_and_vectors)
{
	struct tfile *f = empty_file(SIZE);
	int fd = srv_open(f, O_RDONLY);
	unsigned char *buf = malloc(SIZE);
	struct iovec iov[40];
	uint64_t pos = 0;

	for (uint64_t i = 0; i < 20; i++)
		CHECK_ZERO(region_bind(f, i * 9000, 5000, b, 3 * i, 0));
	for (size_t n = 0, len = 1; pos < SIZE; pos += n, len = len * 3 % 20011) {
		n = (size_t)CHECK_OK(read(fd, buf, len));
		expect_result(f, "read", pos, len, buf, (ssize_t)n);
		CHECK_EQ(lseek(fd, 0, SEEK_CUR), pos + n);
	}
	CHECK_EQ(read(fd, buf, 10), 0);
	for (int i = 0; i < 40; i++)
		iov[i] = (struct iovec){ buf + i * 5000, (size_t)(i % 4 ? i * 37 : 0) };
	CHECK_OK(lseek(fd, 777, SEEK_SET));
	pos = 777;
	CHECK(readv(fd, iov, 40) > 0);
	for (int i = 0; i < 40; pos += iov[i++].iov_len)
		expect_content(f, "readv", pos, iov[i].iov_base, iov[i].iov_len);
	CHECK_EQ(lseek(fd, 0, SEEK_CUR), pos);
}

TEST(r1_zero_length)
{
	struct tfile *f = empty_file(SIZE);
	int fd = srv_open(f, O_RDONLY);
	char byte;

	CHECK_ZERO(region_bind(f, 0, SIZE, b, 0, 0));
	CHECK_EQ(pread(fd, &byte, 0, 0), 0);
	CHECK_EQ(pread(fd, &byte, 0, 100000000), 0);
	CHECK_EQ(readv(fd, NULL, 0), 0);
}

/* Region number @i of a large map, for the kernel and for who checks it */
#define STEP 64
#define PIECE 40

static uint64_t place_of(uint64_t i, uint64_t n)
{
	return i * 7919 % n * PIECE;
}

static unsigned char byte_of(const struct tfile *f, uint64_t pos, uint64_t n)
{
	uint64_t i = pos / STEP;

	if (i < n && pos % STEP < PIECE)
		return pattern_byte(b->seed, place_of(i, n) + pos % STEP);
	return pattern_byte(f->seed, pos);
}

/* A hundred thousand regions; FUSE_REGIONS_TEST_SCALE=10 makes it a million. */
TEST(r1_in_a_large_map)
{
	const uint64_t n = test_scaled(100000);
	struct fuse_passthrough_region recs[1000];
	struct tfile *f = srv_simple(n * STEP);
	int fd = srv_open(f, O_RDONLY);
	unsigned char buf[300];

	b = backing_new(n * PIECE);
	srv_register(f->srv, b);
	for (uint64_t i = 0; i < n; i += 1000) {
		for (uint64_t j = 0; j < 1000; j++)
			recs[j] = REC((i + j) * STEP, PIECE, b->id, place_of(i + j, n),
				      FUSE_REGION_READ);
		CHECK_ZERO(region_msg(f->srv->ctl, f->nodeid, recs, 1000));
	}
	note("%lu nodes for %llu regions", module_param("live_nodes"), (unsigned long long)n);
	for (int i = 0; i < 300; i++) {
		uint64_t pos = rnd_below(n * STEP - sizeof(buf));

		CHECK_EQ(pread(fd, buf, sizeof(buf), (off_t)pos), sizeof(buf));
		for (size_t j = 0; j < sizeof(buf); j++)
			CHECK_EQ(buf[j], byte_of(f, pos + j, n));
	}
	/* a cut through the middle of it */
	CHECK_ZERO(region_unbind(f, n * STEP / 4, n * STEP / 2));
	CHECK_EQ(pread(fd, buf, sizeof(buf), (off_t)(n * STEP / 2)), sizeof(buf));
	CHECK_EQ(pattern_differs(buf, f->seed, n * STEP / 2, sizeof(buf)), sizeof(buf));
	CHECK_EQ(pread(fd, buf, PIECE, (off_t)((n - 1) * STEP)), PIECE);
	CHECK_EQ(buf[7], byte_of(f, (n - 1) * STEP + 7, n));
}

/* Gaps by the thousand in one read: each is asked for, and none twice */
TEST(r1_many_gaps_in_one_read)
{
	struct tfile *f = empty_file(SIZE);
	int fd = srv_open(f, O_RDONLY);

	for (uint64_t i = 0; i < 1000; i++)
		CHECK_ZERO(region_bind(f, i * 50, 49, b, i, 0));
	expect_read(f, fd, 0, 50000);
	CHECK_EQ(srv_count(f, OP_READ), 1000);
}

/* With direct_io from the server, without open, with an attribute cache or not: same bytes. */
static void variant(struct srv_opts opts, bool direct_io, bool keep_cache)
{
	struct srv *s = srv_new(&opts);
	struct tfile *f = srv_file(s, "f", SIZE - 5);
	int fd;

	f->direct_io = direct_io;
	f->keep_cache = keep_cache;
	srv_start(s);
	b = backing_new(SIZE);
	srv_register(s, b);
	fd = srv_open(f, O_RDONLY);
	expect_file(f, fd, 5 * PAGE);
	CHECK_ZERO(region_bind(f, 3333, 5 * PAGE, b, 1, 0));
	CHECK_ZERO(region_bind(f, 10 * PAGE, 8 * PAGE, b, 0, 0));
	expect_file(f, fd, 3 * PAGE + 1);
	expect_random_reads(f, fd, 20, 0, SIZE, 8 * PAGE);
	close(fd);
	fd = srv_open(f, O_RDONLY);
	expect_file(f, fd, 7 * PAGE);
	CHECK_EQ(f->asked_bound, 0);
}

TEST(r1_server_direct_io)
{
	variant((struct srv_opts){ 0 }, true, false);
}

TEST(r1_server_keep_cache)
{
	variant((struct srv_opts){ 0 }, false, true);
}

TEST(r1_server_writeback_cache)
{
	variant((struct srv_opts){ .writeback = true }, false, true);
}

TEST(r1_server_without_open)
{
	variant((struct srv_opts){ .no_open = true }, false, false);
}

TEST(r1_server_no_attribute_cache)
{
	variant((struct srv_opts){ .no_attr_cache = true }, false, false);
}

TEST(r1_server_with_threads)
{
	variant((struct srv_opts){ .threads = true }, false, false);
}
