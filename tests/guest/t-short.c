// SPDX-License-Identifier: GPL-2.0
/*
 * Backings that do less than they are asked, and say so in one way or another:
 * the caller gets what a native file would give, and the kernel goes on.
 */
#define _GNU_SOURCE
#include <sys/resource.h>
#include <sys/uio.h>

#include "harness.h"

#define SIZE (64 * PAGE)

static struct backing *b, *c;

static struct tfile *file(struct srv_opts opts, const char *dir)
{
	return srv_stored(opts, dir, SIZE, &b, &c);
}

/* Nothing keeps @mnt busy any more, where the backings are. */
static void leave(struct tfile *f, int fd, const char *mnt)
{
	close(fd);
	srv_stop(f->srv);
	close(b->fd);
	close(c->fd);
	close(f->store->fd);
	unmount_soon(mnt);
}

/*
 * The limit on file sizes goes up and down while a write is under way: the
 * backing may see another one than VFS did.
 */
static void *move_limit(void *arg)
{
	const struct rlimit low = { 4096, RLIM_INFINITY }, high = { RLIM_INFINITY, RLIM_INFINITY };
	const bool *stop = arg;

	while (!__atomic_load_n(stop, __ATOMIC_RELAXED)) {
		setrlimit(RLIMIT_FSIZE, &low);
		setrlimit(RLIMIT_FSIZE, &high);
	}
	return NULL;
}

static void limit_moves(const char *dir, const struct iovec *iov, int nr)
{
	struct tfile *f = file((struct srv_opts){ 0 }, dir);
	int fd = srv_open(f, O_RDWR);
	bool stop = false;
	pthread_t thread;

	CHECK_ZERO(region_bind(f, 0, SIZE, b, 0, RW));
	CHECK_OK((long)signal(SIGXFSZ, SIG_IGN));
	CHECK_EQ(pwrite(fd, "x", 1, 0), 1);
	CHECK_ZERO(pthread_create(&thread, NULL, move_limit, &stop));
	for (int i = 0; i < 20000; i++) {
		ssize_t n = pwritev(fd, iov, nr, 0);

		CHECK(n == 8192 || n == 4096 || (n < 0 && errno == EFBIG));
	}
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	expect_byte(fd, 0, 'a');
	expect_byte(fd, 4095, 'a');
}

static char letters[8192];

TEST(w3_limit_moves_during_write)
{
	struct iovec iov = { memset(letters, 'a', sizeof(letters)), sizeof(letters) };

	limit_moves(NULL, &iov, 1);
}

TEST(w3_limit_moves_during_vectored_write)
{
	struct iovec iov[8];

	memset(letters, 'a', sizeof(letters));
	for (int i = 0; i < 8; i++)
		iov[i] = (struct iovec){ letters + i * 1024, 1024 };
	limit_moves(shared_ext4(), iov, 8);
}

/* A whole-file region is bound without knowing where its backing must end. */
static void at_the_end_of_all_offsets(uint64_t backing_off)
{
	struct tfile *f = file((struct srv_opts){ 0 }, NULL);
	int fd = srv_open(f, O_RDWR);
	char buf[8192];
	ssize_t n;

	CHECK_ZERO(region_bind(f, 0, 0, b, backing_off, RW));
	CHECK_ZERO(region_unbind(f, 32 * PAGE, INT64_MAX - 32 * PAGE));
	CHECK_EQ(pwrite(fd, "x", 1, 40 * PAGE), 1); /* past which it takes no care */
	n = pwrite(fd, letters, sizeof(letters), 0);
	CHECK(n < (ssize_t)sizeof(letters));
	CHECK(n >= 0 || errno == EFBIG);
	memset(buf, '?', sizeof(buf));
	CHECK_EQ(pread(fd, buf, sizeof(buf), 0), sizeof(buf));
	for (size_t i = n > 0 ? (size_t)n : 0; i < sizeof(buf); i++)
		CHECK_EQ(buf[i], 0);
}

