// SPDX-License-Identifier: GPL-2.0
/* Reading the headers of an archive into an index. */

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "fs.h"
#include "tar-reader.h"
#include "tar-scan.h"

#define BLOCK 512

/**
 * struct scan - a scan under way
 * @reader:	where from
 * @index:	where to
 */
struct scan {
	struct tar_reader reader;
	struct tar_index *index;
};

static int failed(struct scan *scan, int64_t err)
{
	return tar_reader_failed(&scan->reader, err);
}

static void left_out(struct scan *scan, const char *why)
{
	progress_end(&scan->reader.progress);
	fs_error("%s: '%.200s' is left out: %s", scan->reader.path, scan->reader.member, why);
}

static void link_left_out(struct scan *scan, const char *target, const char *why)
{
	char text[300];

	snprintf(text, sizeof(text), "it is a link to '%.200s', which %s", target, why);
	left_out(scan, text);
}

/* --- data --- */

static uint64_t padded(uint64_t size)
{
	return (size + BLOCK - 1) / BLOCK * BLOCK;
}

/* Segments are in order, apart from each other, and in the file; else -EBADMSG. */
static int add_segment(struct scan *scan, const struct tree_inode *inode,
		       const struct tar_segment *segment)
{
	const struct tar_index *index = scan->index;
	uint64_t end = 0;

	if (index->nr_segments > inode->data) {
		const struct tar_segment *last = &index->segments[index->nr_segments - 1];

		end = last->offset + last->length;
	}
	if (segment->offset < end || segment->offset > inode->size ||
	    segment->length > inode->size - segment->offset)
		return -EBADMSG;
	return tar_add_segment(scan->index, segment);
}

static int failed_segment(struct scan *scan, uint64_t place, int err)
{
	if (err != -EBADMSG)
		return failed(scan, err);
	return tar_reader_damaged(&scan->reader, place,
				  "the map of the sparse file overlaps itself, or its end");
}

/* GNU's sparse formats: the archive has the data without the holes. */
static int add_segments(struct scan *scan, struct archive_entry *entry, struct tree_inode *inode,
			uint64_t data)
{
	la_int64_t offset, length;
	int err;

	inode->data = scan->index->nr_segments;
	archive_entry_sparse_reset(entry);
	while (archive_entry_sparse_next(entry, &offset, &length) == ARCHIVE_OK) {
		struct tar_segment segment = {
			.offset = (uint64_t)offset,
			.length = (uint64_t)length,
			.data = data,
		};

		if (!length)
			continue;
		if (inode->extra == TAR_ALL_HOLE - 1)
			return -EOVERFLOW;
		err = add_segment(scan, inode, &segment);
		if (err)
			return err;
		inode->extra++;
		data += segment.length;
	}
	if (!inode->extra)
		inode->extra = TAR_ALL_HOLE;
	return 0;
}

static uint64_t sparse_bytes(struct archive_entry *entry)
{
	la_int64_t offset, length;
	uint64_t sum = 0;

	archive_entry_sparse_reset(entry);
	while (archive_entry_sparse_next(entry, &offset, &length) == ARCHIVE_OK)
		sum += (uint64_t)length;
	return sum;
}

/* Learn the segments by reading all of the data. */
static int walk_data(struct scan *scan, struct tree_inode *inode)
{
	struct tar_segment segment = { 0 };
	uint64_t offset, place;
	size_t size;
	int ret, err = 0;

	inode->data = scan->index->nr_segments;
	while ((ret = tar_reader_data(&scan->reader, &size, &offset, &place)) > 0 && !err) {
		if (segment.length && segment.offset + segment.length == offset &&
		    segment.data + segment.length == place) {
			segment.length += size;
			continue;
		}
		if (segment.length)
			err = add_segment(scan, inode, &segment);
		segment = (struct tar_segment){ offset, size, place };
	}
	if (ret < 0)
		return ret;
	if (!err && segment.length)
		err = add_segment(scan, inode, &segment);
	inode->extra = (uint32_t)(scan->index->nr_segments - inode->data);
	if (!inode->extra)
		inode->extra = TAR_ALL_HOLE;
	return err ? failed_segment(scan, segment.data, err) : 0;
}

/*
 * A sparse member of GNU's formats has no holes in the archive, one of
 * Solaris' has, as zeroes. How much there is says which it is; where it does
 * not, because there is no hole as big as a block, the data must be read.
 */
static int place_data(struct scan *scan, struct archive_entry *entry, struct tree_inode *inode)
{
	bool sparse = archive_entry_sparse_count(entry) > 0;
	uint64_t stored = sparse ? padded(sparse_bytes(entry)) : 0, size = padded(inode->size);
	struct tar_place place;
	int err;

	if (sparse && stored == size)
		return walk_data(scan, inode);
	if (tar_reader_find(&scan->reader, &place))
		return -1;
	inode->data = place.begin;
	if (place.end - place.begin == size && place.first - place.begin == place.first_offset)
		return 0;
	if (place.end - place.begin == stored && place.first == place.begin) {
		err = add_segments(scan, entry, inode, place.begin);
		return err ? failed_segment(scan, place.begin, err) : 0;
	}
	return tar_reader_damaged(&scan->reader, place.begin,
				  "%" PRIu64 " bytes of data do not make a file of %" PRIu64
				  " bytes",
				  place.end - place.begin, inode->size);
}

