// SPDX-License-Identifier: GPL-2.0
/* W3: limits, modes, times and freezing, each as on a native file, and once. */
#define _GNU_SOURCE
#include <libaio.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/uio.h>

#include "harness.h"

#define SIZE (32 * PAGE)

static struct backing *b;

static struct tfile *bound(const char *dir, uint64_t shift, uint32_t flags)
{
	struct srv *s = srv_new(NULL);
	struct tfile *f = srv_store_file(s, "f", SIZE);

	f->attr_of_backings = true;
	srv_start(s);
	b = backing_new_in(dir, SIZE + 8 * PAGE);
	srv_register(s, b);
	close(srv_open(f, O_RDONLY));
	CHECK_ZERO(region_bind(f, PAGE, 20 * PAGE, b, shift, flags));
	return f;
}

static struct timespec mtime_of(int fd, struct timespec *ctime)
{
	struct stat st;

	CHECK_OK(fstat(fd, &st));
	if (ctime)
		*ctime = st.st_ctim;
	return st.st_mtim;
}

static bool newer(struct timespec a, struct timespec than)
{
	return a.tv_sec > than.tv_sec || (a.tv_sec == than.tv_sec && a.tv_nsec > than.tv_nsec);
}

/* Attributes may be cached for a day; a write ends that. */
TEST(w3_times_after_write)
{
	struct tfile *f = bound(NULL, 0, RW);
	int fd = srv_open(f, O_RDWR), in = srv_open(f, O_RDONLY);
	struct timespec m0, c0, m1, c1;

	for (int i = 0; i < 4; i++) {
		m0 = mtime_of(in, &c0);
		sleep_ms(20);
		/* in a region, in a gap, over both */
		CHECK_EQ(pwrite(fd, "0123456789", 10,
				(off_t[]){ 3 * PAGE, 25 * PAGE, PAGE - 5, 21 * PAGE - 3 }[i]),
			 10);
		m1 = mtime_of(in, &c1);
		if (!newer(m1, m0) || !newer(c1, c0))
			FAIL("write %d: mtime %s, ctime %s", i,
			     newer(m1, m0) ? "is newer" : "is old",
			     newer(c1, c0) ? "is newer" : "is old");
	}
}

/* What a write in a region changes, the server is asked for anew; and what it does not change, not. */
TEST(w3_attributes_after_write)
{
	static const struct {
		unsigned int mask;
		bool asked;
	} attrs[] = {
		{ STATX_SIZE, true },  { STATX_BLOCKS, true }, { STATX_MTIME, true },
		{ STATX_CTIME, true }, { STATX_UID, false },   { STATX_NLINK, false },
	};
	struct tfile *f = bound(NULL, 0, RW);
	int fd = srv_open(f, O_RDWR);
	struct statx stx;

	for (size_t i = 0; i < ARRAY_SIZE(attrs); i++) {
		uint64_t asked;

		CHECK_OK(statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &stx));
		asked = srv_count(f, OP_GETATTR);
		CHECK_OK(statx(fd, "", AT_EMPTY_PATH, attrs[i].mask, &stx));
		CHECK_EQ(srv_count(f, OP_GETATTR), asked);
		CHECK_EQ(pwrite(fd, "x", 1, 3 * PAGE), 1);
		CHECK_OK(statx(fd, "", AT_EMPTY_PATH, attrs[i].mask, &stx));
		if (srv_count(f, OP_GETATTR) != asked + attrs[i].asked)
			FAIL("statx() of %#x after a write asked the server %llu times",
			     attrs[i].mask, (unsigned long long)(srv_count(f, OP_GETATTR) - asked));
	}
	CHECK_OK(statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &stx));
	CHECK_EQ(stx.stx_size, SIZE);
	CHECK_EQ(stx.stx_blocks, SIZE / 512);
}

/* The server is asked before a write, and answers after it, with what was true before it. */
TEST(w3_getattr_under_way_during_write)
{
	struct tfile *f = bound(NULL, 0, RW);
	int fd = srv_open(f, O_RDWR);
	struct timespec m0 = mtime_of(fd, NULL), m1;
	struct stat st;
	char path[128];
	pid_t pid;

	CHECK_EQ(pwrite(fd, "x", 1, 3 * PAGE), 1); /* now they have to be asked for */
	f->hang = 1u << OP_GETATTR;
	srv_path(path, sizeof(path), f);
	pid = test_fork();
	if (pid == 0) {
		CHECK_OK(stat(path, &st));
		_exit(0);
	}
	srv_until_hanging(f);
	sleep_ms(20);
	m0 = f->mtime;
	CHECK_EQ(pwrite(fd, "y", 1, 4 * PAGE), 1);
	f->hang = 0;
	CHECK_EQ(wait_exit(pid), 0);
	m1 = mtime_of(fd, NULL);
	CHECK(newer(m1, m0));
}

