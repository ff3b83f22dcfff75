/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
/*
 * libfuse-regions: byte ranges of FUSE files, served from backing files
 *
 * For libfuse's low-level servers. A server says once which bytes of an inode
 * are bytes of another file. Where the fuse_regions module is loaded the
 * kernel then reads and writes them without asking the server. Where it is
 * not, this library answers READ and WRITE for them, from the same map, with
 * the same bytes. fuse-regions(3) shows what a server needs.
 *
 * Life of a connection
 *
 *   1. fuse_regions_open() in the INIT handler, fuse_regions_close() after the
 *      session loop has ended.
 *   2. fuse_regions_backing_open() for every file whose bytes are lent out.
 *   3. fuse_regions_bind(), fuse_regions_apply() or a transaction, when the
 *      inode is in the kernel's cache: from the OPEN handler, say. Not before
 *      the reply to the LOOKUP that made it known, which is ENOENT.
 *   4. fuse_regions_reply_read() in the READ handler and
 *      fuse_regions_write_buf() in the WRITE handler: in user mode for every
 *      request, in kernel mode for what still arrives. The server's own bytes,
 *      the gaps, come from callbacks.
 *   5. fuse_regions_forget() when an inode's lookup count reaches 0.
 *
 * Units: offsets, lengths and sizes are bytes.
 *
 * Errors: calls that can fail return a negative errno and, unless they say
 * otherwise, have then changed nothing. fuse_reply_err() wants it positive.
 *
 * Threads: everything may be called from all threads of a multi-threaded
 * session at once, except that nothing may run beside fuse_regions_close().
 * Calls on one inode are ordered by a lock of that inode. Callbacks run
 * without any lock, so they may call back into the library.
 *
 * Page cache: the module keeps it right. In user mode the kernel does not know
 * of regions, and may show bytes that it read before a change. A server whose
 * regions change while files are open, or whose backings do, by writes through
 * another inode or by others, sets direct_io at OPEN in user mode; or
 * it calls fuse_lowlevel_notify_inval_inode() after a change, from a thread
 * that handles no request, for that call does wait for the server.
 *
 * Waiting: no call waits for the kernel to get an answer from this server, so
 * all of them may be used in the handlers of a single-threaded session.
 */
#ifndef FUSE_REGIONS_H
#define FUSE_REGIONS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <linux/fuse_regions.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

#define FUSE_REGIONS_VERSION_MAJOR 0
#define FUSE_REGIONS_VERSION_MINOR 1

/* libfuse's, from <fuse_lowlevel.h>; fuse_req_t is struct fuse_req * */
struct fuse_session;
struct fuse_req;
struct fuse_buf;
struct fuse_bufvec;

struct fuse_regions_conn;
struct fuse_regions_txn;

/* --- connection --- */

enum fuse_regions_mode {
	FUSE_REGIONS_MODE_USER = 0, /* this process answers for regions */
	FUSE_REGIONS_MODE_KERNEL = 1, /* the kernel does */
};

/* fuse_regions_config.flags: do not look for the module */
#define FUSE_REGIONS_USER_MODE (1U << 0)

/**
 * struct fuse_regions_config - how to open; zero it, then fill in
 * @flags:		FUSE_REGIONS_USER_MODE or 0
 * @max_stack_depth:	see struct fuse_regions_attach; 0 means 1. One that the
 *			kernel refuses, over 2, or over 1 after the INIT
 *			handler and deeper than the mount is already, leaves
 *			the connection in user mode
 * @reserved:		0
 */
struct fuse_regions_config {
	uint32_t flags;
	uint32_t max_stack_depth;
	uint64_t reserved[6];
};

