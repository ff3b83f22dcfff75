// SPDX-License-Identifier: GPL-2.0
/*
 * Reading the headers of an archive into an index, by libarchive.
 *
 * libarchive says what a member is, but not where its data are. The places
 * come from how far it has read: archive_filter_bytes() counts the bytes
 * consumed, so that after a member's headers it is where the data begin, and
 * after skipping the data it is where the next header begins. Each place is
 * checked against the first bytes that libarchive reads for the member, so
 * that a libarchive that counts otherwise is an error and not wrong data.
 */

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <archive.h>
#include <archive_entry.h>

#include "compressed.h"
#include "fs.h"
#include "progress.h"
#include "tar-scan.h"

#define BLOCK 512
#define READ_SIZE 65536
#define CHECK_SIZE 512 /* bytes of each member that are compared */

/**
 * struct scan - a scan under way
 * @index:	what it fills
 * @fd:		the archive
 * @path:	its name
 * @size:	its size
 * @pos:	where libarchive's next read is
 * @archive:	libarchive's state
 * @member:	name of the last member, for messages
 * @progress:	progress
 * @buffer:	for libarchive to read from
 */
struct scan {
	struct tar_index *index;
	int fd;
	const char *path;
	uint64_t size;
	uint64_t pos;
	struct archive *archive;
	char *member;
	struct progress progress;
	char buffer[READ_SIZE];
};

/* Names the archive, the place and the member. Returns -1. */
static int __attribute__((format(printf, 3, 4)))
damaged(struct scan *scan, uint64_t offset, const char *format, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, format);
	vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	progress_end(&scan->progress);
	if (scan->member)
		fs_error("%s: offset %" PRIu64 ", member '%s': %s", scan->path, offset,
			 scan->member, text);
	else
		fs_error("%s: offset %" PRIu64 ": %s", scan->path, offset, text);
	return -1;
}

static int failed(struct scan *scan, int64_t err)
{
	progress_end(&scan->progress);
	fs_error("%s: %s", scan->path,
		 err == -EOVERFLOW ? "the archive has more members than regionfs can number"
				   : strerror((int)-err));
	return -1;
}

/* --- libarchive's view of the file --- */

static la_ssize_t read_archive(struct archive *archive, void *data, const void **buffer)
{
	struct scan *scan = data;
	ssize_t n;

	do {
		n = pread(scan->fd, scan->buffer, sizeof(scan->buffer), (off_t)scan->pos);
	} while (n < 0 && errno == EINTR);
	if (n < 0) {
		archive_set_error(archive, errno, "%s", strerror(errno));
		return ARCHIVE_FATAL;
	}
	scan->pos += n;
	*buffer = scan->buffer;
	return n;
}

/* The data of big members are never read. */
static la_int64_t skip_archive(struct archive *archive, void *data, la_int64_t request)
{
	struct scan *scan = data;
	int64_t left = scan->pos < scan->size ? (int64_t)(scan->size - scan->pos) : 0;

	(void)archive;
	if (request > left)
		request = left;
	scan->pos += request;
	return request;
}

static uint64_t archive_place(struct scan *scan)
{
	return archive_filter_bytes(scan->archive, 0);
}

/* False: it does not look like a tar archive. */
static bool open_archive(struct scan *scan)
{
	archive_read_support_filter_none(scan->archive);
	archive_read_support_format_tar(scan->archive);
	archive_read_set_read_callback(scan->archive, read_archive);
	archive_read_set_skip_callback(scan->archive, skip_archive);
	archive_read_set_callback_data(scan->archive, scan);
	return archive_read_open1(scan->archive) == ARCHIVE_OK;
}

/* --- data --- */

/* Does the archive have @data at @place? */
static bool is_there(struct scan *scan, const void *data, size_t size, uint64_t place)
{
	char check[CHECK_SIZE];

	if (size > sizeof(check))
		size = sizeof(check);
	return pread(scan->fd, check, size, (off_t)place) == (ssize_t)size &&
	       !memcmp(check, data, size);
}

