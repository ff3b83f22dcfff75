/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What is in an archive: a tree of inodes and names, and where each file's
 * bytes are. Made by tar-scan.c, then only read.
 *
 * Meant for millions of members: everything is in a few arrays, and refers to
 * other things by 32-bit numbers. An inode takes 48 bytes, a name 20 and its
 * characters.
 */
#ifndef REGIONFS_TAR_INDEX_H
#define REGIONFS_TAR_INDEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#define TAR_NONE UINT32_MAX /* no inode, no name */
#define TAR_ROOT 0 /* the inode of "/" */
#define TAR_ALL_HOLE UINT32_MAX /* nr_segments of a file without any data */

/**
 * struct tar_segment - bytes of a sparse member that the archive holds
 * @offset:	first byte in the file
 * @length:	number of bytes, never 0
 * @data:	first byte in the archive
 */
struct tar_segment {
	uint64_t offset;
	uint64_t length;
	uint64_t data;
};

/**
 * struct tar_inode - a file of any type
 * @size:		st_size
 * @mtime:		seconds
 * @mtime_ns:		and nanoseconds
 * @mode:		type and permissions
 * @uid:		owner
 * @gid:		group
 * @nlink:		names it has; directories: 2 + directories in it
 * @nr_segments:	regular files: 0: all bytes are at @data
 * @data:		regular files: first byte in the archive
 * @first_segment:	sparse files: number of the first
 * @rdev:		devices
 * @target:		symbolic links: what tar_text() wants
 * @first:		directories: first name in it, in the archive's order
 * @last:		directories: last name in it
 * @parent:		directories: the one above (shares @nr_segments)
 */
struct tar_inode {
	uint64_t size;
	int64_t mtime;
	uint32_t mtime_ns;
	uint32_t mode;
	uint32_t uid;
	uint32_t gid;
	uint32_t nlink;
	union {
		uint32_t nr_segments;
		uint32_t parent;
	};
	union {
		uint64_t data;
		uint64_t first_segment;
		uint64_t rdev;
		uint64_t target;
		struct {
			uint32_t first;
			uint32_t last;
		};
	};
};

/**
 * struct tar_name - an entry of a directory
 * @text:	what tar_text() wants
 * @dir:	the directory
 * @inode:	what it names
 * @next:	next in the same directory
 * @chain:	next in the same hash slot
 */
struct tar_name {
	uint32_t text;
	uint32_t dir;
	uint32_t inode;
	uint32_t next;
	uint32_t chain;
};

/* Zero it, tar_index_init() it. */
struct tar_index {
	struct tar_inode *inodes;
	struct tar_name *names;
	struct tar_segment *segments;
	char *text;
	uint32_t *slots;
	uint32_t nr_inodes, room_inodes;
	uint32_t nr_names, room_names;
	uint64_t nr_segments, room_segments;
	uint64_t text_size, room_text;
	uint32_t nr_slots; /* a power of two */
};

/* @root: attributes of directories that the archive does not list. 0 or -ENOMEM. */
int tar_index_init(struct tar_index *index, const struct tar_inode *root);
void tar_index_free(struct tar_index *index);

static inline struct tar_inode *tar_inode(const struct tar_index *index, uint32_t inode)
{
	return &index->inodes[inode];
}

static inline const struct tar_name *tar_name(const struct tar_index *index, uint32_t name)
{
	return &index->names[name];
}

static inline const char *tar_text(const struct tar_index *index, uint64_t text)
{
	return index->text + text;
}

/* The inode of @name in directory @dir, or TAR_NONE. */
uint32_t tar_lookup(const struct tar_index *index, uint32_t dir, const char *name);

/* The inode that @path names, or TAR_NONE. As in tar_add(), the path is made safe first. */
uint32_t tar_resolve(const struct tar_index *index, const char *path);

/*
 * Put @inode at @path, taking the place of what is there. A directory that is
 * there stays, and gets the attributes. Directories on the way are made, and
 * take the place of other things. Empty components, ".", and all up to the
 * last ".." are left out of the path. Returns the inode's number, or a
 * negative errno.
 */
int64_t tar_add(struct tar_index *index, const char *path, const struct tar_inode *inode);

/* Give @inode, no directory, another name. 0 or a negative errno. */
int tar_add_link(struct tar_index *index, const char *path, uint32_t inode);

/* Store a string; what tar_text() wants, or a negative errno. */
int64_t tar_add_text(struct tar_index *index, const char *text, size_t len);

/* Store a segment of the member that is being made. 0 or -ENOMEM. */
int tar_add_segment(struct tar_index *index, const struct tar_segment *segment);

/* Give back the memory that was kept for growing. */
void tar_index_done(struct tar_index *index);

/* The data of a regular file, as segments in order. */
uint32_t tar_segment_count(const struct tar_inode *inode);
struct tar_segment tar_segment(const struct tar_index *index, const struct tar_inode *inode,
			       uint32_t i);

/* The first segment that ends after @offset; tar_segment_count() when there is none. */
uint32_t tar_segment_after(const struct tar_index *index, const struct tar_inode *inode,
			   uint64_t offset);

/* Bytes that the archive holds of a file. */
uint64_t tar_stored(const struct tar_index *index, const struct tar_inode *inode);

#endif /* REGIONFS_TAR_INDEX_H */
