// SPDX-License-Identifier: GPL-2.0
/* W4, W5: what is on disk after a sync, and what truncate and fallocate do to regions. */
#define _GNU_SOURCE
#include <sys/mman.h>
#include <sys/uio.h>

#include "harness.h"

#define SIZE (32 * PAGE)

static struct backing *b;

static struct tfile *bound(struct srv_opts opts, const char *dir, uint64_t off, uint64_t len,
			   uint64_t shift, uint32_t flags)
{
	struct tfile *f = srv_stored(opts, dir, SIZE, &b, NULL);

	CHECK_OK(fsync(b->fd));
	CHECK_ZERO(region_bind(f, off, len, b, shift, flags));
	return f;
}

/* Pages of the backing that are not on disk yet */
static uint64_t dirty_pages(void)
{
	return backing_pages(b, 0, 0).dirty;
}

static struct tfile *on_disk(uint32_t flags)
{
	return bound((struct srv_opts){ 0 }, shared_ext4(), PAGE, 20 * PAGE, 3 * PAGE, flags);
}

TEST(w4_fsync_syncs_the_backing)
{
	struct tfile *f = on_disk(RW);
	int fd = srv_open(f, O_RDWR), (*const sync_fns[])(int) = { fsync, fdatasync };
	uint64_t syncs;

	for (int i = 0; i < 2; i++) {
		syncs = srv_count(f, OP_FSYNC);
		CHECK_EQ(pwrite(fd, "dirty", 5, 5 * PAGE), 5);
		CHECK(dirty_pages() > 0);
		CHECK_OK(sync_fns[i](fd));
		CHECK_EQ(dirty_pages(), 0);
		/* and the server hears of it as well */
		CHECK(srv_count(f, OP_FSYNC) > syncs);
	}
}

TEST(w4_fsync_through_another_descriptor)
{
	struct tfile *f = on_disk(RW);
	int fd = srv_open(f, O_RDWR), other = srv_open(f, O_RDONLY);

	CHECK_EQ(pwrite(fd, "dirty", 5, 5 * PAGE), 5);
	close(fd);
	CHECK_OK(fsync(other));
	CHECK_EQ(dirty_pages(), 0);
}

/* What lies behind the file's end, the server writes; into the same backing, if it likes. */
TEST(w4_fsync_after_the_server_wrote_to_the_backing)
{
	struct tfile *f = on_disk(RW);
	int fd = srv_open(f, O_RDWR);

	CHECK_ZERO(region_bind(f, SIZE, PAGE, b, 25 * PAGE, RW));
	CHECK_OK(fsync(fd));
	CHECK_EQ(pwrite(fd, "dirty", 5, SIZE), 5);
	CHECK_EQ(srv_count(f, OP_WRITE), 1);
	CHECK_EQ(pwrite(b->fd, "dirty", 5, 25 * PAGE), 5);
	CHECK(dirty_pages() > 0);
	CHECK_OK(fsync(fd));
	CHECK_EQ(dirty_pages(), 0);
}

TEST(w4_fsync_after_mapped_store)
{
	struct tfile *f = on_disk(RW);
	int fd = srv_open(f, O_RDWR);
	char *p = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 4 * PAGE);

	CHECK(p != MAP_FAILED);
	p[100] = 'x';
	CHECK_OK(msync(p, 4 * PAGE, MS_SYNC));
	CHECK_EQ(dirty_pages(), 0);
	p[5000] = 'y';
	CHECK_OK(fsync(fd));
	CHECK_EQ(dirty_pages(), 0);
}

TEST(w4_o_sync_and_o_dsync)
{
	static const int flags[] = { O_SYNC, O_DSYNC };
	struct tfile *f = on_disk(RW);
	struct iovec iov = { (void *)"dirty", 5 };
	int fd;

	for (size_t i = 0; i < ARRAY_SIZE(flags); i++) {
		fd = srv_open(f, O_RDWR | flags[i]);
		CHECK_EQ(pwrite(fd, "dirty", 5, 5 * PAGE), 5);
		CHECK_EQ(dirty_pages(), 0);
		close(fd);
	}
	fd = srv_open(f, O_RDWR);
	CHECK_EQ(pwritev2(fd, &iov, 1, 7 * PAGE, RWF_DSYNC), 5);
	CHECK_EQ(dirty_pages(), 0);
	CHECK_EQ(pwritev2(fd, &iov, 1, 7 * PAGE, RWF_SYNC), 5);
	CHECK_EQ(dirty_pages(), 0);
}

