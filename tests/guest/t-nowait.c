// SPDX-License-Identifier: GPL-2.0
/*
 * G4: a bind or unbind never waits for the server. The server here has one
 * thread, which sends the message from inside a handler: if the kernel waited
 * for anything that the server has to answer, the test would hang.
 */
#define _GNU_SOURCE
#include <sys/mman.h>
#include <sys/uio.h>

#include "harness.h"

#define SIZE (64 * PAGE)

/* In shared memory: hooks run in the server, and the test looks at what they did. */
static struct side {
	struct backing *b, *c;
	int result; /* of the last message sent from a hook; 1 before */
	int sent;
	bool once;
	bool poison;
} * side;

static struct tfile *file(struct srv_opts opts, bool store)
{
	struct srv *s = srv_new(&opts);
	struct tfile *f = store ? srv_store_file(s, "f", SIZE) : srv_file(s, "f", SIZE);

	test_watchdog(60);
	side = shared_alloc(sizeof(*side));
	side->b = backing_new(SIZE);
	side->c = backing_new(SIZE);
	side->result = 1;
	return f;
}

static void start(struct tfile *f)
{
	srv_start(f->srv);
	srv_register(f->srv, side->b);
	srv_register(f->srv, side->c);
}

static int note_result(int result)
{
	side->result = result;
	side->sent++;
	return 0;
}

/* Hooks. Each sends its message once if side->once. */
static bool again(void)
{
	return !side->once || !side->sent;
}

static int bind_all(struct srv *s, struct tfile *f, uint64_t off, size_t size)
{
	(void)s, (void)off, (void)size;
	return again() ? note_result(region_bind(f, 0, SIZE, side->b, 0, FUSE_REGION_REPLACE)) : 0;
}

static int unbind_all(struct srv *s, struct tfile *f, uint64_t off, size_t size)
{
	(void)s, (void)off, (void)size;
	return again() ? note_result(region_unbind(f, 0, 0)) : 0;
}

static int bind_what_is_asked_for(struct srv *s, struct tfile *f, uint64_t off, size_t size)
{
	(void)s;
	return again() ? note_result(region_bind(f, off, size, side->b, off, FUSE_REGION_REPLACE))
		       : 0;
}

/* A read of @len at @off in the middle of which the map changed: the server's bytes or the new ones */
static void read_across(struct tfile *f, int fd, uint64_t off, size_t len)
{
	unsigned char *buf = direct_alloc(len);

	CHECK_EQ(pread(fd, buf, len, (off_t)off), len);
	for (size_t i = 0; i < len; i++)
		if (buf[i] != pattern_byte(f->seed, off + i) &&
		    buf[i] != pattern_byte(side->b->seed, off + i))
			FAIL("byte %zu is %02x", i, buf[i]);
	free(buf);
}

TEST(g4_bind_in_lookup)
{
	struct tfile *f = file((struct srv_opts){ 0 }, false);

	f->hook[OP_LOOKUP] = bind_all;
	start(f);
	expect_file(f, srv_open(f, O_RDONLY), SIZE);
	/* Before the first reply the kernel does not know the inode. */
	CHECK_EQ(side->result, -ENOENT);
}

TEST(g4_bind_in_open)
{
	struct tfile *f = file((struct srv_opts){ 0 }, false);

	f->hook[OP_OPEN] = bind_all;
	start(f);
	expect_file(f, srv_open(f, O_RDONLY), SIZE / 2);
	CHECK_EQ(side->result, 0);
	CHECK_EQ(srv_count(f, OP_READ), 0);
}

/* O_TRUNC: the inode is locked while the server opens it. */
TEST(g4_bind_in_open_with_truncation)
{
	struct tfile *f = file((struct srv_opts){ 0 }, true);

	f->hook[OP_OPEN] = bind_all;
	start(f);
	expect_file(f, srv_open(f, O_RDWR | O_TRUNC), SIZE);
	CHECK_EQ(side->result, 0);
}

TEST(g4_bind_in_getattr)
{
	struct tfile *f = file((struct srv_opts){ .no_attr_cache = true }, false);
	struct stat st;
	int fd;

	start(f);
	fd = srv_open(f, O_RDONLY);
	f->hook[OP_GETATTR] = bind_all;
	CHECK_OK(fstat(fd, &st));
	expect_file(f, fd, SIZE / 2);
	CHECK_EQ(side->result, 0);
}