/**
 * struct fuse_regions_info - what a connection can do, and does
 * @mode:		enum fuse_regions_mode
 * @abi_version:	the kernel's FUSE_REGIONS_ABI_VERSION; 0 in user mode
 * @features:		FUSE_REGIONS_FEATURE_* of the kernel; 0 in user mode
 * @max_backings:	backings that may be registered at a time
 * @max_regions:	regions an inode may have
 * @max_records:	records one change may have
 * @backings:		backings registered now
 * @inodes:		inodes the library has a map for
 * @regions:		regions in all of these maps
 * @reserved:		0
 */
struct fuse_regions_info {
	uint32_t mode;
	uint32_t abi_version;
	uint64_t features;
	uint32_t max_backings;
	uint32_t max_regions;
	uint32_t max_records;
	uint32_t backings;
	uint64_t inodes;
	uint64_t regions;
	uint64_t reserved[8];
};

/**
 * fuse_regions_open() - start using regions on a session
 * @se:		a mounted session; may be NULL with FUSE_REGIONS_USER_MODE
 * @config:	may be NULL: all zero
 * @conn:	out: the connection
 *
 * To be called from the INIT handler: files that are opened before can not
 * use regions. Looks for the module and attaches to it. When there is none,
 * or it can not be used by this process (which takes access to
 * /dev/fuse_regions, and CAP_SYS_ADMIN), the connection works in user mode,
 * and fuse_regions_reason() says why. That is not an error.
 *
 * Return: 0, and *@conn is the caller's, to be given to fuse_regions_close().
 * -EINVAL for unknown flags, reserved fields that are not 0, or a NULL @se;
 * -ENOMEM.
 */
int fuse_regions_open(struct fuse_session *se, const struct fuse_regions_config *config,
		      struct fuse_regions_conn **conn);

/**
 * fuse_regions_close() - end the attachment and release everything
 * @conn:	from fuse_regions_open(), or NULL
 *
 * Releases all maps and backings. In the kernel, files that are open keep
 * their regions until they are closed. Not thread-safe: call it when the
 * session loop has returned, best before fuse_session_unmount(), because the
 * connection's control channel is one more descriptor of the mount.
 */
void fuse_regions_close(struct fuse_regions_conn *conn);

/**
 * fuse_regions_mode() - who answers for regions
 * @conn:	a connection
 *
 * Return: an enum fuse_regions_mode. It never changes.
 */
enum fuse_regions_mode fuse_regions_mode(const struct fuse_regions_conn *conn);

/**
 * fuse_regions_reason() - why a connection is in user mode
 * @conn:	a connection
 *
 * Return: a phrase for people, without a full stop or a newline; "" in kernel
 * mode. It belongs to @conn.
 */
const char *fuse_regions_reason(const struct fuse_regions_conn *conn);

/**
 * fuse_regions_get_info() - limits, features and counts
 * @conn:	a connection
 * @info:	out: all of it
 */
void fuse_regions_get_info(struct fuse_regions_conn *conn, struct fuse_regions_info *info);

/* --- backings --- */

/**
 * fuse_regions_backing_open() - register a file whose bytes may be bound
 * @conn:	a connection
 * @fd:		a regular file; stays the caller's, and may be closed
 *
 * The library keeps a descriptor of its own in both modes, so that it can
 * answer requests. It is not affected by O_APPEND or O_DIRECT of @fd. A file
 * that can only be appended to (chattr +a) becomes a backing for reading.
 *
 * Return: a positive backing id, valid until fuse_regions_backing_close().
 * -EBADF: @fd is not open, or O_PATH; -EISDIR; -EINVAL: not a regular file;
 * -ENOSPC: over info.max_backings; -EMFILE, -ENFILE, -ENOMEM. For O_APPEND or
 * O_DIRECT also what opening the file anew, by /proc/self/fd, may fail with. In
 * kernel mode also -EPERM, -EACCES, -ELOOP, -ENOTCONN, as
 * <linux/fuse_regions.h> says; in user mode nobody sees that a file is on the
 * connection's own mount, and this process would wait for itself.
 */
int fuse_regions_backing_open(struct fuse_regions_conn *conn, int fd);

