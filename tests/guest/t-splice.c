// SPDX-License-Identifier: GPL-2.0
/* R6: every other way to get at a file's bytes. */
#define _GNU_SOURCE
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/wait.h>

#include "harness.h"

#define SIZE (64 * PAGE)

static struct backing *b, *c;

static struct tfile *mixed(uint64_t size)
{
	struct tfile *f = srv_simple(size);

	b = backing_new(SIZE);
	c = backing_new(SIZE);
	srv_register(f->srv, b);
	srv_register(f->srv, c);
	close(srv_open(f, O_RDONLY));
	CHECK_ZERO(region_bind(f, PAGE, 19 * PAGE, b, 8 * PAGE, 0));
	CHECK_ZERO(region_bind(f, 20 * PAGE, 3001, c, 5, 0));
	CHECK_ZERO(region_bind(f, 30 * PAGE, 20 * PAGE, c, 1001, 0));
	return f;
}

/* All that splice() gives from @off on, into a pipe of @pipe_size bytes */
static void expect_splice(struct tfile *f, int fd, uint64_t off, size_t len, int pipe_size)
{
	unsigned char *buf = malloc(len);
	off_t pos = (off_t)off;
	size_t got = 0;
	int fds[2];

	CHECK_OK(pipe(fds));
	CHECK_OK(fcntl(fds[1], F_SETPIPE_SZ, pipe_size));
	while (got < len) {
		ssize_t n = splice(fd, &pos, fds[1], NULL, len - got, 0);

		if (n < 0)
			FAIL("splice at %#llx: %m", (unsigned long long)off + got);
		if (n == 0)
			break;
		CHECK(n <= (ssize_t)(len - got));
		for (ssize_t done = 0; done < n;)
			done += CHECK_OK(read(fds[0], buf + got + done, (size_t)(n - done)));
		got += (size_t)n;
		CHECK_EQ(pos, off + got);
	}
	expect_result(f, "splice", off, len, buf, (ssize_t)got);
	close(fds[0]);
	close(fds[1]);
	free(buf);
}

TEST(r6_splice)
{
	struct tfile *f = mixed(SIZE - 77);
	int fd = srv_open(f, O_RDONLY);

	expect_splice(f, fd, 0, 2 * SIZE, 1 << 16);
	expect_splice(f, fd, 0, 2 * SIZE, 1 << 12);
	expect_splice(f, fd, 2 * PAGE, 4 * PAGE, 1 << 18);
	expect_splice(f, fd, 18 * PAGE + 5, 20 * PAGE, 1 << 18);
	expect_splice(f, fd, 31 * PAGE + 1, 100, 1 << 16);
	expect_splice(f, fd, SIZE, 100, 1 << 16);
	CHECK_EQ(f->asked_bound, 0);
}

TEST(r6_splice_random)
{
	struct tfile *f = mixed(SIZE - 77);
	int fd = srv_open(f, O_RDONLY);

	for (int i = 0; i < 25; i++)
		expect_splice(f, fd, rnd_below(SIZE), 1 + rnd_below(15 * PAGE), 1 << 16);
}

TEST(r6_splice_direct)
{
	struct tfile *f = mixed(SIZE);
	int fd = srv_open(f, O_RDONLY | O_DIRECT);

	expect_splice(f, fd, 0, 2 * SIZE, 1 << 16);
	expect_splice(f, fd, 512, 10 * PAGE, 1 << 16);
}

TEST(r6_splice_whole_file)
{
	struct tfile *f = mixed(SIZE);
	int fd = srv_open(f, O_RDONLY);

	CHECK_OK(ftruncate(b->fd, 10 * PAGE + 99));
	CHECK_ZERO(region_bind(f, 0, 0, b, 5, FUSE_REGION_REPLACE));
	expect_splice(f, fd, 0, SIZE, 1 << 16);
	expect_splice(f, fd, 9 * PAGE, SIZE, 1 << 16);
	CHECK_EQ(srv_count(f, OP_READ), 0);
}

