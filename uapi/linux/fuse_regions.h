/* SPDX-License-Identifier: (GPL-2.0 WITH Linux-syscall-note) OR BSD-2-Clause */
/*
 * fuse-regions: byte ranges of FUSE files, served from backing files
 *
 * A FUSE server binds ranges ("regions") of its inodes to ranges of regular
 * files ("backings"). Reads of bound bytes then go from the application to
 * the backing inside the kernel; all other bytes ("gaps") reach the server
 * as FUSE READ and WRITE requests, as they always have.
 *
 * Conventions
 *
 *   All offsets and lengths are bytes. All fields are in the byte order of
 *   the host. Structures have no holes and no pointers, and the same layout
 *   for 32 and 64 bit callers. Every field named "reserved", and every flag
 *   bit that is not defined here, must be zero: EINVAL otherwise.
 *
 * 1. Attach: ioctl(FUSE_REGIONS_IOC_ATTACH) on /dev/fuse_regions
 *
 *   The server opens /dev/fuse a second time, makes that descriptor a clone
 *   of its session with FUSE_DEV_IOC_CLONE, and passes the clone in
 *   fuse_regions_attach.fd. From then on the clone is the connection's
 *   control channel: it knows calls 2 to 4. Attach from the INIT handler, or
 *   before the first reply to OPEN: only files opened afterwards can use
 *   regions. Never attach the session's own descriptor, for it could no
 *   longer be cloned. Where /dev/fuse_regions does not exist the module is
 *   not loaded, and the server answers everything itself; so does one that
 *   may not open it (it is root's, mode 0600).
 *
 *   Closing the control channel ends the attachment. Regions stay on files
 *   that are open at that moment, until these are closed; everything else is
 *   released at once. The connection can then be attached anew.
 *
 *   In: fd, abi_version, flags (0), max_stack_depth (0 means 1).
 *   Out: the rest.
 *
 *   EBADF            fd is not an open descriptor
 *   EINVAL           fd is not a /dev/fuse file; unknown flag; reserved field;
 *                    max_stack_depth is over the kernel's limit (2)
 *   EOPNOTSUPP       fd belongs to CUSE
 *   ENOTCONN         fd belongs to no mounted connection
 *   EBUSY            fd, or another fd of its connection, is attached already;
 *                    max_stack_depth is over 1, the mount is not as deep, and
 *                    INIT has been answered, so that others may lie on the
 *                    mount already
 *   EPROTONOSUPPORT  abi_version is not known; abi_version then holds the
 *                    kernel's
 *   ENOMEM, EFAULT
 *
 * 2. Register a backing: ioctl(FUSE_REGIONS_IOC_BACKING_OPEN)
 *
 *   Returns a backing id, a positive number, which names the open file in
 *   calls 3 and 4 on this connection only. The caller's credentials are kept
 *   and used for all I/O on the backing. The descriptor may be closed. Of its
 *   flags, O_SYNC and O_DSYNC count for each I/O, O_APPEND and O_DIRECT do
 *   not; opened without O_LARGEFILE, the backing ends at 2 GiB.
 *   File descriptors enter the kernel by ioctl only, never by write(): a
 *   privileged program can be tricked into writing bytes, not into this.
 *
 *   EPERM    no CAP_SYS_ADMIN in the initial user namespace; or a fanotify
 *            listener refuses access to the file
 *   EACCES   a security module refuses the caller reading or writing the file
 *   EBADF    fd is not an open descriptor, or an O_PATH one
 *   EISDIR   it is a directory
 *   EINVAL   it is not a regular file, or one without read_iter/write_iter; or
 *            it is on overlayfs or FUSE, and was opened with O_APPEND or
 *            O_DIRECT, which those hand on to what lies below them (nor
 *            may the descriptor get these flags later, by fcntl())
 *   ELOOP    it lives on this same connection, or on another one that is
 *            attached, or has open files from when it was; or its file system
 *            is stacked as deep as max_stack_depth, or deeper
 *   ENOSPC   the connection has max_backings of them
 *   ENOTCONN the connection was aborted or unmounted
 *   ENOMEM, EFAULT
 *
 * 3. Unregister a backing: ioctl(FUSE_REGIONS_IOC_BACKING_CLOSE)
 *
 *   Takes a pointer to a __u32, the id, and no capability. Regions that use
 *   the backing stay, and keep the file open.
 *
 *   ENOENT   no such id
 *   EFAULT   the pointer is bad
 *
 * 4. Change regions: write() a notification to the control channel
 *
 *   struct fuse_out_header              (linux/fuse.h)
 *       unique 0, error FUSE_NOTIFY_PASSTHROUGH, len the whole message
 *   struct fuse_notify_passthrough_out
 *   struct fuse_passthrough_region      count times
 *
 *   The records are applied in their order, and take effect together or not
 *   at all: no read or write sees a part of a message. write() returns the
 *   message's size. Once it has returned, every read and write that begins
 *   on the inode, on files opened earlier too, uses the new regions, and no
 *   I/O uses what was removed. It never waits for the server, so it may be
 *   sent from any request handler.
 *
 *   flags of a record say what it does:
 *
 *   FUSE_REGION_READ, FUSE_REGION_WRITE, or both
 *       bind [offset, offset + length) to the backing's bytes from
 *       backing_offset on, for this kind of access. Access of the other kind
 *       goes to the server: a WRITE arriving for a READ region is the hook
 *       for copy-on-write.
 *   ... | FUSE_REGION_REPLACE
 *       take over whatever the range overlaps, cutting older regions where
 *       needed, like MAP_FIXED. Without it an overlap is EEXIST.
 *   ... | FUSE_REGION_GROW
 *       with WRITE only: a write whose bytes past the file's size all lie in
 *       this region extends the file. Without GROW, unless the region is
 *       whole-file, and where a write reaches beyond the region, all of its
 *       bytes past the size go to the server, bound or not.
 *   FUSE_REGION_UNBIND
 *       make [offset, offset + length) a gap, cutting likewise. backing_id
 *       and backing_offset must be 0. Nothing bound there is no error.
 *
 *   offset = 0 and length = 0: the whole file. A bind makes a whole-file
 *   region: the backing's end, less backing_offset, is the end of the file
 *   for reads, as long as the region is not cut at its far end. An unbind
 *   removes every region.
 *
 *   Reads end at the inode's size. Bytes inside the size and in a region but
 *   past the end of its backing read as zeroes.
 *
 *   A mapping that lies in one region, page on page, is one of the backing,
 *   and stays that, whatever is bound later: of the promise above, mappings
 *   are the exception. Any other is filled from the backings and the server.
 *   A shared one with PROT_WRITE is refused, with ENODEV, where an edge of a
 *   region lies inside a page; without PROT_WRITE it works, and can't get it by
 *   mprotect() later (EACCES). A store to a page that gets an edge later is a
 *   SIGBUS.
 *
 *   fsync() syncs the backings that the inode is bound to at that moment. A
 *   server that unbinds or replaces a region that was written, and goes on
 *   using the bytes, syncs that backing itself.
 *
 *   EINVAL      len, count or the message's real size disagree; reserved
 *               field, unknown flag or combination; length 0 with an offset;
 *               a range that wraps or ends past the largest file size, in
 *               the file or in the backing
 *   E2BIG       count is over max_records
 *   ENOENT      no inode with this nodeid in the kernel's cache; no such
 *               backing id
 *   EOPNOTSUPP  not a regular file, a DAX inode, a mount of a block device
 *               (fuseblk), a page cache of large folios, or file operations
 *               other than those of all FUSE files
 *   EBUSY       the inode is in mainline passthrough mode
 *   EEXIST      a bind without REPLACE overlaps
 *   EBADF       the backing was not opened for this access, or has only the
 *               old read() and write() for it
 *   EPERM       WRITE, and the backing is append-only (chattr +a)
 *   ENOSPC      the inode would have more than max_regions, and than before
 *   ENOTCONN    the connection was aborted or unmounted
 *   ENOMEM, EFAULT
 */
