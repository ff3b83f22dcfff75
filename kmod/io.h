/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Reads and writes that are not simply inside one region.
 *
 *   1. gaps first, each by a request to the server, without fr_conn.srcu:
 *      the server may bind, and wait for srcu, before it answers;
 *   2. then all regions under fr_conn.srcu, from one root: a write's at once,
 *      a long read's in sections, that whoever unbinds does not wait for long.
 *
 * When the map has changed by step 2, so that there are gaps the server has
 * not been asked for, step 1 goes on with these. What it served for bytes that
 * are bound by now is laid over in step 2. So the I/O sees one state of the
 * map, and comes to an end however often that changes: the bytes served only
 * ever grow, but for a long read that finds another state between sections.
 */
#ifndef FR_IO_H
#define FR_IO_H

#include "regions.h"

/*
 * The file is not, or not any more, what the way that was tried takes it for: an
 * error among ourselves. No server may answer with it (fuse_dev_do_write() takes
 * none above 511), and no backing does.
 */
#define FR_ECHANGED	1000

/* Bytes read in one section of srcu, so that no reader says how long others wait */
#define FR_IO_SECTION	(1U << 20)

/* Bytes the server has been asked for, first and last */
struct fr_span {
	u64 first;
	u64 last;
};

/**
 * struct fr_io - a read or write; set the first seven, zero the rest
 * @fi:		the inode
 * @iocb:	the caller's: file and flags
 * @iter:	the caller's; only looked at
 * @pos:	first byte
 * @want:	number of bytes, at least 1
 * @access:	FR_READ, or FR_WRITE
 * @bound:	fail with -FR_ECHANGED when not all bytes are bound
 * @fault:	a page fault reads, inside of the mmap lock
 * @limit:	bytes from @pos on that can be done: the end of file comes
 *		next, or something failed there
 * @served:	the same without the end of file, which another state of the map
 *		may have elsewhere
 * @err:	what failed at @limit, and afterwards: what failed, if anything did,
 *		behind the bytes done
 * @txn:	state of the map that the rest is about
 * @scan:	no gap before this position is left to be served
 * @anew:	how often there was another state when a section was over
 * @nr:		number of @span
 * @max:	room for them
 * @span:	what was served: @own, or allocated
 * @own:	enough for almost every I/O
 */
struct fr_io {
	struct fr_inode *fi;
	struct kiocb *iocb;
	struct iov_iter *iter;
	loff_t pos;
	size_t want;
	unsigned int access;
	bool bound;
	bool fault;

	size_t limit;
	size_t served;
	int err;
	u64 txn;
	u64 scan;
	unsigned int anew;
	unsigned int nr;
	unsigned int max;
	struct fr_span *span;
	struct fr_span own[4];
};

/* Bytes done, from @pos on, or an error when there are none. */
ssize_t fr_io_run(struct fr_io *io);

/*
 * Is any byte of [@start, @last] inside the file bound for @access; or, when not
 * @bound, is any not?
 */
bool fr_io_has(struct fr_inode *fi, u64 start, u64 last, unsigned int access,
	       bool bound);

/* One piece inside @region: how far it got, and why no further (@err). */
size_t fr_read_region(const struct fr_region *region, struct kiocb *iocb,
		      loff_t pos, struct iov_iter *to, size_t len, int *err);
size_t fr_write_region(const struct fr_region *region, struct kiocb *iocb,
		       loff_t pos, struct iov_iter *from, size_t len, int *err);

/* One piece answered by the server. */
ssize_t fr_read_gap(struct kiocb *iocb, loff_t pos, struct iov_iter *to);
ssize_t fr_write_gap(struct kiocb *iocb, loff_t pos, struct iov_iter *from);

#endif /* FR_IO_H */
