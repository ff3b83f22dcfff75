/* SPDX-License-Identifier: GPL-2.0 */
/* A mount of files that a table puts together. */
#ifndef REGIONFS_TABLEFS_H
#define REGIONFS_TABLEFS_H

#include "fs.h"

/* The command line is parsed. An exit status. */
int tablefs_main(struct fs *fs);

#endif /* REGIONFS_TABLEFS_H */
