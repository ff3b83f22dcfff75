// SPDX-License-Identifier: GPL-2.0
/* From the text of a table to open backings and a tree of files. */

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <search.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "tablefs.h"

/* --- the text --- */

static void report(void *ctx, unsigned int line, const char *message)
{
	const struct tablefs *tablefs = ctx;

	fs_error("%s:%u: %s", tablefs->fs->source, line, message);
}

static char *read_all(int fd, size_t *len)
{
	size_t room = 65536;
	char *text = malloc(room);
	ssize_t n = 1;

	for (*len = 0; text && n; *len += (size_t)n) {
		if (*len == room) {
			char *bigger = realloc(text, room *= 2);

			if (!bigger)
				break;
			text = bigger;
		}
		n = read(fd, text + *len, room - *len);
		if (n < 0)
			break;
	}
	if (text && !n)
		return text;
	free(text);
	return NULL;
}

/* Then no backing need be, either. */
static void make_read_only(struct table *table)
{
	for (size_t i = 0; i < table->nr_files; i++) {
		struct table_file *file = &table->files[i];

		file->writable = false;
		for (size_t j = 0; j < file->nr_regions; j++)
			file->regions[j].writable = false;
	}
}

static int parse(struct tablefs *tablefs)
{
	const char *path = tablefs->fs->source;
	int fd = open(path, O_RDONLY | O_CLOEXEC), ret = -1;
	char *text = NULL;
	size_t len;

	if (fd >= 0)
		text = read_all(fd, &len);
	if (!text) {
		fs_error("%s: %s", path, strerror(errno));
	} else {
		ret = table_parse(&tablefs->table, text, len, report, tablefs);
		if (ret == -ENOMEM)
			fs_error("%s: out of memory", path);
	}
	if (tablefs->fs->read_only)
		make_read_only(&tablefs->table);
	free(text);
	if (fd >= 0)
		close(fd);
	return ret ? FS_FAILED : FS_OK;
}

/* --- backings --- */

static int compare_backings(const void *a, const void *b)
{
	const struct table_backing *x = a, *y = b;

	if (x->writable != y->writable)
		return x->writable - y->writable;
	return strcmp(x->path, y->path);
}

static int compare_contents(const void *a, const void *b)
{
	const struct table_content *x = a, *y = b;

	if (x->dev != y->dev)
		return x->dev < y->dev ? -1 : 1;
	return x->ino < y->ino ? -1 : x->ino > y->ino;
}

/* NULL when there is no memory */
static struct table_content *get_content(struct tablefs *tablefs, const struct stat *st)
{
	struct table_content key = {
		.lock = PTHREAD_MUTEX_INITIALIZER,
		.dev = st->st_dev,
		.ino = st->st_ino,
	};
	struct table_content **found = tfind(&key, &tablefs->contents, compare_contents), *new;

	if (found)
		return *found;
	new = malloc(sizeof(*new));
	if (!new)
		return NULL;
	*new = key;
	if (tsearch(new, &tablefs->contents, compare_contents))
		return new;
	free(new);
	return NULL;
}

/* A message for the line, unless it is fine. */
static bool is_regular(struct tablefs *tablefs, const struct table_region *region, int fd,
		       struct stat *st)
{
	if (fd < 0 || fstat(fd, st) < 0) {
		fs_error("%s:%u: backing '%s': %s", tablefs->fs->source, region->line,
			 region->backing, strerror(errno));
		return false;
	}
	if (S_ISREG(st->st_mode))
		return true;
	fs_error("%s:%u: backing '%s' is %s", tablefs->fs->source, region->line, region->backing,
		 S_ISDIR(st->st_mode) ? "a directory" : "not a regular file");
	return false;
}

/* 0, also after a message that it cannot be used; or -ENOMEM. */
static int open_backing(struct tablefs *tablefs, int dir, const struct table_region *region,
			struct table_backing *backing)
{
	int flags = region->writable ? O_RDWR : O_RDONLY;
	struct stat st;

	/* A FIFO must not keep us waiting. */
	backing->fd = openat(dir, region->backing, flags | O_CLOEXEC | O_NONBLOCK);
	if (!is_regular(tablefs, region, backing->fd, &st)) {
		if (backing->fd >= 0)
			close(backing->fd);
		backing->fd = -1;
		return 0;
	}
	backing->content = get_content(tablefs, &st);
	if (!backing->content)
		return -ENOMEM;
	backing->content->writable |= region->writable;
	return fs_lend(tablefs->fs, backing->fd, backing->path);
}

