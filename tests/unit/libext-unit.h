/* SPDX-License-Identifier: GPL-2.0 */
/* A connection of libfuse-regions without the module, for tests: setup, teardown, shorthands. */
#ifndef FR_LIBEXT_UNIT_H
#define FR_LIBEXT_UNIT_H

#include <stddef.h>
#include <stdint.h>

#include "fuse_regions.h"

#define NODE 5 /* whose map the shorthands change */
#define READ FUSE_REGION_READ
#define WRITE FUSE_REGION_WRITE
#define REPLACE FUSE_REGION_REPLACE

extern struct fuse_regions_conn *conn;

void conn_setup(void);
void conn_teardown(void);

/* A file with this content; the caller closes it. */
int make_file(const void *data, size_t size);

/* Register a file; its ID. */
uint32_t make_backing(int fd);

void must_bind(uint64_t offset, uint64_t length, uint32_t id, uint64_t backing_offset,
	       uint32_t flags);

#endif
