/* SPDX-License-Identifier: GPL-2.0 */
/*
 * cutfs: another directory, with every file cut into regions
 *
 * For test suites that want a whole file system: names and attributes are those
 * of a directory elsewhere. A file's bytes are kept in three places: some
 * in the directory's own file, which the server reads and writes, and the
 * others in two nameless files, which are bound as regions. Where a byte
 * is kept follows from its offset alone (layout.c), so regions can be bound,
 * cut, and unbound at any moment and nothing changes but who moves the byte.
 * A thread that does so all the time is the point of it (cutfs.c).
 *
 * The directory's files are whole again when the server ends, and whenever
 * the kernel forgets an inode.
 */
#ifndef CUTFS_H
#define CUTFS_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include <fuse_lowlevel.h>

#include "fuse_regions.h"

#define CHUNKS 2

/* Bytes from here on are all the server's. */
#define LAYOUT_END (64ULL << 20)

/**
 * struct extent - bytes that are kept in one place
 * @offset:	first byte in the file
 * @length:	number of bytes
 * @slot:	number of the region, -1: in the directory's file
 * @chunk:	which of the nameless files
 */
struct extent {
	uint64_t offset;
	uint64_t length;
	int64_t slot;
	unsigned int chunk;
};

/**
 * struct chunk - a nameless file
 * @fd:		descriptor
 * @id:		backing id
 * @mtime:	when it was last changed, as far as we know
 */
struct chunk {
	int fd;
	int id;
	struct timespec mtime;
};

/**
 * struct content - the bytes of a regular file
 * @fd:		the directory's file, which also says what the size is
 * @chunks:	the others
 * @moved:	the slots whose bytes are kept in their second place; made when
 *		first used
 */
struct content {
	int fd;
	struct chunk chunks[CHUNKS];
	uint8_t *moved;
};

/**
 * struct node - an inode
 * @next:	in the table
 * @fd:		O_PATH
 * @dev:	with @ino, what it is found by
 * @nlookup:	the kernel's references
 * @users:	threads at work with it that hold no reference of the kernel's
 * @lock:	read: bytes are moved to and from where @content says; write:
 *		what it says changes
 * @content:	NULL until the file is opened
 */
struct node {
	struct node *next;
	int fd;
	dev_t dev;
	ino_t ino;
	uint64_t nlookup;
	unsigned int users;
	pthread_rwlock_t lock;
	struct content *content;
};

/**
 * struct cutfs - the mount
 * @aligned:	edges and shifts are multiples of 4096
 * @noregions:	the library serves them
 * @churn:	bind again all the time
 * @move:	and move bytes from one place to another: not for mappings
 * @binds:	how often every 8 ms
 * @foreground:	stay
 * @failed:	INIT did
 * @ready_fd:	what the parent of a daemon waits at; -1: there is none
 */
struct cutfs {
	struct node root;
	struct fuse_session *session;
	struct fuse_regions_conn *conn;
	int aligned;
	int noregions;
	int churn;
	int move;
	unsigned int binds;
	int foreground;
	bool failed;
	int ready_fd;
	char *source;
	char *mountpoint;
};

extern struct cutfs cutfs;
extern const struct fuse_lowlevel_ops cutfs_ops;

/* layout.c: where the byte at @offset is kept, and its neighbours */
struct extent layout_find(uint64_t offset);
uint64_t layout_backing_offset(const struct content *content, const struct extent *extent);

/* node.c */
struct node *node_of(fuse_ino_t nodeid);
fuse_ino_t node_id(struct node *node);

/* Find or make the node of @name and fill in what LOOKUP replies. 0 or a negative errno. */
int node_lookup(struct node *parent, const char *name, struct fuse_entry_param *entry);
void node_forget(struct node *node, uint64_t nlookup);

/* Any node with content, of which the table has many; node_put() it. May be NULL. */
struct node *node_get_any(unsigned int start);
void node_put(struct node *node);
void node_free_all(void);

