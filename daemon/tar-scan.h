/* SPDX-License-Identifier: GPL-2.0 */
/* Reading the headers of an archive into an index. */
#ifndef REGIONFS_TAR_SCAN_H
#define REGIONFS_TAR_SCAN_H

#include "tar-index.h"

/*
 * @fd: the archive, a regular file; @path: its name for messages. Reads
 * headers only, and shows its progress when stderr is a terminal. 0, or -1
 * after saying what is wrong and where.
 */
int tar_scan(struct tar_index *index, int fd, const char *path);

#endif /* REGIONFS_TAR_SCAN_H */
