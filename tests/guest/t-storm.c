// SPDX-License-Identifier: GPL-2.0
/*
 * Storms: many threads read while the regions under them change. Every byte of
 * every read is checked: either all sources hold the same bytes, and any mix
 * is right, or a byte says where it is from.
 */
#define _GNU_SOURCE
#include <sched.h>
#include <sys/wait.h>

#include "harness.h"

#define SIZE (64 * PAGE)
#define UNWRITTEN 0xA5

struct storm {
	struct tfile *f;
	struct backing *b[4];
	int fd[3];
};

/* Everything holds the bytes of one seed: the server and four backings. */
static struct storm *begin(const char *dir)
{
	struct storm *w = calloc(1, sizeof(*w));
	struct srv *s = srv_new(NULL);

	w->f = srv_store_file(s, "f", SIZE);
	srv_start(s);
	for (int i = 0; i < 4; i++) {
		w->b[i] = backing_new_in(i % 2 ? dir : NULL, SIZE);
		backing_reseed(w->b[i], w->f->seed);
		srv_register(s, w->b[i]);
	}
	w->fd[0] = srv_open(w->f, O_RDONLY);
	w->fd[1] = srv_open(w->f, O_RDONLY | O_DIRECT);
	w->fd[2] = srv_open(w->f, O_RDONLY);
	CHECK_ZERO(posix_fadvise(w->fd[2], 0, 0, POSIX_FADV_RANDOM));
	return w;
}

static void read_some(void *arg)
{
	struct storm *w = arg;
	uint64_t off = rnd_below(SIZE), len = 1 + rnd_below(rnd_below(2) ? 300 : 8 * PAGE);
	unsigned char *buf = direct_alloc(len);
	int which = (int)rnd_below(3);
	size_t want = SIZE - off < len ? SIZE - off : len, i;
	ssize_t n;

	/* what is not written at all must not look right either */
	memset(buf, UNWRITTEN, len);
	n = pread(w->fd[which], buf, len, (off_t)off);
	if (n != (ssize_t)want)
		FAIL("pread of %llu at %#llx: %zd, errno %d", (unsigned long long)len,
		     (unsigned long long)off, n, errno);
	i = pattern_differs(buf, w->f->seed, off, want);
	if (i < want)
		FAIL("byte %#llx is %02x in a read of %llu at %#llx%s",
		     (unsigned long long)(off + i), buf[i], (unsigned long long)len,
		     (unsigned long long)off, buf[i] == UNWRITTEN ? ": never written" : "");
	free(buf);
}

/* One to @max records of any kind, all of which keep the content as it is */
static void change(struct storm *w, uint32_t max)
{
	struct fuse_passthrough_region recs[64];
	uint32_t nr = 1 + (uint32_t)rnd_below(max);

	for (uint32_t i = 0; i < nr; i++) {
		uint64_t off = rnd_below(SIZE), len = 1 + rnd_below(rnd_below(3) ? 500 : 20 * PAGE);
		uint32_t id = w->b[rnd_below(4)]->id, flags = FUSE_REGION_READ;

		if (off + len > SIZE)
			len = SIZE - off;
		if (rnd_below(8) == 0) {
			off = PAGE * rnd_below(32);
			len = PAGE * (1 + rnd_below(16));
		}
		if (rnd_below(3) == 0)
			recs[i] = REC(off, len, 0, 0, FUSE_REGION_UNBIND);
		else
			recs[i] = REC(off, len, id, off, flags | FUSE_REGION_REPLACE);
	}
	if (rnd_below(64) == 0)
		recs[0] = REC(0, 0, 0, 0, FUSE_REGION_UNBIND);
	CHECK_ZERO(region_msg(w->f->srv->ctl, w->f->nodeid, recs, nr));
}

static void change_some(void *arg)
{
	change(arg, 8);
}

static void storm(struct storm *w, int readers, int binders, uint64_t ms)
{
	struct threads r, c;

	threads_start(&r, readers, read_some, w);
	threads_start(&c, binders, change_some, w);
	sleep_ms((unsigned int)test_storm_ms(ms));
	threads_stop(&c);
	threads_stop(&r);
	note("%llu reads, %llu messages", (unsigned long long)r.rounds,
	     (unsigned long long)c.rounds);
	CHECK(r.rounds > 0 && c.rounds > 0);
}

TEST(g1_storm)
{
	storm(begin(NULL), 4, 1, 4000);
}

TEST(g1_storm_on_ext4)
{
	storm(begin(shared_ext4()), 4, 1, 3000);
}

/* Messages from several threads at once */
TEST(g1_storm_of_binders)
{
	storm(begin(NULL), 3, 4, 3000);
}

/* More threads than processors, that do nothing but burn them, at odds with the storm */
static void hog(void *arg)
{
	volatile uint64_t *n = arg;

	for (int i = 0; i < 100000; i++)
		(*n)++;
}

TEST(g1_storm_with_hogs)
{
	struct storm *w = begin(NULL);
	static uint64_t n;
	struct threads hogs;

	threads_start(&hogs, 6, hog, &n);
	storm(w, 3, 1, 4000);
	threads_stop(&hogs);
}