static void free_backing(void *arg)
{
	struct table_backing *backing = arg;

	if (backing->fd >= 0)
		close(backing->fd);
	free(backing);
}

/* NULL after a message. A backing that cannot be opened is kept, to be complained of once. */
static struct table_backing *get_backing(struct tablefs *tablefs, int dir,
					 const struct table_region *region)
{
	struct table_backing key = {
		.path = region->backing,
		.writable = region->writable,
		.fd = -1,
	};
	struct table_backing **found = tfind(&key, &tablefs->backings, compare_backings), *new;

	if (found)
		return *found;
	new = malloc(sizeof(*new));
	if (new)
		*new = key;
	if (new && !open_backing(tablefs, dir, region, new) &&
	    tsearch(new, &tablefs->backings, compare_backings))
		return new;
	fs_error("%s: out of memory", tablefs->fs->source);
	if (new)
		free_backing(new);
	return NULL;
}

static void watch(struct table_node *node, struct table_backing *backing)
{
	struct stat st;

	for (size_t i = 0; i < node->nr_watched; i++)
		if (node->watched[i].backing == backing)
			return;
	node->watched[node->nr_watched].backing = backing;
	if (fstat(backing->fd, &st) == 0)
		node->watched[node->nr_watched].mtime = st.st_mtim;
	node->nr_watched++;
}

/* A message for the line, unless the backing can have all bytes of the region. */
static bool can_reach(struct tablefs *tablefs, const struct table_region *region, int fd)
{
	/* Nobody reads or writes where the descriptor stands. */
	if (!region->length ||
	    lseek(fd, (off_t)(region->backing_offset + region->length), SEEK_SET) >= 0)
		return true;
	fs_error("%s:%u: backing '%s': BACKING_OFFSET and LENGTH end past the largest file of its "
		 "file system",
		 tablefs->fs->source, region->line, region->backing);
	return false;
}

static bool load_node(struct tablefs *tablefs, struct table_node *node, int dir)
{
	const struct table_file *file = node->file;
	size_t nr = file->nr_regions ? file->nr_regions : 1;
	bool ok = true;

	node->backings = calloc(nr, sizeof(struct table_backing *));
	node->watched = calloc(nr, sizeof(*node->watched));
	if (!node->backings || !node->watched) {
		fs_error("%s: out of memory", tablefs->fs->source);
		return false;
	}
	for (size_t i = 0; i < file->nr_regions; i++) {
		struct table_backing *backing = get_backing(tablefs, dir, &file->regions[i]);

		node->backings[i] = backing;
		if (backing && backing->fd >= 0 &&
		    can_reach(tablefs, &file->regions[i], backing->fd))
			watch(node, backing);
		else
			ok = false;
	}
	return ok;
}

/* --- the tree --- */

static struct timespec latest_change(const struct table_node *node, struct timespec at_least)
{
	for (size_t i = 0; i < node->nr_watched; i++) {
		const struct timespec *mtime = &node->watched[i].mtime;

		if (mtime->tv_sec > at_least.tv_sec ||
		    (mtime->tv_sec == at_least.tv_sec && mtime->tv_nsec > at_least.tv_nsec))
			at_least = *mtime;
	}
	return at_least;
}

static int add_to_tree(struct tablefs *tablefs, size_t number)
{
	struct table_node *node = &tablefs->nodes[number];
	const struct tree_inode inode = { .mode = S_IFREG, .data = number };
	int64_t ret = tree_add(&tablefs->tree, node->file->name, &inode);

	return ret < 0 ? (int)ret : 0;
}

static void init_node(struct table_node *node, const struct table_file *file)
{
	*node = (struct table_node){
		.lock = PTHREAD_MUTEX_INITIALIZER,
		.file = file,
		.size = file->size,
		.trim = UINT64_MAX,
		.mode = S_IFREG | (file->writable ? 0644 : 0444),
		.uid = getuid(),
		.gid = getgid(),
		.gaps = -1,
	};
}

static int make_nodes(struct tablefs *tablefs, int dir, struct timespec now)
{
	bool ok = true;

	tablefs->nodes = calloc(tablefs->table.nr_files + 1, sizeof(*tablefs->nodes));
	if (!tablefs->nodes)
		return -ENOMEM;
	for (size_t i = 0; i < tablefs->table.nr_files; i++) {
		struct table_node *node = &tablefs->nodes[i];
		int err;

		init_node(node, &tablefs->table.files[i]);
		ok &= load_node(tablefs, node, dir);
		node->mtime = latest_change(node, now);
		node->atime = node->mtime;
		node->ctime = node->mtime;
		err = add_to_tree(tablefs, i);
		if (err)
			return err;
	}
	return ok ? 0 : -EINVAL;
}

