// SPDX-License-Identifier: GPL-2.0
#include "failing.h"

#include <stdbool.h>

static long good_left = -1;

void failing_after(long n)
{
	good_left = n;
}

static bool fails(void)
{
	return good_left >= 0 && good_left-- == 0;
}

void *failing_malloc(size_t size)
{
	return fails() ? NULL : malloc(size);
}

void *failing_calloc(size_t nr, size_t size)
{
	return fails() ? NULL : calloc(nr, size);
}

void *failing_reallocarray(void *old, size_t nr, size_t size)
{
	return fails() ? NULL : reallocarray(old, nr, size);
}

void *failing_aligned_alloc(size_t alignment, size_t size)
{
	return fails() ? NULL : aligned_alloc(alignment, size);
}
