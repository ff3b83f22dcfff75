/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Memory that runs out when a test wants it to. The compiler reads this before each
 * of the library's sources (-include), so that what those allocate comes from here.
 */
#ifndef FAILING_H
#define FAILING_H

#include <stdlib.h>

/* The allocation after @n good ones fails, once. Negative: none does. */
void failing_after(long n);

void *failing_malloc(size_t size);
void *failing_calloc(size_t nr, size_t size);
void *failing_reallocarray(void *old, size_t nr, size_t size);
void *failing_aligned_alloc(size_t alignment, size_t size);

#ifdef FAILING_LIBRARY
#define malloc failing_malloc
#define calloc failing_calloc
#define reallocarray failing_reallocarray
#define aligned_alloc failing_aligned_alloc
#endif

#endif /* FAILING_H */