/**
 * fuse_regions_backing_close() - forget a backing id
 * @conn:	a connection
 * @backing:	the id
 *
 * Regions that use it stay, and keep the file open; as long as they do, it
 * counts for info.max_backings in kernel mode.
 *
 * Return: 0; -ENOENT: no such id.
 */
int fuse_regions_backing_close(struct fuse_regions_conn *conn, uint32_t backing);

/* --- regions --- */

/**
 * fuse_regions_apply() - change the regions of an inode, all at once
 * @conn:	a connection
 * @nodeid:	the inode (fuse_ino_t)
 * @records:	what to do, in this order; <linux/fuse_regions.h> has the words
 * @count:	number of records, at least 1
 *
 * All records take effect together, in the kernel and in the library's map,
 * or none in neither. Any I/O that this process does for requests on the
 * inode, on other threads, is waited for: after a return of 0 nothing uses
 * what was removed, and the server may truncate or reuse it. Only mappings
 * that programs have made of a backing, in kernel mode, keep it.
 *
 * Where the module does not offer FUSE_REGIONS_FEATURE_WRITE the library
 * keeps WRITE to itself: such writes arrive as requests.
 *
 * Return: 0; -EINVAL, -E2BIG, -ENOENT, -EEXIST, -EBADF, -ENOSPC, -ENOMEM, and
 * in kernel mode -EOPNOTSUPP, -EBUSY, -EPERM, -ENOTCONN, as
 * <linux/fuse_regions.h> says. In user mode every @nodeid is taken for a cached
 * inode, and every backing for one that can be as long as any file: where its file
 * system cannot have such a byte, writing it is what fails, with -EFBIG.
 */
int fuse_regions_apply(struct fuse_regions_conn *conn, uint64_t nodeid,
		       const struct fuse_passthrough_region *records, uint32_t count);

/**
 * fuse_regions_bind() - bind one region
 * @conn:		a connection
 * @nodeid:		the inode
 * @offset:		first byte in the file
 * @length:		number of bytes; 0 with @offset 0 is the whole file
 * @backing:		backing id
 * @backing_offset:	the backing's byte that @offset is
 * @flags:		FUSE_REGION_READ, _WRITE or both; with _REPLACE, _GROW
 *
 * Return: as fuse_regions_apply().
 */
int fuse_regions_bind(struct fuse_regions_conn *conn, uint64_t nodeid, uint64_t offset,
		      uint64_t length, uint32_t backing, uint64_t backing_offset, uint32_t flags);

/**
 * fuse_regions_unbind() - make a range a gap
 * @conn:	a connection
 * @nodeid:	the inode
 * @offset:	first byte
 * @length:	number of bytes; 0 with @offset 0 unbinds everything
 *
 * Regions that reach over an edge of the range are cut. It is no error if
 * nothing is bound there.
 *
 * Return: as fuse_regions_apply().
 */
int fuse_regions_unbind(struct fuse_regions_conn *conn, uint64_t nodeid, uint64_t offset,
			uint64_t length);

/**
 * fuse_regions_txn_begin() - collect a change of many records
 * @conn:	a connection
 * @nodeid:	the inode
 *
 * For servers that would have to build an array for fuse_regions_apply().
 * A transaction belongs to one thread at a time. Nothing happens until
 * fuse_regions_txn_commit(). Errors while collecting are kept for the commit,
 * so only that needs to be checked.
 *
 * Return: the transaction, or NULL when there is no memory; all calls below
 * accept that NULL, and the commit returns -ENOMEM.
 */
struct fuse_regions_txn *fuse_regions_txn_begin(struct fuse_regions_conn *conn, uint64_t nodeid);

/**
 * fuse_regions_txn_bind() - add a bind, as fuse_regions_bind()
 * @txn:		a transaction
 * @offset:		first byte in the file
 * @length:		number of bytes
 * @backing:		backing id
 * @backing_offset:	first byte in the backing
 * @flags:		FUSE_REGION_*
 */
