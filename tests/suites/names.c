// SPDX-License-Identifier: GPL-2.0
/* Names: what makes, finds, lists and removes them. */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "cutfs.h"

static int result(int ret)
{
	return ret < 0 ? errno : 0;
}

void names_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct fuse_entry_param entry;
	int err = node_lookup(node_of(parent), name, &entry);

	if (err)
		fuse_reply_err(req, -err);
	else
		fuse_reply_entry(req, &entry);
}

void names_forget(fuse_req_t req, fuse_ino_t nodeid, uint64_t nlookup)
{
	node_forget(node_of(nodeid), nlookup);
	fuse_reply_none(req);
}

void names_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets)
{
	for (size_t i = 0; i < count; i++)
		node_forget(node_of(forgets[i].ino), forgets[i].nlookup);
	fuse_reply_none(req);
}

/* What was made belongs to whoever asked, as on a native file system. */
static int give_away(fuse_req_t req, int dir, const char *name, mode_t mode)
{
	const struct fuse_ctx *ctx = fuse_req_ctx(req);
	struct stat st;
	gid_t gid = ctx->gid;

	if (fstat(dir, &st) == 0 && st.st_mode & S_ISGID)
		gid = (gid_t)-1;
	if (fchownat(dir, name, ctx->uid, gid, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	/* chown took these away */
	if (S_ISREG(mode) && mode & (S_ISUID | S_ISGID))
		return fchmodat(dir, name, mode & 07777, 0) < 0 ? -errno : 0;
	return 0;
}

static void reply_made(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, int err)
{
	struct fuse_entry_param entry;

	if (!err)
		err = -give_away(req, node_of(parent)->fd, name, mode);
	if (!err)
		err = -node_lookup(node_of(parent), name, &entry);
	if (err)
		fuse_reply_err(req, err);
	else
		fuse_reply_entry(req, &entry);
}

void names_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev)
{
	int err = result(mknodat(node_of(parent)->fd, name, mode, rdev));

	reply_made(req, parent, name, mode, err);
}

void names_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
	reply_made(req, parent, name, S_IFDIR, result(mkdirat(node_of(parent)->fd, name, mode)));
}

void names_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name)
{
	reply_made(req, parent, name, S_IFLNK,
		   result(symlinkat(target, node_of(parent)->fd, name)));
}

void names_link(fuse_req_t req, fuse_ino_t nodeid, fuse_ino_t parent, const char *name)
{
	struct fuse_entry_param entry;
	char path[64];
	int err;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", node_of(nodeid)->fd);
	err = result(linkat(AT_FDCWD, path, node_of(parent)->fd, name, AT_SYMLINK_FOLLOW));
	if (!err)
		err = -node_lookup(node_of(parent), name, &entry);
	if (err)
		fuse_reply_err(req, err);
	else
		fuse_reply_entry(req, &entry);
}

void names_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	fuse_reply_err(req, result(unlinkat(node_of(parent)->fd, name, 0)));
}

void names_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	fuse_reply_err(req, result(unlinkat(node_of(parent)->fd, name, AT_REMOVEDIR)));
}

void names_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t newparent,
		  const char *newname, unsigned int flags)
{
	fuse_reply_err(req, result(renameat2(node_of(parent)->fd, name, node_of(newparent)->fd,
					     newname, flags)));
}

void names_readlink(fuse_req_t req, fuse_ino_t nodeid)
{
	char target[4097];
	ssize_t n = readlinkat(node_of(nodeid)->fd, "", target, sizeof(target) - 1);

	if (n < 0) {
		fuse_reply_err(req, errno);
		return;
	}
	target[n] = 0;
	fuse_reply_readlink(req, target);
}

void names_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
		  struct fuse_file_info *fi)
{
	struct node *dir = node_of(parent), *node;
	struct fuse_entry_param entry;
	int err;

	mode = (mode & 07777) | S_IFREG;
	err = result(mknodat(dir->fd, name, mode, 0));
	if (!err)
		err = -give_away(req, dir->fd, name, mode);
	else if (err == EEXIST && !(fi->flags & O_EXCL))
		err = 0;
	if (!err)
		err = -node_lookup(dir, name, &entry);
	if (err) {
		fuse_reply_err(req, err);
		return;
	}
	node = node_of(entry.ino);
	pthread_rwlock_wrlock(&node->lock);
	err = -content_open(node);
	pthread_rwlock_unlock(&node->lock);
	if (err) {
		node_forget(node, 1);
		fuse_reply_err(req, err);
	} else {
		/* Its regions are bound when it is written to: the kernel does not know it yet. */
		fuse_reply_create(req, &entry, fi);
	}
}

/* --- directories --- */

void names_opendir(fuse_req_t req, fuse_ino_t nodeid, struct fuse_file_info *fi)
{
	int fd = openat(node_of(nodeid)->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);

	if (!dir) {
		fuse_reply_err(req, errno);
		if (fd >= 0)
			close(fd);
		return;
	}
	fi->fh = (uintptr_t)dir;
	fuse_reply_open(req, fi);
}

/* The kernel asks for one part of a directory handle at a time. */
void names_readdir(fuse_req_t req, fuse_ino_t nodeid, size_t size, off_t offset,
		   struct fuse_file_info *fi)
{
	DIR *dir = (DIR *)(uintptr_t)fi->fh;
	char *reply = malloc(size);
	struct dirent *name;
	size_t used = 0;

	(void)nodeid;
	if (!reply) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	if (offset)
		seekdir(dir, offset);
	else
		rewinddir(dir);
	while ((name = readdir(dir))) {
		struct stat st = { .st_ino = name->d_ino, .st_mode = DTTOIF(name->d_type) };
		size_t n = fuse_add_direntry(req, reply + used, size - used, name->d_name, &st,
					     name->d_off);

		if (n > size - used)
			break;
		used += n;
	}
	fuse_reply_buf(req, reply, used);
	free(reply);
}

void names_releasedir(fuse_req_t req, fuse_ino_t nodeid, struct fuse_file_info *fi)
{
	(void)nodeid;
	closedir((DIR *)(uintptr_t)fi->fh);
	fuse_reply_err(req, 0);
}
