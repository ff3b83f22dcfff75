// SPDX-License-Identifier: GPL-2.0
/* The handlers that only need the tree: see fs-tree.h. */

#include <errno.h>
#include <stdlib.h>

#include "dirbuf.h"
#include "fs-tree.h"

int fs_tree_start(struct fs_tree *fs_tree)
{
	fs_tree->lookups = calloc(fs_tree->tree->nr_inodes, sizeof(*fs_tree->lookups));
	return fs_tree->lookups ? 0 : -ENOMEM;
}

void fs_tree_free(struct fs_tree *fs_tree)
{
	free(fs_tree->lookups);
}

static struct fs *fs_of(fuse_req_t req)
{
	return fuse_req_userdata(req);
}

/* --- attributes --- */

static double fill_stat(struct fs *fs, uint32_t number, struct stat *st)
{
	const struct tree_inode *inode = tree_inode(fs->tree->tree, number);

	*st = (struct stat){
		.st_ino = fs_nodeid(number),
		.st_mode = inode->mode,
		.st_nlink = inode->nlink,
		.st_uid = inode->uid,
		.st_gid = inode->gid,
		.st_size = (off_t)inode->size,
		.st_blksize = 4096,
		.st_mtim = { inode->mtime, inode->mtime_ns },
	};
	st->st_atim = st->st_mtim;
	st->st_ctim = st->st_mtim;
	if (S_ISCHR(inode->mode) || S_ISBLK(inode->mode))
		st->st_rdev = inode->rdev;
	return fs->tree->stat ? fs->tree->stat(fs, number, st) : FS_FOREVER;
}

/* An entry that the kernel will count as a lookup when it gets it */
static void fill_entry(struct fs *fs, uint32_t number, struct fuse_entry_param *entry)
{
	*entry = (struct fuse_entry_param){
		.ino = fs_nodeid(number),
		.entry_timeout = FS_FOREVER,
	};
	entry->attr_timeout = fill_stat(fs, number, &entry->attr);
}

static void forget(struct fs *fs, fuse_ino_t nodeid, uint64_t count)
{
	uint32_t number = fs_number(nodeid);

	atomic_fetch_sub(&fs->tree->lookups[number], count);
	if (fs->tree->forgotten)
		fs->tree->forgotten(fs, number);
}

void fs_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct fs *fs = fs_of(req);
	uint32_t number = tree_lookup(fs->tree->tree, fs_number(parent), name);
	struct fuse_entry_param entry = { .entry_timeout = FS_FOREVER };

	/* Without an inode it says that there never will be one. */
	if (number != TREE_NONE) {
		fill_entry(fs, number, &entry);
		atomic_fetch_add(&fs->tree->lookups[number], 1);
	}
	/* It was interrupted, and never learned of the inode. */
	if (fuse_reply_entry(req, &entry) == -ENOENT && number != TREE_NONE)
		forget(fs, entry.ino, 1);
}

void fs_forget(fuse_req_t req, fuse_ino_t nodeid, uint64_t count)
{
	forget(fs_of(req), nodeid, count);
	fuse_reply_none(req);
}

void fs_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets)
{
	for (size_t i = 0; i < count; i++)
		forget(fs_of(req), forgets[i].ino, forgets[i].nlookup);
	fuse_reply_none(req);
}

void fs_getattr(fuse_req_t req, fuse_ino_t nodeid, struct fuse_file_info *fi)
{
	struct stat st;
	double timeout = fill_stat(fs_of(req), fs_number(nodeid), &st);

	(void)fi;
	fuse_reply_attr(req, &st, timeout);
}

void fs_readlink(fuse_req_t req, fuse_ino_t nodeid)
{
	const struct tree *tree = fs_of(req)->tree->tree;

	fuse_reply_readlink(req, tree_text(tree, tree_inode(tree, fs_number(nodeid))->target));
}

/* --- directories --- */

void fs_opendir(fuse_req_t req, fuse_ino_t nodeid, struct fuse_file_info *fi)
{
	(void)nodeid;
	fi->cache_readdir = 1;
	fi->keep_cache = 1;
	fuse_reply_open(req, fi);
}

static bool add_entry(struct fs *fs, struct dirbuf *buf, const struct tree_name *name, off_t next)
{
	struct fuse_entry_param entry;

	fill_entry(fs, name->inode, &entry);
	if (!dirbuf_add(buf, tree_text(fs->tree->tree, name->text), &entry, next))
		return false;
	if (buf->plus)
		atomic_fetch_add(&fs->tree->lookups[name->inode], 1);
	return true;
}

/*
 * Offsets: 1 follows ".", 2 follows "..", n + 3 follows the name with number n.
 * Anyone may seek to any other: there is nothing behind those.
 */
static uint32_t name_at(const struct tree *tree, uint32_t dir, off_t offset)
{
	const struct tree_name *name;

	if (offset < 3)
		return tree_inode(tree, dir)->first;
	if (offset - 3 >= (off_t)tree->nr_names)
		return TREE_NONE;
	name = tree_name(tree, (uint32_t)(offset - 3));
	return name->dir == dir ? name->next : TREE_NONE;
}

static void read_directory(fuse_req_t req, fuse_ino_t nodeid, size_t size, off_t offset, bool plus)
{
	struct fs *fs = fs_of(req);
	const struct tree *tree = fs->tree->tree;
	const struct tree_inode *dir = tree_inode(tree, fs_number(nodeid));
	uint32_t i = name_at(tree, fs_number(nodeid), offset);
	struct dirbuf buf;

	if (!dirbuf_begin(&buf, req, size, plus))
		return;
	if (offset == 0 && dirbuf_add_dot(&buf, ".", nodeid, 1))
		offset = 1;
	if (offset == 1 && dirbuf_add_dot(&buf, "..", fs_nodeid(dir->parent), 2))
		offset = 2;
	while (offset >= 2 && i != TREE_NONE) {
		const struct tree_name *name = tree_name(tree, i);

		if (!add_entry(fs, &buf, name, (off_t)i + 3))
			break;
		i = name->next;
	}
	dirbuf_reply(&buf);
}

void fs_readdir(fuse_req_t req, fuse_ino_t nodeid, size_t size, off_t offset,
		struct fuse_file_info *fi)
{
	(void)fi;
	read_directory(req, nodeid, size, offset, false);
}

void fs_readdirplus(fuse_req_t req, fuse_ino_t nodeid, size_t size, off_t offset,
		    struct fuse_file_info *fi)
{
	(void)fi;
	read_directory(req, nodeid, size, offset, true);
}