TEST(r6_splice_short_backing)
{
	struct tfile *f = mixed(SIZE);
	int fd = srv_open(f, O_RDONLY);

	CHECK_OK(ftruncate(b->fd, 12 * PAGE + 99));
	expect_splice(f, fd, 0, SIZE, 1 << 16);
	expect_splice(f, fd, 6 * PAGE, 3 * PAGE, 1 << 16);
}

/*
 * Of a disk, pages are handed over as they are, but for dirty ones: those are
 * copied, as are all of a memory file system's.
 */
TEST(r6_splice_on_disk)
{
	static const int pipe_sizes[] = { 1 << 12, 1 << 16, 1 << 18 };
	struct tfile *f = srv_simple(SIZE - 77);
	int fd = srv_open(f, O_RDONLY);

	b = backing_new_in(shared_ext4(), SIZE);
	c = backing_new_in(shared_ext4(), SIZE);
	CHECK_OK(fsync(b->fd));
	CHECK_OK(fsync(c->fd));
	srv_register(f->srv, b);
	srv_register(f->srv, c);
	CHECK_ZERO(region_bind(f, PAGE, 19 * PAGE, b, 8 * PAGE, 0));
	CHECK_ZERO(region_bind(f, 20 * PAGE, 3001, c, 5, 0));
	CHECK_ZERO(region_bind(f, 30 * PAGE, 20 * PAGE, c, 1001, 0));
	for (size_t i = 0; i < ARRAY_SIZE(pipe_sizes); i++) {
		expect_splice(f, fd, 0, 2 * SIZE, pipe_sizes[i]);
		expect_splice(f, fd, 2 * PAGE, 4 * PAGE, pipe_sizes[i]);
		expect_splice(f, fd, 18 * PAGE + 5, 20 * PAGE, pipe_sizes[i]);
		expect_splice(f, fd, 31 * PAGE + 1, 100, pipe_sizes[i]);
		expect_splice(f, fd, 48 * PAGE, 3 * PAGE, pipe_sizes[i]);
	}
	CHECK_EQ(f->asked_bound, 0);
	/* the region goes on behind the backing's end */
	CHECK_OK(ftruncate(b->fd, 12 * PAGE + 99));
	CHECK_OK(fsync(b->fd));
	expect_splice(f, fd, 0, 2 * SIZE, 1 << 18);
	expect_splice(f, fd, 4 * PAGE, 3 * PAGE, 1 << 16);
	CHECK_EQ(f->asked_bound, 0);
	CHECK_ZERO(region_bind(f, 0, 0, b, 5, FUSE_REGION_REPLACE));
	expect_splice(f, fd, 0, 2 * SIZE, 1 << 18);
	expect_splice(f, fd, 11 * PAGE, SIZE, 1 << 12);
}

/* The pages in a pipe are what was read, whatever is bound later. */
TEST(r6_splice_then_unbind)
{
	struct tfile *f = mixed(SIZE);
	int fd = srv_open(f, O_RDONLY), fds[2];
	unsigned char buf[4 * PAGE];
	off_t pos = 2 * PAGE;
	ssize_t n;

	CHECK_OK(pipe(fds));
	n = CHECK_OK(splice(fd, &pos, fds[1], NULL, 4 * PAGE, 0));
	CHECK_ZERO(region_unbind(f, 0, 0));
	CHECK_EQ(read(fds[0], buf, sizeof(buf)), n);
	CHECK_EQ(pattern_differs(buf, b->seed, 9 * PAGE, (size_t)n), n);
	expect_splice(f, fd, 0, SIZE, 1 << 16);
}