/* content.c: all return a negative errno on failure */
int content_open(struct node *node);

/* Put all bytes back into the directory's file. */
void content_gather(struct node *node);
void content_free(struct node *node);

/* Without content->chunks' bytes: those of extents that lie in @slot -1 too */
ssize_t content_read(struct content *content, void *data, size_t size, uint64_t offset);
ssize_t content_write(struct content *content, const void *data, size_t size, uint64_t offset);
int content_fallocate(struct content *content, int mode, uint64_t offset, uint64_t length);
int content_truncate(struct node *node, uint64_t size);

/* Give the directory's file the time of the last change to any of its bytes. */
void content_sync_mtime(struct content *content);

/* bind.c: node->lock is held */

/* All regions that begin in [@offset, @offset + @length). */
int bind_range(struct node *node, uint64_t offset, uint64_t length);
void bind_end(struct node *node, uint64_t size);

/* One of the things that may be done to a file's regions at any time. */
void bind_something(struct node *node, unsigned int *seed);

/* attr.c */
int attr_of(struct node *node, struct stat *st);

/* Handlers, by their file */
void names_lookup(fuse_req_t req, fuse_ino_t parent, const char *name);
void names_forget(fuse_req_t req, fuse_ino_t nodeid, uint64_t nlookup);
void names_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets);
void names_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev);
void names_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode);
void names_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name);
void names_link(fuse_req_t req, fuse_ino_t nodeid, fuse_ino_t parent, const char *name);
void names_unlink(fuse_req_t req, fuse_ino_t parent, const char *name);
void names_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name);
void names_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t newparent,
		  const char *newname, unsigned int flags);
void names_readlink(fuse_req_t req, fuse_ino_t nodeid);
void names_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
		  struct fuse_file_info *fi);
void names_opendir(fuse_req_t req, fuse_ino_t nodeid, struct fuse_file_info *fi);
void names_readdir(fuse_req_t req, fuse_ino_t nodeid, size_t size, off_t offset,
		   struct fuse_file_info *fi);
void names_releasedir(fuse_req_t req, fuse_ino_t nodeid, struct fuse_file_info *fi);

void attr_getattr(fuse_req_t req, fuse_ino_t nodeid, struct fuse_file_info *fi);
void attr_setattr(fuse_req_t req, fuse_ino_t nodeid, struct stat *attr, int to_set,
		  struct fuse_file_info *fi);
void attr_statfs(fuse_req_t req, fuse_ino_t nodeid);
void attr_getxattr(fuse_req_t req, fuse_ino_t nodeid, const char *name, size_t size);
void attr_listxattr(fuse_req_t req, fuse_ino_t nodeid, size_t size);
void attr_setxattr(fuse_req_t req, fuse_ino_t nodeid, const char *name, const char *value,
		   size_t size, int flags);
void attr_removexattr(fuse_req_t req, fuse_ino_t nodeid, const char *name);
void attr_ioctl(fuse_req_t req, fuse_ino_t nodeid, unsigned int cmd, void *arg,
		struct fuse_file_info *fi, unsigned int how, const void *in, size_t in_size,
		size_t out_size);

void data_open(fuse_req_t req, fuse_ino_t nodeid, struct fuse_file_info *fi);
void data_read(fuse_req_t req, fuse_ino_t nodeid, size_t size, off_t offset,
	       struct fuse_file_info *fi);
void data_write_buf(fuse_req_t req, fuse_ino_t nodeid, struct fuse_bufvec *in, off_t offset,
		    struct fuse_file_info *fi);
void data_fsync(fuse_req_t req, fuse_ino_t nodeid, int datasync, struct fuse_file_info *fi);
void data_fallocate(fuse_req_t req, fuse_ino_t nodeid, int mode, off_t offset, off_t length,
		    struct fuse_file_info *fi);

#endif /* CUTFS_H */