/* Written to by someone who may not keep them, the bits that give privileges go. */
static void setuid_bits_of(struct tfile *f, uint64_t off, bool privileged)
{
	int fd = srv_open(f, O_RDWR);
	struct stat st;
	pid_t pid;

	CHECK_OK(fchmod(fd, 06777));
	pid = test_fork();
	if (pid == 0) {
		if (!privileged)
			become_nobody();
		CHECK_EQ(pwrite(fd, "x", 1, (off_t)off), 1);
		_exit(0);
	}
	CHECK_EQ(wait_exit(pid), 0);
	CHECK_OK(fstat(fd, &st));
	CHECK_EQ(st.st_mode & 06000, privileged ? 06000 : 0);
}

static void setuid_bits(uint64_t off, bool privileged)
{
	setuid_bits_of(bound(NULL, 0, RW), off, privileged);
}

TEST(w3_setuid_cleared_in_region)
{
	setuid_bits(3 * PAGE, false);
}

TEST(w3_setuid_cleared_in_gap)
{
	setuid_bits(25 * PAGE, false);
}

/* A server that takes them away itself, when it sees a write, does not see this one. */
TEST(w3_setuid_cleared_though_the_server_would)
{
	struct tfile *f = srv_stored((struct srv_opts){ .killpriv = true }, NULL, SIZE, &b, NULL);

	CHECK_ZERO(region_bind(f, PAGE, 20 * PAGE, b, 0, RW));
	setuid_bits_of(f, 3 * PAGE, false);
}

TEST(w3_setuid_kept_by_root)
{
	setuid_bits(3 * PAGE, true);
}

/* RLIMIT_FSIZE counts the FUSE file's bytes, wherever these lie in the backing. */
static void limit_file_size(rlim_t limit)
{
	struct rlimit r = { limit, limit };

	signal(SIGXFSZ, SIG_IGN);
	CHECK_OK(setrlimit(RLIMIT_FSIZE, &r));
}

static void file_size_limit(const char *dir, uint64_t shift, int open_flags)
{
	struct tfile *f = bound(dir, shift, RW);
	int fd = srv_open(f, O_RDWR | open_flags);
	unsigned char *buf = direct_alloc(4 * PAGE);

	pattern_fill(buf, 3, 0, 4 * PAGE);
	limit_file_size(8 * PAGE);
	CHECK_EQ(pwrite(fd, buf, 4 * PAGE, 2 * PAGE), 4 * PAGE);
	CHECK_EQ(pwrite(fd, buf, 2 * PAGE, 6 * PAGE), 2 * PAGE);
	/* half of it is below the limit */
	CHECK_EQ(pwrite(fd, buf, 4 * PAGE, 6 * PAGE), 2 * PAGE);
	CHECK_ERR(pwrite(fd, buf, PAGE, 8 * PAGE), EFBIG);
	CHECK_ERR(pwrite(fd, buf, PAGE, 25 * PAGE), EFBIG);
	expect_file(f, fd, 10 * PAGE);
	free(buf);
}

TEST(w3_fsize_limit)
{
	file_size_limit(NULL, 0, 0);
}

/* The backing's bytes lie past the limit; the file's do not. */
TEST(w3_fsize_limit_far_in_backing)
{
	file_size_limit(NULL, 8 * PAGE, 0);
}

TEST(w3_fsize_limit_inside_backings_range)
{
	file_size_limit(NULL, 3 * PAGE + 100, 0);
}

TEST(w3_fsize_limit_direct)
{
	file_size_limit(shared_ext4(), 3 * PAGE, O_DIRECT);
}