TEST(r6_sendfile)
{
	struct tfile *f = mixed(SIZE - 5);
	int fd = srv_open(f, O_RDONLY), out = backing_new(0)->fd;
	unsigned char *buf = malloc(SIZE);
	off_t pos = 0;
	size_t got = 0;
	ssize_t n;

	while ((n = sendfile(out, fd, &pos, SIZE)) > 0)
		got += (size_t)n;
	CHECK_EQ(n, 0);
	CHECK_EQ(got, SIZE - 5);
	CHECK_EQ(pread(out, buf, SIZE, 0), SIZE - 5);
	expect_content(f, "sendfile", 0, buf, SIZE - 5);
	CHECK_EQ(f->asked_bound, 0);
	free(buf);
}

/* copy_file_range() from @in, in pieces; fails the test unless @len bytes arrive */
static void copy(int in, uint64_t from, int out, uint64_t to, size_t len)
{
	loff_t in_pos = (loff_t)from, out_pos = (loff_t)to;

	while (len) {
		ssize_t n = copy_file_range(in, &in_pos, out, &out_pos, len, 0);

		if (n < 0)
			FAIL("copy_file_range: %m");
		if (n == 0)
			FAIL("copy_file_range copied nothing with %zu bytes to go", len);
		len -= (size_t)n;
	}
}

/* To a file without regions on the same mount, and on another one */
TEST(r6_copy_file_range_out)
{
	struct srv *s = srv_new(NULL), *plain = srv_new(&(struct srv_opts){ .no_attach = true });
	struct tfile *f = srv_file(s, "f", SIZE), *to[2];
	unsigned char *buf = malloc(SIZE);
	int fd;

	to[0] = srv_store_file(s, "g", 0);
	to[1] = srv_store_file(plain, "h", 0);
	srv_start(s);
	srv_start(plain);
	b = backing_new(SIZE);
	srv_register(s, b);
	fd = srv_open(f, O_RDONLY);
	CHECK_ZERO(region_bind(f, PAGE, 19 * PAGE, b, 8 * PAGE, 0));
	CHECK_ZERO(region_bind(f, 30 * PAGE, 20 * PAGE, b, 1001, 0));
	for (int i = 0; i < 2; i++) {
		int out = srv_open(to[i], O_RDWR);

		copy(fd, 0, out, 0, SIZE);
		CHECK_EQ(pread(out, buf, SIZE, 0), SIZE);
		expect_content(f, "copy_file_range", 0, buf, SIZE);
		copy(fd, 19 * PAGE + 3, out, 7, 3 * PAGE);
		CHECK_EQ(pread(out, buf, 3 * PAGE, 7), 3 * PAGE);
		expect_content(f, "copy_file_range", 19 * PAGE + 3, buf, 3 * PAGE);
	}
	free(buf);
}

/* Another kind of file system: the answer of a kernel without us, after which cp goes another way */
TEST(r6_copy_file_range_elsewhere_exdev)
{
	struct tfile *f = mixed(SIZE);
	int fd = srv_open(f, O_RDONLY), out = backing_new(0)->fd;

	CHECK_ERR(copy_file_range(fd, NULL, out, NULL, SIZE, 0), EXDEV);
	CHECK_EQ(lseek(fd, 0, SEEK_CUR), 0);
}

static void expect_plain(int fd, const unsigned char *want)
{
	unsigned char *got = malloc(SIZE);

	CHECK_EQ(pread(fd, got, SIZE, 0), SIZE);
	for (size_t i = 0; i < SIZE; i++)
		if (got[i] != want[i])
			FAIL("byte %#zx is %02x, expected %02x", i, got[i], want[i]);
	free(got);
}

