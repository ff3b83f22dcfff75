/* SPDX-License-Identifier: GPL-2.0 */
/*
 * An operations fuzzer: random calls on one file, checked against a plain
 * array in memory, while the file's regions are cut, moved and removed under
 * it without a byte of the content changing.
 *
 * The same seed gives the same operations. When a check fails, the last
 * operations are printed.
 *
 *	opfuzz.c	the loop, the log, and the operations on regions
 *	opfuzz-ops.c	the operations of an application
 */
#ifndef FR_TEST_OPFUZZ_H
#define FR_TEST_OPFUZZ_H

#include <libaio.h>
#include <liburing.h>
#include <pthread.h>

#include "harness.h"

/**
 * struct opfuzz_opts - what to fuzz
 * @srv:	the server's options
 * @ops:	how many operations; 0: $FUSE_REGIONS_OPS or a default
 * @max:	largest size of the file (0: 200,000 bytes)
 * @align:	edges of regions are multiples of it (1 or PAGE)
 * @whole:	one whole-file region instead of many
 * @rebind:	a thread binds parts of regions anew, to the same bytes, all the time
 * @dir:	where the backings are, NULL: /dev/shm
 */
struct opfuzz_opts {
	struct srv_opts srv;
	uint64_t ops;
	uint64_t max;
	uint64_t align;
	bool whole;
	bool rebind;
	const char *dir;
};

#define OPFUZZ_POOL 3
#define OPFUZZ_LOG 40

struct opfuzz {
	struct opfuzz_opts opts;
	struct tfile *f;
	struct oracle o;
	int fd, direct, append, in;
	unsigned char *buf, *more; /* @max bytes each */
	struct backing *pool[OPFUZZ_POOL];
	uint64_t used[OPFUZZ_POOL]; /* bytes given out of each */
	uint64_t binds;
	uint64_t nr; /* operations so far */
	char log[OPFUZZ_LOG][96];
	pthread_mutex_t regions; /* held while the map or the size changes */
	io_context_t aio;
	struct io_uring ring;
	bool have_ring;
};

/* Note an operation before it is tried */
__attribute__((format(printf, 2, 3))) void opfuzz_log(struct opfuzz *z, const char *fmt, ...);

/* One operation of an application, chosen at random */
void opfuzz_app_op(struct opfuzz *z);

/* Bytes [@off, @off + @len) read by @fd must be right */
void opfuzz_check(struct opfuzz *z, int fd, uint64_t off, uint64_t len);

/* Run it all */
void opfuzz_run(const struct opfuzz_opts *opts);

#endif
