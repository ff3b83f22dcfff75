// SPDX-License-Identifier: GPL-2.0
/* The state of a file of a table: attributes, regions, gaps. */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tablefs.h"

struct table_node *table_node(const struct tablefs *tablefs, fuse_ino_t nodeid)
{
	const struct tree_inode *inode = tree_inode(&tablefs->tree, fs_number(nodeid));

	return S_ISREG(inode->mode) ? &tablefs->nodes[inode->data] : NULL;
}

/* --- attributes --- */

static bool is_later(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec != b->tv_sec ? a->tv_sec > b->tv_sec : a->tv_nsec > b->tv_nsec;
}

static bool is_same(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

void table_touch(struct table_node *node)
{
	clock_gettime(CLOCK_REALTIME, &node->mtime);
	node->ctime = node->mtime;
	node->mtime_set = false;
}

static struct timespec just_after(struct timespec time)
{
	if (++time.tv_nsec == 1000000000)
		time = (struct timespec){ .tv_sec = time.tv_sec + 1 };
	return time;
}

static void stamp(struct table_content *content)
{
	struct timespec now;

	pthread_mutex_lock(&content->lock);
	clock_gettime(CLOCK_REALTIME, &now);
	content->changed = is_later(&now, &content->changed) ? now : just_after(content->changed);
	pthread_mutex_unlock(&content->lock);
}

/* The first region that ends behind @offset */
static size_t first_region(const struct table_file *file, uint64_t offset)
{
	size_t low = 0, high = file->nr_regions;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (file->regions[middle].offset + file->regions[middle].length > offset)
			high = middle;
		else
			low = middle + 1;
	}
	return low;
}

void table_wrote(const struct tablefs *tablefs, fuse_ino_t nodeid,
		 const struct table_backing *backing)
{
	/* An inode that is not known is not bound yet: then its first fsync syncs all. */
	fuse_regions_note_write(tablefs->fs->conn, nodeid, (uint32_t)backing->id);
}

void table_changed(struct table_node *node, uint64_t offset, uint64_t length)
{
	const struct table_file *file = node->file;
	uint64_t end = offset + length;

	if (file->whole) {
		if (file->writable)
			stamp(node->backings[0]->content);
		return;
	}
	pthread_mutex_lock(&node->lock);
	/* Regions end where the file was once cut. */
	if (end > node->trim)
		end = node->trim;
	pthread_mutex_unlock(&node->lock);
	for (size_t i = first_region(file, offset);
	     i < file->nr_regions && file->regions[i].offset < end; i++)
		if (file->regions[i].writable)
			stamp(node->backings[i]->content);
}

/* Does it differ from what it was when we last looked? Moves @latest on. */
static bool has_changed(struct watched *watched, struct timespec *latest)
{
	struct table_content *content = watched->backing->content;
	struct timespec changed;
	struct stat st;
	bool news;

	pthread_mutex_lock(&content->lock);
	changed = content->changed;
	pthread_mutex_unlock(&content->lock);
	if (fstat(watched->backing->fd, &st) < 0)
		st.st_mtim = watched->mtime;
	news = !is_same(&changed, &watched->changed) || !is_same(&st.st_mtim, &watched->mtime);
	watched->changed = changed;
	watched->mtime = st.st_mtim;
	if (news && is_later(&changed, latest))
		*latest = changed;
	if (news && is_later(&st.st_mtim, latest))
		*latest = st.st_mtim;
	return news;
}

/*
 * The kernel writes to backings without telling us, and so may others. A
 * backing's mtime shows it: then the file has changed as well. That must show
 * in the file's mtime, for by that the kernel knows that its cache is old.
 */
void table_look_at_backings(struct table_node *node)
{
	struct timespec latest = { 0 };
	bool news = false;

	for (size_t i = 0; i < node->nr_watched; i++)
		news |= has_changed(&node->watched[i], &latest);
	if (!news)
		return;
	if (node->mtime_set || is_later(&latest, &node->mtime))
		node->mtime = latest;
	else
		node->mtime = just_after(node->mtime);
	if (is_later(&latest, &node->ctime))
		node->ctime = latest;
	node->mtime_set = false;
}

static uint64_t whole_size(const struct table_node *node)
{
	uint64_t skipped = node->file->regions[0].backing_offset;
	struct stat st;

	if (fstat(node->backings[0]->fd, &st) < 0 || (uint64_t)st.st_size < skipped)
		return 0;
	return (uint64_t)st.st_size - skipped;
}

uint64_t table_node_size(struct table_node *node)
{
	uint64_t size;

	if (node->file->whole)
		return whole_size(node);
	pthread_mutex_lock(&node->lock);
	size = node->size;
	pthread_mutex_unlock(&node->lock);
	return size;
}

/* Can this process, or the kernel for it, change what the file shows? */
static bool is_written(const struct table_node *node)
{
	bool written = node->file->writable;

	for (size_t i = 0; i < node->nr_watched && !written; i++)
		written = node->watched[i].backing->content->writable;
	return written;
}

