// SPDX-License-Identifier: GPL-2.0
/* The frame around the tests of one program: names, checks, cleanups, watchdog. */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "check.h"

#define MAX_TESTS 128
#define MAX_CLEANUPS 4096
#define MAX_CHILDREN 64

static struct {
	char name[64];
	void (*fn)(void);
} tests[MAX_TESTS];
static int nr_tests;

static struct {
	void (*fn)(void *arg);
	void *arg;
} cleanups[MAX_CLEANUPS];
static int nr_cleanups;

static pid_t children[MAX_CHILDREN]; /* not waited for yet */

static pid_t test_pid; /* the process that owns the cleanups */
static bool failing;
static uint64_t rnd_state;

void test_register(const char *name, void (*fn)(void))
{
	char *p = tests[nr_tests].name;

	snprintf(p, sizeof(tests[0].name), "%s", name);
	for (; *p; p++)
		if (*p == '_')
			*p = '-';
	tests[nr_tests++].fn = fn;
}

void test_at_end(void (*fn)(void *arg), void *arg)
{
	CHECK(nr_cleanups < MAX_CLEANUPS);
	cleanups[nr_cleanups].fn = fn;
	cleanups[nr_cleanups++].arg = arg;
}

void test_not_at_end(void (*fn)(void *arg), void *arg)
{
	int i = nr_cleanups - 1;

	while (i >= 0 && (cleanups[i].fn != fn || cleanups[i].arg != arg))
		i--;
	CHECK(i >= 0);
	nr_cleanups--;
	memmove(&cleanups[i], &cleanups[i + 1], (size_t)(nr_cleanups - i) * sizeof(cleanups[0]));
}

static void clean_up(void)
{
	/* First those who may use, and keep open, what comes next */
	for (int i = 0; i < MAX_CHILDREN; i++)
		if (children[i])
			kill(children[i], SIGKILL);
	while (nr_cleanups > 0) {
		nr_cleanups--;
		cleanups[nr_cleanups].fn(cleanups[nr_cleanups].arg);
	}
}

static _Noreturn void end(int status)
{
	static int ending;
	static pthread_t ender;

	if (getpid() != test_pid) {
		fflush(NULL);
		_exit(status);
	}
	if (__atomic_exchange_n(&ending, 1, __ATOMIC_SEQ_CST)) {
		/* A check failed in a cleanup, or in a second thread while the first cleans up. */
		while (!pthread_equal(ender, pthread_self()))
			pause();
		_exit(TEST_FAIL);
	}
	ender = pthread_self();
	failing = status == TEST_FAIL;
	clean_up();
	fflush(NULL);
	_exit(status);
}

bool test_failing(void)
{
	return failing;
}

void test_fail(const char *file, int line, const char *fmt, ...)
{
	const char *base = strrchr(file, '/');
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	fprintf(stderr, "%s:%d: %s%s\n", base ? base + 1 : file, line, text,
		getpid() == test_pid ? "" : " [in a child]");
	end(TEST_FAIL);
}

void test_skip(const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, "SKIP: ");
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fprintf(stderr, "\n");
	end(TEST_SKIP);
}

void note(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fprintf(stderr, "\n");
}

/* Kernel stacks of all threads of @pid, for a test that hangs */
static void show_stacks(pid_t pid)
{
	char path[300], text[4096];
	struct dirent *de;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	dir = opendir(path);
	while (dir && (de = readdir(dir))) {
		ssize_t n = 0;
		int fd;

		if (de->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "/proc/%d/task/%.20s/stack", pid, de->d_name);
		fd = open(path, O_RDONLY);
		if (fd >= 0) {
			n = read(fd, text, sizeof(text));
			close(fd);
		}
		if (n > 0)
			fprintf(stderr, "--- %s\n%.*s", path, (int)n, text);
	}
	if (dir)
		closedir(dir);
}

/* Not async-signal-safe, but it is about to end the test in any case. */
static void on_alarm(int sig)
{
	char path[64], text[512];
	char *p;
	ssize_t n;
	int fd;

	(void)sig;
	fprintf(stderr, "watchdog: the test hangs\n");
	show_stacks(getpid());
	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", getpid(), getpid());
	fd = open(path, O_RDONLY);
	n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	if (n > 0) {
		text[n] = 0;
		for (p = strtok(text, " "); p; p = strtok(NULL, " "))
			show_stacks(atoi(p));
	}
	end(TEST_FAIL);
}