/* The page cache's pages are locked while the server answers. */
static void bind_in_read(struct srv_opts opts, srv_hook hook, int open_flags, bool bound_before,
			 bool direct_io)
{
	struct tfile *f = file(opts, false);
	int fd;

	f->direct_io = direct_io;
	start(f);
	fd = srv_open(f, O_RDONLY | open_flags);
	if (bound_before)
		CHECK_ZERO(region_bind(f, 40 * PAGE, 10 * PAGE, side->c, 0, 0));
	f->hook[OP_READ] = hook;
	for (uint64_t off = 0; off < 20 * PAGE; off += 5 * PAGE)
		read_across(f, fd, off + 100, PAGE);
	CHECK_EQ(side->result, 0);
	f->hook[OP_READ] = NULL;
	expect_file(f, fd, 10 * PAGE);
}

TEST(g4_bind_in_read)
{
	bind_in_read((struct srv_opts){ 0 }, bind_what_is_asked_for, 0, true, false);
}

TEST(g4_bind_in_read_of_locked_pages)
{
	bind_in_read((struct srv_opts){ 0 }, bind_what_is_asked_for, 0, false, false);
}

TEST(g4_bind_all_in_read_of_locked_pages)
{
	bind_in_read((struct srv_opts){ 0 }, bind_all, 0, false, false);
}

TEST(g4_bind_in_direct_read)
{
	bind_in_read((struct srv_opts){ 0 }, bind_all, O_DIRECT, false, false);
}

TEST(g4_bind_in_read_direct_io_file)
{
	bind_in_read((struct srv_opts){ 0 }, bind_all, 0, false, true);
}

TEST(g4_unbind_in_read)
{
	bind_in_read((struct srv_opts){ 0 }, unbind_all, 0, true, false);
}

TEST(g4_unbind_in_read_of_locked_pages)
{
	bind_in_read((struct srv_opts){ 0 }, unbind_all, 0, false, false);
}

TEST(g4_bind_in_read_writeback)
{
	bind_in_read((struct srv_opts){ .writeback = true }, bind_all, 0, false, false);
}

/* A fault waits for a page that the server fills. */
static void bind_in_fault(srv_hook hook, int prot, int flags)
{
	struct tfile *f = file((struct srv_opts){ 0 }, true);
	volatile unsigned char *p;
	int fd;

	start(f);
	fd = srv_open(f, O_RDWR);
	p = mmap(NULL, SIZE, prot, flags, fd, 0);
	CHECK(p != MAP_FAILED);
	f->hook[OP_READ] = hook;
	for (uint64_t off = 0; off < SIZE; off += 13 * PAGE) {
		unsigned char byte = p[off];

		CHECK(byte == pattern_byte(f->seed, off) ||
		      byte == pattern_byte(side->b->seed, off));
	}
	CHECK_EQ(side->result, 0);
	f->hook[OP_READ] = NULL;
	expect_file(f, fd, 10 * PAGE);
}

TEST(g4_bind_in_fault)
{
	bind_in_fault(bind_what_is_asked_for, PROT_READ, MAP_SHARED);
}

TEST(g4_bind_all_in_private_fault)
{
	bind_in_fault(bind_all, PROT_READ | PROT_WRITE, MAP_PRIVATE);
}

TEST(g4_unbind_in_fault)
{
	bind_in_fault(unbind_all, PROT_READ, MAP_SHARED);
}

/* Pages are under writeback, or a writer holds the inode's lock, while the server stores them. */
static void bind_in_write(struct srv_opts opts, srv_hook hook, int open_flags)
{
	struct tfile *f = file(opts, true);
	unsigned char *buf = direct_alloc(4 * PAGE);
	int fd;

	start(f);
	fd = srv_open(f, O_RDWR | open_flags);
	expect_read(f, fd, 0, 4 * PAGE);
	f->hook[OP_WRITE] = hook;
	side->once = true;
	pattern_fill(buf, 4711, 0, 4 * PAGE);
	CHECK_EQ(pwrite(fd, buf, 4 * PAGE, PAGE), 4 * PAGE);
	CHECK_EQ(pwrite(fd, buf, 100, 30 * PAGE + 100), 100);
	CHECK_OK(fsync(fd));
	CHECK_EQ(side->result, 0);
	f->hook[OP_WRITE] = NULL;
	expect_file(f, fd, 10 * PAGE);
	free(buf);
}

