// SPDX-License-Identifier: GPL-2.0
/* A mount of files that a table puts together. */

#include "tablefs.h"

int tablefs_main(struct fs *fs)
{
	fs_error("%s: tables come with the next commit", fs->source);
	return FS_FAILED;
}
