/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A mount of files that a table puts together.
 *
 *   tablefs.c		start and end; the handlers that look at files
 *   table-load.c	from the text to open backings and a tree
 *   table-file.c	a file's state: attributes, regions, gaps
 *   table-write.c	the handlers that change files
 *   table-append.c	writes to where the backing ends
 */
#ifndef REGIONFS_TABLEFS_H
#define REGIONFS_TABLEFS_H

#include <pthread.h>
#include <time.h>

#include "fs-tree.h"
#include "table.h"

/**
 * struct table_content - a file that is a backing, under whatever names
 * @lock:	protects @changed
 * @dev:	which file
 * @ino:	...
 * @writable:	it is a backing for writing
 * @changed:	when this process last wrote to it, never the same twice. Its
 *		mtime may not tell, where that moves in ticks
 */
struct table_content {
	pthread_mutex_t lock;
	dev_t dev;
	ino_t ino;
	bool writable;
	struct timespec changed;
};

/**
 * struct table_backing - a file that regions are parts of
 * @path:	as the table has it
 * @writable:	open for writing, too; the same path can be there twice
 * @fd:		the file
 * @id:		backing id; 0: not registered yet
 * @content:	what it shares with other backings that are the same file
 */
struct table_backing {
	const char *path;
	bool writable;
	int fd;
	int id;
	struct table_content *content;
};

/**
 * struct watched - a backing of a file, whose changes are the file's
 * @backing:	the backing
 * @mtime:	its mtime when we last looked
 * @changed:	its content's, then
 */
struct watched {
	struct table_backing *backing;
	struct timespec mtime;
	struct timespec changed;
};

/**
 * struct table_node - a file of the mount, in use
 * @lock:	protects the rest
 * @file:	what the table says
 * @backings:	for each region of @file, its backing
 * @watched:	the different ones among them
 * @nr_watched:	number of them
 * @size:	where the file ends; a whole-file region's backing knows better
 * @trim:	the smallest size there has been: regions end there
 * @mode:	type and permissions
 * @uid:	owner
 * @gid:	group
 * @atime:	times, which a change of a backing moves on
 * @mtime:	...
 * @ctime:	...
 * @mtime_set:	someone set @mtime, so that the next change may set it back
 * @bound:	the regions are bound; under tablefs.bind_lock
 * @gaps:	descriptor of the file with what was written to gaps, or -1
 */
struct table_node {
	pthread_mutex_t lock;
	const struct table_file *file;
	struct table_backing **backings;
	struct watched *watched;
	size_t nr_watched;
	uint64_t size;
	uint64_t trim;
	uint32_t mode;
	uint32_t uid;
	uint32_t gid;
	struct timespec atime;
	struct timespec mtime;
	struct timespec ctime;
	bool mtime_set;
	bool bound;
	int gaps;
};

/**
 * struct tablefs - the mount
 * @fs:			what all mounts have
 * @table:		the text
 * @tree:		names; a regular file's data is its number in @nodes
 * @nodes:		files, in the order of @table.files
 * @backings:		tsearch() tree of struct table_backing
 * @contents:		tsearch() tree of struct table_content
 * @bind_lock:		held while regions are bound; backings are shared by files
 * @gap_dir:		where files for gaps are made
 * @direct_mmap:	direct_io does not forbid shared mappings
 */
struct tablefs {
	struct fs *fs;
	struct table table;
	struct tree tree;
	struct table_node *nodes;
	void *backings;
	void *contents;
	pthread_mutex_t bind_lock;
	int gap_dir;
	bool direct_mmap;
};

/* The command line is parsed. An exit status. */
int tablefs_main(struct fs *fs);

/* table-load.c: an exit status, after messages. */
int table_load(struct tablefs *tablefs);
void table_unload(struct tablefs *tablefs);

/* table-file.c */

static inline struct tablefs *tablefs_of(fuse_req_t req)
{
	return ((struct fs *)fuse_req_userdata(req))->data;
}

/* NULL: it is a directory. */
struct table_node *table_node(const struct tablefs *tablefs, fuse_ino_t nodeid);

/* Both fill in what changes; for how long, in seconds, it is good. */
double table_stat(struct fs *fs, uint32_t number, struct stat *st);
double table_node_stat(struct tablefs *tablefs, struct table_node *node, struct stat *st);

/* Where the file ends now. */
uint64_t table_node_size(struct table_node *node);

/* Bind the regions if they are not. 0 or a negative errno. */
int table_bind(struct tablefs *tablefs, struct table_node *node, fuse_ino_t nodeid);
void table_forgotten(struct fs *fs, uint32_t number);

/* fuse_regions_gap_read_t; @ctx is the node */
int table_read_gap(void *ctx, uint64_t nodeid, uint64_t offset, struct fuse_buf *buf);

/* The descriptor of the gaps' file, made if need be; or a negative errno. */
int table_gaps(struct tablefs *tablefs, struct table_node *node);

/* The content was changed now. The lock is held. */
void table_touch(struct table_node *node);

/* These bytes of the file were written to, which is news for others with the same backings. */
void table_changed(struct table_node *node, uint64_t offset, uint64_t length);

/*
 * This process changed a backing by itself. The library syncs it: our own fsync would
 * take an error from the other files that are bound to it.
 */
void table_wrote(const struct tablefs *tablefs, fuse_ino_t nodeid,
		 const struct table_backing *backing);

/* Take note of what the backings say about changes. The lock is held. */
void table_look_at_backings(struct table_node *node);

/* table-write.c */
void tablefs_write_buf(fuse_req_t req, fuse_ino_t nodeid, struct fuse_bufvec *in, off_t offset,
		       struct fuse_file_info *fi);
void tablefs_setattr(fuse_req_t req, fuse_ino_t nodeid, struct stat *attr, int to_set,
		     struct fuse_file_info *fi);
void tablefs_fallocate(fuse_req_t req, fuse_ino_t nodeid, int mode, off_t offset, off_t length,
		       struct fuse_file_info *fi);
void tablefs_fsync(fuse_req_t req, fuse_ino_t nodeid, int datasync, struct fuse_file_info *fi);

/* table-append.c */

/* This process has to find out where the end is, for an OPEN or a WRITE like that. */
bool table_appends(const struct tablefs *tablefs, const struct table_node *node,
		   const struct fuse_file_info *fi);

/* As fuse_regions_write_buf(), at the end */
ssize_t table_append(struct tablefs *tablefs, struct table_node *node, fuse_ino_t nodeid,
		     struct fuse_bufvec *in, const struct fuse_file_info *fi);

#endif /* REGIONFS_TABLEFS_H */