/* The server's own O_SYNC counts for whoever writes, in one piece and in several. */
TEST(w4_backing_opened_sync)
{
	static const int flags[] = { O_SYNC, O_DSYNC };
	struct tfile *f = on_disk(RW);
	int fd = srv_open(f, O_RDWR);

	for (size_t i = 0; i < ARRAY_SIZE(flags); i++) {
		int sync = (int)CHECK_OK(backing_reopen(b, O_RDWR | flags[i]));
		int id = raw_backing_open(f->srv->ctl, sync);

		CHECK(id > 0);
		close(sync);
		CHECK_EQ(pwrite(fd, "dirty", 5, 5 * PAGE), 5);
		CHECK(dirty_pages() > 0);
		CHECK_OK(fsync(b->fd));
		b->id = (uint32_t)id;
		CHECK_ZERO(region_bind(f, PAGE, 20 * PAGE, b, 3 * PAGE, RW | FUSE_REGION_REPLACE));
		CHECK_EQ(pwrite(fd, "dirty", 5, 5 * PAGE), 5);
		CHECK_EQ(dirty_pages(), 0);
		CHECK_EQ(pwrite(fd, "dirty", 5, 21 * PAGE - 2), 5);
		CHECK_EQ(dirty_pages(), 0);
		srv_register(f->srv, b);
		CHECK_ZERO(region_bind(f, PAGE, 20 * PAGE, b, 3 * PAGE, RW | FUSE_REGION_REPLACE));
	}
}

/* What was written through a region that is gone or read-only by now is still this file's data. */
TEST(w4_fsync_after_rebind_read_only)
{
	struct tfile *f = on_disk(RW);
	int fd = srv_open(f, O_RDWR);

	CHECK_EQ(pwrite(fd, "dirty", 5, 5 * PAGE), 5);
	CHECK_ZERO(region_bind(f, PAGE, 20 * PAGE, b, 3 * PAGE, FUSE_REGION_REPLACE));
	CHECK_OK(fsync(fd));
	CHECK_EQ(dirty_pages(), 0);
}

/* What was written is synced, though FUSE has forgotten the inode meanwhile. */
TEST(w4_fsync_after_eviction)
{
	struct tfile *f = on_disk(RW);
	int fd = srv_open(f, O_RDWR);

	CHECK_EQ(pwrite(fd, "dirty", 5, 5 * PAGE), 5);
	close(fd);
	CHECK_SOON((drop_caches(), module_param("live_inodes") == 0));
	fd = srv_open(f, O_RDWR);
	CHECK_ZERO(region_bind(f, PAGE, 20 * PAGE, b, 3 * PAGE, RW | FUSE_REGION_REPLACE));
	if (!dirty_pages())
		SKIP("it is on disk already");
	CHECK_OK(fsync(fd));
	CHECK_EQ(dirty_pages(), 0);
}

/* A backing that can't be synced, for it can't be written either, is none to complain of. */
TEST(w4_fsync_beside_unsyncable_backing)
{
	struct tfile *f = on_disk(RW);
	int fd = srv_open(f, O_RDWR), trace = open("/sys/kernel/tracing/trace", O_RDONLY);
	struct backing *other;

	if (trace < 0)
		SKIP("no tracing/trace: %m");
	CHECK_ERR(fsync(trace), EINVAL);
	other = backing_from_fd(trace);
	srv_register(f->srv, other);
	CHECK_ZERO(region_bind(f, 25 * PAGE, 10, other, 0, 0));
	CHECK_EQ(pwrite(fd, "dirty", 5, 5 * PAGE), 5);
	CHECK_OK(fsync(fd));
	CHECK_EQ(dirty_pages(), 0);
}

TEST(w4_fsync_of_many_backings)
{
	struct tfile *f = on_disk(RW);
	struct backing *bs[5];
	int fd = srv_open(f, O_RDWR);

	CHECK_ZERO(region_unbind(f, 0, 0));
	for (uint64_t i = 0; i < 5; i++) {
		bs[i] = backing_new_in(shared_ext4(), SIZE);
		CHECK_OK(fsync(bs[i]->fd));
		srv_register(f->srv, bs[i]);
		CHECK_ZERO(region_bind(f, i * 5 * PAGE, 5 * PAGE, bs[i], i, RW));
		CHECK_EQ(pwrite(fd, "dirty", 5, (off_t)(i * 5 * PAGE + 10)), 5);
	}
	CHECK_OK(fsync(fd));
	for (int i = 0; i < 5; i++) {
		b = bs[i];
		CHECK_EQ(dirty_pages(), 0);
	}
}

