// SPDX-License-Identifier: GPL-2.0
/* G1, G2: a bind is seen by whatever begins after it; what an unbind removed is used no more. */
#define _GNU_SOURCE
#include <sys/mman.h>
#include <sys/mount.h>

#include "harness.h"

#define SIZE (32 * PAGE)
#define POISON 0xEE

static struct backing *b, *c;

static struct tfile *file_with_backings(const char *dir)
{
	struct tfile *f = srv_simple(SIZE);

	b = backing_new_in(dir, SIZE);
	c = backing_new_in(dir, SIZE);
	srv_register(f->srv, b);
	srv_register(f->srv, c);
	return f;
}

TEST(g1_opened_before_bind)
{
	struct tfile *f = file_with_backings(NULL);
	static const int flags[] = { O_RDONLY, O_RDWR, O_RDONLY | O_DIRECT, O_RDONLY | O_NOATIME };
	int fd[ARRAY_SIZE(flags)];

	for (size_t i = 0; i < ARRAY_SIZE(flags); i++)
		fd[i] = srv_open(f, flags[i]);
	CHECK_ZERO(region_bind(f, 4000, 20000, b, 7, 0));
	for (size_t i = 0; i < ARRAY_SIZE(flags); i++)
		expect_read(f, fd[i], 0, SIZE);
	CHECK_EQ(f->asked_bound, 0);
}

/* Pages that the server filled are in the page cache by then. */
TEST(g1_read_before_bind)
{
	struct tfile *f = file_with_backings(NULL);
	int fd = srv_open(f, O_RDONLY);

	expect_file(f, fd, 3 * PAGE);
	CHECK_ZERO(region_bind(f, 4000, 20000, b, 7, 0));
	expect_file(f, fd, 3 * PAGE);
	CHECK_ZERO(region_bind(f, 6000, 3, c, 7, FUSE_REGION_REPLACE));
	expect_file(f, fd, 3 * PAGE);
	CHECK_ZERO(region_unbind(f, 10000, 5000));
	expect_file(f, fd, 3 * PAGE);
	CHECK_ZERO(region_unbind(f, 0, 0));
	expect_file(f, fd, 3 * PAGE);
}

/* The first region ever, on a file that many have open; then its last one goes. */
TEST(g1_every_step)
{
	struct tfile *f = file_with_backings(NULL);
	int fd = srv_open(f, O_RDONLY);

	for (int i = 0; i < 30; i++) {
		uint64_t off = rnd_below(SIZE - 100), len = 1 + rnd_below(3 * PAGE);

		expect_read(f, fd, off / 2, 4 * PAGE);
		CHECK_ZERO(region_bind(f, off, len, i % 2 ? b : c, rnd_below(PAGE),
				       FUSE_REGION_REPLACE));
		expect_read(f, fd, off > 50 ? off - 50 : 0, len + 100);
		CHECK_ZERO(region_unbind(f, off + len / 2, 1 + len / 4));
		expect_read(f, fd, off > 50 ? off - 50 : 0, len + 100);
		if (i % 10 == 9)
			CHECK_ZERO(region_unbind(f, 0, 0));
	}
}

TEST(g1_created_file)
{
	struct srv *s = srv_new(NULL);
	struct tfile *f = srv_store_file(s, "new", 0);
	int fd;

	f->hidden = true;
	srv_start(s);
	b = backing_new(SIZE);
	srv_register(s, b);
	fd = srv_open(f, O_RDWR | O_CREAT | O_EXCL);
	CHECK_EQ(srv_count(f, OP_CREATE), 1);
	CHECK_OK(ftruncate(fd, SIZE));
	CHECK_ZERO(region_bind(f, 100, 9000, b, 3, 0));
	expect_file(f, fd, 5 * PAGE);
	CHECK_EQ(f->asked_bound, 0);
}

TEST(g1_opened_by_proc)
{
	struct tfile *f = file_with_backings(NULL);
	int fd = srv_open(f, O_RDONLY), again;
	char path[64];

	CHECK_ZERO(region_bind(f, 100, 9000, b, 3, 0));
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	again = (int)CHECK_OK(open(path, O_RDONLY));
	expect_read(f, again, 0, SIZE);
	CHECK_EQ(f->asked_bound, 0);
}

