// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0
/*
 * Talking to the module: finding it, attaching, backings, notifications. The
 * interface is described in <linux/fuse_regions.h>.
 */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include <linux/fuse.h>

#include "internal.h"

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

static int refused(struct fuse_regions_conn *conn, const char *what)
{
	int err = errno;

	snprintf(conn->reason, sizeof(conn->reason), "%s: %s", what, strerror(err));
	return -err;
}

static int open_module(struct fuse_regions_conn *conn)
{
	int fd = open(FUSE_REGIONS_DEVICE, O_RDWR | O_CLOEXEC);

	if (fd >= 0)
		return fd;
	if (errno != ENOENT && errno != ENXIO && errno != ENODEV)
		return refused(conn, "cannot open " FUSE_REGIONS_DEVICE);
	snprintf(conn->reason, sizeof(conn->reason),
		 "the fuse_regions module is not loaded (there is no " FUSE_REGIONS_DEVICE ")");
	return -ENOENT;
}

/* A second descriptor of the session, so that the first can still be cloned. */
static int clone_session(struct fuse_regions_conn *conn, int session_fd)
{
	uint32_t source = session_fd;
	int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		return refused(conn, "cannot open /dev/fuse");
	if (ioctl(fd, FUSE_DEV_IOC_CLONE, &source) < 0) {
		refused(conn, "cannot clone the session's /dev/fuse");
		close(fd);
		return -1;
	}
	return fd;
}

static int attach_clone(struct fuse_regions_conn *conn, int module, int clone,
			uint32_t max_stack_depth)
{
	struct fuse_regions_attach attach = {
		.fd = clone,
		.abi_version = FUSE_REGIONS_ABI_VERSION,
		.max_stack_depth = max_stack_depth,
	};

	if (ioctl(module, FUSE_REGIONS_IOC_ATTACH, &attach) == 0) {
		conn->attach = attach;
		return 0;
	}
	if (errno != EPROTONOSUPPORT)
		return refused(conn, "cannot attach to the fuse_regions module");
	snprintf(conn->reason, sizeof(conn->reason),
		 "the fuse_regions module speaks version %u of the interface, this library %u",
		 attach.abi_version, FUSE_REGIONS_ABI_VERSION);
	return -EPROTONOSUPPORT;
}

/*
 * Without the privilege every registration would fail, and the server would
 * have to handle that. Find out now, with a file that nobody misses.
 */
static int try_backing(struct fuse_regions_conn *conn, int control)
{
	cleanup(close_fd) int fd = memfd_create("fuse-regions", MFD_CLOEXEC);
	struct fuse_regions_backing arg = { .fd = fd };
	uint32_t id;
	int ret;

	if (fd < 0)
		return 0;
	ret = ioctl(control, FUSE_REGIONS_IOC_BACKING_OPEN, &arg);
	if (ret < 0) {
		if (errno != EPERM)
			return 0;
		return refused(conn, "cannot register files with the kernel");
	}
	id = ret;
	ioctl(control, FUSE_REGIONS_IOC_BACKING_CLOSE, &id);
	return 0;
}

void kernel_attach(struct fuse_regions_conn *conn, int session_fd, uint32_t max_stack_depth)
{
	cleanup(close_fd) int module = open_module(conn);
	cleanup(close_fd) int clone = -1;

	if (module < 0)
		return;
	clone = clone_session(conn, session_fd);
	if (clone < 0 || attach_clone(conn, module, clone, max_stack_depth) < 0)
		return;
	if (!(conn->attach.features & FUSE_REGIONS_FEATURE_READ)) {
		snprintf(conn->reason, sizeof(conn->reason),
			 "the fuse_regions module does not serve reads on this kernel");
		return;
	}
	if (try_backing(conn, clone) < 0)
		return;
	conn->control = clone;
	clone = -1;
}

int kernel_backing_open(struct fuse_regions_conn *conn, int fd)
{
	struct fuse_regions_backing arg = { .fd = fd };
	int id = ioctl(conn->control, FUSE_REGIONS_IOC_BACKING_OPEN, &arg);

	return id < 0 ? -errno : id;
}

void kernel_backing_close(struct fuse_regions_conn *conn, uint32_t id)
{
	ioctl(conn->control, FUSE_REGIONS_IOC_BACKING_CLOSE, &id);
}

static int send_records(struct fuse_regions_conn *conn, uint64_t nodeid,
			const struct fuse_passthrough_region *records, uint32_t count)
{
	struct {
		struct fuse_out_header out;
		struct fuse_notify_passthrough_out notify;
	} head = {
		.out.len = sizeof(head) + count * sizeof(*records),
		.out.error = conn->attach.notify_code,
		.notify.nodeid = nodeid,
		.notify.count = count,
	};
	struct iovec iov[] = {
		{ &head, sizeof(head) },
		{ (void *)records, count * sizeof(*records) },
	};

	return writev(conn->control, iov, 2) < 0 ? -errno : 0;
}

/* What is left of a record when the kernel does not write; false: nothing. */
static bool without_write(struct fuse_passthrough_region *record)
{
	if (record->flags & FUSE_REGION_UNBIND)
		return true;
	record->flags &= ~(FUSE_REGION_WRITE | FUSE_REGION_GROW);
	if (record->flags & FUSE_REGION_READ)
		return true;
	if (!(record->flags & FUSE_REGION_REPLACE))
		return false;
	/* The kernel must still give up what the record replaces. */
	record->flags = FUSE_REGION_UNBIND;
	record->backing_id = 0;
	record->backing_offset = 0;
	return true;
}

static void free_records(struct fuse_passthrough_region **records)
{
	free(*records);
}

int kernel_send(struct fuse_regions_conn *conn, uint64_t nodeid,
		const struct fuse_passthrough_region *records, uint32_t count)
{
	cleanup(free_records) struct fuse_passthrough_region *kept = NULL;
	uint32_t nr_kept = 0;

	if (conn->attach.features & FUSE_REGIONS_FEATURE_WRITE)
		return send_records(conn, nodeid, records, count);
	kept = malloc(count * sizeof(*kept));
	if (!kept)
		return -ENOMEM;
	for (uint32_t i = 0; i < count; i++) {
		kept[nr_kept] = records[i];
		nr_kept += without_write(&kept[nr_kept]);
	}
	return nr_kept ? send_records(conn, nodeid, kept, nr_kept) : 0;
}