TEST(w4_fsync_with_dead_server)
{
	struct tfile *f = on_disk(RW);
	int fd = srv_open(f, O_RDWR);

	CHECK_EQ(pwrite(fd, "dirty", 5, 5 * PAGE), 5);
	srv_kill(f->srv);
	/* fails as FUSE's does, and does not hang; what the kernel can sync it has */
	CHECK_EQ(fsync(fd), -1);
	if (errno != ENOTCONN && errno != ECONNABORTED && errno != EIO)
		FAIL("fsync with a dead server: %m");
	CHECK_EQ(dirty_pages(), 0);
	CHECK_EQ(pwrite(fd, "still", 5, 6 * PAGE), 5);
}

/*
 * W5. Shrinking trims; what is shown when it grows again is zeroes, though the
 * backing has its bytes still. The store zeroes as well: it was truncated.
 */
static void shrink_and_grow(struct srv_opts opts, uint32_t flags)
{
	static const uint64_t sizes[] = {
		30 * PAGE, 10 * PAGE + 5, 3 * PAGE, 2 * PAGE - 1, 100, 0
	};
	struct tfile *f = bound(opts, NULL, PAGE, 20 * PAGE, 5, flags);
	int fd = srv_open(f, O_RDWR), in = srv_open(f, O_RDONLY);
	struct oracle o;

	oracle_load(&o, f);
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		CHECK_OK(ftruncate(fd, (off_t)sizes[i]));
		oracle_truncate(&o, sizes[i]);
		oracle_check(&o, in, 0, SIZE);
		CHECK_OK(ftruncate(fd, SIZE));
		oracle_truncate(&o, SIZE);
		oracle_check(&o, in, 0, 2 * SIZE);
		expect_file(f, in, 10 * PAGE);
		oracle_write(&o, fd, sizes[i] / 2, 3 * PAGE);
		oracle_check(&o, in, 0, 2 * SIZE);
	}
	oracle_free(&o);
}

TEST(w5_shrink_trims)
{
	shrink_and_grow((struct srv_opts){ 0 }, RW);
}

TEST(w5_shrink_trims_read_only_regions)
{
	shrink_and_grow((struct srv_opts){ 0 }, FUSE_REGION_READ);
}

TEST(w5_shrink_trims_writeback)
{
	shrink_and_grow((struct srv_opts){ .writeback = true }, RW);
}

TEST(w5_shrink_trims_no_attr_cache)
{
	shrink_and_grow((struct srv_opts){ .no_attr_cache = true }, RW);
}

/* By path, by O_TRUNC, and with nothing open */
TEST(w5_shrink_by_other_means)
{
	struct tfile *f = bound((struct srv_opts){ 0 }, NULL, PAGE, 20 * PAGE, 5, RW);
	char path[128];
	int fd;

	srv_path(path, sizeof(path), f);
	CHECK_OK(truncate(path, 10 * PAGE));
	CHECK_OK(truncate(path, SIZE));
	fd = srv_open(f, O_RDONLY);
	expect_read(f, fd, 0, SIZE);
	CHECK_ZERO(region_bind(f, 10 * PAGE, 5 * PAGE, b, 9, RW));
	expect_read(f, fd, 0, SIZE);
	close(srv_open(f, O_WRONLY | O_TRUNC));
	expect_read(f, fd, 0, SIZE);
	CHECK_OK(truncate(path, SIZE));
	expect_read(f, fd, 0, SIZE);
}

/* What is trimmed is free again, and nothing keeps its backing. */
TEST(w5_trimmed_bytes_can_be_bound_anew)
{
	struct tfile *f = bound((struct srv_opts){ 0 }, NULL, PAGE, 20 * PAGE, 5, RW);
	int fd = srv_open(f, O_RDWR);

	CHECK_NEG(region_bind(f, 15 * PAGE, 10, b, 0, 0), EEXIST);
	CHECK_OK(ftruncate(fd, 10 * PAGE));
	CHECK_ZERO(region_bind(f, 10 * PAGE, PAGE, b, 0, 0));
	CHECK_NEG(region_bind(f, 10 * PAGE - 1, 1, b, 0, 0), EEXIST);
	CHECK_OK(ftruncate(fd, 0));
	CHECK_ZERO(raw_backing_close(f->srv->ctl, b->id));
	CHECK_SOON(module_param("live_backings") == 0);
}

