// SPDX-License-Identifier: GPL-2.0
/* G3: no read or write sees half of a message. */
#define _GNU_SOURCE
#include <sys/uio.h>

#include "harness.h"

#define HALF (4 * PAGE + 1)
#define SIZE (16 * PAGE)
#define LEN 9000 /* of a write, on each side of the edge */

/*
 * Two states of a file, between which messages go back and forth. In each, the
 * halves have different sources, and both change.
 */
struct swap {
	struct tfile *f;
	int fd;
	struct backing *b, *c;
	bool with_gap; /* the other half is the server's */
	int how; /* which call reads */
	uint32_t access;
	uint64_t messages;
};

enum { BY_PREAD, BY_PREADV, BY_SPLICE, BY_PREAD_SHORT };

/* Which source is [@off, @off + @len) from? */
static char source_of(const struct swap *w, const unsigned char *buf, uint64_t off, size_t len)
{
	if (pattern_differs(buf, w->b->seed, off, len) == len)
		return 'b';
	if (pattern_differs(buf, w->c->seed, off, len) == len)
		return 'c';
	if (pattern_differs(buf, w->f->seed, off, len) == len)
		return 's';
	return '?';
}

static ssize_t by_splice(int fd, unsigned char *buf, size_t len, off_t off)
{
	size_t got = 0;
	int fds[2];
	ssize_t n;

	CHECK_OK(pipe(fds));
	CHECK_OK(fcntl(fds[1], F_SETPIPE_SZ, 1 << 18));
	n = splice(fd, &off, fds[1], NULL, len, 0);
	while (n > 0 && got < (size_t)n)
		got += (size_t)CHECK_OK(read(fds[0], buf + got, (size_t)n - got));
	close(fds[0]);
	close(fds[1]);
	return n;
}

static void read_one_state(void *arg)
{
	struct swap *w = arg;
	unsigned char buf[2 * HALF];
	struct iovec iov[3] = { { buf, 100 },
				{ buf + 100, HALF },
				{ buf + 100 + HALF, HALF - 100 } };
	size_t before = w->how == BY_PREAD_SHORT ? 5 : HALF, after = before;
	uint64_t off = HALF - before;
	ssize_t n;
	char lo, hi;

	if (w->how == BY_PREADV)
		n = preadv(w->fd, iov, 3, (off_t)off);
	else if (w->how == BY_SPLICE)
		n = by_splice(w->fd, buf, before + after, (off_t)off);
	else
		n = pread(w->fd, buf, before + after, (off_t)off);
	if (n < 0)
		FAIL("read: %m");
	/* A splice may end early; then there is just less to compare. */
	if (w->how != BY_SPLICE)
		CHECK_EQ(n, before + after);
	else if ((size_t)n <= before)
		return;
	else
		after = (size_t)n - before;
	lo = source_of(w, buf, off, before);
	hi = source_of(w, buf + before, HALF, after);
	if (w->with_gap ? !((lo == 'b' && hi == 's') || (lo == 's' && hi == 'c'))
			: !((lo == 'b' && hi == 'c') || (lo == 'c' && hi == 'b')))
		FAIL("one read saw %c and %c", lo, hi);
}

static int send_state(struct swap *w, int state)
{
	const uint32_t rep = w->access | FUSE_REGION_REPLACE, un = FUSE_REGION_UNBIND;
	struct fuse_passthrough_region recs[2];

	if (w->with_gap && state) {
		recs[0] = REC(0, HALF, 0, 0, un);
		recs[1] = REC(HALF, HALF, w->c->id, HALF, rep);
	} else if (w->with_gap) {
		recs[0] = REC(0, HALF, w->b->id, 0, rep);
		recs[1] = REC(HALF, HALF, 0, 0, un);
	} else {
		recs[0] = REC(0, HALF, state ? w->c->id : w->b->id, 0, rep);
		recs[1] = REC(HALF, HALF, state ? w->b->id : w->c->id, HALF, rep);
	}
	return region_msg(w->f->srv->ctl, w->f->nodeid, recs, 2);
}

static void swap_storm(struct srv_opts opts, bool with_gap, int how, int open_flags)
{
	struct srv *s = srv_new(&opts);
	struct swap w = {
		.f = srv_file(s, "f", SIZE),
		.with_gap = with_gap,
		.how = how,
		.access = FUSE_REGION_READ,
	};
	uint64_t until, messages = 0;
	struct threads readers;

	srv_start(s);
	w.b = backing_new(SIZE);
	w.c = backing_new(SIZE);
	srv_register(s, w.b);
	srv_register(s, w.c);
	w.fd = srv_open(w.f, O_RDONLY | open_flags);
	CHECK_ZERO(send_state(&w, 0));
	threads_start(&readers, 3, read_one_state, &w);
	for (until = now_ms() + test_storm_ms(2000); now_ms() < until; messages++) {
		CHECK_ZERO(send_state(&w, (int)(messages & 1)));
		if (messages % 4 == 0)
			threads_progress(&readers, 1);
	}
	threads_stop(&readers);
	note("%llu messages, %llu reads", (unsigned long long)messages,
	     (unsigned long long)readers.rounds);
	CHECK(messages && readers.rounds);
}