TEST(g4_bind_in_write)
{
	bind_in_write((struct srv_opts){ 0 }, bind_all, 0);
}

TEST(g4_bind_in_direct_write)
{
	bind_in_write((struct srv_opts){ 0 }, bind_all, O_DIRECT);
}

TEST(g4_bind_in_write_of_dirty_pages)
{
	bind_in_write((struct srv_opts){ .writeback = true }, bind_all, 0);
}

/* Copying up what was stored: the pages that wait for the server's answer are not waited for. */
TEST(g4_bind_in_write_of_stored_pages)
{
	struct tfile *f = file((struct srv_opts){ 0 }, true);
	unsigned char *p;
	uint64_t begun;
	int fd;

	start(f);
	fd = srv_open(f, O_RDWR);
	CHECK_ZERO(region_bind(f, 0, PAGE, side->c, 0, 0));
	p = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK(p != MAP_FAILED);
	f->hook[OP_WRITE] = bind_what_is_asked_for;
	begun = now_ms();
	for (uint64_t page = 1; page <= 8; page++) {
		p[page * PAGE] ^= 1;
		CHECK_OK(msync(p, SIZE, MS_SYNC));
	}
	CHECK(now_ms() - begun < 8 * 300);
	CHECK_EQ(side->sent, 8);
	CHECK_EQ(side->result, 0);
	f->hook[OP_WRITE] = NULL;
}

TEST(g4_unbind_in_write_of_dirty_pages)
{
	bind_in_write((struct srv_opts){ .writeback = true }, unbind_all, 0);
}

TEST(g4_bind_in_setattr)
{
	struct tfile *f = file((struct srv_opts){ 0 }, true);
	int fd;

	start(f);
	fd = srv_open(f, O_RDWR);
	expect_read(f, fd, 0, 4 * PAGE);
	f->hook[OP_SETATTR] = bind_all;
	CHECK_OK(ftruncate(fd, SIZE / 2));
	CHECK_OK(fchmod(fd, 0600));
	CHECK_EQ(side->result, 0);
	f->hook[OP_SETATTR] = NULL;
}

TEST(g4_bind_in_fallocate)
{
	struct tfile *f = file((struct srv_opts){ 0 }, true);
	int fd;

	start(f);
	fd = srv_open(f, O_RDWR);
	expect_read(f, fd, 0, 4 * PAGE);
	f->hook[OP_FALLOCATE] = bind_all;
	CHECK_OK(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, PAGE, PAGE));
	CHECK_EQ(side->result, 0);
	f->hook[OP_FALLOCATE] = NULL;
	expect_file(f, fd, 10 * PAGE);
}

TEST(g4_bind_in_fsync_flush_release)
{
	static const enum srv_op ops[] = { OP_FSYNC, OP_FLUSH, OP_RELEASE };
	struct tfile *f = file((struct srv_opts){ 0 }, true);

	start(f);
	for (size_t i = 0; i < ARRAY_SIZE(ops); i++) {
		int fd = srv_open(f, O_RDWR), sent = side->sent;

		CHECK_EQ(pwrite(fd, "x", 1, 5), 1);
		f->hook[ops[i]] = i % 2 ? unbind_all : bind_all;
		CHECK_OK(fsync(fd));
		close(fd);
		CHECK_SOON(side->sent > sent);
		CHECK_EQ(side->result, 0);
		f->hook[ops[i]] = NULL;
	}
}

