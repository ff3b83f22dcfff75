// SPDX-License-Identifier: GPL-2.0
/* The bytes of a file, wherever they are kept. */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <linux/falloc.h>

#include "cutfs.h"

#define min(a, b) ((a) < (b) ? (a) : (b))

static struct timespec mtime_of(int fd)
{
	struct stat st;

	return fstat(fd, &st) < 0 ? (struct timespec){ 0 } : st.st_mtim;
}

static bool is_same_time(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

static void set_mtime(int fd, const struct timespec *mtime)
{
	struct timespec times[2] = { { .tv_nsec = UTIME_OMIT }, *mtime };

	futimens(fd, times);
}

void content_sync_mtime(struct content *content)
{
	struct timespec latest = mtime_of(content->fd), now;
	bool changed = false;

	for (int i = 0; i < CHUNKS; i++) {
		now = mtime_of(content->chunks[i].fd);
		if (is_same_time(&now, &content->chunks[i].mtime))
			continue;
		content->chunks[i].mtime = now;
		if (now.tv_sec > latest.tv_sec ||
		    (now.tv_sec == latest.tv_sec && now.tv_nsec > latest.tv_nsec)) {
			latest = now;
			changed = true;
		}
	}
	if (changed)
		set_mtime(content->fd, &latest);
}

/* The piece of [@offset, @offset + @length) that is kept in one place: which, and where there */
static uint64_t piece(struct content *content, uint64_t offset, uint64_t length, int *fd,
		      uint64_t *pos)
{
	struct extent extent = layout_find(offset);

	*fd = content->fd;
	*pos = offset;
	if (extent.slot >= 0) {
		*fd = content->chunks[extent.chunk].fd;
		*pos = layout_backing_offset(content, &extent) + (offset - extent.offset);
	}
	return min(length, extent.offset + extent.length - offset);
}

ssize_t content_read(struct content *content, void *data, size_t size, uint64_t offset)
{
	size_t done = 0;

	while (done < size) {
		uint64_t pos, length;
		ssize_t n;
		int fd;

		length = piece(content, offset + done, size - done, &fd, &pos);
		n = pread(fd, (char *)data + done, length, (off_t)pos);
		if (n < 0)
			return -errno;
		memset((char *)data + done + n, 0, length - (size_t)n);
		done += length;
	}
	return (ssize_t)done;
}

ssize_t content_write(struct content *content, const void *data, size_t size, uint64_t offset)
{
	size_t done = 0;

	while (done < size) {
		uint64_t pos, length;
		ssize_t n;
		int fd;

		length = piece(content, offset + done, size - done, &fd, &pos);
		n = pwrite(fd, (const char *)data + done, length, (off_t)pos);
		if (n <= 0)
			return done ? (ssize_t)done : -errno;
		done += (size_t)n;
	}
	return (ssize_t)done;
}

int content_fallocate(struct content *content, int mode, uint64_t offset, uint64_t length)
{
	uint64_t end = offset + length;

	while (offset < end) {
		uint64_t pos, n;
		int fd;

		n = piece(content, offset, end - offset, &fd, &pos);
		if (fallocate(fd, mode | FALLOC_FL_KEEP_SIZE, (off_t)pos, (off_t)n) < 0)
			return -errno;
		offset += n;
	}
	return 0;
}

static int clear(struct content *content, uint64_t offset, uint64_t end)
{
	end = min(end, LAYOUT_END);
	if (offset >= end)
		return 0;
	return content_fallocate(content, FALLOC_FL_PUNCH_HOLE, offset, end - offset);
}

int content_truncate(struct node *node, uint64_t size)
{
	struct content *content = node->content;
	struct stat st;
	int err;

	err = fuse_regions_truncate(cutfs.conn, node_id(node), size);
	if (err)
		return err;
	if (fstat(content->fd, &st) < 0 || ftruncate(content->fd, (off_t)size) < 0)
		return -errno;
	if (size > (uint64_t)st.st_size)
		bind_end(node, (uint64_t)st.st_size);
	/* What is past the end must be gone, lest it show when the file grows. */
	return clear(content, size, (uint64_t)st.st_size);
}

/* --- from the directory's file to the chunks and back --- */

/* Copy the bytes that regions are for, where the directory's file has data. */
static int spread(struct content *content, uint64_t size)
{
	static __thread char data[65536];
	off_t offset = 0;

	size = min(size, LAYOUT_END);
	while ((offset = lseek(content->fd, offset, SEEK_DATA)) >= 0 && (uint64_t)offset < size) {
		struct extent extent = layout_find((uint64_t)offset);
		size_t n = min(size, extent.offset + extent.length) - (uint64_t)offset;

		n = min(n, sizeof(data));
		if (extent.slot >= 0) {
			ssize_t got = pread(content->fd, data, n, offset);

			if (got <= 0 ||
			    content_write(content, data, (size_t)got, (uint64_t)offset) != got)
				return -EIO;
			fallocate(content->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset,
				  got);
		}
		offset += (off_t)n;
	}
	return 0;
}

void content_gather(struct node *node)
{
	static __thread char data[65536];
	struct content *content = node->content;
	uint64_t offset = 0, size;
	struct timespec mtime;
	struct stat st;

	content_sync_mtime(content);
	if (fstat(content->fd, &st) < 0 || !st.st_nlink)
		return;
	mtime = st.st_mtim;
	size = min((uint64_t)st.st_size, LAYOUT_END);
	while (offset < size) {
		struct extent extent = layout_find(offset);
		size_t n = min(size, extent.offset + extent.length) - offset;
		struct stat chunk;

		n = min(n, sizeof(data));
		if (extent.slot >= 0 && fstat(content->chunks[extent.chunk].fd, &chunk) == 0 &&
		    chunk.st_blocks) {
			if (content_read(content, data, n, offset) != (ssize_t)n ||
			    pwrite(content->fd, data, n, (off_t)offset) != (ssize_t)n)
				fprintf(stderr, "cutfs: lost bytes of inode %ju\n",
					(uintmax_t)node->ino);
		}
		offset += n;
	}
	set_mtime(content->fd, &mtime);
}

static int open_chunk(struct chunk *chunk)
{
	chunk->fd = openat(cutfs.root.fd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (chunk->fd < 0)
		return -errno;
	/* Served without regions it would be no test of them. */
	chunk->id = fuse_regions_backing_open(cutfs.conn, chunk->fd);
	return chunk->id < 0 ? chunk->id : 0;
}

static void close_all(struct content *content)
{
	for (int i = 0; i < CHUNKS; i++) {
		if (content->chunks[i].id > 0)
			fuse_regions_backing_close(cutfs.conn, (uint32_t)content->chunks[i].id);
		if (content->chunks[i].fd >= 0)
			close(content->chunks[i].fd);
	}
	if (content->fd >= 0)
		close(content->fd);
	free(content->moved);
	free(content);
}

int content_open(struct node *node)
{
	struct content *content;
	char path[64];
	struct stat st;
	int err = 0;

	if (node->content)
		return 0;
	content = calloc(1, sizeof(*content));
	if (!content)
		return -ENOMEM;
	for (int i = 0; i < CHUNKS; i++)
		content->chunks[i].fd = -1;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", node->fd);
	content->fd = open(path, O_RDWR | O_CLOEXEC);
	if (content->fd < 0 || fstat(content->fd, &st) < 0)
		err = -errno;
	for (int i = 0; !err && i < CHUNKS; i++)
		err = open_chunk(&content->chunks[i]);
	if (!err && st.st_size) {
		err = spread(content, (uint64_t)st.st_size);
		set_mtime(content->fd, &st.st_mtim);
	}
	if (err) {
		close_all(content);
		return err;
	}
	for (int i = 0; i < CHUNKS; i++)
		content->chunks[i].mtime = mtime_of(content->chunks[i].fd);
	node->content = content;
	return 0;
}

void content_free(struct node *node)
{
	fuse_regions_forget(cutfs.conn, node_id(node));
	close_all(node->content);
	node->content = NULL;
}
