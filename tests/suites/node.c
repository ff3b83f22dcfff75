// SPDX-License-Identifier: GPL-2.0
/* The table of inodes. */

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "cutfs.h"

#define BUCKETS 4096

static struct node *buckets[BUCKETS];
static pthread_mutex_t table_lock = PTHREAD_MUTEX_INITIALIZER;

struct node *node_of(fuse_ino_t nodeid)
{
	return nodeid == FUSE_ROOT_ID ? &cutfs.root : (struct node *)(uintptr_t)nodeid;
}

fuse_ino_t node_id(struct node *node)
{
	return node == &cutfs.root ? FUSE_ROOT_ID : (uintptr_t)node;
}

static struct node **bucket_of(dev_t dev, ino_t ino)
{
	return &buckets[(dev * 31 + ino) % BUCKETS];
}

/* A file that is gone must be gone here too before its number is used again. */
/* Who binds all the time would keep those out who change what is bound. */
static void init_lock(pthread_rwlock_t *lock)
{
	pthread_rwlockattr_t attr;

	pthread_rwlockattr_init(&attr);
	pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	pthread_rwlock_init(lock, &attr);
	pthread_rwlockattr_destroy(&attr);
}

static struct node *find_or_make(int fd, const struct stat *st)
{
	struct node **bucket = bucket_of(st->st_dev, st->st_ino);
	struct node *node = *bucket;

	while (node && (node->dev != st->st_dev || node->ino != st->st_ino))
		node = node->next;
	if (node) {
		close(fd);
		return node;
	}
	node = calloc(1, sizeof(*node));
	if (!node)
		return NULL;
	init_lock(&node->lock);
	node->fd = fd;
	node->dev = st->st_dev;
	node->ino = st->st_ino;
	node->next = *bucket;
	*bucket = node;
	return node;
}

int node_lookup(struct node *parent, const char *name, struct fuse_entry_param *entry)
{
	int fd = openat(parent->fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC), err;
	struct node *node;
	struct stat st;

	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0) {
		err = -errno;
		close(fd);
		return err;
	}
	pthread_mutex_lock(&table_lock);
	node = find_or_make(fd, &st);
	if (node)
		node->nlookup++;
	pthread_mutex_unlock(&table_lock);
	if (!node) {
		close(fd);
		return -ENOMEM;
	}
	*entry = (struct fuse_entry_param){ .ino = node_id(node),
					    .attr_timeout = 1,
					    .entry_timeout = 1 };
	err = attr_of(node, &entry->attr);
	if (err)
		node_forget(node, 1);
	return err;
}

/* With table_lock held, so that nobody looks it up while its bytes are put back. */
static void node_drop(struct node *node)
{
	struct node **link;

	if (node->nlookup || node->users)
		return;
	link = bucket_of(node->dev, node->ino);
	while (*link != node)
		link = &(*link)->next;
	*link = node->next;
	if (node->content) {
		content_gather(node);
		content_free(node);
	}
	close(node->fd);
	pthread_rwlock_destroy(&node->lock);
	free(node);
}

void node_forget(struct node *node, uint64_t nlookup)
{
	if (node == &cutfs.root)
		return;
	pthread_mutex_lock(&table_lock);
	node->nlookup -= nlookup;
	/* The kernel dropped the inode, and has looked it up again since. */
	if (node->nlookup && node->content)
		fuse_regions_rebind(cutfs.conn, node_id(node));
	node_drop(node);
	pthread_mutex_unlock(&table_lock);
}

struct node *node_get_any(unsigned int start)
{
	struct node *node = NULL;

	pthread_mutex_lock(&table_lock);
	for (unsigned int i = 0; !node && i < BUCKETS; i++) {
		node = buckets[(start + i) % BUCKETS];
		while (node && !node->content)
			node = node->next;
	}
	if (node)
		node->users++;
	pthread_mutex_unlock(&table_lock);
	return node;
}

void node_put(struct node *node)
{
	pthread_mutex_lock(&table_lock);
	node->users--;
	node_drop(node);
	pthread_mutex_unlock(&table_lock);
}

void node_free_all(void)
{
	for (int i = 0; i < BUCKETS; i++) {
		while (buckets[i]) {
			buckets[i]->nlookup = 0;
			node_drop(buckets[i]);
		}
	}
}