double table_node_stat(struct tablefs *tablefs, struct table_node *node, struct stat *st)
{
	uint64_t size = table_node_size(node);

	(void)tablefs;
	pthread_mutex_lock(&node->lock);
	table_look_at_backings(node);
	st->st_mode = node->mode;
	st->st_uid = node->uid;
	st->st_gid = node->gid;
	st->st_size = (off_t)size;
	st->st_blocks = (blkcnt_t)((size + 511) / 512);
	st->st_atim = node->atime;
	st->st_mtim = node->mtime;
	st->st_ctim = node->ctime;
	pthread_mutex_unlock(&node->lock);
	/* What others do to a backing shows when the kernel next asks. */
	return is_written(node) ? 0.0 : 1.0;
}

double table_stat(struct fs *fs, uint32_t number, struct stat *st)
{
	struct table_node *node = table_node(fs->data, fs_nodeid(number));

	return node ? table_node_stat(fs->data, node, st) : FS_FOREVER;
}

/* --- regions --- */

static int register_backing(struct tablefs *tablefs, struct table_backing *backing)
{
	int id;

	if (backing->id > 0)
		return 0;
	id = fuse_regions_backing_open(tablefs->fs->conn, backing->fd);
	if (id < 0)
		return id;
	backing->id = id;
	return 0;
}

/* What a truncation cut off stays off. */
static int add_region(struct tablefs *tablefs, struct table_node *node, size_t i,
		      struct fuse_regions_txn *txn)
{
	const struct table_region *region = &node->file->regions[i];
	uint32_t flags = FUSE_REGION_READ | (region->writable ? FUSE_REGION_WRITE : 0);
	uint64_t length = region->length;
	int err;

	if (length && region->offset >= node->trim)
		return 0;
	if (length > node->trim - region->offset)
		length = node->trim - region->offset;
	err = register_backing(tablefs, node->backings[i]);
	if (!err)
		fuse_regions_txn_bind(txn, region->offset, length, (uint32_t)node->backings[i]->id,
				      region->backing_offset, flags);
	return err;
}

/* More regions than fit into a message go in several: the file is not open yet. */
static int bind_all(struct tablefs *tablefs, struct table_node *node, fuse_ino_t nodeid)
{
	struct fuse_regions_info info;
	size_t i = 0;
	int err = 0;

	fuse_regions_get_info(tablefs->fs->conn, &info);
	while (!err && i < node->file->nr_regions) {
		struct fuse_regions_txn *txn = fuse_regions_txn_begin(tablefs->fs->conn, nodeid);

		for (uint32_t n = 0;
		     !err && n < fs_max_records(&info) && i < node->file->nr_regions; n++, i++)
			err = add_region(tablefs, node, i, txn);
		if (err)
			fuse_regions_txn_abort(txn);
		else
			err = fuse_regions_txn_commit(txn);
	}
	return err;
}

int table_bind(struct tablefs *tablefs, struct table_node *node, fuse_ino_t nodeid)
{
	int err = 0;

	pthread_mutex_lock(&tablefs->bind_lock);
	if (!node->bound) {
		err = bind_all(tablefs, node, nodeid);
		if (err)
			fuse_regions_unbind(tablefs->fs->conn, nodeid, 0, 0);
		node->bound = !err;
	}
	pthread_mutex_unlock(&tablefs->bind_lock);
	return err;
}

/* With the inode the kernel dropped its regions. */
void table_forgotten(struct fs *fs, uint32_t number)
{
	struct tablefs *tablefs = fs->data;
	struct table_node *node = table_node(tablefs, fs_nodeid(number));

	if (!node)
		return;
	pthread_mutex_lock(&tablefs->bind_lock);
	if (node->bound && fs_is_known(fs, number)) {
		/* If it fails this process serves the regions, as ever. */
		fuse_regions_rebind(fs->conn, fs_nodeid(number));
	} else if (node->bound) {
		fuse_regions_forget(fs->conn, fs_nodeid(number));
		node->bound = false;
	}
	pthread_mutex_unlock(&tablefs->bind_lock);
}

/* --- gaps --- */

/* A file without a name, sparse, with the bytes where they are in the table's file */
static int make_gaps(struct tablefs *tablefs)
{
	char path[64];
	int fd = openat(tablefs->gap_dir, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	if (fd >= 0)
		return fd;
	/* Some file systems have no O_TMPFILE. */
	snprintf(path, sizeof(path), "/proc/self/fd/%d/regionfs-XXXXXX", tablefs->gap_dir);
	fd = mkostemp(path, O_CLOEXEC);
	if (fd < 0)
		return -errno;
	unlink(path);
	return fd;
}

int table_gaps(struct tablefs *tablefs, struct table_node *node)
{
	int fd;

	pthread_mutex_lock(&node->lock);
	if (node->gaps < 0) {
		fd = make_gaps(tablefs);
		if (fd >= 0)
			node->gaps = fd;
	} else {
		fd = node->gaps;
	}
	pthread_mutex_unlock(&node->lock);
	return fd;
}

int table_read_gap(void *ctx, uint64_t nodeid, uint64_t offset, struct fuse_buf *buf)
{
	struct table_node *node = ctx;

	(void)nodeid;
	pthread_mutex_lock(&node->lock);
	buf->fd = node->gaps;
	pthread_mutex_unlock(&node->lock);
	if (buf->fd < 0) {
		buf->size = 0; /* nothing was written: zeroes */
		return 0;
	}
	buf->flags = FUSE_BUF_IS_FD | FUSE_BUF_FD_SEEK;
	buf->pos = (off_t)offset;
	return 0;
}