TEST(w5_whole_file_region_stays)
{
	struct tfile *f = bound((struct srv_opts){ 0 }, NULL, 0, 0, 0, RW);
	int fd = srv_open(f, O_RDWR);
	struct stat st;

	expect_read(f, fd, 0, 2 * SIZE);
	CHECK_OK(ftruncate(fd, 5 * PAGE));
	/* the server does it on the backing, which is where the end is */
	CHECK_OK(ftruncate(b->fd, 5 * PAGE));
	expect_read(f, fd, 0, 2 * SIZE);
	CHECK_OK(fstat(fd, &st));
	CHECK_EQ(srv_count(f, OP_READ), 0);
	CHECK_EQ(pwrite(fd, "x", 1, 4 * PAGE), 1);
	expect_read(f, fd, 0, 2 * SIZE);
}

/* FUSE takes it for empty, and its truncation for growth. */
TEST(w5_shrink_of_a_whole_file_whose_size_lags)
{
	struct srv *s = srv_new(NULL);
	struct tfile *f = srv_store_file(s, "f", 0);
	struct backing *head = backing_new(PAGE);
	unsigned char got[PAGE], zero[PAGE] = { 0 };
	int fd;

	srv_start(s);
	b = backing_new(2 * PAGE);
	srv_register(s, b);
	srv_register(s, head);
	fd = srv_open(f, O_RDWR);
	CHECK_ZERO(region_bind(f, 0, 0, b, 0, RW));
	CHECK_ZERO(region_bind(f, 0, PAGE, head, 0, RW | FUSE_REGION_REPLACE));
	CHECK_OK(ftruncate(fd, 100));
	CHECK_OK(ftruncate(b->fd, 100));
	CHECK_OK(ftruncate(fd, 2 * PAGE));
	CHECK_OK(ftruncate(b->fd, 2 * PAGE));
	CHECK_EQ(pread(fd, got, PAGE, 0), PAGE);
	CHECK_EQ(pattern_differs(got, head->seed, 0, 100), 100);
	CHECK(!memcmp(got + 100, zero, PAGE - 100));
}

/* Growing takes nothing away: a region may wait there for the file to reach it. */
TEST(w5_grow_keeps_regions_past_the_size)
{
	struct srv *s = srv_new(NULL);
	struct tfile *f = srv_store_file(s, "f", 5 * PAGE);
	char path[128];
	int fd;

	srv_start(s);
	b = backing_new(SIZE);
	srv_register(s, b);
	fd = srv_open(f, O_RDWR);
	CHECK_ZERO(region_bind(f, 3 * PAGE, 15 * PAGE, b, 9, RW));
	CHECK_OK(ftruncate(fd, 7 * PAGE + 5));
	expect_read(f, fd, 0, SIZE);
	srv_path(path, sizeof(path), f);
	CHECK_OK(truncate(path, 12 * PAGE));
	expect_read(f, fd, 0, SIZE);
	CHECK_OK(ftruncate(fd, SIZE));
	expect_read(f, fd, 0, SIZE);
	CHECK_OK(fallocate(fd, 0, SIZE, PAGE));
	expect_read(f, fd, 0, 2 * SIZE);
	CHECK_NEG(region_bind(f, 17 * PAGE, 1, b, 0, 0), EEXIST);
}

/* The kernel thinks the file small, for the server made it longer meanwhile. */
TEST(w5_shrink_of_a_file_that_the_server_extended)
{
	struct srv *s = srv_new(&(struct srv_opts){ .no_attr_cache = true });
	struct tfile *f = srv_store_file(s, "f", PAGE);
	char path[128];
	int fd;

	srv_start(s);
	b = backing_new(SIZE);
	srv_register(s, b);
	fd = srv_open(f, O_RDWR);
	CHECK_ZERO(region_bind(f, 10 * PAGE, 5 * PAGE, b, 0, RW));
	f->size = SIZE;
	CHECK_OK(ftruncate(f->store->fd, SIZE));
	srv_path(path, sizeof(path), f);
	CHECK_OK(ftruncate(fd, 3 * PAGE));
	CHECK_OK(ftruncate(fd, SIZE));
	expect_read(f, fd, 0, SIZE);
}