/* Into a file with regions, from elsewhere and from itself; the server does it or does not. */
static void copy_in(bool server_copies)
{
	struct srv *s = srv_new(&(struct srv_opts){ .copy = server_copies });
	struct tfile *f = srv_store_file(s, "f", SIZE);
	unsigned char *want = malloc(SIZE);
	struct tfile *from = srv_store_file(s, "from", SIZE);
	int fd, in;

	srv_start(s);
	in = srv_open(from, O_RDONLY);
	b = backing_new(SIZE);
	srv_register(s, b);
	fd = srv_open(f, O_RDWR);
	CHECK_ZERO(region_bind(f, PAGE, 19 * PAGE, b, 8 * PAGE, 0));
	CHECK_EQ(expected_bytes(f, want, 0, SIZE), SIZE);
	expect_plain(fd, want);

	copy(in, 100, fd, 15 * PAGE + 3, 10 * PAGE);
	backing_bytes(from->store, want + 15 * PAGE + 3, 100, 10 * PAGE);
	expect_plain(fd, want);

	copy(fd, 2 * PAGE, fd, 40 * PAGE, 4 * PAGE);
	memcpy(want + 40 * PAGE, want + 2 * PAGE, 4 * PAGE);
	expect_plain(fd, want);

	copy(fd, 45 * PAGE, fd, 3 * PAGE + 9, 2 * PAGE);
	memcpy(want + 3 * PAGE + 9, want + 45 * PAGE, 2 * PAGE);
	expect_plain(fd, want);
	CHECK_EQ(srv_count(f, OP_COPY) > 0, server_copies);
	free(want);
}

TEST(r6_copy_file_range_in)
{
	copy_in(false);
}

TEST(r6_copy_file_range_by_server)
{
	copy_in(true);
}

TEST(r6_readahead_and_fadvise)
{
	struct tfile *f = mixed(SIZE);
	int fd = srv_open(f, O_RDONLY);
	static const int advice[] = {
		POSIX_FADV_SEQUENTIAL, POSIX_FADV_WILLNEED, POSIX_FADV_RANDOM,
		POSIX_FADV_DONTNEED,   POSIX_FADV_NOREUSE,  POSIX_FADV_NORMAL
	};

	CHECK_OK(readahead(fd, 0, SIZE));
	expect_file(f, fd, 3 * PAGE);
	for (size_t i = 0; i < ARRAY_SIZE(advice); i++) {
		CHECK_ZERO(posix_fadvise(fd, PAGE, 40 * PAGE, advice[i]));
		CHECK_ZERO(posix_fadvise(fd, 0, 0, advice[i]));
		expect_file(f, fd, 7 * PAGE);
	}
	CHECK_ZERO(region_unbind(f, 5 * PAGE, 10 * PAGE));
	CHECK_OK(readahead(fd, 0, SIZE));
	expect_file(f, fd, 3 * PAGE);
	CHECK_ZERO(region_bind(f, 5 * PAGE, 10 * PAGE, c, 0, 0));
	expect_file(f, fd, 3 * PAGE);
}

/* A program whose file is cut into slices of two backings and of the server's own bytes */
TEST(r6_exec)
{
	int bin = (int)CHECK_OK(open("/bin/true", O_RDONLY)), slices = 0;
	struct srv *s = srv_new(NULL);
	struct stat st;
	struct tfile *f;
	char path[128];
	pid_t pid;

	CHECK_OK(fstat(bin, &st));
	f = srv_store_file(s, "true", (uint64_t)st.st_size);
	f->mode = S_IFREG | 0755;
	/* the server's own copy is right only where nothing is bound */
	b = backing_new((uint64_t)st.st_size + 12345);
	srv_start(s);
	srv_register(s, b);
	close(srv_open(f, O_RDONLY));
	for (off_t off = 0; off < st.st_size; slices++) {
		char buf[3001];
		size_t n = 1 + rnd_below(sizeof(buf));

		n = (size_t)CHECK_OK(pread(bin, buf, n, off));
		if (slices % 3 == 2) {
			CHECK_EQ(pwrite(f->store->fd, buf, n, off), n);
		} else {
			CHECK_EQ(pwrite(b->fd, buf, n, off + 12345), n);
			CHECK_ZERO(region_bind(f, (uint64_t)off, n, b, (uint64_t)off + 12345, 0));
		}
		off += (off_t)n;
	}
	srv_path(path, sizeof(path), f);
	for (int i = 0; i < 3; i++) {
		pid = test_fork();
		if (pid == 0) {
			execl(path, "true", NULL);
			_exit(66);
		}
		CHECK_EQ(wait_exit(pid), 0);
		CHECK_OK(posix_fadvise(bin, 0, 0, POSIX_FADV_DONTNEED));
	}
	CHECK_ZERO(sh("cmp %s /bin/true", path));
}