void fuse_regions_txn_bind(struct fuse_regions_txn *txn, uint64_t offset, uint64_t length,
			   uint32_t backing, uint64_t backing_offset, uint32_t flags);

/**
 * fuse_regions_txn_unbind() - add an unbind, as fuse_regions_unbind()
 * @txn:	a transaction
 * @offset:	first byte
 * @length:	number of bytes
 */
void fuse_regions_txn_unbind(struct fuse_regions_txn *txn, uint64_t offset, uint64_t length);

/**
 * fuse_regions_txn_commit() - apply the records in one message
 * @txn:	a transaction; it is freed, whatever the result
 *
 * Never splits the message: more than info.max_records is -E2BIG. An empty
 * transaction succeeds.
 *
 * Return: as fuse_regions_apply().
 */
int fuse_regions_txn_commit(struct fuse_regions_txn *txn);

/**
 * fuse_regions_txn_abort() - drop a transaction
 * @txn:	a transaction or NULL; it is freed
 */
void fuse_regions_txn_abort(struct fuse_regions_txn *txn);

/**
 * fuse_regions_truncate() - trim regions to a smaller file
 * @conn:	a connection
 * @nodeid:	the inode
 * @size:	the file's new size
 *
 * To be called from the SETATTR handler before it truncates anything. Regions
 * lose their bytes from @size on, so that a file that grows again shows
 * zeroes; a whole-file region stays, for its backing is truncated instead.
 *
 * Return: 0 or a negative errno, as fuse_regions_apply().
 */
int fuse_regions_truncate(struct fuse_regions_conn *conn, uint64_t nodeid, uint64_t size);

/**
 * fuse_regions_forget() - drop an inode
 * @conn:	a connection
 * @nodeid:	the inode
 *
 * To be called when the lookup count of the inode reaches 0: the kernel has
 * dropped its own map before. Unknown inodes are ignored.
 */
void fuse_regions_forget(struct fuse_regions_conn *conn, uint64_t nodeid);

/**
 * fuse_regions_rebind() - tell the kernel the inode's regions once more
 * @conn:	a connection
 * @nodeid:	the inode
 *
 * A FORGET that leaves the lookup count above 0 says that the kernel evicted
 * the inode, regions and all, and then looked it up anew. Requests are still
 * answered rightly, but by this process, until this call. It is harmless
 * when the kernel has the regions, and does nothing in user mode. Sent in
 * messages of at most info.max_records; what is bound, or a gap, where a
 * whole-file region was before must fit into one.
 *
 * Return: 0 or a negative errno, as fuse_regions_apply(); -E2BIG: it does
 * not fit. Requests are then answered by this process for good.
 */
int fuse_regions_rebind(struct fuse_regions_conn *conn, uint64_t nodeid);

/**
 * struct fuse_regions_extent - a run of bytes in one region or in one gap
 * @offset:		the byte asked for
 * @length:		bytes from there to the end of the region or gap
 * @backing_offset:	what @offset is in the backing; 0 in a gap
 * @backing:		backing id; 0 in a gap
 * @flags:		FUSE_REGION_READ, _WRITE, _GROW; 0 in a gap
 */
struct fuse_regions_extent {
	uint64_t offset;
	uint64_t length;
	uint64_t backing_offset;
	uint32_t backing;
	uint32_t flags;
};

/**
 * fuse_regions_find() - ask the map about a byte
 * @conn:	a connection
 * @nodeid:	the inode; one without regions is all gap
 * @offset:	the byte
 * @extent:	out: where it lies
 *
 * Return: 0; -EINVAL: no file has such an offset.
 */
int fuse_regions_find(struct fuse_regions_conn *conn, uint64_t nodeid, uint64_t offset,
		      struct fuse_regions_extent *extent);

/* --- requests --- */

