/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The handlers that only need the tree: names, directories, attributes, and
 * whatever would make or take away a name (fs-names.c). They are the same for
 * all mounts, and need no lock, because a tree never changes.
 *
 * FUSE's nodeids are the tree's inode numbers plus 1, so that the root is 1.
 */
#ifndef REGIONFS_FS_TREE_H
#define REGIONFS_FS_TREE_H

#include "fs.h"
#include "tree.h"

/**
 * struct fs_tree - what a mount shows
 * @tree:	the tree
 * @lookups:	for each inode, how often the kernel knows it
 * @stat:	fill in what the tree does not know, or knows wrong; may be NULL.
 *		Returns for how long, in seconds, the attributes are good
 * @forgotten:	the kernel dropped an inode. It may have looked it up again
 *		since, which fs_is_known() tells; may be NULL
 * @names_error: the errno for who wants to change names
 */
struct fs_tree {
	struct tree *tree;
	_Atomic uint64_t *lookups;
	double (*stat)(struct fs *fs, uint32_t number, struct stat *st);
	void (*forgotten)(struct fs *fs, uint32_t number);
	int names_error;
};

static inline uint32_t fs_number(fuse_ino_t nodeid)
{
	return (uint32_t)(nodeid - FUSE_ROOT_ID);
}

static inline fuse_ino_t fs_nodeid(uint32_t number)
{
	return (fuse_ino_t)number + FUSE_ROOT_ID;
}

/*
 * Does the kernel know the inode? A mount that asks under the lock under which
 * its OPEN handler binds can not drop regions that a later OPEN counts on.
 */
static inline bool fs_is_known(const struct fs *fs, uint32_t number)
{
	return atomic_load(&fs->tree->lookups[number]) > 0;
}

/* The tree is complete. 0 or -ENOMEM. */
int fs_tree_start(struct fs_tree *fs_tree);
void fs_tree_free(struct fs_tree *fs_tree);

void fs_lookup(fuse_req_t req, fuse_ino_t parent, const char *name);
void fs_forget(fuse_req_t req, fuse_ino_t nodeid, uint64_t count);
void fs_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets);
void fs_getattr(fuse_req_t req, fuse_ino_t nodeid, struct fuse_file_info *fi);
void fs_readlink(fuse_req_t req, fuse_ino_t nodeid);
void fs_opendir(fuse_req_t req, fuse_ino_t nodeid, struct fuse_file_info *fi);
void fs_readdir(fuse_req_t req, fuse_ino_t nodeid, size_t size, off_t offset,
		struct fuse_file_info *fi);
void fs_readdirplus(fuse_req_t req, fuse_ino_t nodeid, size_t size, off_t offset,
		    struct fuse_file_info *fi);

/* fs-names.c */
void fs_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev);
void fs_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode);
void fs_unlink(fuse_req_t req, fuse_ino_t parent, const char *name);
void fs_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name);
void fs_link(fuse_req_t req, fuse_ino_t nodeid, fuse_ino_t parent, const char *name);
void fs_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t new_parent,
	       const char *new_name, unsigned int flags);

#define FS_TREE_HANDLERS                                                             \
	.lookup = fs_lookup, .forget = fs_forget, .forget_multi = fs_forget_multi,   \
	.getattr = fs_getattr, .readlink = fs_readlink, .opendir = fs_opendir,       \
	.readdir = fs_readdir, .readdirplus = fs_readdirplus, .mknod = fs_mknod,     \
	.mkdir = fs_mkdir, .unlink = fs_unlink, .rmdir = fs_unlink, .link = fs_link, \
	.symlink = fs_symlink, .rename = fs_rename

#endif /* REGIONFS_FS_TREE_H */