TEST(w3_fsize_limit_libaio)
{
	static const uint64_t shifts[] = { 0, 3 * PAGE, 8 * PAGE };

	for (size_t i = 0; i < 2 * ARRAY_SIZE(shifts); i++) {
		struct tfile *f = bound(i % 2 ? shared_ext4() : NULL, shifts[i / 2], RW);
		int fd = srv_open(f, O_RDWR | O_DIRECT);
		unsigned char *buf = direct_alloc(4 * PAGE);
		struct iocb cb, *list = &cb;
		io_context_t ctx = NULL;
		struct io_event event;
		struct rlimit old, r;

		pattern_fill(buf, 9, 0, 4 * PAGE);
		signal(SIGXFSZ, SIG_IGN);
		CHECK_OK(getrlimit(RLIMIT_FSIZE, &old));
		CHECK_ZERO(io_setup(4, &ctx));
		r = (struct rlimit){ 8 * PAGE, old.rlim_max };
		CHECK_OK(setrlimit(RLIMIT_FSIZE, &r));
		io_prep_pwrite(&cb, fd, buf, 4 * PAGE, 3 * PAGE);
		CHECK_EQ(io_submit(ctx, 1, &list), 1);
		CHECK_EQ(io_getevents(ctx, 1, 1, &event, NULL), 1);
		CHECK_EQ((long)event.res, 4 * PAGE);
		io_prep_pwrite(&cb, fd, buf, 4 * PAGE, 6 * PAGE);
		CHECK_EQ(io_submit(ctx, 1, &list), 1);
		CHECK_EQ(io_getevents(ctx, 1, 1, &event, NULL), 1);
		CHECK_EQ((long)event.res, 2 * PAGE);
		CHECK_OK(setrlimit(RLIMIT_FSIZE, &old));
		expect_file(f, fd, 10 * PAGE);
		CHECK_ZERO(io_destroy(ctx));
		close(fd);
	}
}

TEST(w3_largest_offset)
{
	struct tfile *f = bound(NULL, 0, RW | FUSE_REGION_GROW);
	int fd = srv_open(f, O_RDWR);
	unsigned char buf[PAGE] = "";

	CHECK_ERR(pwrite(fd, buf, PAGE, INT64_MAX), EINVAL);
	CHECK_ERR(pwrite(fd, buf, PAGE, -1), EINVAL);
	CHECK_ERR(pwrite(fd, buf, PAGE, INT64_MIN), EINVAL);
	expect_file(f, fd, 10 * PAGE);
}

/*
 * No region ends past what the backing's file system can hold, but for one of
 * the whole file: that has no end of its own, and is written up to there.
 */
TEST(w3_backing_file_system_limit)
{
	struct tfile *f = bound(shared_ext4(), 0, RW);
	const uint64_t most = backing_limit(b);
	int fd = srv_open(f, O_RDWR);
	unsigned char *buf = direct_alloc(4 * PAGE);

	CHECK_NEG(region_bind(f, 22 * PAGE, 6 * PAGE, b, most - 2 * PAGE, RW), EINVAL);
	CHECK_ZERO(region_bind(f, 0, 0, b, most - 24 * PAGE, RW | FUSE_REGION_REPLACE));
	pattern_fill(buf, 9, 0, 4 * PAGE);
	CHECK_EQ(pread(fd, buf, 4 * PAGE, 22 * PAGE), 0);
	CHECK_EQ(pwrite(fd, buf, 4 * PAGE, 22 * PAGE), 2 * PAGE);
	CHECK_ERR(pwrite(fd, buf, PAGE, 24 * PAGE), EFBIG);
	CHECK_ERR(pwrite(fd, buf, PAGE, 25 * PAGE), EFBIG);
	CHECK_EQ(pwrite(fd, buf, 2 * PAGE, 23 * PAGE), PAGE);
	CHECK_EQ(backing_size(b), most);
	CHECK_EQ(pread(fd, buf, 4 * PAGE, 22 * PAGE), 2 * PAGE);
	CHECK_EQ(pattern_differs(buf, 9, 0, PAGE), PAGE);
	CHECK_EQ(pattern_differs(buf + PAGE, 9, 0, PAGE), PAGE);
	CHECK_EQ(pread(fd, buf, 4 * PAGE, 24 * PAGE), 0);
	CHECK_OK(ftruncate(b->fd, SIZE));
	free(buf);
}