/**
 * struct place - where a member's data are
 * @begin:	first byte in the archive
 * @end:	the next header
 * @first:	the first byte that libarchive gives for the file
 * @first_offset:	and which byte of the file that is
 */
struct place {
	uint64_t begin;
	uint64_t end;
	uint64_t first;
	uint64_t first_offset;
};

/* The next run of data, which is not consumed yet. 1, 0 at the end, or -1. */
static int next_data(struct scan *scan, size_t *size, uint64_t *offset, uint64_t *place)
{
	const void *data = NULL;
	la_int64_t la_offset = 0;
	int ret;

	*size = 0;
	ret = archive_read_data_block(scan->archive, &data, size, &la_offset);
	*offset = la_offset;
	*place = archive_place(scan);
	if (ret == ARCHIVE_EOF)
		return 0;
	if (ret != ARCHIVE_OK && ret != ARCHIVE_WARN)
		return damaged(scan, *place, "%s", archive_error_string(scan->archive));
	if (!is_there(scan, data, *size, *place))
		return damaged(scan, *place, "libarchive reads other bytes than are there");
	return 1;
}

/* Leaves libarchive at the next header. */
static int find_data(struct scan *scan, struct place *place)
{
	size_t size;
	int ret;

	place->begin = archive_place(scan);
	ret = next_data(scan, &size, &place->first_offset, &place->first);
	if (ret < 0)
		return ret;
	if (archive_read_data_skip(scan->archive) != ARCHIVE_OK)
		return damaged(scan, place->begin, "%s", archive_error_string(scan->archive));
	place->end = archive_place(scan);
	if (ret == 0) { /* all hole */
		place->first = place->begin;
		place->first_offset = 0;
	}
	return 0;
}

static uint64_t padded(uint64_t size)
{
	return (size + BLOCK - 1) / BLOCK * BLOCK;
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
			.offset = offset,
			.length = length,
			.data = data,
		};

		if (!length)
			continue;
		if (inode->extra == TAR_ALL_HOLE - 1)
			return -EOVERFLOW;
		err = tar_add_segment(scan->index, &segment);
		if (err)
			return err;
		inode->extra++;
		data += length;
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
		sum += length;
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
	while ((ret = next_data(scan, &size, &offset, &place)) > 0 && !err) {
		if (segment.length && segment.offset + segment.length == offset &&
		    segment.data + segment.length == place) {
			segment.length += size;
			continue;
		}
		if (segment.length)
			err = tar_add_segment(scan->index, &segment);
		segment = (struct tar_segment){ offset, size, place };
	}
	if (ret < 0)
		return ret;
	if (!err && segment.length)
		err = tar_add_segment(scan->index, &segment);
	inode->extra = (uint32_t)(scan->index->nr_segments - inode->data);
	return err ? failed(scan, err) : 0;
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
	struct place place;
	int err;

	if (sparse && stored == size)
		return walk_data(scan, inode);
	if (find_data(scan, &place))
		return -1;
	inode->data = place.begin;
	if (place.end - place.begin == size && place.first - place.begin == place.first_offset)
		return 0;
	if (place.end - place.begin == stored && place.first == place.begin) {
		err = add_segments(scan, entry, inode, place.begin);
		return err ? failed(scan, err) : 0;
	}
	return damaged(scan, place.begin,
		       "%" PRIu64 " bytes of data do not make a file of %" PRIu64 " bytes",
		       place.end - place.begin, inode->size);
}

/* --- members --- */

/* A member's name as the archive has it: libarchive's may be lossy, but is never NULL for us. */
static const char *text_or_empty(const char *text)
{
	return text ? text : "";
}

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
		return damaged(scan, archive_place(scan), "the size is negative");
	inode->size = size;
	return size ? place_data(scan, entry, inode) : 0;
}