#ifndef _UAPI_LINUX_FUSE_REGIONS_H
#define _UAPI_LINUX_FUSE_REGIONS_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define FUSE_REGIONS_DEVICE		"/dev/fuse_regions"
#define FUSE_REGIONS_ABI_VERSION	1

/*
 * fuse_out_header.error of the notification. Far from mainline's codes,
 * which count up from 1.
 */
#define FUSE_NOTIFY_PASSTHROUGH		0x46520001

/* fuse_regions_attach.features: what this module serves inside the kernel */
#define FUSE_REGIONS_FEATURE_READ	(1ULL << 0)
#define FUSE_REGIONS_FEATURE_WRITE	(1ULL << 1)
#define FUSE_REGIONS_FEATURE_MMAP	(1ULL << 2)

/**
 * struct fuse_regions_attach - argument of FUSE_REGIONS_IOC_ATTACH
 * @fd:			in: a /dev/fuse descriptor, cloned from the session's
 * @abi_version:	in: FUSE_REGIONS_ABI_VERSION; out: the kernel's
 * @flags:		in: 0
 * @max_stack_depth:	in: how many file systems may lie on top of each other,
 *			this one included, less one; 0 means 1: backings are on
 *			file systems that have no other below them. The mount
 *			is as deep from then on: with 1, one overlayfs can lie
 *			on it, with 2 none
 * @features:		out: FUSE_REGIONS_FEATURE_* bits
 * @max_backings:	out: backings a connection may have registered
 * @max_regions:	out: regions an inode may have
 * @max_records:	out: records a message may have
 * @notify_code:	out: FUSE_NOTIFY_PASSTHROUGH
 * @reserved:		0
 */