/* Freezing the backing's file system holds writers up, and nobody else. */
TEST(w3_frozen_backing)
{
	const char *dir = mount_ext4(16);
	struct tfile *f = bound(dir, 0, RW);
	int fd = srv_open(f, O_RDWR), mnt = (int)CHECK_OK(open(dir, O_RDONLY)), done[2];
	char byte;
	pid_t pid;

	CHECK_OK(pipe2(done, O_NONBLOCK));
	CHECK_OK(ioctl(mnt, FIFREEZE, 0));
	pid = test_fork();
	if (pid == 0) {
		CHECK_EQ(pwrite(fd, "frozen", 6, 3 * PAGE), 6);
		CHECK_EQ(write(done[1], "x", 1), 1);
		_exit(0);
	}
	sleep_ms(300);
	if (read(done[0], &byte, 1) == 1) {
		ioctl(mnt, FITHAW, 0);
		FAIL("a write went through to a frozen file system");
	}
	expect_read(f, fd, 5 * PAGE, 10 * PAGE);
	CHECK_OK(ioctl(mnt, FITHAW, 0));
	CHECK_EQ(wait_exit(pid), 0);
	expect_file(f, fd, 10 * PAGE);
	CHECK_ZERO(region_unbind(f, 0, 0));
}

/* Who does not want to wait does not wait for the thaw. */
TEST(r4_nowait_write_to_a_frozen_backing)
{
	const char *dir = mount_ext4(16);
	struct tfile *f = bound(dir, 0, RW);
	int fd = srv_open(f, O_RDWR | O_DIRECT), mnt = (int)CHECK_OK(open(dir, O_RDONLY));
	unsigned char *buf = direct_alloc(PAGE);
	const struct iovec iov = { buf, PAGE };
	uint64_t start;
	pid_t pid;

	CHECK_EQ(pwrite(fd, buf, PAGE, 3 * PAGE), PAGE);
	CHECK_OK(ioctl(mnt, FIFREEZE, 0));
	pid = test_fork();
	if (pid == 0) {
		sleep_ms(3000);
		CHECK_OK(ioctl(mnt, FITHAW, 0));
		_exit(0);
	}
	start = now_ms();
	CHECK_ERR(pwritev2(fd, &iov, 1, 3 * PAGE, RWF_NOWAIT), EAGAIN);
	CHECK(now_ms() - start < 2000);
	CHECK_EQ(wait_exit(pid), 0);
	CHECK_ZERO(region_unbind(f, 0, 0));
	free(buf);
}

/* An immutable backing, one that was sealed, one whose file system became read-only */
TEST(w3_backing_that_refuses)
{
	struct tfile *f = bound(NULL, 0, RW);
	int fd = srv_open(f, O_RDWR);
	struct backing *sealed;
	char byte = 'x';

	sealed = backing_from_fd((int)CHECK_OK(memfd_create("fr-test", MFD_ALLOW_SEALING)));
	sealed->seed = 5;
	pattern_write(sealed->fd, 5, 0, SIZE);
	srv_register(f->srv, sealed);
	CHECK_ZERO(region_bind(f, 22 * PAGE, 4 * PAGE, sealed, 0, RW));
	CHECK_EQ(pwrite(fd, &byte, 1, 23 * PAGE), 1);
	CHECK_OK(fcntl(sealed->fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE));
	CHECK_ERR(pwrite(fd, &byte, 1, 23 * PAGE), EPERM);
	expect_file(f, fd, 10 * PAGE);
}

TEST(w3_full_backing)
{
	const char *dir = temp_dir();
	struct tfile *f;
	unsigned char *buf = calloc(1, MIB);
	ssize_t n;
	int fd;

	CHECK_ZERO(sh("mount -t tmpfs -o size=256k fr-test %s", dir));
	f = bound(NULL, 0, RW);
	{
		struct backing *small = backing_new_in(dir, 4 * PAGE);

		fd = srv_open(f, O_RDWR);
		srv_register(f->srv, small);
		f->size = 2 * MIB;
		CHECK_ZERO(region_bind(f, 100 * PAGE, MIB, small, 0, RW | FUSE_REGION_GROW));
		CHECK_ZERO(region_unbind(f, PAGE, 20 * PAGE));
		memset(buf, 7, MIB);
		n = pwrite(fd, buf, MIB, 100 * PAGE);
		note("a write of 1 MiB to a backing with 256 KiB: %zd", n);
		CHECK(n > 0 && n < (ssize_t)MIB);
		CHECK_ERR(pwrite(fd, buf, PAGE, 100 * PAGE + n + 4 * PAGE), ENOSPC);
		close(small->fd);
	}
	free(buf);
	sh("umount -l %s", dir);
}