TEST(r6_lseek_set_cur_end)
{
	struct tfile *f = mixed(SIZE - 5);
	int fd = srv_open(f, O_RDONLY);
	unsigned char byte;

	CHECK_EQ(lseek(fd, 0, SEEK_END), SIZE - 5);
	CHECK_EQ(read(fd, &byte, 1), 0);
	CHECK_EQ(lseek(fd, -1, SEEK_END), SIZE - 6);
	CHECK_EQ(read(fd, &byte, 1), 1);
	expect_content(f, "read", SIZE - 6, &byte, 1);
	CHECK_EQ(lseek(fd, 2 * PAGE, SEEK_SET), 2 * PAGE);
	CHECK_EQ(lseek(fd, 7, SEEK_CUR), 2 * PAGE + 7);
	CHECK_EQ(read(fd, &byte, 1), 1);
	expect_content(f, "read", 2 * PAGE + 7, &byte, 1);
	CHECK_ERR(lseek(fd, -1, SEEK_SET), EINVAL);
}

/* Data is never called a hole, and the end is the end. Returns how many holes there are inside. */
static int walk_holes(struct tfile *f, int fd)
{
	unsigned char *buf = malloc(SIZE);
	uint64_t pos = 0;
	int holes = 0;

	CHECK_ERR(lseek(fd, SIZE, SEEK_DATA), ENXIO);
	CHECK_ERR(lseek(fd, SIZE + 1, SEEK_HOLE), ENXIO);
	CHECK_ERR(lseek(fd, SIZE, SEEK_HOLE), ENXIO);
	while (pos < SIZE) {
		off_t data = lseek(fd, (off_t)pos, SEEK_DATA), hole;

		if (data < 0) {
			CHECK_EQ(errno, ENXIO);
			data = SIZE;
		}
		CHECK(data >= (off_t)pos && data <= (off_t)SIZE);
		holes += data > (off_t)pos;
		/* what was skipped is zeroes */
		CHECK_EQ(expected_bytes(f, buf, pos, (uint64_t)data - pos), (uint64_t)data - pos);
		for (off_t i = 0; i < data - (off_t)pos; i++)
			CHECK_EQ(buf[i], 0);
		if (data == (off_t)SIZE)
			break;
		hole = (off_t)CHECK_OK(lseek(fd, data, SEEK_HOLE));
		note("data %#llx to %#llx", (unsigned long long)data, (unsigned long long)hole);
		CHECK(hole > data && hole <= (off_t)SIZE);
		pos = (uint64_t)hole;
	}
	free(buf);
	return holes;
}

