/* SPDX-License-Identifier: GPL-2.0 */
/*
 * bench-server: one directory of files that are all the same backing file,
 * each served in another way, so that nothing but the way differs.
 *
 *   server.c		options, session
 *   server-ops.c	the request handlers
 *   server-bind.c	regions: through the library, or by the bare interface
 */
#ifndef BENCH_SERVER_H
#define BENCH_SERVER_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include <fuse_lowlevel.h>
#include <fuse_regions.h>

#define BLOCK		4096u
#define PER_MESSAGE	1000u

enum mode {
	MODE_LIBRARY,	/* regions by libfuse-regions */
	MODE_RAW,	/* regions by ioctl and write, to time the kernel alone */
	MODE_PLAIN,	/* never attached: as if there were no such module */
};

enum kind {
	KIND_REGION,	  /* one region */
	KIND_WHOLE,	  /* the whole-file region */
	KIND_MANY,	  /* a region for each block, no two of which can be one */
	KIND_PASSTHROUGH, /* mainline's */
	KIND_SERVER,	  /* splice(2) by this process, FUSE's cache bypassed */
	KIND_CACHED,	  /* the same with FUSE's page cache */
	NR_KINDS,
};

struct server {
	enum mode mode;
	uint64_t many;		/* regions of KIND_MANY */
	bool shuffle;		/* bind them in no order */
	const char *report_path;
	FILE *report;
	int backing;
	uint64_t size;		/* of the backing, and of all files but KIND_MANY */
	struct fuse_session *session;
	struct fuse_regions_conn *conn;
	int control;		/* MODE_RAW: the attached descriptor */
	uint64_t features;
	uint32_t backing_id;
	int passthrough_id;
	bool bound[NR_KINDS];
};

extern const struct fuse_lowlevel_ops server_ops;

static inline uint64_t file_size(const struct server *s, enum kind kind)
{
	return kind == KIND_MANY ? s->many * BLOCK : s->size;
}

/*
 * The backing's block for block @i of KIND_MANY. An odd stride visits all
 * blocks, when their number is a power of two, and makes no neighbours of
 * neighbours.
 */
static inline uint64_t many_block(const struct server *s, uint64_t i)
{
	return i * 40503 % (s->size / BLOCK);
}

/* server-bind.c */
int attach(struct server *s);
void detach(struct server *s);
int bind_file(struct server *s, fuse_ino_t ino, enum kind kind);

#endif /* BENCH_SERVER_H */
