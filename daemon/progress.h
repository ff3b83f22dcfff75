/* SPDX-License-Identifier: GPL-2.0 */
/* A line on the terminal that shows how far a long scan is. */
#ifndef REGIONFS_PROGRESS_H
#define REGIONFS_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

/**
 * struct progress - a scan's line
 * @path:	what is scanned
 * @on:		stderr is a terminal
 * @shown:	there is a line that must be cleared
 * @due:	monotonic time, in ns, of the next line
 * @calls:	progress_show() was called this often: not each looks at the clock
 */
struct progress {
	const char *path;
	bool on;
	bool shown;
	uint64_t due;
	uint32_t calls;
};

void progress_begin(struct progress *progress, const char *path);
void progress_show(struct progress *progress, uint64_t done, uint64_t all, uint64_t members);

/* Clear the line. May be called more than once. */
void progress_end(struct progress *progress);

#endif /* REGIONFS_PROGRESS_H */
