// SPDX-License-Identifier: GPL-2.0
/* What one user of a mount does slowly does not hold up the others, nor the server. */
#define _GNU_SOURCE
#include <pthread.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include "harness.h"

#define SIZE (32 * PAGE)
#define LONG (16 * MIB)

/* A disk that takes its time */
static int slow(struct srv *s, struct tfile *f, uint64_t off, size_t size)
{
	(void)s, (void)f, (void)off, (void)size;
	sleep_ms(150);
	return 0;
}

/* Two files of one server, and a backing of the first that takes @ms for each request */
static struct tfile *on_slow_backing(struct backing **b)
{
	struct srv *disk = srv_new(&(struct srv_opts){ .no_attach = true });
	struct tfile *lower = srv_file(disk, "lower", LONG), *f;
	struct srv *s = srv_new(NULL);

	srv_start(disk);
	lower->direct_io = true;
	lower->hook[OP_READ] = slow;
	f = srv_file(s, "f", 2 * LONG);
	srv_file(s, "g", SIZE);
	srv_start(s);
	*b = backing_from_fd(srv_open(lower, O_RDONLY));
	(*b)->seed = lower->seed;
	srv_register(s, *b);
	return f;
}

/* The region of @g goes while the process @pid takes seconds for something else. */
static void unbind_beside(pid_t pid, struct tfile *g)
{
	uint64_t begun, took;
	int status;

	sleep_ms(300);
	begun = now_ms();
	CHECK_ZERO(region_unbind(g, 0, 0));
	took = now_ms() - begun;
	note("the unbind took %llu ms", (unsigned long long)took);
	CHECK_EQ(waitpid(pid, &status, WNOHANG), 0);
	CHECK(took < 1000);
	CHECK_EQ(wait_exit(pid), 0);
}

/* All of a file in one call, which takes seconds; the other file's region goes meanwhile. */
TEST(g2_unbind_beside_a_long_read)
{
	struct backing *b;
	struct tfile *f = on_slow_backing(&b), *g = f + 1;
	unsigned char *buf;
	int fd, in;
	pid_t pid;

	fd = srv_open(f, O_RDONLY);
	in = srv_open(g, O_RDONLY);
	CHECK_ZERO(region_bind(f, 5, LONG - 5, b, 5, 0));
	CHECK_ZERO(region_bind(g, 0, SIZE, b, 0, 0));
	pid = test_fork();
	if (!pid) {
		buf = direct_alloc(LONG);
		CHECK_EQ(pread(fd, buf, LONG - 10, 10), LONG - 10);
		CHECK_EQ(pattern_differs(buf, b->seed, 10, LONG - 10), LONG - 10);
		_exit(0);
	}
	unbind_beside(pid, g);
	expect_read(g, in, 0, SIZE);
}

/* Advice about many regions is many reads from a slow disk; the other file's region goes meanwhile. */
TEST(g2_unbind_beside_advice)
{
	struct backing *b;
	struct tfile *f = on_slow_backing(&b), *g = f + 1;
	int fd;
	pid_t pid;

	fd = srv_open(f, O_RDONLY);
	close(srv_open(g, O_RDONLY));
	for (uint64_t i = 0; i < 60; i++)
		CHECK_ZERO(region_bind(f, i * 2 * PAGE, PAGE, b, i * 64 * PAGE, 0));
	CHECK_ZERO(region_bind(g, 0, SIZE, b, 0, 0));
	pid = test_fork();
	if (!pid) {
		CHECK_ZERO(posix_fadvise(fd, 0, 0, POSIX_FADV_WILLNEED));
		_exit(0);
	}
	unbind_beside(pid, g);
}

/* It sees one state of the map, though that changes in the middle of it. */
TEST(g3_long_read_beside_replacements)
{
	struct backing *b[2];
	struct tfile *f = srv_simple(LONG);
	unsigned char *buf = direct_alloc(LONG);
	int fd = srv_open(f, O_RDONLY);
	int changes = 0;
	bool *stop = shared_alloc(sizeof(*stop));
	pid_t pid;

	for (int i = 0; i < 2; i++) {
		b[i] = backing_new(LONG);
		srv_register(f->srv, b[i]);
	}
	CHECK_ZERO(region_bind(f, 0, LONG, b[0], 0, 0));
	pid = test_fork();
	if (!pid) {
		for (; !__atomic_load_n(stop, __ATOMIC_SEQ_CST); changes++) {
			CHECK_ZERO(region_bind(f, 0, LONG, b[changes % 2], 0,
					       FUSE_REGION_READ | FUSE_REGION_REPLACE));
			sleep_ms((unsigned int)rnd_below(20));
		}
		_exit(changes > 3 ? 0 : 1);
	}
	for (uint64_t until = now_ms() + test_storm_ms(4000); now_ms() < until;) {
		CHECK_EQ(pread(fd, buf, LONG, 0), LONG);
		if (pattern_differs(buf, b[0]->seed, 0, LONG) != LONG)
			CHECK_EQ(pattern_differs(buf, b[1]->seed, 0, LONG), LONG);
	}
	__atomic_store_n(stop, true, __ATOMIC_SEQ_CST);
	CHECK_EQ(wait_exit(pid), 0);
	free(buf);
}