static int fill_symlink(struct scan *scan, struct archive_entry *entry, struct tree_inode *inode)
{
	const char *target = text_or_empty(archive_entry_symlink(entry));
	int64_t text = tree_add_text(&scan->index->tree, target, strlen(target));

	if (text < 0)
		return failed(scan, text);
	inode->size = strlen(target);
	inode->target = text;
	return 0;
}

static int add_hard_link(struct scan *scan, const char *name, const char *target)
{
	uint32_t inode = tree_resolve(&scan->index->tree, target);
	int err;

	if (inode == TREE_NONE || S_ISDIR(tree_inode(&scan->index->tree, inode)->mode)) {
		progress_end(&scan->progress);
		fs_error("%s: '%s' is left out: it is a link to '%s', which is not in the archive",
			 scan->path, name, target);
		return 0;
	}
	err = tree_add_link(&scan->index->tree, name, inode);
	return err && err != -EISDIR ? failed(scan, err) : 0;
}

static int add_member(struct scan *scan, struct archive_entry *entry)
{
	const char *link = archive_entry_hardlink(entry);
	struct tree_inode inode;
	int64_t number;
	int err = 0;

	if (link && !archive_entry_size(entry))
		return add_hard_link(scan, scan->member, link);
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
	number = tree_add(&scan->index->tree, scan->member, &inode);
	/* The one thing that cannot be is a file for a root: leave it out. */
	return number < 0 && number != -EISDIR ? failed(scan, number) : 0;
}

static int set_member(struct scan *scan, struct archive_entry *entry)
{
	free(scan->member);
	scan->member = strdup(text_or_empty(archive_entry_pathname(entry)));
	return scan->member ? 0 : failed(scan, -ENOMEM);
}

static int not_a_tar(struct scan *scan)
{
	struct compressed compressed;

	if (!scan->size)
		fs_error("%s is empty; regionfs needs a tar archive", scan->path);
	else if (!compressed_detect(scan->fd, &compressed))
		fs_error("%s is not a tar archive: %s", scan->path,
			 archive_error_string(scan->archive));
	else if (compressed.command)
		fs_error("%s is compressed (%s); regionfs needs a plain tar: %s it first",
			 scan->path, compressed.name, compressed.command);
	else
		fs_error("%s is a %s archive; regionfs needs a plain tar", scan->path,
			 compressed.name);
	return -1;
}

static int scan_members(struct scan *scan)
{
	struct archive_entry *entry;

	for (uint64_t count = 0;; count++) {
		uint64_t place = archive_place(scan);
		int ret = archive_read_next_header(scan->archive, &entry);

		if (ret == ARCHIVE_EOF)
			return 0;
		if (ret != ARCHIVE_OK && ret != ARCHIVE_WARN)
			return damaged(scan, place, "%s%s",
				       scan->member ? "the header after it: " : "",
				       archive_error_string(scan->archive));
		if (set_member(scan, entry) || add_member(scan, entry))
			return -1;
		progress_show(&scan->progress, scan->pos, scan->size, count + 1);
	}
}

static int run_scan(struct scan *scan)
{
	struct stat st;

	if (fstat(scan->fd, &st) < 0)
		return failed(scan, -errno);
	scan->size = st.st_size;
	return open_archive(scan) ? scan_members(scan) : not_a_tar(scan);
}

int tar_scan(struct tar_index *index, int fd, const char *path)
{
	struct scan *scan = calloc(1, sizeof(*scan));
	int ret;

	if (!scan)
		return -1;
	scan->index = index;
	scan->fd = fd;
	scan->path = path;
	scan->archive = archive_read_new();
	progress_begin(&scan->progress, path);
	ret = scan->archive ? run_scan(scan) : failed(scan, -ENOMEM);
	progress_end(&scan->progress);
	archive_read_free(scan->archive);
	free(scan->member);
	free(scan);
	return ret;
}