struct fuse_regions_attach {
	__s32	fd;
	__u32	abi_version;
	__u32	flags;
	__u32	max_stack_depth;
	__u64	features;
	__u32	max_backings;
	__u32	max_regions;
	__u32	max_records;
	__u32	notify_code;
	__u64	reserved[2];
};

/**
 * struct fuse_regions_backing - argument of FUSE_REGIONS_IOC_BACKING_OPEN
 * @fd:		descriptor of a regular file
 * @flags:	0
 * @reserved:	0
 */
struct fuse_regions_backing {
	__s32	fd;
	__u32	flags;
	__u64	reserved;
};

#define FUSE_REGIONS_IOC_MAGIC		0xE6
#define FUSE_REGIONS_IOC_ATTACH		_IOWR(FUSE_REGIONS_IOC_MAGIC, 0, \
					      struct fuse_regions_attach)
#define FUSE_REGIONS_IOC_BACKING_OPEN	_IOW(FUSE_REGIONS_IOC_MAGIC, 1, \
					     struct fuse_regions_backing)
#define FUSE_REGIONS_IOC_BACKING_CLOSE	_IOW(FUSE_REGIONS_IOC_MAGIC, 2, __u32)

/* fuse_passthrough_region.flags */
#define FUSE_REGION_READ	(1U << 0)
#define FUSE_REGION_WRITE	(1U << 1)
#define FUSE_REGION_GROW	(1U << 2)
#define FUSE_REGION_REPLACE	(1U << 3)
#define FUSE_REGION_UNBIND	(1U << 4)

/**
 * struct fuse_notify_passthrough_out - follows the fuse_out_header
 * @nodeid:	the inode
 * @count:	number of records that follow, at least 1
 * @flags:	0
 * @reserved:	0
 */
struct fuse_notify_passthrough_out {
	__u64	nodeid;
	__u32	count;
	__u32	flags;
	__u64	reserved;
};

/**
 * struct fuse_passthrough_region - one record
 * @offset:		first byte in the FUSE file
 * @length:		number of bytes; 0 with offset 0 is the whole file
 * @backing_id:		from FUSE_REGIONS_IOC_BACKING_OPEN; 0 for UNBIND
 * @flags:		FUSE_REGION_*
 * @backing_offset:	first byte in the backing
 * @reserved:		0
 */
struct fuse_passthrough_region {
	__u64	offset;
	__u64	length;
	__u32	backing_id;
	__u32	flags;
	__u64	backing_offset;
	__u64	reserved;
};

#endif /* _UAPI_LINUX_FUSE_REGIONS_H */
