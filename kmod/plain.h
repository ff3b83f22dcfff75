/* SPDX-License-Identifier: (GPL-2.0 WITH Linux-syscall-note) OR BSD-2-Clause */
/* The few words that map.c, cut.c and msg.c need, in the kernel and out of it. */
#ifndef FR_PLAIN_H
#define FR_PLAIN_H

#define FR_LITTLE_ENDIAN	(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__)

#ifdef __KERNEL__

#include <linux/build_bug.h>
#include <linux/compiler.h>
#include <linux/errno.h>
#include <linux/limits.h>
#include <linux/rcupdate.h>
#include <linux/string.h>
#include <linux/types.h>

/* A root's nodes are written before readers find the root */
#define fr_publish(p, v)	smp_store_release(&(p), (v))
/* Pairs with fr_publish() */
#define fr_load_root(p)		smp_load_acquire(&(p))

#else

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int64_t s64;

#define S32_MAX		INT32_MAX
#define S64_MAX		INT64_MAX
#define U64_MAX		UINT64_MAX
#define likely(x)	__builtin_expect(!!(x), 1)
#define unlikely(x)	__builtin_expect(!!(x), 0)

#define fr_publish(p, v)	__atomic_store_n(&(p), (v), __ATOMIC_RELEASE)
#define fr_load_root(p)		__atomic_load_n(&(p), __ATOMIC_ACQUIRE)

#endif /* __KERNEL__ */

#endif /* FR_PLAIN_H */
