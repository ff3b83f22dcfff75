/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What a guest test is made of: a name, checks that say where and what went
 * wrong, and an exit status: PASS 0, FAIL 1, SKIP 77.
 *
 *	TEST(r1_cut_at_edges)
 *	{
 *		CHECK_EQ(read(fd, buf, 10), 10);
 *	}
 *
 * is the test "r1-cut-at-edges". A check that fails ends the test at once,
 * after the cleanups; in a forked child it ends the child with status 1, for
 * the parent to notice.
 */
#ifndef FR_TEST_CHECK_H
#define FR_TEST_CHECK_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum test_status {
	TEST_PASS = 0,
	TEST_FAIL = 1,
	TEST_SKIP = 77,
};

void test_register(const char *name, void (*fn)(void));

#define TEST(name)                                                     \
	static void name(void);                                        \
	__attribute__((constructor)) static void register_##name(void) \
	{                                                              \
		test_register(#name, name);                            \
	}                                                              \
	static void name(void)

/* Called newest first when the test ends, however it ends; only in the test's own process */
void test_at_end(void (*fn)(void *arg), void *arg);

/* It has been done already */
void test_not_at_end(void (*fn)(void *arg), void *arg);

/* For cleanups: the test did not end as it should */
bool test_failing(void);

/* Seconds a test may take; the clock starts anew */
void test_watchdog(unsigned int seconds);

/* How often a bounded storm repeats: @n times FUSE_REGIONS_TEST_SCALE (1) */
uint64_t test_scaled(uint64_t n);

/* Milliseconds a storm lasts, scaled likewise */
uint64_t test_storm_ms(uint64_t ms);

/* Milliseconds of a clock that only goes forward */
uint64_t now_ms(void);

/* Reproducible random numbers: FUSE_REGIONS_TEST_SEED or 1 to start from */
uint64_t rnd(void);
uint64_t rnd_below(uint64_t n);

__attribute__((noreturn, format(printf, 3, 4))) void test_fail(const char *file, int line,
							       const char *fmt, ...);
__attribute__((noreturn, format(printf, 1, 2))) void test_skip(const char *fmt, ...);

/* For the log only */
__attribute__((format(printf, 1, 2))) void note(const char *fmt, ...);

#define FAIL(...) test_fail(__FILE__, __LINE__, __VA_ARGS__)
#define SKIP(...) test_skip(__VA_ARGS__)

#define CHECK(cond)                                                    \
	do {                                                           \
		if (!(cond))                                           \
			FAIL("not true: %s (errno %d)", #cond, errno); \
	} while (0)

#define CHECK_EQ(actual, expected)                                                          \
	do {                                                                                \
		long long actual_ = (long long)(actual), expected_ = (long long)(expected); \
		if (actual_ != expected_)                                                   \
			FAIL("%s is %lld, expected %s = %lld (errno %d)", #actual, actual_, \
			     #expected, expected_, errno);                                  \
	} while (0)

/* A library function's result: -1 and errno is a failure */
#define CHECK_OK(call)                                                      \
	({                                                                  \
		long long ok_ = (long long)(call);                          \
		if (ok_ < 0)                                                \
			FAIL("%s: %lld, errno %d (%m)", #call, ok_, errno); \
		ok_;                                                        \
	})

/* The call must fail with -1 and this errno */
#define CHECK_ERR(call, err)                                                           \
	do {                                                                           \
		long long res_ = (long long)(call);                                    \
		if (res_ >= 0)                                                         \
			FAIL("%s: %lld, expected to fail with %s", #call, res_, #err); \
		if (errno != (err))                                                    \
			FAIL("%s: errno %d (%m), expected %s", #call, errno, #err);    \
	} while (0)

/* For pthread-like functions and our own, which return an error number */
#define CHECK_ZERO(call)                              \
	do {                                          \
		int zero_ = (call);                   \
		if (zero_)                            \
			FAIL("%s: %d", #call, zero_); \
	} while (0)

/* For helpers that return -errno */
#define CHECK_NEG(call, err)                                                            \
	do {                                                                            \
		long long neg_ = (long long)(call);                                     \
		if (neg_ != -(err))                                                     \
			FAIL("%s: %lld, expected -%s (%d)", #call, neg_, #err, -(err)); \
	} while (0)

/* Wait until the condition holds; fails after some seconds */
#define CHECK_SOON(cond)                                                \
	do {                                                            \
		uint64_t until_ = now_ms() + 10000;                     \
		while (!(cond)) {                                       \
			if (now_ms() > until_)                          \
				FAIL("not true after 10 s: %s", #cond); \
			sleep_ms(5);                                    \
		}                                                       \
	} while (0)

void sleep_ms(unsigned int ms);

/* Exit status of a child, which must have exited by itself */
int wait_exit(pid_t pid);

/* fork(), with the child leaving the parent's cleanups alone and dying with it */
pid_t test_fork(void);

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

#endif