TEST(g3_swap_under_pread)
{
	swap_storm((struct srv_opts){ 0 }, false, BY_PREAD, 0);
}

TEST(g3_swap_under_short_pread)
{
	swap_storm((struct srv_opts){ 0 }, false, BY_PREAD_SHORT, 0);
}

TEST(g3_swap_under_preadv)
{
	swap_storm((struct srv_opts){ 0 }, false, BY_PREADV, 0);
}

TEST(g3_swap_under_splice)
{
	swap_storm((struct srv_opts){ 0 }, false, BY_SPLICE, 0);
}

TEST(g3_swap_under_direct_read)
{
	swap_storm((struct srv_opts){ 0 }, false, BY_PREAD, O_DIRECT);
}

TEST(g3_swap_with_gap_under_pread)
{
	swap_storm((struct srv_opts){ 0 }, true, BY_PREAD, 0);
}

TEST(g3_swap_with_gap_under_short_pread)
{
	swap_storm((struct srv_opts){ 0 }, true, BY_PREAD_SHORT, 0);
}

TEST(g3_swap_with_gap_under_splice)
{
	swap_storm((struct srv_opts){ 0 }, true, BY_SPLICE, 0);
}

TEST(g3_swap_with_gap_threaded_server)
{
	swap_storm((struct srv_opts){ .threads = true }, true, BY_PREAD, 0);
}

static void send_next_state(void *arg)
{
	struct swap *w = arg;

	CHECK_ZERO(send_state(w, (int)(++w->messages & 1)));
}

/* Are the @len bytes at @off of the backing those of @buf? */
static bool has(const struct backing *backing, const unsigned char *buf, uint64_t off, size_t len)
{
	unsigned char got[HALF];

	backing_bytes(backing, got, off, len);
	return !memcmp(got, buf, len);
}

/* Each write over the edge went all by one state: the other's places do not have its bytes. */
static void swap_under_writes(int open_flags)
{
	struct swap w = { .access = RW };
	unsigned char buf[2 * LEN];
	unsigned int seen[2] = { 0, 0 };
	struct threads binder;
	struct backing **half;
	uint64_t until, seed;

	w.f = srv_stored((struct srv_opts){ 0 }, NULL, SIZE, &w.b, &w.c);
	w.fd = srv_open(w.f, O_RDWR | open_flags);
	CHECK_ZERO(send_state(&w, 0));
	threads_start(&binder, 1, send_next_state, &w);
	half = (struct backing *[]){ w.b, w.c };
	for (until = now_ms() + test_storm_ms(2500), seed = 4711; now_ms() < until; seed++) {
		bool lo[2], hi[2];

		pattern_fill(buf, seed, 0, sizeof(buf));
		CHECK_EQ(pwrite(w.fd, buf, sizeof(buf), HALF - LEN), sizeof(buf));
		for (int i = 0; i < 2; i++) {
			lo[i] = has(half[i], buf, HALF - LEN, LEN);
			hi[i] = has(half[i], buf + LEN, HALF, LEN);
		}
		if (lo[0] == lo[1] || hi[0] == hi[1] || lo[0] == hi[0])
			FAIL("write %llu: below the edge it is in%s%s, above it in%s%s",
			     (unsigned long long)(seed - 4711), lo[0] ? " b" : "",
			     lo[1] ? " c" : "", hi[0] ? " b" : "", hi[1] ? " c" : "");
		seen[lo[1]]++;
	}
	threads_stop(&binder);
	note("%llu messages, %u writes by one state, %u by the other",
	     (unsigned long long)w.messages, seen[0], seen[1]);
	CHECK(seen[0] && seen[1]);
	CHECK_EQ(srv_count(w.f, OP_WRITE), 0);
}

TEST(g3_swap_under_write)
{
	swap_under_writes(0);
}

TEST(g3_swap_under_direct_write)
{
	swap_under_writes(O_DIRECT);
}

/*
 * The slow reader: it waits for the server in a gap, while a message changes
 * all of the file, and what the old regions named is overwritten. It may have
 * the bytes of before or of after the message, all of them.
 */
