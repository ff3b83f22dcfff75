// SPDX-License-Identifier: GPL-2.0
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fault.h"

/* Rounds after which a call is taken for one that never ends */
#define MOST 20000

static int nth_fd = -1;

/* Of debugfs: where what may fail is told from what may not */
static const char *const injectors[] = { "failslab", "fail_page_alloc", "fail_usercopy" };

static bool injector_set(const char *injector, const char *name, unsigned long value)
{
	char path[128];
	FILE *file;
	bool ok;

	snprintf(path, sizeof(path), "/sys/kernel/debug/%s/%s", injector, name);
	file = fopen(path, "w");
	if (!file)
		return false;
	ok = fprintf(file, "%lu\n", value) > 0;
	return !fclose(file) && ok;
}

struct text {
	unsigned long start;
	unsigned long end;
};

/* Call @fn for each function of the kernel and its modules */
static void each_function(void (*fn)(struct text *t, const char *line, unsigned long at,
				     const char *name),
			  struct text *t, const char *name)
{
	FILE *file = fopen("/proc/kallsyms", "r");
	unsigned long at;
	char line[512], kind;

	CHECK(file);
	while (fgets(line, sizeof(line), file))
		if (sscanf(line, "%lx %c", &at, &kind) == 2 && (kind == 't' || kind == 'T'))
			fn(t, line, at, name);
	fclose(file);
}

static void add_of_module(struct text *t, const char *line, unsigned long at, const char *name)
{
	(void)name;
	if (!strstr(line, "[fuse_regions]"))
		return;
	if (at < t->start)
		t->start = at;
	if (at > t->end)
		t->end = at;
}

/* The module's code: from its first function to past its last one */
static struct text module_text(void)
{
	struct text t = { .start = ~0ul };

	each_function(add_of_module, &t, NULL);
	CHECK(t.end > t.start);
	t.end = (t.end | 4095) + 1;
	return t;
}

static void find_start(struct text *t, const char *line, unsigned long at, const char *name)
{
	char found[128] = "";

	sscanf(line, "%*x %*c %127s", found);
	if (!strcmp(found, name))
		t->start = at;
}

static void find_end(struct text *t, const char *line, unsigned long at, const char *name)
{
	(void)line;
	(void)name;
	if (at > t->start && at < t->end)
		t->end = at;
}

/* One function's: up to where the next one starts */
static struct text function_text(const char *name)
{
	struct text t = { .end = ~0ul };

	each_function(find_start, &t, name);
	CHECK(t.start);
	each_function(find_end, &t, NULL);
	return t;
}

static void forget_filters(void *arg)
{
	(void)arg;
	for (size_t i = 0; i < ARRAY_SIZE(injectors); i++) {
		injector_set(injectors[i], "stacktrace-depth", 0);
		injector_set(injectors[i], "reject-start", 0);
		injector_set(injectors[i], "reject-end", 0);
	}
}

static void open_nth(void)
{
	nth_fd = open("/proc/thread-self/fail-nth", O_RDWR | O_CLOEXEC);
	if (nth_fd < 0)
		SKIP("this kernel can't inject faults: ./run test --debug-kernel");
}

static void filter(struct text text)
{
	test_at_end(forget_filters, NULL);
	for (size_t i = 0; i < ARRAY_SIZE(injectors); i++) {
		const char *name = injectors[i];

		if (!injector_set(name, "require-start", text.start))
			SKIP("this kernel has no %s with a stack filter", name);
		CHECK(injector_set(name, "require-end", text.end));
		CHECK(injector_set(name, "stacktrace-depth", 32));
		CHECK(injector_set(name, "verbose", 0));
	}
	/* Those that may wait fail as well. */
	CHECK(injector_set("failslab", "ignore-gfp-wait", 0));
	CHECK(injector_set("fail_page_alloc", "ignore-gfp-wait", 0));
	CHECK(injector_set("fail_page_alloc", "ignore-gfp-highmem", 0));
	CHECK(injector_set("fail_page_alloc", "min-order", 0));
}

void fault_begin(void)
{
	open_nth();
	filter(module_text());
}

void fault_begin_in(const char *function)
{
	open_nth();
	filter(function_text(function));
}

void fault_spare(const char *function)
{
	struct text text = function_text(function);

	for (size_t i = 0; i < ARRAY_SIZE(injectors); i++) {
		CHECK(injector_set(injectors[i], "reject-start", text.start));
		CHECK(injector_set(injectors[i], "reject-end", text.end));
	}
}

void fault_arm(unsigned int nth)
{
	char text[16];
	int len = snprintf(text, sizeof(text), "%u", nth);

	CHECK_EQ(pwrite(nth_fd, text, (size_t)len, 0), len);
}

bool fault_disarm(void)
{
	char text[16] = "";

	CHECK(pread(nth_fd, text, sizeof(text) - 1, 0) > 0);
	fault_arm(0);
	return atoi(text) == 0;
}

bool fault_excuses(long long res)
{
	return res == -ENOMEM || res == -EFAULT;
}

/* Every one, or, when @thin, fewer and fewer, chosen at random */
static void fault_many(long long (*go)(void *arg), void (*check)(void *arg, long long res),
		       void *arg, bool thin)
{
	unsigned int n, rounds = 0, errors = 0;
	long long res;
	bool hit;

	for (n = 1; n < MOST; n += thin ? 1 + (unsigned int)rnd_below(n) : 1) {
		fault_arm(n);
		res = go(arg);
		hit = fault_disarm();
		if (res < 0 && !(hit && fault_excuses(res)))
			FAIL("round %u: %lld, with%s a fault", n, res, hit ? "" : "out");
		errors += res < 0;
		check(arg, res);
		if (!hit)
			break;
		rounds++;
	}
	note("%u faults, %u of them errors", rounds, errors);
	CHECK(rounds && n < MOST);
}

void fault_each(long long (*go)(void *arg), void (*check)(void *arg, long long res), void *arg)
{
	fault_many(go, check, arg, false);
}

void fault_thin(long long (*go)(void *arg), void (*check)(void *arg, long long res), void *arg)
{
	fault_many(go, check, arg, true);
}