/**
 * typedef fuse_regions_gap_read_t - supply bytes that are in no region
 * @ctx:	from the caller
 * @nodeid:	the inode
 * @offset:	first byte wanted
 * @buf:	in: memory of the library, ->mem, for the ->size bytes wanted.
 *		Fill it; or redirect it, to memory (->mem) or to a descriptor
 *		(->flags, ->fd, ->pos as in libfuse) that stays valid until
 *		the reading call returns. ->size may be made smaller: the
 *		missing bytes read as zeroes. A descriptor that ends early
 *		reads as zeroes, too. Bytes of regular files are spliced, of
 *		others (block devices, pipes) copied.
 *
 * May be called again for the same bytes when another thread changes the map
 * meanwhile, and may itself change it: bytes that it binds are then read from
 * their backing.
 *
 * Return: 0 or a negative errno, which then is the answer to the whole request:
 * FUSE takes the end of a short one for the end of the file. It asks for what
 * goes to its page cache once more, page by page.
 */
typedef int (*fuse_regions_gap_read_t)(void *ctx, uint64_t nodeid, uint64_t offset,
				       struct fuse_buf *buf);

/**
 * fuse_regions_reply_read() - answer a READ request
 * @conn:	a connection
 * @req:	the request (fuse_req_t); always replied to
 * @nodeid:	the inode
 * @size:	bytes wanted
 * @offset:	first byte wanted
 * @file_size:	where the file ends; ignored when a whole-file region says so
 * @gap:	supplies the gaps; NULL: they are zeroes
 * @ctx:	for @gap
 *
 * Bytes inside the file's size and in a region, but past the end of its
 * backing, are zeroes. Where some can't be read the reply is that error. Large
 * pieces travel by splice(2), through a pipe of the library's; it keeps one, of
 * up to 2 MiB, for each thread that replied beside others.
 *
 * Return: what libfuse's reply function did: 0 or a negative errno. Servers
 * may ignore it.
 */
int fuse_regions_reply_read(struct fuse_regions_conn *conn, struct fuse_req *req, uint64_t nodeid,
			    size_t size, off_t offset, uint64_t file_size,
			    fuse_regions_gap_read_t gap, void *ctx);

/**
 * fuse_regions_read() - read an inode's bytes into memory
 * @conn:	a connection
 * @nodeid:	the inode
 * @data:	room for @size bytes
 * @size:	bytes wanted
 * @offset:	first byte wanted
 * @file_size:	as fuse_regions_reply_read()
 * @gap:	as fuse_regions_reply_read()
 * @ctx:	for @gap
 *
 * The same bytes as fuse_regions_reply_read(), for the server's own use.
 *
 * Return: number of bytes, 0 at the end of the file, or a negative errno. Fewer
 * than there are: the next one can't be read, and asked for first, its errno says
 * why.
 */
ssize_t fuse_regions_read(struct fuse_regions_conn *conn, uint64_t nodeid, void *data, size_t size,
			  off_t offset, uint64_t file_size, fuse_regions_gap_read_t gap, void *ctx);

/**
 * typedef fuse_regions_gap_write_t - take bytes that no region takes
 * @ctx:	from the caller
 * @nodeid:	the inode
 * @offset:	first byte
 * @data:	the bytes; the library's
 * @size:	number of bytes
 * @flags:	0 in a gap; FUSE_REGION_READ where a region is bound for
 *		reading only: the place for copy-on-write
 *
 * May be called again for the same bytes when the map was changed meanwhile,
 * by another thread or by itself.
 *
 * Return: bytes written; fewer than @size end the request there. 0: "I have
 * bound them for writing, look again". A negative errno ends the request
 * too, and is its result when nothing was written before.
 */
typedef ssize_t (*fuse_regions_gap_write_t)(void *ctx, uint64_t nodeid, uint64_t offset,
					    const void *data, size_t size, unsigned int flags);