static void held_in_gap(const char *layout)
{
	struct tfile *f = srv_simple(SIZE);
	struct backing *old = backing_new(SIZE), *new = backing_new(SIZE);
	uint64_t nr = strlen(layout), piece = 3000, seed = old->seed;
	unsigned char *buf = malloc(nr * piece);
	int fd = srv_open(f, O_RDONLY), status[2];
	char saw[16] = "";
	pid_t pid;

	CHECK_OK(pipe(status));
	srv_register(f->srv, old);
	srv_register(f->srv, new);
	for (uint64_t i = 0; i < nr; i++)
		if (layout[i] == 'r')
			CHECK_ZERO(region_bind(f, i * piece, piece, old, i * piece, 0));
	f->hang = 1u << OP_READ;
	pid = test_fork();
	if (pid == 0) {
		CHECK_EQ(pread(fd, buf, nr * piece, 0), nr * piece);
		CHECK_EQ(write(status[1], buf, nr * piece), nr * piece);
		f->hang = 0;
		_exit(0);
	}
	srv_until_hanging(f);
	CHECK_ZERO(region_bind(f, 0, nr * piece, new, 0, FUSE_REGION_REPLACE));
	pattern_write(old->fd, 99999, 0, SIZE);
	f->hang = 0;
	CHECK_EQ(wait_exit(pid), 0);
	CHECK_EQ(read(status[0], buf, nr * piece), nr * piece);
	for (uint64_t i = 0; i < nr; i++) {
		const unsigned char *p = buf + i * piece;

		saw[i] = '?';
		if (pattern_differs(p, seed, i * piece, piece) == piece)
			saw[i] = 'r';
		else if (pattern_differs(p, f->seed, i * piece, piece) == piece)
			saw[i] = 'g';
		else if (pattern_differs(p, new->seed, i * piece, piece) == piece)
			saw[i] = 'n';
	}
	note("%s was read as %s", layout, saw);
	if (strcmp(saw, layout) && strspn(saw, "n") != nr)
		FAIL("a read of %s, changed to n meanwhile, saw %s", layout, saw);
	expect_read(f, fd, 0, SIZE);
	free(buf);
}

TEST(g3_held_in_gap_then_region)
{
	held_in_gap("gr");
}

TEST(g3_held_in_region_then_gap)
{
	held_in_gap("rg");
}

TEST(g3_held_between_regions)
{
	held_in_gap("rgr");
}

TEST(g3_held_in_many_pieces)
{
	held_in_gap("grgrrggr");
}

/* A message of a thousand records that gives every other slice to the other backing */
TEST(g3_thousand_records_at_once)
{
	struct tfile *f = srv_simple(SIZE);
	struct backing *b = backing_new(SIZE), *c = backing_new(SIZE);
	struct fuse_passthrough_region recs[2][1000];
	const uint64_t slice = 50;
	int fd = srv_open(f, O_RDONLY);
	pid_t pid;

	srv_register(f->srv, b);
	srv_register(f->srv, c);
	for (uint64_t i = 0; i < 1000; i++)
		for (int state = 0; state < 2; state++)
			recs[state][i] = REC(i * slice, slice, ((int)i + state) % 2 ? b->id : c->id,
					     i * slice, FUSE_REGION_READ | FUSE_REGION_REPLACE);
	CHECK_ZERO(region_msg(f->srv->ctl, f->nodeid, recs[0], 1000));
	pid = test_fork();
	if (pid == 0) {
		unsigned char *buf = malloc(1000 * slice);

		for (uint64_t until = now_ms() + test_storm_ms(2000); now_ms() < until;) {
			uint64_t seed = 0;

			CHECK_EQ(pread(fd, buf, 1000 * slice, 0), 1000 * slice);
			for (uint64_t i = 0; i < 1000; i++) {
				uint64_t want = i % 2 ? b->seed : c->seed;

				if (pattern_differs(buf + i * slice, want, i * slice, slice) <
				    slice)
					want = i % 2 ? c->seed : b->seed;
				CHECK_EQ(pattern_differs(buf + i * slice, want, i * slice, slice),
					 slice);
				if (i % 2)
					want = want == b->seed ? c->seed : b->seed;
				if (seed && seed != want)
					FAIL("slice %llu is of another state than those before",
					     (unsigned long long)i);
				seed = want;
			}
		}
		_exit(0);
	}
	for (uint64_t i = 1, until = now_ms() + test_storm_ms(2000); now_ms() < until; i++)
		CHECK_ZERO(region_msg(f->srv->ctl, f->nodeid, recs[i % 2], 1000));
	CHECK_EQ(wait_exit(pid), 0);
}
