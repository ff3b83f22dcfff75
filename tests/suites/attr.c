// SPDX-License-Identifier: GPL-2.0
/* Attributes. */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <linux/fs.h>

#include "cutfs.h"

/* A name by which calls reach what an O_PATH descriptor is for. */
struct path {
	char name[40];
};

static struct path path_of(fuse_ino_t nodeid)
{
	struct path path;

	snprintf(path.name, sizeof(path.name), "/proc/self/fd/%d", node_of(nodeid)->fd);
	return path;
}

int attr_of(struct node *node, struct stat *st)
{
	struct content *content = node->content;
	struct stat chunk;

	if (content)
		content_sync_mtime(content);
	if (fstat(node->fd, st) < 0)
		return -errno;
	for (int i = 0; content && i < CHUNKS; i++)
		if (fstat(content->chunks[i].fd, &chunk) == 0)
			st->st_blocks += chunk.st_blocks;
	return 0;
}

static void reply_attr(fuse_req_t req, struct node *node, int err)
{
	struct stat st;

	if (!err)
		err = attr_of(node, &st);
	if (err)
		fuse_reply_err(req, -err);
	else
		fuse_reply_attr(req, &st, 1);
}

void attr_getattr(fuse_req_t req, fuse_ino_t nodeid, struct fuse_file_info *fi)
{
	(void)fi;
	reply_attr(req, node_of(nodeid), 0);
}

static int set_times(struct node *node, const struct stat *attr, int to_set)
{
	struct timespec times[2] = { { .tv_nsec = UTIME_OMIT }, { .tv_nsec = UTIME_OMIT } };

	if (node->content)
		content_sync_mtime(node->content);
	if (to_set & FUSE_SET_ATTR_ATIME_NOW)
		times[0].tv_nsec = UTIME_NOW;
	else if (to_set & FUSE_SET_ATTR_ATIME)
		times[0] = attr->st_atim;
	if (to_set & FUSE_SET_ATTR_MTIME_NOW)
		times[1].tv_nsec = UTIME_NOW;
	else if (to_set & FUSE_SET_ATTR_MTIME)
		times[1] = attr->st_mtim;
	return utimensat(node->fd, "", times, AT_EMPTY_PATH) < 0 ? -errno : 0;
}

static int set_owner(struct node *node, const struct stat *attr, int to_set)
{
	uid_t uid = to_set & FUSE_SET_ATTR_UID ? attr->st_uid : (uid_t)-1;
	gid_t gid = to_set & FUSE_SET_ATTR_GID ? attr->st_gid : (gid_t)-1;

	return fchownat(node->fd, "", uid, gid, AT_EMPTY_PATH) < 0 ? -errno : 0;
}

static int set_size(struct node *node, uint64_t size)
{
	int err;

	pthread_rwlock_wrlock(&node->lock);
	err = content_open(node);
	if (!err)
		err = content_truncate(node, size);
	pthread_rwlock_unlock(&node->lock);
	return err;
}

void attr_setattr(fuse_req_t req, fuse_ino_t nodeid, struct stat *attr, int to_set,
		  struct fuse_file_info *fi)
{
	struct node *node = node_of(nodeid);
	int err = 0;

	(void)fi;
	if (to_set & (FUSE_SET_ATTR_UID | FUSE_SET_ATTR_GID))
		err = set_owner(node, attr, to_set);
	if (!err && to_set & FUSE_SET_ATTR_MODE)
		err = chmod(path_of(nodeid).name, attr->st_mode & 07777) < 0 ? -errno : 0;
	if (!err && to_set & FUSE_SET_ATTR_SIZE)
		err = set_size(node, (uint64_t)attr->st_size);
	if (!err && to_set & (FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_MTIME | FUSE_SET_ATTR_ATIME_NOW |
			      FUSE_SET_ATTR_MTIME_NOW))
		err = set_times(node, attr, to_set);
	reply_attr(req, node, err);
}

