/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Allocations, and copies from and to user space, that fail one after the
 * other: in the first round the first, in the second the second, until a round
 * has none left to fail. Only those that the module's code asks for, itself or
 * through what it calls, count.
 *
 * Wants a kernel with fault injection, which the debug kernel has.
 */
#ifndef FR_TEST_FAULT_H
#define FR_TEST_FAULT_H

#include "check.h"

/* Skips the test where the kernel can't inject faults. Once in a test, with the module loaded. */
void fault_begin(void);

/* The same for what the kernel's @function asks for, itself or through what it calls */
void fault_begin_in(const char *function);

/* But not what the kernel's @function asks for, which does not bear it */
void fault_spare(const char *function);

/* The @nth one from now on fails, in the thread that calls */
void fault_arm(unsigned int nth);

/* None will fail any more; did one? */
bool fault_disarm(void);

/* What an injected fault may come out as */
bool fault_excuses(long long res);

/**
 * fault_each - fail each allocation that a call makes, in turn
 * @go:		makes the call: -errno or anything from 0 up
 * @check:	looks, with no fault to come, whether all is as @res says
 *
 * In the last round, which nothing fails in, @go must succeed.
 */
void fault_each(long long (*go)(void *arg), void (*check)(void *arg, long long res), void *arg);

/* The same for a call that makes thousands: the first ones, and the others now and then */
void fault_thin(long long (*go)(void *arg), void (*check)(void *arg, long long res), void *arg);

#endif
