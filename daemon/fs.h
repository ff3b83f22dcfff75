/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What both kinds of mount share: the command line, the session, the
 * statistics. fs-options.c fills in the first half of struct fs, fs-run.c and
 * fs-lend.c the second.
 */
#ifndef REGIONFS_FS_H
#define REGIONFS_FS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include <fuse_lowlevel.h>

#include "fuse_regions.h"

/* Exit statuses */
enum { FS_OK = 0, FS_FAILED = 1, FS_USAGE = 2 };

/* Attributes that can not change may be kept for ever. */
#define FS_FOREVER (365.0 * 24 * 60 * 60)

/**
 * struct fs_counts - what the stats file shows
 * @read_requests:	READ requests that arrived
 * @read_bytes:		bytes they asked for
 * @write_requests:	WRITE requests that arrived
 * @opens:		OPEN requests that arrived
 */
struct fs_counts {
	_Atomic uint64_t read_requests;
	_Atomic uint64_t read_bytes;
	_Atomic uint64_t write_requests;
	_Atomic uint64_t opens;
};

struct fs_tree;
struct fs_lent;

/**
 * struct fs - a mount; the options that are int libfuse sets, as int
 * @source:		archive or table
 * @mountpoint:		directory
 * @foreground:		do not become a daemon
 * @debug:		print libfuse's debug messages
 * @single_thread:	handle one request at a time
 * @noregions:		do not look for the module
 * @read_only:		mounted with ro
 * @allow_other:	other users may enter
 * @clone_fd:		one /dev/fuse for each thread
 * @max_threads:	0: libfuse's default
 * @stats_path:		or NULL
 * @args:		what is left for libfuse
 * @session:		the session
 * @conn:		regions; there from the INIT handler on
 * @counts:		counts
 * @stats_fd:		where to, or -1
 * @ready:		the INIT handler is through, so that @conn is there
 * @ready_fd:		where our parent waits to hear that the mount works, or -1
 * @init_failed:	the INIT handler could not do its work
 * @lent:		a backing of each file system, see fs_lend()
 * @stack_depth:	for fuse_regions_open()
 * @reason:		why the kernel cannot serve, though it might
 * @tree:		what it shows: see fs-tree.h
 * @data:		struct tarfs or struct tablefs
 */
struct fs {
	char *source;
	char *mountpoint;
	int foreground;
	int debug;
	int single_thread;
	int noregions;
	bool read_only;
	bool allow_other;
	int clone_fd;
	unsigned int max_threads;
	char *stats_path;
	struct fuse_args args;

	struct fuse_session *session;
	struct fuse_regions_conn *conn;
	struct fs_counts counts;
	int stats_fd;
	atomic_bool ready;
	int ready_fd;
	bool init_failed;
	struct fs_lent *lent;
	uint32_t stack_depth;
	char reason[200];
	struct fs_tree *tree;
	void *data;
};

/* One line to stderr, with the program's name before it. */
void fs_error(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The same for a mistake on the command line, with a hint after it. Returns FS_USAGE. */
int fs_usage_error(const char *format, ...) __attribute__((format(printf, 1, 2)));

/*
 * Parse "SOURCE MOUNTPOINT [options]"; @kind is "tar" or "table". 0, or
 * FS_USAGE after a message.
 */
int fs_parse(struct fs *fs, const char *kind, int argc, char **argv);

/* Add a mount option. 0, or FS_FAILED after a message. */
int fs_add_option(struct fs *fs, const char *option);

/*
 * Make the session and check everything that can be checked without reading
 * the source. An exit status.
 */
int fs_prepare(struct fs *fs, const struct fuse_lowlevel_ops *ops, size_t ops_size);

/* Mount, serve until the end, unmount. An exit status. */
int fs_run(struct fs *fs);

void fs_free(struct fs *fs);

/*
 * @fd is going to be a backing; it stays the caller's, and open, as @name does.
 * To be called before fs_run(). 0 or a negative errno.
 */
int fs_lend(struct fs *fs, int fd, const char *name);
void fs_lend_end(struct fs *fs);

/* Does the kernel take them? False: @reason says why not. */
bool fs_lend_try(struct fs *fs);

/*
 * To be called first in the INIT handler: opens the connection for regions.
 * False: there is no memory, and the session ends.
 */
bool fs_init(struct fs *fs, struct fuse_conn_info *conn);

/* To be called last in the INIT handler: says which way it runs, lets the parent go. */
void fs_ready(struct fs *fs);

/* Where not even one is allowed, one is sent, and refused. */
static inline uint32_t fs_max_records(const struct fuse_regions_info *info)
{
	return info->max_records ? info->max_records : 1;
}

static inline void fs_count(_Atomic uint64_t *count, uint64_t n)
{
	atomic_fetch_add_explicit(count, n, memory_order_relaxed);
}

#endif /* REGIONFS_FS_H */