/**
 * fuse_regions_write_buf() - carry out a WRITE request
 * @conn:	a connection
 * @nodeid:	the inode
 * @in:		the bytes, as the write_buf handler has them; consumed
 * @offset:	first byte
 * @gap:	takes the rest; NULL: -EROFS
 * @ctx:	for @gap
 *
 * Bytes bound for WRITE go to their backing. The file's size is the
 * server's: it is to be raised to @offset plus the result.
 *
 * Where fuse_file_info.writepage is set, stores through a mapping are what is
 * written, and the kernel takes any reply but an error for all of them. So the
 * rest of a short write has to be tried, and what stops that is the reply.
 *
 * Return: bytes written, for fuse_reply_write(), or a negative errno.
 */
ssize_t fuse_regions_write_buf(struct fuse_regions_conn *conn, uint64_t nodeid,
			       struct fuse_bufvec *in, off_t offset, fuse_regions_gap_write_t gap,
			       void *ctx);

/**
 * fuse_regions_write() - the same for bytes in memory
 * @conn:	a connection
 * @nodeid:	the inode
 * @data:	the bytes
 * @size:	number of bytes
 * @offset:	first byte
 * @gap:	takes the rest; NULL: -EROFS
 * @ctx:	for @gap
 *
 * Return: as fuse_regions_write_buf().
 */
ssize_t fuse_regions_write(struct fuse_regions_conn *conn, uint64_t nodeid, const void *data,
			   size_t size, off_t offset, fuse_regions_gap_write_t gap, void *ctx);

/**
 * fuse_regions_fsync() - sync what this process wrote for an inode
 * @conn:	a connection
 * @nodeid:	the inode
 * @datasync:	as the FSYNC handler's
 *
 * Covers the backings that fuse_regions_write_buf() wrote to since the last
 * call, and in the first call after the inode's first bind all that it is
 * bound to: others of its bytes may have been written before the kernel
 * forgot the inode. The backings that the kernel wrote to it syncs itself, as
 * long as the inode is bound to them: before it unbinds or replaces a region
 * that is to stay, the server syncs that backing. Waits for writes and for other
 * syncs of the inode that are under way.
 *
 * Who is told of a backing's error:
 *
 *   - each inode that wrote to it through this library, once; again, if syncs
 *     of other inodes failed meanwhile;
 *   - not each of its descriptors, of which the library does not know;
 *   - nobody after fuse_regions_forget(), as with inodes that any file system
 *     forgets.
 *
 * The library hears of an error from the kernel, which tells each open file
 * once. In user mode, and where the file may not be opened once more, that open
 * file is the server's own too: what its fsync(2), or a write with O_SYNC, was
 * told, the library never hears. So a server that changes a backing by itself
 * says so by fuse_regions_note_write(), and syncs by this call.
 *
 * Return: 0 or a negative errno (fsync(2)'s, -ENOMEM); the backings that
 * failed are tried again by the next call.
 */
int fuse_regions_fsync(struct fuse_regions_conn *conn, uint64_t nodeid, int datasync);

/**
 * fuse_regions_note_write() - have the next fsync sync a backing
 * @conn:	a connection
 * @nodeid:	the inode whose bytes were written
 * @backing:	id of the backing that they were written to
 *
 * For a server that writes to a backing, truncates it or punches holes into it
 * without this library: after that, and before the reply. Where the inode may be
 * synced meanwhile, before it as well: that sync is then told of an error that
 * another inode's sync met in these bytes. (The kernel sends no FSYNC beside a
 * WRITE that extends the file, a SETATTR of the size or a FALLOCATE.)
 *
 * Return: 0; -ENOENT: no such id (fuse_regions_backing_close() ends it, so close
 * it later), or the inode has no regions: its first fsync syncs all.
 */
int fuse_regions_note_write(struct fuse_regions_conn *conn, uint64_t nodeid, uint32_t backing);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif

#endif /* FUSE_REGIONS_H */
