// SPDX-License-Identifier: GPL-2.0
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "raw.h"

int raw_device(void)
{
	int fd = open(FUSE_REGIONS_DEVICE, O_RDWR | O_CLOEXEC);

	if (fd < 0 && errno == ENOENT)
		SKIP("the module is not loaded: no %s", FUSE_REGIONS_DEVICE);
	return (int)CHECK_OK(fd);
}

int raw_dev_fuse(void)
{
	return (int)CHECK_OK(open("/dev/fuse", O_RDWR | O_CLOEXEC));
}

int raw_clone(int fd, int session)
{
	uint32_t from = (uint32_t)session;

	return ioctl(fd, FUSE_DEV_IOC_CLONE, &from) < 0 ? -errno : 0;
}

struct fuse_regions_attach raw_attach_arg(int fd)
{
	return (struct fuse_regions_attach){ .fd = fd, .abi_version = FUSE_REGIONS_ABI_VERSION };
}

int raw_attach(struct fuse_regions_attach *arg)
{
	int dev = raw_device();
	int res = ioctl(dev, FUSE_REGIONS_IOC_ATTACH, arg) < 0 ? -errno : 0;

	close(dev);
	return res;
}

int raw_backing_open_arg(int ctl, const struct fuse_regions_backing *arg)
{
	int res = ioctl(ctl, FUSE_REGIONS_IOC_BACKING_OPEN, arg);

	return res < 0 ? -errno : res;
}

int raw_backing_open(int ctl, int fd)
{
	struct fuse_regions_backing arg = { .fd = fd };

	return raw_backing_open_arg(ctl, &arg);
}

int raw_backing_close(int ctl, uint32_t id)
{
	return ioctl(ctl, FUSE_REGIONS_IOC_BACKING_CLOSE, &id) < 0 ? -errno : 0;
}

struct raw_msg *raw_msg_new(uint64_t nodeid, const struct fuse_passthrough_region *recs,
			    uint32_t nr)
{
	size_t len = sizeof(struct raw_msg) + nr * sizeof(*recs);
	struct raw_msg *msg = calloc(1, len);

	CHECK(msg);
	msg->out.len = (uint32_t)len;
	msg->out.error = FUSE_NOTIFY_PASSTHROUGH;
	msg->head.nodeid = nodeid;
	msg->head.count = nr;
	if (nr)
		memcpy(msg->recs, recs, nr * sizeof(*recs));
	return msg;
}

int raw_write(int ctl, const void *bytes, size_t len)
{
	ssize_t n = write(ctl, bytes, len);

	return n < 0 ? -errno : (int)n;
}

int region_msg(int ctl, uint64_t nodeid, const struct fuse_passthrough_region *recs, uint32_t nr)
{
	struct raw_msg *msg = raw_msg_new(nodeid, recs, nr);
	int len = (int)msg->out.len;
	int res = raw_write(ctl, msg, (size_t)len);

	free(msg);
	if (res >= 0 && res != len)
		FAIL("a message of %d bytes: write() returned %d", len, res);
	return res < 0 ? res : 0;
}

static FILE *open_param(const char *name, const char *mode)
{
	char path[128];
	FILE *f;

	snprintf(path, sizeof(path), "/sys/module/fuse_regions/parameters/%s", name);
	f = fopen(path, mode);
	if (!f)
		FAIL("%s: %m", path);
	return f;
}

unsigned long module_param(const char *name)
{
	FILE *f = open_param(name, "r");
	unsigned long value;

	CHECK_EQ(fscanf(f, "%lu", &value), 1);
	fclose(f);
	return value;
}

struct old_param {
	const char *name;
	unsigned long value;
};

static void write_param(const char *name, unsigned long value)
{
	FILE *f = open_param(name, "w");

	fprintf(f, "%lu\n", value);
	if (fclose(f))
		FAIL("cannot set the module's %s to %lu: %m", name, value);
}

static void restore_param(void *arg)
{
	const struct old_param *old = arg;

	write_param(old->name, old->value);
}

void module_param_set(const char *name, unsigned long value)
{
	struct old_param *old = malloc(sizeof(*old));

	CHECK(old);
	old->name = name;
	old->value = module_param(name);
	test_at_end(restore_param, old);
	write_param(name, value);
}