/* Readers in the batch and idle classes hold the map for long; the binder is in a hurry. */
TEST(g1_storm_with_idle_readers)
{
	struct storm *w = begin(NULL);
	static uint64_t n;
	struct threads hogs;
	pid_t pid;

	pid = test_fork();
	if (pid == 0) {
		uint64_t until = now_ms() + test_storm_ms(3000);

		CHECK_OK(sched_setscheduler(0, SCHED_IDLE, &(struct sched_param){ 0 }));
		while (now_ms() < until)
			read_some(w);
		_exit(0);
	}
	threads_start(&hogs, 2, hog, &n);
	storm(w, 1, 1, 3000);
	threads_stop(&hogs);
	CHECK_EQ(wait_exit(pid), 0);
}

/* Backings come and go as well. */
static void register_and_close(void *arg)
{
	struct storm *w = arg;
	int id = raw_backing_open(w->f->srv->ctl, w->b[rnd_below(4)]->fd);
	uint64_t off = rnd_below(SIZE - PAGE);
	struct fuse_passthrough_region rec = REC(off, 1 + rnd_below(PAGE), (uint32_t)id, off,
						 FUSE_REGION_READ | FUSE_REGION_REPLACE);

	CHECK(id > 0);
	CHECK_ZERO(region_msg(w->f->srv->ctl, w->f->nodeid, &rec, 1));
	CHECK_ZERO(raw_backing_close(w->f->srv->ctl, (uint32_t)id));
}

TEST(i2_storm_of_registrations)
{
	struct storm *w = begin(NULL);
	struct threads threads;

	threads_start(&threads, 2, register_and_close, w);
	storm(w, 2, 1, 3000);
	threads_stop(&threads);
}

/* Files of one server: a bind of one must not be felt by the readers of another. */
static void read_quietly(void *arg)
{
	struct storm *w = arg;
	struct tfile *g = &w->f->srv->files[1];
	unsigned char buf[PAGE];
	uint64_t off = rnd_below(SIZE - PAGE);

	CHECK_EQ(pread(w->fd[2], buf, PAGE, (off_t)off), PAGE);
	CHECK_EQ(pattern_differs(buf, g->seed, off, PAGE), PAGE);
}

TEST(g1_storm_next_door)
{
	struct storm *w = calloc(1, sizeof(*w));
	struct srv *s = srv_new(NULL);
	struct tfile *g;
	struct threads quiet;

	w->f = srv_store_file(s, "f", SIZE);
	g = srv_file(s, "g", SIZE);
	srv_start(s);
	for (int i = 0; i < 4; i++) {
		w->b[i] = backing_new(SIZE);
		backing_reseed(w->b[i], w->f->seed);
		srv_register(s, w->b[i]);
	}
	w->fd[0] = w->fd[1] = srv_open(w->f, O_RDONLY);
	w->fd[2] = srv_open(g, O_RDONLY);
	threads_start(&quiet, 2, read_quietly, w);
	for (uint64_t until = now_ms() + test_storm_ms(2000); now_ms() < until;)
		change(w, 20);
	threads_stop(&quiet);
	CHECK(quiet.rounds > 0);
}

/* With large maps: thousands of regions, of which each message cuts some */
TEST(g1_storm_in_a_large_map)
{
	struct storm *w = begin(NULL);
	struct fuse_passthrough_region recs[1000];

	for (uint64_t i = 0; i < 10; i++) {
		for (uint64_t j = 0; j < 1000; j++) {
			uint64_t off = (i * 1000 + j) * 26;

			recs[j] = REC(off, 25, w->b[j % 4]->id, off, FUSE_REGION_READ);
		}
		CHECK_ZERO(region_msg(w->f->srv->ctl, w->f->nodeid, recs, 1000));
	}
	storm(w, 3, 1, 3000);
}

/* A reader that is interrupted by signals all the time sees whole reads or EINTR. */
static void on_signal(int sig)
{
	(void)sig;
}

TEST(g1_storm_of_signals)
{
	struct storm *w = begin(NULL);
	struct sigaction sa = { .sa_handler = on_signal, .sa_flags = SA_RESTART };
	pid_t pid;

	/* before the fork: the first signal may come before the child runs at all */
	CHECK_OK(sigaction(SIGUSR1, &sa, NULL));
	pid = test_fork();
	if (pid == 0) {
		uint64_t until = now_ms() + test_storm_ms(2500);

		while (now_ms() < until)
			read_some(w);
		_exit(0);
	}
	for (uint64_t until = now_ms() + test_storm_ms(2000); now_ms() < until;) {
		change(w, 8);
		if (rnd_below(4) == 0)
			kill(pid, SIGUSR1);
	}
	CHECK_EQ(wait_exit(pid), 0);
}

/* Readers are killed in the middle; nothing of them remains. */
TEST(l1_storm_of_dying_readers)
{
	struct storm *w = begin(shared_ext4());
	pid_t pid[4] = { 0 };

	for (uint64_t until = now_ms() + test_storm_ms(3000), i = 0; now_ms() < until; i++) {
		pid_t *p = &pid[i % 4];

		if (*p) {
			kill(*p, SIGKILL);
			CHECK_EQ(waitpid(*p, NULL, 0), *p);
		}
		*p = fork();
		if (*p == 0) {
			while (true)
				read_some(w);
		}
		change(w, 8);
	}
	for (int i = 0; i < 4; i++) {
		kill(pid[i], SIGKILL);
		waitpid(pid[i], NULL, 0);
	}
	for (int i = 0; i < 50; i++)
		read_some(w);
}