static void fallocates(struct srv_opts opts, uint32_t flags)
{
	static const struct {
		int mode;
		uint64_t off, len;
	} calls[] = {
		{ FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 3 * PAGE + 7, 9000 },
		{ FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 3 * PAGE },
		{ FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 20 * PAGE, 5 * PAGE },
		{ 0, 8 * PAGE, 2 * PAGE },
		{ 0, SIZE, 3 * PAGE },
		{ FALLOC_FL_KEEP_SIZE, SIZE + 10 * PAGE, PAGE },
	};
	struct tfile *f = bound(opts, NULL, PAGE, 20 * PAGE, 5, flags);
	int fd = srv_open(f, O_RDWR), in = srv_open(f, O_RDONLY);
	struct oracle o;

	oracle_load(&o, f);
	for (size_t i = 0; i < ARRAY_SIZE(calls); i++) {
		uint64_t end = calls[i].off + calls[i].len;

		CHECK_OK(fallocate(fd, calls[i].mode, (off_t)calls[i].off, (off_t)calls[i].len));
		if (calls[i].mode & FALLOC_FL_PUNCH_HOLE) {
			unsigned char *zeroes = calloc(1, calls[i].len);

			oracle_note(&o, zeroes, calls[i].off, calls[i].len);
			free(zeroes);
		} else if (!(calls[i].mode & FALLOC_FL_KEEP_SIZE) && end > o.size) {
			oracle_truncate(&o, end);
		}
		oracle_check(&o, in, 0, 2 * SIZE);
		oracle_write(&o, fd, rnd_below(SIZE - PAGE), PAGE);
		oracle_check(&o, in, 0, 2 * SIZE);
	}
	oracle_free(&o);
}

TEST(w5_fallocate)
{
	fallocates((struct srv_opts){ 0 }, RW);
}

TEST(w5_fallocate_writeback)
{
	fallocates((struct srv_opts){ .writeback = true }, RW);
}

TEST(w5_fallocate_read_only_region)
{
	fallocates((struct srv_opts){ 0 }, FUSE_REGION_READ);
}

/* A mapping is there first: its pages must not keep what was punched or cut off. */
TEST(w5_mapping_follows)
{
	struct tfile *f = bound((struct srv_opts){ 0 }, NULL, PAGE, 20 * PAGE, 5, RW);
	int fd = srv_open(f, O_RDWR);
	unsigned char *p = mmap(NULL, SIZE, PROT_READ, MAP_SHARED, srv_open(f, O_RDONLY), 0);

	CHECK(p != MAP_FAILED);
	expect_content(f, "mmap", 0, p, SIZE);
	CHECK_OK(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 3 * PAGE + 7, 9000));
	expect_content(f, "mmap", 0, p, SIZE);
	CHECK_OK(ftruncate(fd, 5 * PAGE + 9));
	expect_content(f, "mmap", 0, p, 5 * PAGE + 9);
	CHECK_OK(ftruncate(fd, SIZE));
	expect_content(f, "mmap", 0, p, SIZE);
	CHECK_EQ(p[5 * PAGE + 9] | p[6 * PAGE] | p[SIZE - 1], 0);
	CHECK_EQ(pwrite(fd, "hello", 5, 3 * PAGE), 5);
	expect_content(f, "mmap", 0, p, SIZE);
	CHECK_EQ(pwrite(fd, "hello", 5, 30 * PAGE), 5);
	expect_content(f, "mmap", 0, p, SIZE);
}

/* Faults, truncation and punching from several threads: nobody may wait for another in a ring. */
struct shrinking {
	int fd;
	unsigned char *p;
};

static void touch_mapping(void *arg)
{
	struct shrinking *w = arg;
	volatile unsigned char *p = w->p;

	/* never cut off */
	(void)p[rnd_below(2 * PAGE)];
	CHECK_OK(madvise(w->p, 2 * PAGE, MADV_DONTNEED));
}

static void write_from_mapping(void *arg)
{
	struct shrinking *w = arg;

	/* a gap's bytes, from a mapping of a gap's bytes of the same file */
	CHECK_EQ(pwrite(w->fd, w->p + PAGE + 10, 500, 100), 500);
	CHECK_OK(madvise(w->p, 2 * PAGE, MADV_DONTNEED));
}

TEST(w5_truncate_under_faults)
{
	struct tfile *f = bound((struct srv_opts){ 0 }, NULL, 2 * PAGE + 5, 20 * PAGE, 5, RW);
	struct shrinking w = { .fd = srv_open(f, O_RDWR) };
	struct threads faults, writers;

	w.p = mmap(NULL, SIZE, PROT_READ, MAP_SHARED, srv_open(f, O_RDONLY), 0);
	CHECK(w.p != MAP_FAILED);
	threads_start(&faults, 2, touch_mapping, &w);
	threads_start(&writers, 1, write_from_mapping, &w);
	for (uint64_t until = now_ms() + test_storm_ms(2500); now_ms() < until;) {
		CHECK_OK(ftruncate(w.fd, (off_t)(2 * PAGE + rnd_below(10 * PAGE))));
		CHECK_OK(fallocate(w.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 100, 5000));
		CHECK_OK(ftruncate(w.fd, SIZE));
	}
	threads_stop(&faults);
	threads_stop(&writers);
	note("%llu faults, %llu writes", (unsigned long long)faults.rounds,
	     (unsigned long long)writers.rounds);
}
