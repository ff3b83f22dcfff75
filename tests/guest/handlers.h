/* SPDX-License-Identifier: GPL-2.0 */
/* Between the two halves of the test server's answers; nobody else includes it. */
#ifndef FR_TEST_HANDLERS_H
#define FR_TEST_HANDLERS_H

#define FUSE_USE_VERSION 317
#include <fuse3/fuse_lowlevel.h>

#include "server.h"

/* Node 1 is the directory, the others are files in their order; NULL if it is no file. */
struct tfile *file_of(fuse_req_t req, fuse_ino_t ino);

/* What every handler does first: count, hang, ask the hook. False: it has been answered. */
bool enter(fuse_req_t req, struct tfile *f, enum srv_op op);
bool enter_at(fuse_req_t req, struct tfile *f, enum srv_op op, uint64_t off, size_t size);

/* Bring the file's size up to what its backings say, where that counts */
void learn_size(struct tfile *f);

/* It was written to just now */
void touch(struct tfile *f);

/* handlers-data.c */
void do_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, struct fuse_file_info *fi);
void do_write(fuse_req_t req, fuse_ino_t ino, const char *buf, size_t size, off_t offset,
	      struct fuse_file_info *fi);
void do_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t off, off_t len,
		  struct fuse_file_info *fi);
void do_lseek(fuse_req_t req, fuse_ino_t ino, off_t off, int whence, struct fuse_file_info *fi);
void do_copy(fuse_req_t req, fuse_ino_t ino_in, off_t off_in, struct fuse_file_info *fi_in,
	     fuse_ino_t ino_out, off_t off_out, struct fuse_file_info *fi_out, size_t len,
	     int flags);

/* handlers-xattr.c */
void do_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size);
void do_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value, size_t size,
		 int flags);
void do_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name);

#endif