void test_watchdog(unsigned int seconds)
{
	alarm(test_scaled(seconds));
}

uint64_t test_scaled(uint64_t n)
{
	const char *scale = getenv("FUSE_REGIONS_TEST_SCALE");

	return scale && atof(scale) > 0 ? (uint64_t)((double)n * atof(scale)) : n;
}

uint64_t test_storm_ms(uint64_t ms)
{
	return test_scaled(ms);
}

uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

void sleep_ms(unsigned int ms)
{
	struct timespec ts = { ms / 1000, (long)(ms % 1000) * 1000000 };

	while (nanosleep(&ts, &ts) && errno == EINTR)
		;
}

/* splitmix64 */
uint64_t rnd(void)
{
	uint64_t z;

	if (!rnd_state) {
		const char *seed = getenv("FUSE_REGIONS_TEST_SEED");

		rnd_state = seed ? strtoull(seed, NULL, 0) : 1;
	}
	z = __atomic_add_fetch(&rnd_state, 0x9e3779b97f4a7c15ull, __ATOMIC_RELAXED);
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return z ^ (z >> 31);
}

uint64_t rnd_below(uint64_t n)
{
	return rnd() % n;
}

static void swap_child(pid_t from, pid_t to)
{
	for (int i = 0; i < MAX_CHILDREN; i++) {
		if (children[i] == from) {
			children[i] = to;
			return;
		}
	}
}

pid_t test_fork(void)
{
	pid_t pid, parent = getpid();

	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != parent)
			_exit(TEST_FAIL);
	}
	swap_child(0, pid);
	return pid;
}

int wait_exit(pid_t pid)
{
	int status;

	CHECK_EQ(waitpid(pid, &status, 0), pid);
	swap_child(pid, 0);
	if (!WIFEXITED(status))
		FAIL("child ended by signal %d", WTERMSIG(status));
	return WEXITSTATUS(status);
}

/*
 * A process that is killed keeps its descriptors until its last thread is gone,
 * and that one may wait for the server, which went with the first: end properly.
 */
static void on_fault(int sig, siginfo_t *info, void *context)
{
	(void)context;
	signal(sig, SIG_DFL);
	FAIL("signal %d (%s) at %p, code %d", sig, strsignal(sig), info->si_addr, info->si_code);
}

static int run_test(int i)
{
	struct sigaction fault = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO };

	test_pid = getpid();
	signal(SIGALRM, on_alarm);
	sigaction(SIGBUS, &fault, NULL);
	sigaction(SIGSEGV, &fault, NULL);
	signal(SIGPIPE, SIG_IGN);
	test_watchdog(120);
	tests[i].fn();
	end(TEST_PASS);
}

static int run_in_child(int i)
{
	int rc;
	pid_t pid = test_fork();

	if (pid == 0)
		run_test(i);
	rc = wait_exit(pid);
	printf("%s %s\n",
	       rc == TEST_PASS	 ? "pass"
	       : rc == TEST_SKIP ? "skip"
				 : "FAIL",
	       tests[i].name);
	return rc;
}

static int find_test(const char *name)
{
	for (int i = 0; i < nr_tests; i++)
		if (!strcmp(tests[i].name, name))
			return i;
	fprintf(stderr, "no test is named %s; try --list\n", name);
	exit(2);
}

int main(int argc, char **argv)
{
	int failed = 0;

	if (argc == 2 && !strcmp(argv[1], "--list")) {
		for (int i = 0; i < nr_tests; i++)
			puts(tests[i].name);
		return 0;
	}
	if (argc == 2)
		return run_test(find_test(argv[1]));
	for (int i = 0; i < (argc > 1 ? argc - 1 : nr_tests); i++)
		if (run_in_child(argc > 1 ? find_test(argv[i + 1]) : i) == TEST_FAIL)
			failed++;
	return failed ? TEST_FAIL : TEST_PASS;
}
