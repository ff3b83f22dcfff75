// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0
/* Backings: registered files, with a descriptor of ours for the fallback. */

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "internal.h"

void backing_get(void *backing)
{
	atomic_fetch_add_explicit(&((struct backing *)backing)->refs, 1, memory_order_relaxed);
}

void backing_put(void *arg)
{
	struct backing *backing = arg;

	if (atomic_fetch_sub_explicit(&backing->refs, 1, memory_order_acq_rel) != 1)
		return;
	if (backing->conn->control >= 0 && backing->id)
		kernel_backing_close(backing->conn, backing->id);
	close(backing->fd);
	pthread_mutex_destroy(&backing->sync_lock);
	free(backing);
}

struct backing *backing_get_by_id(struct fuse_regions_conn *conn, uint32_t id)
{
	struct backing *backing = NULL;
	struct hash_link *link;

	pthread_mutex_lock(&conn->lock);
	link = hash_find(&conn->backings, id);
	if (link) {
		backing = container_of(link, struct backing, link);
		backing_get(backing);
	}
	pthread_mutex_unlock(&conn->lock);
	return backing;
}

/* Open what @fd is open on once more, with @flags as its status flags. */
int reopen(int fd, int flags)
{
	char path[32];
	int copy;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	copy = open(path, flags | O_CLOEXEC);
	return copy < 0 ? -errno : copy;
}

/* Status flags of a descriptor that ours has too, when its file is opened anew */
#define KEPT_FLAGS (O_ACCMODE | O_SYNC | O_DSYNC | O_NOATIME)

/*
 * A descriptor for pread and pwrite. O_APPEND would send every write to the
 * backing's end, and O_DIRECT would refuse most offsets, so they must go.
 */
static int duplicate(int fd, int flags)
{
	int copy;

	if (flags & (O_APPEND | O_DIRECT))
		return reopen(fd, flags & KEPT_FLAGS);
	copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	return copy < 0 ? -errno : copy;
}

/* The FR_ access that @fd allows, or a negative errno when it can't be a backing. */
static int check_fd(int fd, int *flags)
{
	struct stat st;

	*flags = fcntl(fd, F_GETFL);
	if (*flags < 0 || (*flags & O_PATH))
		return -EBADF;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (S_ISDIR(st.st_mode))
		return -EISDIR;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	switch (*flags & O_ACCMODE) {
	case O_RDONLY:
		return FR_READ;
	case O_WRONLY:
		return FR_WRITE;
	default:
		return FR_READ | FR_WRITE;
	}
}

/* User mode: the next number that is free. There is one: the limit is far below. */
static uint32_t free_id(struct fuse_regions_conn *conn)
{
	do {
		conn->next_id = conn->next_id == INT_MAX ? 1 : conn->next_id + 1;
	} while (hash_find(&conn->backings, conn->next_id));
	return conn->next_id;
}

static int store(struct fuse_regions_conn *conn, struct backing *backing)
{
	int err;

	pthread_mutex_lock(&conn->lock);
	if (conn->control < 0)
		backing->id = free_id(conn);
	if (conn->backings.used >= conn->attach.max_backings && conn->control < 0)
		err = -ENOSPC;
	else
		err = hash_add(&conn->backings, &backing->link, backing->id);
	pthread_mutex_unlock(&conn->lock);
	return err;
}

static void put_backing(struct backing **backing)
{
	if (*backing)
		backing_put(*backing);
}

static struct backing *new_backing(struct fuse_regions_conn *conn)
{
	size_t size = (sizeof(struct backing) + 15) & ~(size_t)15;
	struct backing *backing = aligned_alloc(16, size);

	if (!backing)
		return NULL;
	*backing = (struct backing){ .conn = conn, .refs = 1, .fd = -1 };
	pthread_mutex_init(&backing->sync_lock, NULL);
	return backing;
}

/*
 * Each open file is told of a lost write once. The module has the one that was registered, and
 * syncs by it: one of our own is told all the same. Only now, when the module has said that the
 * file is none of this connection: the server may be busy with the call that made it come here.
 * None is closed, for that would take this process's locks (fcntl(2)) from the file.
 */
static int open_once_more(int fd, int flags)
{
	int copy = reopen(fd, flags & KEPT_FLAGS);

	/* Else it was opened with rights that are gone */
	return copy < 0 ? duplicate(fd, flags) : copy;
}

static int register_with_kernel(struct backing *backing, int fd)
{
	int id = kernel_backing_open(backing->conn, fd);

	if (id < 0)
		return id;
	backing->id = id;
	return 0;
}

static int open_ours(struct backing *backing, int fd, int flags)
{
	backing->fd = duplicate(fd, flags);
	/* A file that can only be appended to (chattr +a) can be read, and that is all. */
	if (backing->fd == -EPERM && backing->access == (FR_READ | FR_WRITE)) {
		backing->fd = reopen(fd, O_RDONLY);
		backing->access = FR_READ;
	}
	return backing->fd < 0 ? backing->fd : 0;
}

static int open_and_register(struct backing *backing, int fd, int flags)
{
	bool kernel = backing->conn->control >= 0;
	int err;

	/* Some file systems go by flags of @fd that must not be: then the kernel gets ours. */
	if (!kernel || flags & (O_APPEND | O_DIRECT)) {
		err = open_ours(backing, fd, flags);
		return !err && kernel ? register_with_kernel(backing, backing->fd) : err;
	}
	err = register_with_kernel(backing, fd);
	if (err)
		return err;
	backing->fd = open_once_more(fd, flags);
	return backing->fd < 0 ? backing->fd : 0;
}

int fuse_regions_backing_open(struct fuse_regions_conn *conn, int fd)
{
	cleanup(put_backing) struct backing *backing = NULL;
	int flags, access, id, err;

	access = check_fd(fd, &flags);
	if (access < 0)
		return access;
	backing = new_backing(conn);
	if (!backing)
		return -ENOMEM;
	backing->access = access;
	err = open_and_register(backing, fd, flags);
	if (err)
		return err;
	err = store(conn, backing);
	if (err)
		return err;
	id = backing->id;
	backing = NULL; /* the table's now */
	return id;
}

int fuse_regions_backing_close(struct fuse_regions_conn *conn, uint32_t id)
{
	struct hash_link *link;

	pthread_mutex_lock(&conn->lock);
	link = hash_remove(&conn->backings, id);
	pthread_mutex_unlock(&conn->lock);
	if (!link)
		return -ENOENT;
	backing_put(container_of(link, struct backing, link));
	return 0;
}
