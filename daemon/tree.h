/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A tree of inodes and names, made once and then only read: what a mount
 * shows.
 *
 * Meant for millions of files: everything is in a few arrays, and refers to
 * other things by 32-bit numbers. An inode takes 48 bytes, a name 20 and its
 * characters.
 */
#ifndef REGIONFS_TREE_H
#define REGIONFS_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#define TREE_NONE UINT32_MAX /* no inode, no name */
#define TREE_ROOT 0 /* the inode of "/" */

/**
 * struct tree_inode - a file of any type
 * @size:		st_size
 * @mtime:		seconds
 * @mtime_ns:		and nanoseconds
 * @mode:		type and permissions
 * @uid:		owner
 * @gid:		group
 * @nlink:		names it has; directories: 2 + directories in it
 * @extra:		regular files: the mount's
 * @parent:		directories: the one above (shares @extra)
 * @data:		regular files: the mount's
 * @rdev:		devices
 * @target:		symbolic links: what tree_text() wants
 * @first:		directories: first name in it, in the order they came
 * @last:		directories: last name in it
 */
struct tree_inode {
	uint64_t size;
	int64_t mtime;
	uint32_t mtime_ns;
	uint32_t mode;
	uint32_t uid;
	uint32_t gid;
	uint32_t nlink;
	union {
		uint32_t extra;
		uint32_t parent;
	};
	union {
		uint64_t data;
		uint64_t rdev;
		uint64_t target;
		struct {
			uint32_t first;
			uint32_t last;
		};
	};
};

/**
 * struct tree_name - an entry of a directory
 * @text:	what tree_text() wants
 * @dir:	the directory
 * @inode:	what it names
 * @next:	next in the same directory
 * @chain:	next in the same hash slot
 */
struct tree_name {
	uint32_t text;
	uint32_t dir;
	uint32_t inode;
	uint32_t next;
	uint32_t chain;
};

/* Zero it, tree_init() it. */
struct tree {
	struct tree_inode *inodes;
	struct tree_name *names;
	char *text;
	uint32_t *slots;
	uint32_t nr_inodes, room_inodes;
	uint32_t nr_names, room_names;
	uint64_t text_size, room_text;
	uint32_t nr_slots; /* a power of two */
};

/* @root: attributes of the root, and of directories that nobody lists. 0 or -ENOMEM. */
int tree_init(struct tree *tree, const struct tree_inode *root);
void tree_free(struct tree *tree);

static inline struct tree_inode *tree_inode(const struct tree *tree, uint32_t inode)
{
	return &tree->inodes[inode];
}

static inline const struct tree_name *tree_name(const struct tree *tree, uint32_t name)
{
	return &tree->names[name];
}

static inline const char *tree_text(const struct tree *tree, uint64_t text)
{
	return tree->text + text;
}

/* The inode of @name in directory @dir, or TREE_NONE. */
uint32_t tree_lookup(const struct tree *tree, uint32_t dir, const char *name);

/* The inode that @path names, or TREE_NONE. As in tree_add(), the path is made safe first. */
uint32_t tree_resolve(const struct tree *tree, const char *path);

/*
 * Put @inode at @path, taking the place of what is there. A directory that is
 * there stays, and gets the attributes. Directories on the way are made, and
 * take the place of other things. Empty components, ".", and all up to the
 * last ".." are left out of the path. Returns the inode's number, or a
 * negative errno.
 */
int64_t tree_add(struct tree *tree, const char *path, const struct tree_inode *inode);

/* A path to @inode, for messages, to be freed; NULL if it has none or there is no memory. Slow. */
char *tree_path(const struct tree *tree, uint32_t inode);

/* Give @inode, no directory, another name. 0 or a negative errno. */
int tree_add_link(struct tree *tree, const char *path, uint32_t inode);

/* Store a string; what tree_text() wants, or a negative errno. */
int64_t tree_add_text(struct tree *tree, const char *text, size_t len);

/* Give back the memory that was kept for growing. */
void tree_done(struct tree *tree);

/* Arrays that grow: room for @need elements of @size bytes. 0 or -ENOMEM. */
int array_grow(void *array, uint64_t *room, uint64_t need, size_t size);

#endif /* REGIONFS_TREE_H */