void attr_statfs(fuse_req_t req, fuse_ino_t nodeid)
{
	struct statvfs st;

	(void)nodeid;
	if (fstatvfs(cutfs.root.fd, &st) < 0)
		fuse_reply_err(req, errno);
	else
		fuse_reply_statfs(req, &st);
}

/* Symbolic links have none that anybody may set. */
static bool has_xattrs(fuse_req_t req, fuse_ino_t nodeid)
{
	struct stat st;

	if (fstat(node_of(nodeid)->fd, &st) == 0 && !S_ISLNK(st.st_mode))
		return true;
	fuse_reply_err(req, EOPNOTSUPP);
	return false;
}

static void reply_xattr(fuse_req_t req, ssize_t n, const char *data, size_t room)
{
	if (n < 0)
		fuse_reply_err(req, errno);
	else if (!room)
		fuse_reply_xattr(req, (size_t)n);
	else
		fuse_reply_buf(req, data, (size_t)n);
}

void attr_getxattr(fuse_req_t req, fuse_ino_t nodeid, const char *name, size_t size)
{
	char *data;

	if (!has_xattrs(req, nodeid))
		return;
	data = malloc(size + 1);
	reply_xattr(req, getxattr(path_of(nodeid).name, name, data, size), data, size);
	free(data);
}

void attr_listxattr(fuse_req_t req, fuse_ino_t nodeid, size_t size)
{
	char *data;

	if (!has_xattrs(req, nodeid))
		return;
	data = malloc(size + 1);
	reply_xattr(req, listxattr(path_of(nodeid).name, data, size), data, size);
	free(data);
}

void attr_setxattr(fuse_req_t req, fuse_ino_t nodeid, const char *name, const char *value,
		   size_t size, int flags)
{
	if (has_xattrs(req, nodeid))
		fuse_reply_err(req, setxattr(path_of(nodeid).name, name, value, size, flags) < 0
					    ? errno
					    : 0);
}

void attr_removexattr(fuse_req_t req, fuse_ino_t nodeid, const char *name)
{
	if (has_xattrs(req, nodeid))
		fuse_reply_err(req, removexattr(path_of(nodeid).name, name) < 0 ? errno : 0);
}

/* Not those that keep a file from being written to: its bytes are in other files as well. */
static int set_flags(int fd, unsigned int flags)
{
	unsigned int old;

	if (ioctl(fd, FS_IOC_GETFLAGS, &old) < 0)
		return errno;
	if ((flags ^ old) & ~(unsigned int)(FS_NODUMP_FL | FS_NOATIME_FL))
		return EOPNOTSUPP;
	return ioctl(fd, FS_IOC_SETFLAGS, &flags) < 0 ? errno : 0;
}

/* What lsattr and chattr ask for. */
void attr_ioctl(fuse_req_t req, fuse_ino_t nodeid, unsigned int cmd, void *arg,
		struct fuse_file_info *fi, unsigned int how, const void *in, size_t in_size,
		size_t out_size)
{
	union {
		unsigned int flags;
		struct fsxattr xattr;
	} u = { .flags = 0 };
	bool get = cmd == FS_IOC_GETFLAGS || cmd == FS_IOC_FSGETXATTR;
	int err = ENOTTY, fd;

	(void)arg;
	(void)fi;
	(void)how;
	fd = open(path_of(nodeid).name, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		err = errno;
	else if (get && out_size <= sizeof(u))
		err = ioctl(fd, cmd, &u) < 0 ? errno : 0;
	else if (cmd == FS_IOC_SETFLAGS && in_size == sizeof(u.flags))
		err = set_flags(fd, *(const unsigned int *)in);
	/* ctime has changed, and FUSE, which hands this on, does not know */
	if (!err && !get)
		fuse_lowlevel_notify_inval_inode(cutfs.session, nodeid, -1, 0);
	if (fd >= 0)
		close(fd);
	if (err)
		fuse_reply_err(req, err);
	else
		fuse_reply_ioctl(req, 0, &u, get ? out_size : 0);
}