/* One thread binds, and says when it begins and when it is done; others read meanwhile. */
struct baton {
	int fd;
	uint64_t begun, done; /* even: bind to c, odd: to b */
};

static void read_what_was_said(void *arg)
{
	struct baton *baton = arg;
	uint64_t done = __atomic_load_n(&baton->done, __ATOMIC_SEQ_CST), begun;
	unsigned char buf[64];
	bool is_b, is_c;

	CHECK_EQ(pread(baton->fd, buf, sizeof(buf), PAGE), sizeof(buf));
	begun = __atomic_load_n(&baton->begun, __ATOMIC_SEQ_CST);
	is_b = pattern_differs(buf, b->seed, 0, sizeof(buf)) == sizeof(buf);
	is_c = pattern_differs(buf, c->seed, 0, sizeof(buf)) == sizeof(buf);
	CHECK(is_b || is_c);
	/* If no later bind had begun when the read was over, it can only be that one's. */
	if (begun == done && !(done % 2 ? is_b : is_c))
		FAIL("bind %llu was not seen", (unsigned long long)done);
}

TEST(g1_bind_in_one_thread_read_in_another)
{
	struct tfile *f = file_with_backings(NULL);
	struct baton baton = { .fd = srv_open(f, O_RDONLY) };
	uint64_t until = now_ms() + test_storm_ms(1500);
	struct threads readers;

	CHECK_ZERO(region_bind(f, PAGE, PAGE, c, 0, 0));
	threads_start(&readers, 2, read_what_was_said, &baton);
	for (uint64_t i = 1; now_ms() < until; i++) {
		__atomic_store_n(&baton.begun, i, __ATOMIC_SEQ_CST);
		CHECK_ZERO(region_bind(f, PAGE, PAGE, i % 2 ? b : c, 0, FUSE_REGION_REPLACE));
		__atomic_store_n(&baton.done, i, __ATOMIC_SEQ_CST);
		threads_progress(&readers, i % 4);
	}
	threads_stop(&readers);
}

/*
 * Readers against an unbind whose backing is then poisoned. What they read is
 * the backing's good bytes or the server's, byte by byte, and never poison.
 */
struct reader {
	struct tfile *f;
	int fd;
	uint64_t from, span;
	size_t max;
	uint64_t seeds[3];
	bool zero_too;
};

static bool is_allowed(const struct reader *r, uint64_t pos, unsigned char byte)
{
	if (byte == pattern_byte(r->f->seed, pos))
		return true;
	for (size_t i = 0; i < ARRAY_SIZE(r->seeds); i++)
		if (r->seeds[i] && byte == pattern_byte(r->seeds[i], pos))
			return true;
	return r->zero_too && !byte;
}

static void read_and_judge(void *arg)
{
	const struct reader *r = arg;
	uint64_t off = (r->from + rnd_below(r->span)) / PAGE * PAGE;
	unsigned char *buf = direct_alloc(r->max);
	ssize_t n = pread(r->fd, buf, r->max, (off_t)off);

	if (n <= 0)
		FAIL("pread of %zu at %#llx: %zd, errno %d", r->max, (unsigned long long)off, n,
		     errno);
	for (size_t i = 0; i < (size_t)n; i++)
		if (!is_allowed(r, off + i, buf[i]))
			FAIL("byte %#llx is %02x, which it never was while it was bound",
			     (unsigned long long)(off + i), buf[i]);
	free(buf);
}

static void poison(struct backing *backing)
{
	char bytes[PAGE];

	memset(bytes, POISON, sizeof(bytes));
	for (uint64_t off = 0; off < SIZE; off += PAGE)
		CHECK_EQ(pwrite(backing->fd, bytes, PAGE, (off_t)off), PAGE);
}

