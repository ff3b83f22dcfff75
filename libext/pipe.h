/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
/*
 * Pipes that replies are put together in. What the kernel was handed of a reply
 * cannot be taken back, and a short one would be taken for the file's end. So
 * all bytes of one that is spliced are in a pipe before the reply begins.
 */
#ifndef FR_PIPE_H
#define FR_PIPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct fuse_regions_conn;

/**
 * struct pipe - an empty pipe, of one thread at a time
 * @next:	in conn->pipes, when it is nobody's
 * @in:		where bytes are put
 * @out:	where they are taken; neither end ever waits
 * @slots:	pages, or parts of pages, that it has room for
 */
struct pipe {
	struct pipe *next;
	int in;
	int out;
	size_t slots;
};

/* One with that much room, or NULL: there is none to be had. */
struct pipe *pipe_get(struct fuse_regions_conn *conn, size_t slots);

/* The connection's again; closed if bytes were left in it. */
void pipe_put(struct fuse_regions_conn *conn, struct pipe *pipe);
void pipe_drain(struct fuse_regions_conn *conn);

/* Put @len bytes into it; false: it has some of them, or none. */
bool pipe_add(struct pipe *pipe, const char *data, uint64_t len);

/* The same of what @fd has from @pos on, and @zeroes past its end. */
bool pipe_splice(struct pipe *pipe, int fd, uint64_t pos, uint64_t len, const char *zeroes);

/* Slots that @len bytes from anywhere in a file may take, with zeroes behind them */
static inline size_t pipe_slots(uint64_t len)
{
	return len / 4096 + 4;
}

#endif /* FR_PIPE_H */
