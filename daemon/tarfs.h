/* SPDX-License-Identifier: GPL-2.0 */
/* A mount of an uncompressed tar archive. */
#ifndef REGIONFS_TARFS_H
#define REGIONFS_TARFS_H

#include "fs.h"

/* The command line is parsed. An exit status. */
int tarfs_main(struct fs *fs);

#endif /* REGIONFS_TARFS_H */
