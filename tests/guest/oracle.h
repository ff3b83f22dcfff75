/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A file as a plain array in memory: what was written must be what is read.
 * Knows nothing of regions, so that a byte that went to the wrong place is
 * found even where model and server agree on that place.
 */
#ifndef FR_TEST_ORACLE_H
#define FR_TEST_ORACLE_H

#include "server.h"

struct oracle {
	unsigned char *bytes;
	uint64_t size;
	uint64_t max;
	uint64_t writes; /* each has a seed of its own */
};

/* Start from the file as its model describes it */
void oracle_load(struct oracle *o, const struct tfile *f);
void oracle_free(struct oracle *o);

/* Note a change that was made by other means */
void oracle_note(struct oracle *o, const void *bytes, uint64_t off, uint64_t len);
void oracle_truncate(struct oracle *o, uint64_t size);

/* Fill @buf with fresh bytes */
void oracle_fresh(struct oracle *o, void *buf, uint64_t len);

/* One pwrite() of fresh bytes, which must be complete */
void oracle_write(struct oracle *o, int fd, uint64_t off, uint64_t len);

/* One pread(), which must be complete, and right */
void oracle_check(const struct oracle *o, int fd, uint64_t off, uint64_t len);

/* @buf is what the file holds at @off */
void oracle_compare(const struct oracle *o, const char *how, const void *buf, uint64_t off,
		    uint64_t len);

#endif
