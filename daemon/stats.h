/* SPDX-License-Identifier: GPL-2.0 */
/* The stats file: counts, rewritten on SIGUSR1 and at the end. */
#ifndef REGIONFS_STATS_H
#define REGIONFS_STATS_H

#include "fs.h"

struct stats_thread;

/*
 * Start the thread that waits for SIGUSR1, and block the signal for this
 * thread and those it makes. NULL: it could not be started, and errno says why.
 */
struct stats_thread *stats_start(struct fs *fs);
void stats_stop(struct stats_thread *stats);

void stats_write(struct fs *fs);

#endif /* REGIONFS_STATS_H */
