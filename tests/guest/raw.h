/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The module's interface with nothing in between: each call sends exactly the
 * bytes it is given. Results are -errno, or what the kernel returned.
 */
#ifndef FR_TEST_RAW_H
#define FR_TEST_RAW_H

#include <linux/fuse.h>
#include <linux/fuse_regions.h>

#include "check.h"

/* One record, for lists of them */
#define REC(off, len, id, boff, fl)                            \
	((struct fuse_passthrough_region){ .offset = (off),    \
					   .length = (len),    \
					   .backing_id = (id), \
					   .flags = (fl),      \
					   .backing_offset = (boff) })

/* A message: room for the records behind the heads */
struct raw_msg {
	struct fuse_out_header out;
	struct fuse_notify_passthrough_out head;
	struct fuse_passthrough_region recs[];
};

/* The module's device; skips the test where there is no module */
int raw_device(void);

/* A new /dev/fuse descriptor */
int raw_dev_fuse(void);

/* Make @fd, from raw_dev_fuse(), a clone of the session @session */
int raw_clone(int fd, int session);

/* A well-formed argument for attaching @fd */
struct fuse_regions_attach raw_attach_arg(int fd);
int raw_attach(struct fuse_regions_attach *arg);

/* The id, or -errno */
int raw_backing_open(int ctl, int fd);
int raw_backing_open_arg(int ctl, const struct fuse_regions_backing *arg);
int raw_backing_close(int ctl, uint32_t id);

/* A well-formed message with @nr records; the caller frees it */
struct raw_msg *raw_msg_new(uint64_t nodeid, const struct fuse_passthrough_region *recs,
			    uint32_t nr);

/* Write @len bytes as they are: the number written, or -errno */
int raw_write(int ctl, const void *bytes, size_t len);

/* Send @nr records in one message: 0 or -errno */
int region_msg(int ctl, uint64_t nodeid, const struct fuse_passthrough_region *recs, uint32_t nr);

/* /sys/module/fuse_regions/parameters/@name; fails the test when there is none */
unsigned long module_param(const char *name);

/* Set it until the end of the test */
void module_param_set(const char *name, unsigned long value);

#endif
