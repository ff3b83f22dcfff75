// SPDX-License-Identifier: GPL-2.0
/* A line on the terminal that shows how far a long scan is. */

#include <inttypes.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "progress.h"

#define SECOND 1000000000ULL

static uint64_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * SECOND + (uint64_t)ts.tv_nsec;
}

void progress_begin(struct progress *progress, const char *path)
{
	*progress = (struct progress){
		.path = path,
		.on = isatty(STDERR_FILENO),
		.due = now() + SECOND, /* short scans show nothing */
	};
}

void progress_show(struct progress *progress, uint64_t done, uint64_t all, uint64_t members)
{
	if (!progress->on || ++progress->calls % 64 || now() < progress->due)
		return;
	progress->due = now() + SECOND / 5;
	progress->shown = true;
	fprintf(stderr, "\rregionfs: %s: %3.0f %%, %" PRIu64 " members", progress->path,
		all ? 100.0 * (double)done / (double)all : 100.0, members);
}

void progress_end(struct progress *progress)
{
	if (progress->shown)
		fputs("\r\033[K", stderr);
	progress->shown = false;
}