static void unbind_and_poison(const char *dir, int open_flags, bool by_replace)
{
	struct tfile *f = file_with_backings(dir);
	struct reader r = {
		.f = f,
		.fd = srv_open(f, O_RDONLY | open_flags),
		.span = SIZE - 8 * PAGE,
		.max = 6 * PAGE,
		.seeds = { b->seed, by_replace ? c->seed : 0 },
	};
	uint64_t until = now_ms() + test_storm_ms(2500);
	struct threads readers;
	int rounds;

	threads_start(&readers, 3, read_and_judge, &r);
	for (rounds = 0; now_ms() < until; rounds++) {
		CHECK_ZERO(region_bind(f, 0, SIZE, b, 0, FUSE_REGION_REPLACE));
		threads_progress(&readers, 3);
		if (by_replace)
			CHECK_ZERO(region_bind(f, 0, SIZE, c, 0, FUSE_REGION_REPLACE));
		else
			CHECK_ZERO(region_unbind(f, 0, 0));
		poison(b);
		threads_progress(&readers, 3);
		pattern_write(b->fd, b->seed, 0, SIZE);
	}
	threads_stop(&readers);
	note("%d rounds, %llu reads", rounds, (unsigned long long)readers.rounds);
}

TEST(g2_no_io_after_unbind)
{
	unbind_and_poison(NULL, 0, false);
}

TEST(g2_no_io_after_replace)
{
	unbind_and_poison(NULL, 0, true);
}

TEST(g2_no_direct_io_after_unbind)
{
	unbind_and_poison(shared_ext4(), O_DIRECT, false);
}

TEST(g2_no_direct_io_after_replace)
{
	unbind_and_poison(shared_ext4(), O_DIRECT, true);
}

/* Cutting one byte out of a region removes that byte alone. */
TEST(g2_truncate_after_unbind)
{
	struct tfile *f = file_with_backings(NULL);
	struct reader r = {
		.f = f,
		.fd = srv_open(f, O_RDONLY),
		.span = SIZE - 8 * PAGE,
		.max = 6 * PAGE,
		.seeds = { b->seed },
	};
	uint64_t until = now_ms() + test_storm_ms(2000);
	struct threads readers;

	threads_start(&readers, 3, read_and_judge, &r);
	while (now_ms() < until) {
		CHECK_ZERO(region_bind(f, 0, SIZE, b, 0, FUSE_REGION_REPLACE));
		threads_progress(&readers, 2);
		CHECK_ZERO(region_unbind(f, SIZE / 2 + 5, SIZE));
		CHECK_OK(ftruncate(b->fd, SIZE / 2 + 5));
		threads_progress(&readers, 2);
		CHECK_ZERO(region_unbind(f, 0, 0));
		CHECK_OK(ftruncate(b->fd, 0));
		threads_progress(&readers, 2);
		pattern_write(b->fd, b->seed, 0, SIZE);
	}
	threads_stop(&readers);
}

/* Nothing keeps the backing once it is neither bound nor registered. */
TEST(g2_file_system_is_free_after_unbind)
{
	const char *dir = mount_tmpfs();
	struct tfile *f = file_with_backings(dir);
	int fd = srv_open(f, O_RDONLY);

	CHECK_ZERO(region_bind(f, 0, SIZE, b, 0, 0));
	CHECK_ZERO(region_bind(f, 5, 5000, c, 0, FUSE_REGION_REPLACE));
	expect_read(f, fd, 0, SIZE);
	CHECK_ZERO(raw_backing_close(f->srv->ctl, b->id));
	CHECK_ZERO(raw_backing_close(f->srv->ctl, c->id));
	expect_read(f, fd, 0, SIZE);
	close(b->fd);
	close(c->fd);
	CHECK_ERR(umount2(dir, 0), EBUSY);
	CHECK_ZERO(region_unbind(f, 0, 0));
	unmount_soon(dir);
	expect_read(f, fd, 0, SIZE);
}

