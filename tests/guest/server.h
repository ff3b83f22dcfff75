/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A FUSE server to test against, in a process of its own.
 *
 * One flat directory of files that a test describes beforehand. What the
 * server answers for the bytes of a file is a pattern, or the bytes of a file
 * of its own if it is to be written to (store). Tests look into the server and
 * steer it through shared memory: counters of requests, errors to return,
 * places to hang at, and hooks, which run inside the server.
 *
 * Every change of regions goes through region_send() and its friends, which
 * note in the file's model what the kernel was told. Bytes are then checked
 * against the model (expect_*).
 */
#ifndef FR_TEST_SERVER_H
#define FR_TEST_SERVER_H

#include "model.h"
#include "raw.h"

#define SRV_MAX_FILES 1100
#define SRV_DROP_CTL ".close-your-control-channel" /* looked up, for the server to do that */

enum srv_op {
	OP_LOOKUP,
	OP_FORGET,
	OP_GETATTR,
	OP_SETATTR,
	OP_OPEN,
	OP_CREATE,
	OP_READ,
	OP_WRITE,
	OP_FLUSH,
	OP_FSYNC,
	OP_RELEASE,
	OP_FALLOCATE,
	OP_LSEEK,
	OP_COPY,
	OP_UNLINK,
	OP_GETXATTR,
	OP_SETXATTR,
	OP_REMOVEXATTR,
	OP_NR,
};

struct srv;
struct tfile;
struct fuse_session;

/* 0: go on as usual; an errno: reply with it. @off and @size are 0 but for READ and WRITE. */
typedef int (*srv_hook)(struct srv *s, struct tfile *f, uint64_t off, size_t size);

/**
 * struct tfile - a file of the server, in shared memory
 * @srv:	whose it is
 * @nodeid:	names it in messages
 * @seed:	of what the server answers for it
 * @size:	what getattr says
 * @store:	NULL, or the server's own file that backs it: then it can be written to
 * @store_shift:	the store's byte that byte 0 of the file is
 * @model:	its regions
 * @nr:		requests of each kind so far
 * @asked_bound: READ requests for bytes that were bound for reading
 * @wrote_bound: WRITE requests for bytes that were bound for writing
 * @last_uid:	who the last request of each kind came from
 * @hook:	called inside the handler of each kind
 * @hang:	a request of this kind waits in its handler until this is 0 again
 *		(1 << OP_READ and so on)
 * @hang_late:	the same for a SETATTR that has been done, but not answered yet
 * @hanging:	requests that wait so now
 * @bad_start:	READ requests for bytes from here to
 * @bad_last:	here fail with
 * @bad_errno:	this, unless it is 0
 * @attr_of_backings: times, and size past GROW regions, come from the backings
 * @direct_io:	FOPEN_DIRECT_IO for files opened from now on
 * @keep_cache:	FOPEN_KEEP_CACHE likewise
 * @mainline:	open with the store in mainline's passthrough mode
 * @hidden:	not there, until CREATE makes it
 * @generation:	of the nodeid
 * @caps:	security.capability, where the server has xattrs
 * @nr_caps:	its length; 0: there is none
 */
struct tfile {
	struct srv *srv;
	uint64_t nodeid;
	char name[32];
	uint64_t seed;
	uint64_t size;
	mode_t mode;
	uint32_t uid;
	struct timespec mtime, ctime;
	struct backing *store;
	uint64_t store_shift;
	struct model *model;
	uint64_t nr[OP_NR];
	uint64_t asked_bound;
	uint64_t wrote_bound;
	uint32_t last_uid[OP_NR];
	srv_hook hook[OP_NR];
	uint32_t hang;
	uint32_t hang_late;
	uint32_t hanging;
	uint64_t bad_start;
	uint64_t bad_last;
	int bad_errno;
	bool attr_of_backings;
	bool direct_io;
	bool keep_cache;
	bool mainline;
	bool hidden;
	uint64_t generation;
	unsigned char caps[32];
	size_t nr_caps;
};

