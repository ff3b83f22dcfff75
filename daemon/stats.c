// SPDX-License-Identifier: GPL-2.0
/* The stats file: counts, rewritten on SIGUSR1 and at the end. */

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "stats.h"

struct stats_thread {
	struct fs *fs;
	pthread_t thread;
	atomic_bool stop;
};

void stats_write(struct fs *fs)
{
	struct fuse_regions_info info = { 0 };
	char text[256];
	int len;

	if (fs->stats_fd < 0)
		return;
	if (atomic_load(&fs->ready))
		fuse_regions_get_info(fs->conn, &info);
	len = snprintf(text, sizeof(text),
		       "read_requests %" PRIu64 "\nread_bytes %" PRIu64 "\nwrite_requests %" PRIu64
		       "\nopens %" PRIu64 "\nregions %" PRIu64 "\nmode %s\n",
		       fs->counts.read_requests, fs->counts.read_bytes, fs->counts.write_requests,
		       fs->counts.opens, info.regions,
		       info.mode == FUSE_REGIONS_MODE_KERNEL ? "kernel" : "server");
	/* Written, then shortened: a reader never finds it empty. */
	if (pwrite(fs->stats_fd, text, len, 0) == len && ftruncate(fs->stats_fd, len) < 0)
		return; /* a device, say */
}

static void *wait_for_signals(void *arg)
{
	struct stats_thread *stats = arg;
	sigset_t set;
	int sig;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	while (sigwait(&set, &sig) == 0 && !atomic_load(&stats->stop))
		stats_write(stats->fs);
	return NULL;
}

struct stats_thread *stats_start(struct fs *fs)
{
	struct stats_thread *stats = calloc(1, sizeof(*stats));
	sigset_t all, before;
	int err;

	if (!stats)
		return NULL;
	stats->fs = fs;
	/* The thread takes no other signal: those that end the session are for its loop. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	err = pthread_create(&stats->thread, NULL, wait_for_signals, stats);
	sigaddset(&before, SIGUSR1);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (err) {
		free(stats);
		errno = err;
		return NULL;
	}
	return stats;
}

void stats_stop(struct stats_thread *stats)
{
	atomic_store(&stats->stop, true);
	pthread_kill(stats->thread, SIGUSR1);
	pthread_join(stats->thread, NULL);
	free(stats);
}
