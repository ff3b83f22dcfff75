/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A server with files and backings to be ended in one way or another, and the
 * check that nothing of it is left.
 */
#ifndef FR_TEST_LIFE_H
#define FR_TEST_LIFE_H

#include "harness.h"

#define LIFE_SIZE (16 * PAGE)

struct life {
	struct srv *s;
	const char *dir; /* where the backings are */
	struct backing *b[4];
	int nr_files;
};

/* A server with @nr files, each bound to two of four backings on a tmpfs of their own */
void life_begin(struct life *l, int nr);

/* Nothing is left in the module, and nothing holds the backings' file system. */
void life_all_released(struct life *l);

#endif