/**
 * struct srv_opts - zero is the usual
 * @no_attach:		leave the module out of it
 * @threads:		serve with several threads
 * @writeback:		FUSE_CAP_WRITEBACK_CACHE
 * @no_open:		answer OPEN with ENOSYS
 * @killpriv:		want HANDLE_KILLPRIV_V2: the server clears setuid when it sees a write
 * @mainline:		FUSE_CAP_PASSTHROUGH with this stack depth
 * @max_stack_depth:	for the attach
 * @no_attr_cache:	attributes are valid for no time
 * @copy:		answer COPY_FILE_RANGE
 * @lseek:		answer LSEEK
 * @xattrs:		keep a file's security.capability; else there are no xattrs at all
 * @keep_session:	leave the session's descriptor open in the test as well
 * @mount_opts:		more of them
 * @model_max:		entries that a file's model has room for (4096)
 */
struct srv_opts {
	bool no_attach;
	bool threads;
	bool writeback;
	bool no_open;
	bool killpriv;
	int mainline;
	uint32_t max_stack_depth;
	bool no_attr_cache;
	bool copy;
	bool lseek;
	bool xattrs;
	bool keep_session;
	const char *mount_opts;
	uint64_t model_max;
};

/**
 * struct srv - a server, in shared memory
 * @opts:	as given
 * @mnt:	where it is mounted
 * @pid:	the server's process
 * @ctl:	control channel, same number in the test and in the server
 * @session:	the session's descriptor, likewise; closed in the test once started
 * @attach:	what attaching returned
 * @attach_res:	0 or -errno
 * @dev:	st_dev, the connection's number in /sys/fs/fuse/connections
 */
struct srv {
	struct srv_opts opts;
	char mnt[64];
	pid_t pid;
	int ctl;
	int session;
	struct fuse_regions_attach attach;
	int attach_res;
	dev_t dev;
	int nr_files;
	bool mounted;
	struct tfile files[SRV_MAX_FILES];
};

/* Describe a server and its files, then start it. It is stopped when the test ends. */
struct srv *srv_new(const struct srv_opts *opts);
struct tfile *srv_file(struct srv *s, const char *name, uint64_t size);
struct tfile *srv_store_file(struct srv *s, const char *name, uint64_t size);
void srv_start(struct srv *s);

/* A started server with one pattern file "f" of @size bytes */
struct tfile *srv_simple(uint64_t size);

/*
 * A started server with one file "f" of @size bytes that can be written to and is
 * in the kernel's cache, and as large a registered backing in @dir (NULL: memory)
 * for each of @b and @c that is not NULL
 */
struct tfile *srv_stored(struct srv_opts opts, const char *dir, uint64_t size, struct backing **b,
			 struct backing **c);

/*
 * The same with a registered backing that is a file of another, plain server: @lower,
 * of the same size, with FOPEN_DIRECT_IO if @direct
 */
struct tfile *srv_on_lower(uint64_t size, bool direct, struct tfile **lower, struct backing **b);

/* Unmount and wait for the server to leave by itself; a second call does nothing */
void srv_stop(struct srv *s);

/* Kill it with the connection; the mount stays */
void srv_kill(struct srv *s);

/* One that was killed: detach its mount, and free @s and its files, for those that go on without it. */
void srv_drop(struct srv *s);

/* Send it a signal */
void srv_signal(struct srv *s, int sig);

/* Abort the connection through fusectl */
void srv_abort(struct srv *s);

/* Detach: close the test's and the server's control channel. @ctl is -1 then. */
void srv_close_ctl(struct srv *s);

/*
 * Leave pages dirty until somebody wants them written. FUSE's are under a strict limit,
 * by which the flusher may send the first one at once.
 */
void srv_keep_dirty(const struct srv *s);

/* Until a request for @f waits in its handler */
void srv_until_hanging(struct tfile *f);

void srv_path(char *buf, size_t size, const struct tfile *f);
int srv_open(const struct tfile *f, int flags);

/* Requests of a kind so far */
uint64_t srv_count(const struct tfile *f, enum srv_op op);

/* Register; the id, which the backing also keeps, or a failed test */
uint32_t srv_register(struct srv *s, struct backing *b);

/* Send records, all for backings that were registered; 0 or -errno. Notes success in the model. */
int region_send(struct tfile *f, const struct fuse_passthrough_region *recs, uint32_t nr,
		struct backing *const *backings);

/* handlers.c: a libfuse session that serves @s */
struct fuse_session *srv_session_new(struct srv *s);

/* One record each; @flags 0 means FUSE_REGION_READ. 0 or -errno */
int region_bind(struct tfile *f, uint64_t off, uint64_t len, struct backing *b, uint64_t boff,
		uint32_t flags);
int region_unbind(struct tfile *f, uint64_t off, uint64_t len);

#endif
