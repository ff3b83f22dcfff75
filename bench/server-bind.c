// SPDX-License-Identifier: GPL-2.0
/*
 * Regions, by the library or by the bare interface, and what binding them
 * costs. MODE_RAW exists because the library keeps a map of its own: its time
 * is the kernel's and that of the same work done once more.
 */

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include <linux/fuse.h>

#include "server.h"

static uint64_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ull + ts.tv_nsec;
}

static int attach_raw(struct server *s)
{
	uint32_t source = fuse_session_fd(s->session);
	struct fuse_regions_attach arg = { .abi_version = FUSE_REGIONS_ABI_VERSION };
	struct fuse_regions_backing backing = { .fd = s->backing };
	int device = open(FUSE_REGIONS_DEVICE, O_RDWR | O_CLOEXEC);
	int ret;

	if (device < 0)
		return -errno;
	s->control = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	arg.fd = s->control;
	ret = s->control < 0 ? -1 : ioctl(s->control, FUSE_DEV_IOC_CLONE, &source);
	if (ret == 0)
		ret = ioctl(device, FUSE_REGIONS_IOC_ATTACH, &arg);
	if (ret == 0)
		ret = ioctl(s->control, FUSE_REGIONS_IOC_BACKING_OPEN, &backing);
	ret = ret < 0 ? -errno : ret;
	close(device);
	if (ret < 0)
		return ret;
	s->backing_id = ret;
	s->features = arg.features;
	return 0;
}

static int attach_library(struct server *s)
{
	struct fuse_regions_info info;
	int ret = fuse_regions_open(s->session, NULL, &s->conn);

	if (ret < 0)
		return ret;
	ret = fuse_regions_backing_open(s->conn, s->backing);
	if (ret < 0)
		return ret;
	s->backing_id = ret;
	fuse_regions_get_info(s->conn, &info);
	s->features = info.features;
	return 0;
}

int attach(struct server *s)
{
	int ret = 0;

	if (s->mode == MODE_RAW)
		ret = attach_raw(s);
	else if (s->mode == MODE_LIBRARY)
		ret = attach_library(s);
	if (ret == 0)
		fprintf(s->report, "features %llu\n", (unsigned long long)s->features);
	return ret;
}

void detach(struct server *s)
{
	fuse_regions_close(s->conn);
	s->conn = NULL;
	if (s->control >= 0)
		close(s->control);
	s->control = -1;
}

/**
 * struct message - a notification as it is written
 * @head:	FUSE's
 * @out:	ours
 * @record:	as many as @out.count says
 */
struct message {
	struct fuse_out_header head;
	struct fuse_notify_passthrough_out out;
	struct fuse_passthrough_region record[PER_MESSAGE];
};

/* Apply the first @count records; returns what that took, or -errno. */
static int64_t apply(struct server *s, fuse_ino_t ino, struct message *msg, uint32_t count)
{
	uint64_t start;
	ssize_t size;
	int ret;

	if (s->mode == MODE_LIBRARY) {
		start = now();
		ret = fuse_regions_apply(s->conn, ino, msg->record, count);
		return ret ? ret : (int64_t)(now() - start);
	}
	size = offsetof(struct message, record) + count * sizeof(msg->record[0]);
	msg->head = (struct fuse_out_header){ .len = size, .error = FUSE_NOTIFY_PASSTHROUGH };
	msg->out = (struct fuse_notify_passthrough_out){ .nodeid = ino, .count = count };
	start = now();
	if (write(s->control, msg, size) != size)
		return -errno;
	return now() - start;
}

static uint32_t access_flags(const struct server *s)
{
	if (s->mode == MODE_RAW && !(s->features & FUSE_REGIONS_FEATURE_WRITE))
		return FUSE_REGION_READ;
	return FUSE_REGION_READ | FUSE_REGION_WRITE;
}

/* Which block is bound when: in order, or shuffled. NULL: no memory. */
static uint32_t *make_order(const struct server *s)
{
	uint32_t *order = malloc(s->many * sizeof(*order));
	uint64_t seed = 1, at;
	uint32_t other;

	for (uint64_t i = 0; order && i < s->many; i++) {
		seed = seed * 6364136223846793005ull + 1442695040888963407ull;
		at = s->shuffle ? (seed >> 32) * (i + 1) >> 32 : i;
		other = at == i ? i : order[at];
		order[at] = i;
		order[i] = other;
	}
	return order;
}

/* Bind the blocks in messages of PER_MESSAGE. */
static int bind_blocks(struct server *s, fuse_ino_t ino, struct message *msg,
		       const uint32_t *order)
{
	uint64_t total = 0, best = UINT64_MAX, worst = 0, messages = 0;
	int64_t took;
	uint32_t n;

	for (uint64_t i = 0; i < s->many; i += n) {
		for (n = 0; n < PER_MESSAGE && i + n < s->many; n++)
			msg->record[n] = (struct fuse_passthrough_region){
				.offset = (uint64_t)order[i + n] * BLOCK,
				.length = BLOCK,
				.backing_id = s->backing_id,
				.flags = access_flags(s),
				.backing_offset = many_block(s, order[i + n]) * BLOCK,
			};
		took = apply(s, ino, msg, n);
		if (took < 0)
			return took;
		total += took;
		messages++;
		if (n < PER_MESSAGE && messages > 1)
			continue;	/* a short one says nothing about the others */
		best = (uint64_t)took < best ? (uint64_t)took : best;
		worst = (uint64_t)took > worst ? (uint64_t)took : worst;
	}
	fprintf(s->report,
		"many regions %llu messages %llu total_ns %llu best_ns %llu worst_ns %llu\n",
		(unsigned long long)s->many, (unsigned long long)messages,
		(unsigned long long)total, (unsigned long long)best, (unsigned long long)worst);
	return 0;
}

static int bind_many(struct server *s, fuse_ino_t ino, struct message *msg)
{
	uint32_t *order = make_order(s);
	int ret = order ? bind_blocks(s, ino, msg, order) : -ENOMEM;

	free(order);
	return ret;
}

int bind_file(struct server *s, fuse_ino_t ino, enum kind kind)
{
	struct message *msg;
	int64_t ret;

	if (s->bound[kind])
		return 0;
	if (s->mode == MODE_PLAIN)
		return -EOPNOTSUPP;
	msg = calloc(1, sizeof(*msg));
	if (!msg)
		return -ENOMEM;
	if (kind == KIND_MANY) {
		ret = bind_many(s, ino, msg);
	} else {
		msg->record[0].length = kind == KIND_WHOLE ? 0 : s->size;
		msg->record[0].backing_id = s->backing_id;
		msg->record[0].flags = access_flags(s);
		ret = apply(s, ino, msg, 1);
		if (ret >= 0)
			fprintf(s->report, "one message_ns %lld\n", (long long)ret);
	}
	free(msg);
	s->bound[kind] = ret >= 0;
	return ret < 0 ? ret : 0;
}
