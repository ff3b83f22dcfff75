// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0
/* Connections: opening, closing, asking. */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <fuse_lowlevel.h>

#include "internal.h"
#include "pipe.h"

static void free_conn(struct fuse_regions_conn *conn)
{
	pipe_drain(conn);
	if (conn->zeroes)
		munmap(conn->zeroes, ZEROES_SIZE);
	pthread_mutex_destroy(&conn->lock);
	free(conn);
}

static struct fuse_regions_conn *new_conn(void)
{
	struct fuse_regions_conn *conn = calloc(1, sizeof(*conn));

	if (!conn)
		return NULL;
	pthread_mutex_init(&conn->lock, NULL);
	conn->control = -1;
	/* Never written to, so that all of it is the kernel's one zero page. */
	conn->zeroes = mmap(NULL, ZEROES_SIZE, PROT_READ,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (conn->zeroes == MAP_FAILED) {
		conn->zeroes = NULL;
		free_conn(conn);
		return NULL;
	}
	return conn;
}

static bool config_ok(const struct fuse_regions_config *config)
{
	for (size_t i = 0; i < sizeof(config->reserved) / sizeof(config->reserved[0]); i++)
		if (config->reserved[i])
			return false;
	return !(config->flags & ~FUSE_REGIONS_USER_MODE);
}

int fuse_regions_open(struct fuse_session *se, const struct fuse_regions_config *config,
		      struct fuse_regions_conn **out)
{
	static const struct fuse_regions_config defaults;
	struct fuse_regions_conn *conn;

	if (!config)
		config = &defaults;
	if (!config_ok(config) || (!se && !(config->flags & FUSE_REGIONS_USER_MODE)))
		return -EINVAL;
	conn = new_conn();
	if (!conn)
		return -ENOMEM;
	if (config->flags & FUSE_REGIONS_USER_MODE)
		snprintf(conn->reason, sizeof(conn->reason), "asked to");
	else
		kernel_attach(conn, fuse_session_fd(se), config->max_stack_depth);
	if (conn->control < 0)
		conn->attach = (struct fuse_regions_attach){
			.max_backings = USER_MAX_BACKINGS,
			.max_regions = USER_MAX_REGIONS,
			.max_records = USER_MAX_RECORDS,
		};
	*out = conn;
	return 0;
}

static void put_inode(struct hash_link *link)
{
	inode_put(container_of(link, struct inode, link));
}

static void put_backing(struct hash_link *link)
{
	backing_put(container_of(link, struct backing, link));
}

void fuse_regions_close(struct fuse_regions_conn *conn)
{
	if (!conn)
		return;
	hash_drain(&conn->inodes, put_inode);
	hash_drain(&conn->backings, put_backing);
	if (conn->control >= 0)
		close(conn->control);
	free_conn(conn);
}

enum fuse_regions_mode fuse_regions_mode(const struct fuse_regions_conn *conn)
{
	return conn->control < 0 ? FUSE_REGIONS_MODE_USER : FUSE_REGIONS_MODE_KERNEL;
}

const char *fuse_regions_reason(const struct fuse_regions_conn *conn)
{
	return conn->control < 0 ? conn->reason : "";
}

void fuse_regions_get_info(struct fuse_regions_conn *conn, struct fuse_regions_info *info)
{
	pthread_mutex_lock(&conn->lock);
	*info = (struct fuse_regions_info){
		.mode = fuse_regions_mode(conn),
		.abi_version = conn->attach.abi_version,
		.features = conn->attach.features,
		.max_backings = conn->attach.max_backings,
		.max_regions = conn->attach.max_regions,
		.max_records = conn->attach.max_records,
		.backings = conn->backings.used,
		.inodes = conn->inodes.used,
		.regions = atomic_load_explicit(&conn->regions, memory_order_relaxed),
	};
	pthread_mutex_unlock(&conn->lock);
}