/* --- members --- */

static void fill_inode(struct archive_entry *entry, struct tree_inode *inode)
{
	*inode = (struct tree_inode){
		.mode = archive_entry_filetype(entry) | (archive_entry_perm(entry) & 07777),
		.uid = (uint32_t)archive_entry_uid(entry),
		.gid = (uint32_t)archive_entry_gid(entry),
		.mtime = archive_entry_mtime(entry),
		.mtime_ns = (uint32_t)archive_entry_mtime_nsec(entry),
	};
}

static int fill_regular(struct scan *scan, struct archive_entry *entry, struct tree_inode *inode)
{
	int64_t size = archive_entry_size(entry);

	if (size < 0)
		return tar_reader_damaged(&scan->reader, tar_reader_place(&scan->reader),
					  "the size is negative");
	inode->size = (uint64_t)size;
	return size ? place_data(scan, entry, inode) : 0;
}

static int fill_symlink(struct scan *scan, struct archive_entry *entry, struct tree_inode *inode)
{
	const char *target = archive_entry_symlink(entry);
	size_t len = target ? strlen(target) : 0;
	int64_t text = tree_add_text(&scan->index->tree, target ? target : "", len);

	if (text < 0)
		return failed(scan, text);
	inode->size = len;
	inode->target = (uint64_t)text;
	return 0;
}

static int add_hard_link(struct scan *scan, const char *target)
{
	struct tree *tree = &scan->index->tree;
	uint32_t inode = tree_resolve(tree, target);
	int err;

	if (inode == TREE_NONE) {
		/* It may yet come; then tar could not make this link, either. */
		link_left_out(scan, target, "does not come before it in the archive");
		return 0;
	}
	if (S_ISDIR(tree_inode(tree, inode)->mode)) {
		link_left_out(scan, target, "is a directory");
		return 0;
	}
	err = tree_add_link(tree, scan->reader.member, inode);
	return err && err != -EISDIR ? failed(scan, err) : 0;
}

/* A directory with such a name in it could not be listed. */
static bool has_long_name(const char *path)
{
	while (*path) {
		size_t len = strcspn(path, "/");

		if (len > TAR_NAME_MAX)
			return true;
		path += len;
		path += strspn(path, "/");
	}
	return false;
}

static int add_member(struct scan *scan, struct archive_entry *entry)
{
	const char *link = archive_entry_hardlink(entry);
	struct tree_inode inode;
	int64_t number;
	int err = 0;

	if (has_long_name(scan->reader.member)) {
		left_out(scan, "the name is too long");
		return 0;
	}
	if (link && !archive_entry_size(entry))
		return add_hard_link(scan, link);
	fill_inode(entry, &inode);
	switch (inode.mode & S_IFMT) {
	case S_IFDIR:
		break;
	case S_IFLNK:
		err = fill_symlink(scan, entry, &inode);
		break;
	case S_IFCHR:
	case S_IFBLK:
		inode.rdev =
			makedev(archive_entry_rdevmajor(entry), archive_entry_rdevminor(entry));
		break;
	case S_IFIFO:
	case S_IFSOCK:
		break;
	default: /* types that nobody knows are to be taken for regular files */
		inode.mode = S_IFREG | (inode.mode & 07777);
		err = fill_regular(scan, entry, &inode);
	}
	if (err)
		return err;
	number = tree_add(&scan->index->tree, scan->reader.member, &inode);
	/* The one thing that cannot be is a file for a root: leave it out. */
	return number < 0 && number != -EISDIR ? failed(scan, number) : 0;
}

static int scan_members(struct scan *scan)
{
	struct tar_reader *reader = &scan->reader;
	struct archive_entry *entry;

	for (uint64_t count = 1;; count++) {
		int ret = tar_reader_next(reader, &entry);

		if (ret <= 0)
			return ret;
		if (add_member(scan, entry))
			return -1;
		progress_show(&reader->progress, reader->pos, reader->size, count);
	}
}

int tar_scan(struct tar_index *index, int fd, const char *path)
{
	struct scan *scan = calloc(1, sizeof(*scan));
	int ret;

	if (!scan) {
		fs_error("%s: %s", path, strerror(ENOMEM));
		return -1;
	}
	scan->index = index;
	scan->reader.fd = fd;
	scan->reader.path = path;
	ret = tar_reader_open(&scan->reader);
	if (!ret)
		ret = scan_members(scan);
	tar_reader_close(&scan->reader);
	free(scan);
	return ret;
}