/* The server tells, of regions and of gaps. One that cannot has no holes, as without regions. */
static void seek_hole_data(bool server_seeks)
{
	struct srv *s = srv_new(&(struct srv_opts){ .lseek = server_seeks });
	const int punch = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
	struct tfile *f = srv_store_file(s, "f", SIZE);
	int fd;

	srv_start(s);
	b = backing_new(SIZE);
	srv_register(s, b);
	fd = srv_open(f, O_RDONLY);
	CHECK_ZERO(region_bind(f, PAGE, 19 * PAGE, b, 8 * PAGE, 0));
	CHECK_ZERO(region_bind(f, 30 * PAGE, 20 * PAGE, b, 40 * PAGE, 0));
	CHECK_ZERO(fallocate(b->fd, punch, 12 * PAGE, 4 * PAGE));
	CHECK_ZERO(fallocate(f->store->fd, punch, 22 * PAGE, 3 * PAGE));
	CHECK_EQ(walk_holes(f, fd), server_seeks ? 2 : 0);
	CHECK_EQ(lseek(fd, PAGE + 5, SEEK_HOLE), server_seeks ? 5 * PAGE : SIZE);
	CHECK_EQ(lseek(fd, 6 * PAGE, SEEK_DATA), server_seeks ? 9 * PAGE : 6 * PAGE);
	CHECK_EQ(lseek(fd, 9 * PAGE, SEEK_HOLE), server_seeks ? 22 * PAGE : SIZE);
	/* the backing ends inside its region */
	CHECK_OK(ftruncate(b->fd, 50 * PAGE));
	CHECK_EQ(lseek(fd, 35 * PAGE, SEEK_HOLE), server_seeks ? 40 * PAGE : SIZE);
	CHECK_EQ(walk_holes(f, fd), server_seeks ? 3 : 0);
	CHECK_EQ(srv_count(f, OP_LSEEK) > 0, server_seeks);
	CHECK_EQ(lseek(fd, 3 * PAGE, SEEK_SET), 3 * PAGE);
}

TEST(r6_seek_hole_data)
{
	seek_hole_data(true);
}

TEST(r6_seek_hole_data_without_the_server)
{
	seek_hole_data(false);
}

TEST(r6_tools)
{
	struct tfile *f = mixed(SIZE - 5);
	unsigned char *buf = malloc(SIZE);
	char path[128];
	int out;

	srv_path(path, sizeof(path), f);
	CHECK_EQ(expected_bytes(f, buf, 0, SIZE), SIZE - 5);
	out = (int)CHECK_OK(open("/tmp/fr-expected", O_CREAT | O_TRUNC | O_RDWR, 0600));
	CHECK_EQ(write(out, buf, SIZE - 5), SIZE - 5);
	CHECK_ZERO(sh("cmp %s /tmp/fr-expected && cat %s | cmp - /tmp/fr-expected && "
		      "cp %s /tmp/fr-copy && cmp /tmp/fr-copy /tmp/fr-expected && "
		      "dd if=%s bs=1001 status=none | cmp - /tmp/fr-expected && "
		      "tail -c 9000 /tmp/fr-expected >/tmp/fr-copy && "
		      "tail -c 9000 %s | cmp - /tmp/fr-copy",
		      path, path, path, path, path));
	CHECK_ZERO(sh("rm /tmp/fr-expected /tmp/fr-copy"));
	free(buf);
}

/* As of any other reader: inotify, and fanotify with it */
TEST(r6_who_watches_a_backing_is_told)
{
	struct tfile *f = srv_simple(SIZE);
	int note_fd = inotify_init1(IN_NONBLOCK), fd = srv_open(f, O_RDONLY), fds[2];
	char path[] = "/run/fr-test-ext4/watched-XXXXXX", events[4096];
	off_t pos = PAGE;

	shared_ext4();
	b = backing_from_fd((int)CHECK_OK(mkstemp(path)));
	b->seed = 5;
	pattern_write(b->fd, b->seed, 0, SIZE);
	CHECK_OK(fsync(b->fd));
	srv_register(f->srv, b);
	CHECK_ZERO(region_bind(f, 0, SIZE, b, 0, 0));
	CHECK_OK(inotify_add_watch(note_fd, path, IN_ACCESS));
	CHECK_OK(unlink(path));
	CHECK_ERR(read(note_fd, events, sizeof(events)), EAGAIN);
	CHECK_EQ(pread(fd, events, 10, 77), 10);
	CHECK(read(note_fd, events, sizeof(events)) > 0);
	CHECK_OK(pipe(fds));
	CHECK_EQ(splice(fd, &pos, fds[1], NULL, PAGE, 0), PAGE);
	CHECK(read(note_fd, events, sizeof(events)) > 0);
}