/* A file of another server, who can hang */
static struct backing *elsewhere(uint64_t size, struct tfile **lower)
{
	struct srv *disk = srv_new(&(struct srv_opts){ .no_attach = true });

	*lower = srv_file(disk, "lower", size);
	srv_start(disk);
	return backing_from_fd(srv_open(*lower, O_RDONLY));
}

/* A message is in force soon, and waits for the read that hangs: that goes on, and both end well. */
static void let_go(struct tfile *lower, pid_t reader, pid_t changer)
{
	sleep_ms(300);
	lower->hang = 0;
	CHECK_EQ(wait_exit(reader), 0);
	CHECK_EQ(wait_exit(changer), 0);
}

static struct backing *interim;

static int bind_interim(struct srv *s, struct tfile *f, uint64_t off, size_t size)
{
	(void)s, (void)off, (void)size;
	f->hook[OP_READ] = NULL;
	CHECK_ZERO(region_bind(f, 0, MIB, interim, 0, 0));
	return 0;
}

/*
 * A gap is bound while the server answers for it, and has been read from its
 * backing when it is a gap again: then the server's bytes are wanted.
 */
TEST(g3_long_read_and_a_gap_bound_for_a_while)
{
	struct srv *s = srv_new(NULL);
	struct tfile *lower, *f = srv_file(s, "f", 3 * MIB);
	struct backing *before = backing_new(3 * MIB), *after = backing_new(3 * MIB);
	unsigned char *buf = direct_alloc(3 * MIB);
	pid_t reader, changer;
	int fd;

	interim = elsewhere(MIB, &lower);
	srv_start(s);
	srv_register(s, interim);
	srv_register(s, before);
	srv_register(s, after);
	fd = srv_open(f, O_RDONLY);
	CHECK_ZERO(region_bind(f, MIB, 2 * MIB, before, MIB, 0));
	f->hook[OP_READ] = bind_interim;
	lower->hang = 1u << OP_READ;
	reader = test_fork();
	if (!reader) {
		CHECK_EQ(pread(fd, buf, 3 * MIB, 0), 3 * MIB);
		CHECK_EQ(pattern_differs(buf + MIB, after->seed, MIB, 2 * MIB), 2 * MIB);
		CHECK_EQ(pattern_differs(buf, f->seed, 0, MIB), MIB);
		_exit(0);
	}
	srv_until_hanging(lower);
	changer = test_fork();
	if (!changer) {
		const struct fuse_passthrough_region recs[] = {
			REC(0, MIB, 0, 0, FUSE_REGION_UNBIND),
			REC(MIB, 2 * MIB, after->id, MIB, FUSE_REGION_READ | FUSE_REGION_REPLACE),
		};

		CHECK_ZERO(region_msg(s->ctl, f->nodeid, recs, ARRAY_SIZE(recs)));
		_exit(0);
	}
	let_go(lower, reader, changer);
	free(buf);
}

/* Whose buffer is a mapping of a file that nobody answers for holds up his own write only. */
static void store_beside_hung_buffer(uint64_t off, size_t len)
{
	struct srv *dead = srv_new(&(struct srv_opts){ .no_attach = true });
	struct tfile *hung = srv_store_file(dead, "hung", SIZE), *f;
	bool *stored = shared_alloc(sizeof(*stored)), done;
	unsigned char *p, *buf;
	struct backing *b;
	pid_t writer, pid;
	int fd;

	srv_start(dead);
	f = srv_stored((struct srv_opts){ .threads = true }, NULL, SIZE, &b, NULL);
	fd = srv_open(f, O_RDWR);
	CHECK_ZERO(region_bind(f, 4 * PAGE, 8 * PAGE, b, 123, RW));
	CHECK_EQ(pwrite(fd, "x", 1, 5 * PAGE), 1);
	p = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK(p != MAP_FAILED);
	p[6 * PAGE] = 'm';
	buf = mmap(NULL, SIZE, PROT_READ, MAP_SHARED, srv_open(hung, O_RDONLY), 0);
	CHECK(buf != MAP_FAILED);
	hung->hang = 1u << OP_READ;
	writer = test_fork();
	if (!writer) {
		CHECK_EQ(pwrite(fd, buf, len, (off_t)off), len);
		_exit(0);
	}
	srv_until_hanging(hung);
	/* Its end is another matter: it closes files of the server that does not answer */
	pid = test_fork();
	if (!pid) {
		for (uint64_t page = 4; page < 12; page++)
			p[page * PAGE + 9] = 'n';
		__atomic_store_n(stored, true, __ATOMIC_SEQ_CST);
		_exit(0);
	}
	for (int i = 0; i < 200 && !__atomic_load_n(stored, __ATOMIC_SEQ_CST); i++)
		sleep_ms(10);
	done = *stored;
	if (!done)
		kill(pid, SIGKILL);
	hung->hang = 0;
	if (!done)
		FAIL("the store waits for somebody else's buffer");
	CHECK_EQ(wait_exit(pid), 0);
	CHECK_EQ(wait_exit(writer), 0);
	CHECK_OK(msync(p, SIZE, MS_SYNC));
	expect_read(f, fd, 0, SIZE);
}

