/* SPDX-License-Identifier: GPL-2.0 */
/* What a file that is no tar archive seems to be. */
#ifndef REGIONFS_COMPRESSED_H
#define REGIONFS_COMPRESSED_H

#include <stdbool.h>

/**
 * struct compressed - a format that people mistake for a plain tar
 * @name:	what it is called
 * @command:	what makes a plain tar of it; NULL: nothing, it is an archive
 *		format of its own
 */
struct compressed {
	const char *name;
	const char *command;
};

/* False: not one that we know. */
bool compressed_detect(int fd, struct compressed *compressed);

#endif /* REGIONFS_COMPRESSED_H */
