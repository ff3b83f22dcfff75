/* SPDX-License-Identifier: GPL-2.0 */
/* One write, for tests that don't care how it is asked for. */
#ifndef FR_TEST_ASYNC_H
#define FR_TEST_ASYNC_H

#include <stddef.h>
#include <stdint.h>

/* A write of which the end is waited for: what it returned, or -errno */
typedef long (*async_write_fn)(int fd, const void *buf, size_t len, uint64_t off);

long plain_write(int fd, const void *buf, size_t len, uint64_t off);
long libaio_write(int fd, const void *buf, size_t len, uint64_t off);
long uring_write(int fd, const void *buf, size_t len, uint64_t off);

#endif