TEST(w3_region_crosses_the_end_of_all_offsets)
{
	at_the_end_of_all_offsets(INT64_MAX / PAGE * PAGE);
}

TEST(w3_region_behind_the_end_of_all_offsets)
{
	at_the_end_of_all_offsets(INT64_MAX - 100);
}

/* ext4 without extents ends files early, and cuts a write there. */
TEST(w3_region_crosses_the_backings_own_end)
{
	const char *dir = mount_tmpfs(), *mnt = temp_dir();
	uint64_t last = 1074791436ull * 1024; /* 12, 256, 256^2, 256^3 blocks of 1 KiB, or so */
	uint64_t own_end = 0;
	struct tfile *f;
	int fd;

	if (sh("truncate -s 64M %s/image && mkfs.ext4 -q -F -b 1024 -O ^extent,^huge_file,^64bit "
	       "%s/image "
	       "&& modprobe -q -a loop ext4; mount -o loop %s/image %s",
	       dir, dir, dir, mnt))
		SKIP("no ext4 without extents");
	f = file((struct srv_opts){ 0 }, mnt);
	/* Where it ends, as the file itself has it */
	for (uint64_t low = SIZE, high = 4 * last; low < high;) {
		uint64_t mid = low + (high - low + 1) / 2;

		if (lseek(b->fd, (off_t)mid, SEEK_SET) == (off_t)mid)
			own_end = low = mid;
		else
			high = mid - 1;
	}
	CHECK(own_end > SIZE);
	if (region_bind(f, 0, SIZE, b, own_end / PAGE * PAGE - PAGE, RW) == -EINVAL)
		CHECK_ZERO(region_bind(f, 0, 0, b, own_end / PAGE * PAGE - PAGE, RW));
	fd = srv_open(f, O_RDWR);
	CHECK(pwrite(fd, letters, sizeof(letters), 0) < (ssize_t)sizeof(letters));
	leave(f, fd, mnt);
}

/* What a write that may not wait has done it has done: XFS stops at a page that is not there. */
TEST(w1_nowait_write_in_part)
{
	const char *mnt = mount_xfs();
	static char data[2 * PAGE];
	struct iovec iov = { data, PAGE + 100 };
	struct tfile *f = file((struct srv_opts){ 0 }, mnt);
	int fd = srv_open(f, O_RDWR);
	ssize_t n;

	CHECK_ZERO(region_bind(f, 0, SIZE, b, 0, RW));
	CHECK_EQ(pwrite(fd, "x", 1, 0), 1); /* from now on privileges need no look */
	CHECK_OK(fsync(b->fd));
	CHECK_ZERO(posix_fadvise(b->fd, 0, 0, POSIX_FADV_DONTNEED));
	memset(data, 'n', sizeof(data));
	CHECK_EQ(pwrite(b->fd, data, PAGE, 0), PAGE); /* that page is there */
	memset(data, 'm', sizeof(data));
	n = pwritev2(fd, &iov, 1, 0, RWF_NOWAIT);
	printf("%zd bytes\n", n);
	if (n < 0)
		expect_byte(fd, 0, 'n');
	else
		CHECK(n == PAGE || n == PAGE + 100);
	for (ssize_t i = 0; i < n; i += 99)
		expect_byte(fd, (uint64_t)i, 'm');
	CHECK_EQ(pwritev2(fd, &iov, 1, 0, 0), PAGE + 100);
	leave(f, fd, mnt);
}

/* FUSE thinks that the file is empty: a gap in it has bytes all the same. */
TEST(r2_gap_behind_the_fuse_size)
{
	struct tfile *f = srv_simple(0);
	struct backing *own = backing_new(20 * PAGE);
	int fd = srv_open(f, O_RDONLY);

	srv_register(f->srv, own);
	CHECK_ZERO(region_bind(f, 0, 0, own, 0, 0));
	CHECK_ZERO(region_unbind(f, 3 * PAGE, PAGE));
	expect_read(f, fd, 3 * PAGE, PAGE);
	expect_read(f, fd, 0, 20 * PAGE);
	expect_file(f, fd, 3 * PAGE + 7);
}