static int make_tree(struct tablefs *tablefs, int dir)
{
	struct stat st = { 0 };
	struct tree_inode root;
	int err;

	/* Without backings of its own, a file is as old as the table. */
	stat(tablefs->fs->source, &st);
	root = (struct tree_inode){
		.mode = S_IFDIR | 0755,
		.uid = getuid(),
		.gid = getgid(),
		.mtime = st.st_mtim.tv_sec,
		.mtime_ns = (uint32_t)st.st_mtim.tv_nsec,
	};
	err = tree_init(&tablefs->tree, &root);
	if (!err)
		err = make_nodes(tablefs, dir, st.st_mtim);
	if (!err)
		tree_done(&tablefs->tree);
	if (err && err != -EINVAL)
		fs_error("%s: %s", tablefs->fs->source, strerror(-err));
	return err ? FS_FAILED : FS_OK;
}

/* Backings are relative to the table. */
static int open_table_dir(const char *path)
{
	char *copy = strdup(path);
	int dir = copy ? open(dirname(copy), O_PATH | O_DIRECTORY | O_CLOEXEC) : -1;

	free(copy);
	return dir;
}

static const char *gap_dir_name(void)
{
	const char *dir = getenv("TMPDIR");

	return dir && dir[0] ? dir : "/tmp";
}

static void count_backing(const void *node, VISIT visit, void *count)
{
	(void)node;
	*(size_t *)count += visit == postorder || visit == leaf;
}

/* In these a gap, or what is behind the end, is kept in a file of its own. */
static size_t count_files_with_gaps(const struct table *table)
{
	size_t nr = 0;

	for (size_t i = 0; i < table->nr_files; i++)
		nr += table->files[i].writable && !table->files[i].whole;
	return nr;
}

/*
 * Each backing has one descriptor here, and the library another. A thread may have a
 * clone of the session's, and two pipes, one of libfuse's. Some are for all else.
 */
static int check_descriptors(struct tablefs *tablefs)
{
	unsigned int threads = tablefs->fs->max_threads ? tablefs->fs->max_threads : 10;
	size_t nr = 0, gaps = count_files_with_gaps(&tablefs->table), wanted;
	struct rlimit limit;

	if (tablefs->fs->single_thread)
		threads = 1;
	twalk_r(tablefs->backings, count_backing, &nr);
	wanted = 2 * nr + gaps + 5 * (size_t)threads + 14;
	if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || wanted <= limit.rlim_cur)
		return FS_OK;
	fs_error("%s: %zu backings, %zu files with gaps to write to and %u threads take "
		 "%zu descriptors, and there may be %ju (ulimit -Hn)",
		 tablefs->fs->source, nr, gaps, threads, wanted, (uintmax_t)limit.rlim_cur);
	return FS_FAILED;
}

int table_load(struct tablefs *tablefs)
{
	int ret = parse(tablefs), dir, err;

	/* Mistakes in the text are no reason not to tell of others. */
	dir = open_table_dir(tablefs->fs->source);
	err = dir < 0 ? errno : 0;
	tablefs->gap_dir = open(gap_dir_name(), O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (!err && tablefs->gap_dir < 0)
		err = errno;
	if (dir >= 0 && make_tree(tablefs, dir))
		ret = FS_FAILED;
	if (!ret && (dir < 0 || tablefs->gap_dir < 0)) {
		fs_error("%s: %s", dir < 0 ? tablefs->fs->source : gap_dir_name(), strerror(err));
		ret = FS_FAILED;
	}
	if (dir >= 0)
		close(dir);
	return ret ? ret : check_descriptors(tablefs);
}

void table_unload(struct tablefs *tablefs)
{
	for (size_t i = 0; tablefs->nodes && i < tablefs->table.nr_files; i++) {
		struct table_node *node = &tablefs->nodes[i];

		free(node->backings);
		free(node->watched);
		if (node->file && node->gaps >= 0)
			close(node->gaps);
	}
	free(tablefs->nodes);
	tdestroy(tablefs->backings, free_backing);
	tdestroy(tablefs->contents, free);
	tree_free(&tablefs->tree);
	table_free(&tablefs->table);
	if (tablefs->gap_dir >= 0)
		close(tablefs->gap_dir);
}