TEST(m1_store_beside_writer_with_hung_buffer)
{
	store_beside_hung_buffer(4 * PAGE, 8 * PAGE);
}

/* In a gap, for which FUSE looks at the buffer, and past the end */
TEST(m1_store_beside_writer_with_hung_buffer_in_gap)
{
	store_beside_hung_buffer(2 * PAGE, 20 * PAGE);
}

TEST(m1_store_beside_appender_with_hung_buffer)
{
	store_beside_hung_buffer(SIZE - PAGE, 2 * PAGE);
}

/* The whole-file region's backing becomes another, which is longer, in the middle of a read of all. */
TEST(g3_long_read_and_a_longer_file)
{
	struct srv *s = srv_new(NULL);
	struct tfile *lower, *f = srv_file(s, "f", 4 * MIB);
	struct backing *before, *after = backing_new(4 * MIB);
	unsigned char *buf = direct_alloc(4 * MIB);
	pid_t reader, changer;
	int fd;

	before = elsewhere(2 * MIB, &lower);
	srv_start(s);
	srv_register(s, before);
	srv_register(s, after);
	fd = srv_open(f, O_RDONLY);
	CHECK_ZERO(region_bind(f, 0, 0, before, 0, FUSE_REGION_READ));
	lower->hang = 1u << OP_READ;
	reader = test_fork();
	if (!reader) {
		ssize_t n = pread(fd, buf, 4 * MIB, 0);

		note("%zd bytes", n);
		if (pattern_differs(buf, after->seed, 0, 2 * MIB) == 2 * MIB)
			CHECK_EQ(n, 4 * MIB);
		else
			CHECK_EQ(n, 2 * MIB);
		_exit(0);
	}
	srv_until_hanging(lower);
	changer = test_fork();
	if (!changer) {
		CHECK_ZERO(region_bind(f, 0, 0, after, 0, FUSE_REGION_READ | FUSE_REGION_REPLACE));
		_exit(0);
	}
	let_go(lower, reader, changer);
	free(buf);
}

struct again {
	const volatile unsigned char *p;
	volatile bool stop;
};

static void *read_again(void *arg)
{
	struct again *a = arg;

	while (!a->stop) {
		(void)*a->p;
		sleep_ms(1);
	}
	return NULL;
}

/*
 * FUSE has been reading the first and the third page since before they were bound,
 * from a server that hangs. That the one between them comes and goes is no progress.
 */
TEST(g5_write_over_pages_that_fuse_is_reading)
{
	struct backing *b;
	struct tfile *f = srv_stored((struct srv_opts){ .threads = true }, NULL, SIZE, &b, NULL);
	unsigned char *p, *buf = direct_alloc(3 * PAGE);
	int fd = srv_open(f, O_RDWR);
	struct again again;
	pthread_t thread;
	pid_t pids[2];
	uint64_t begun, took;

	p = mmap(NULL, SIZE, PROT_READ, MAP_SHARED, fd, 0);
	CHECK(p != MAP_FAILED);
	CHECK_OK(madvise(p, SIZE, MADV_RANDOM)); /* a page at a time */
	f->hang = 1u << OP_READ;
	for (int i = 0; i < 2; i++) {
		pids[i] = test_fork();
		if (!pids[i])
			_exit(*(volatile unsigned char *)(p + 2 * PAGE * (uint64_t)i) & 0);
	}
	CHECK_SOON(f->hanging == 2);
	CHECK_ZERO(region_bind(f, 0, 3 * PAGE, b, 0, RW));
	again = (struct again){ .p = p + PAGE };
	CHECK_ZERO(pthread_create(&thread, NULL, read_again, &again));
	sleep_ms(100);
	memset(buf, 'x', 3 * PAGE);
	begun = now_ms();
	CHECK_EQ(pwrite(fd, buf, 3 * PAGE, 0), 3 * PAGE);
	took = now_ms() - begun;
	note("the write took %llu ms", (unsigned long long)took);
	CHECK(took < 8000);
	CHECK_EQ(f->hanging, 2);
	again.stop = true;
	f->hang = 0;
	CHECK_ZERO(pthread_join(thread, NULL));
	for (int i = 0; i < 2; i++)
		CHECK_EQ(wait_exit(pids[i]), 0);
}