/* Files that were opened at the wrong time to be served by the module, beside others that are */
static void plain_file_works(struct tfile *f, int fd)
{
	unsigned char *p = mmap(NULL, SIZE, PROT_READ, MAP_SHARED, fd, 0), *buf = malloc(SIZE);
	struct model_op run;

	CHECK(p != MAP_FAILED);
	CHECK_EQ(pread(fd, buf, SIZE, 0), SIZE);
	for (uint64_t i = 0; i < SIZE; i++) {
		unsigned char region =
			model_find(f->model, i, &run) ? pattern_byte(run.b->seed, run.bstart) : 0;

		if (buf[i] != pattern_byte(f->seed, i) && (!region || buf[i] != region))
			FAIL("pread: byte %llu is %02x", (unsigned long long)i, buf[i]);
		if (p[i] != pattern_byte(f->seed, i) && (!region || p[i] != region))
			FAIL("mmap: byte %llu is %02x", (unsigned long long)i, p[i]);
	}
	CHECK_ZERO(posix_fadvise(fd, 0, 0, POSIX_FADV_WILLNEED));
	munmap(p, SIZE);
	free(buf);
}

TEST(g1_opened_before_attach)
{
	struct srv *s = srv_new(&(struct srv_opts){ .no_attach = true });
	struct tfile *f = srv_file(s, "f", SIZE);
	struct fuse_regions_attach arg;
	int early, late;

	close(raw_device());
	srv_start(s);
	b = backing_new(SIZE);
	early = srv_open(f, O_RDONLY);
	expect_file(f, early, 5 * PAGE);
	arg = raw_attach_arg(s->ctl);
	CHECK_ZERO(raw_attach(&arg));
	srv_register(s, b);
	CHECK_ZERO(region_bind(f, PAGE + 5, 9000, b, 0, 0));
	plain_file_works(f, early);
	late = srv_open(f, O_RDONLY);
	expect_file(f, late, 5 * PAGE);
	plain_file_works(f, early);
	CHECK_ZERO(region_unbind(f, 0, 0));
	plain_file_works(f, early);
	expect_file(f, late, 5 * PAGE);
}

TEST(g1_opened_while_detached)
{
	struct tfile *f = file_with_backings(NULL);
	int fd = srv_open(f, O_RDONLY), plain;

	CHECK_ZERO(region_bind(f, PAGE + 5, 9000, b, 0, 0));
	expect_read(f, fd, 0, SIZE);
	srv_close_ctl(f->srv);
	plain = srv_open(f, O_RDWR);
	plain_file_works(f, plain);
	expect_read(f, fd, 0, SIZE);
	close(fd);
	plain_file_works(f, plain);
}

/* Bound and looked up at the same time: the inode may be half made. */
static void look_up_all(void *arg)
{
	struct srv *s = arg;
	struct stat st;
	char path[128];

	for (int i = 0; i < s->nr_files; i++) {
		srv_path(path, sizeof(path), &s->files[i]);
		CHECK_OK(stat(path, &st));
	}
	drop_caches();
}

TEST(g1_bind_during_lookup)
{
	struct srv *s = srv_new(&(struct srv_opts){ .threads = true });
	uint64_t until = now_ms() + test_storm_ms(3000), bound = 0;
	struct threads threads;
	char name[16];

	for (int i = 0; i < 10; i++) {
		snprintf(name, sizeof(name), "f%d", i);
		srv_store_file(s, name, SIZE);
	}
	srv_start(s);
	b = backing_new(SIZE);
	srv_register(s, b);
	threads_start(&threads, 2, look_up_all, s);
	while (now_ms() < until) {
		struct tfile *f = &s->files[rnd_below(10)];
		struct fuse_passthrough_region rec =
			REC(0, PAGE, b->id, 0, FUSE_REGION_READ | FUSE_REGION_REPLACE);
		int res = region_msg(s->ctl, f->nodeid, &rec, 1);

		if (res == 0)
			bound++;
		else if (res != -ENOENT)
			FAIL("bind: %d", res);
	}
	threads_stop(&threads);
	note("%llu binds", (unsigned long long)bound);
	for (int i = 0; i < 10; i++) {
		int fd = srv_open(&s->files[i], O_RDWR);

		CHECK_ZERO(region_bind(&s->files[i], PAGE, PAGE, b, 0, FUSE_REGION_REPLACE));
		CHECK_OK(ftruncate(fd, 0));
		CHECK_OK(ftruncate(fd, SIZE));
		CHECK_ZERO(region_unbind(&s->files[i], 0, 0));
		expect_file(&s->files[i], fd, SIZE);
		close(fd);
	}
}