/* From outside: the server is stopped, readers wait for it. */
TEST(g4_change_with_stopped_server)
{
	struct tfile *f = file((struct srv_opts){ 0 }, false);
	struct fuse_passthrough_region rec;
	uint64_t started;
	pid_t pid[3];
	int fd;

	start(f);
	fd = srv_open(f, O_RDONLY);
	CHECK_ZERO(region_bind(f, 10 * PAGE, PAGE, side->b, 10 * PAGE, 0));
	expect_read(f, fd, 10 * PAGE, PAGE);
	srv_signal(f->srv, SIGSTOP);
	for (int i = 0; i < 3; i++) {
		pid[i] = test_fork();
		if (pid[i] == 0) {
			read_across(f, fd, (8 + (uint64_t)i) * PAGE, 4 * PAGE);
			_exit(0);
		}
	}
	sleep_ms(100);
	started = now_ms();
	rec = REC(9 * PAGE, 2 * PAGE, side->b->id, 9 * PAGE,
		  FUSE_REGION_READ | FUSE_REGION_REPLACE);
	CHECK_ZERO(region_msg(f->srv->ctl, f->nodeid, &rec, 1));
	CHECK_ZERO(region_unbind(f, 10 * PAGE, 100));
	CHECK_ZERO(region_unbind(f, 0, 0));
	CHECK(now_ms() - started < 5000);
	srv_signal(f->srv, SIGCONT);
	for (int i = 0; i < 3; i++)
		CHECK_EQ(wait_exit(pid[i]), 0);
	expect_file(f, fd, SIZE);
}

/*
 * The memory that a read goes to is a mapping of another file of this server:
 * copying to it faults, and the fault is a READ to the server, which in its
 * handler removes what is being read, and then overwrites it.
 */
static int unbind_other_and_poison(struct srv *s, struct tfile *g, uint64_t off, size_t size)
{
	struct tfile *f = &s->files[0];
	int fd;

	(void)g, (void)off, (void)size;
	if (side->sent)
		return 0;
	note_result(region_unbind(f, 0, 0));
	if (side->poison) {
		fd = (int)CHECK_OK(backing_reopen(side->b, O_WRONLY));
		pattern_write(fd, 4242, 0, SIZE);
		close(fd);
	}
	return 0;
}

static void buffer_needs_server(const char *dir, int open_flags, bool poison, uint64_t off)
{
	struct tfile *f = file((struct srv_opts){ 0 }, false);
	struct tfile *g = srv_store_file(f->srv, "g", SIZE);
	unsigned char *map;
	uint64_t seed;
	size_t len = 8 * PAGE;
	int fd;

	if (dir)
		side->b = backing_new_in(dir, SIZE);
	side->poison = poison;
	seed = side->b->seed;
	start(f);
	fd = srv_open(f, O_RDONLY | open_flags);
	map = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE, srv_open(g, O_RDWR), 0);
	CHECK(map != MAP_FAILED);
	CHECK_ZERO(region_bind(f, 2 * PAGE, 40 * PAGE, side->b, 2 * PAGE, 0));
	g->hook[OP_READ] = unbind_other_and_poison;
	CHECK_EQ(pread(fd, map, len, (off_t)off), len);
	CHECK_EQ(side->sent, 1);
	CHECK_EQ(side->result, 0);
	for (size_t i = 0; i < len; i++)
		if (map[i] != pattern_byte(f->seed, off + i) &&
		    map[i] != pattern_byte(seed, off + i))
			FAIL("byte %zu is %02x, %s", i, map[i],
			     map[i] == pattern_byte(4242, off + i) ? "from after the unbind"
								   : "wrong");
	expect_read(f, fd, 0, SIZE);
	munmap(map, SIZE);
}

TEST(g4_buffer_needs_server)
{
	buffer_needs_server(NULL, 0, false, 4 * PAGE);
}

TEST(g4_buffer_needs_server_unaligned)
{
	buffer_needs_server(NULL, 0, false, 4 * PAGE + 77);
}

TEST(g4_buffer_needs_server_region_and_gap)
{
	buffer_needs_server(NULL, 0, false, 0);
}

TEST(g4_buffer_needs_server_direct)
{
	buffer_needs_server(shared_ext4(), O_DIRECT, false, 4 * PAGE);
}

/* G2 holds there as well: nothing is used that the unbind removed. */
TEST(g2_buffer_needs_server_then_poison)
{
	buffer_needs_server(NULL, 0, true, 4 * PAGE);
}

TEST(g2_buffer_needs_server_then_poison_direct)
{
	buffer_needs_server(shared_ext4(), O_DIRECT, true, 4 * PAGE);
}
