/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The machine around a test: file systems to put backings on, commands,
 * privileges, threads that do something until told to stop.
 */
#ifndef FR_TEST_WORLD_H
#define FR_TEST_WORLD_H

#include <pthread.h>

#include "check.h"

/* A fresh directory below /tmp, removed at the end */
const char *temp_dir(void);

/* Mount a tmpfs, or an ext4 of @mib MiB on a loop device; returns where. Gone at the end. */
const char *mount_tmpfs(void);
const char *mount_ext4(unsigned int mib);

/* An XFS, as small as can be; skips the test where there is none */
const char *mount_xfs(void);

/* An ext4 that the first test to ask for it makes, and that stays: making one takes seconds */
const char *shared_ext4(void);

/* An overlay of a fresh upper layer over @lower; NULL with errno when the kernel refuses it */
const char *mount_overlay(const char *lower);

/* Unmount; must succeed within seconds, as the last references may be dropped by workers */
void unmount_soon(const char *where);

/* Run a shell command: its exit status. Its output goes to the log. */
__attribute__((format(printf, 1, 2))) int sh(const char *fmt, ...);

/* Become an ordinary user without any capability, keeping descriptors */
void become_nobody(void);

/*
 * Put this process into a memory control group of its own until the test ends,
 * with @limit ("memory.max=16M", NULL: none) for it; skips the test where there
 * are none. Returns the group's directory.
 */
const char *join_memory_group(const char *limit);

/* Drop one capability from this process (CAP_*) */
void drop_capability(int cap);

/* Drop clean page cache, dentries and inodes */
void drop_caches(void);

/*
 * Load and unload the module by the system calls that rmmod and insmod use: 0
 * or -errno. The file is $FUSE_REGIONS_KO; without it the test is skipped. It
 * is loaded again when the test ends.
 */
int module_load(void);
int module_unload(void);

/* Threads that call @fn(@arg) again and again until threads_stop() or *@stop */
#define MAX_THREADS 16

struct threads {
	int nr;
	bool stop;
	uint64_t rounds; /* calls made by all of them */
	void (*fn)(void *arg);
	void *arg;
	pthread_t tid[MAX_THREADS];
};

void threads_start(struct threads *t, int nr, void (*fn)(void *arg), void *arg);

/* Wait until they made @more calls */
void threads_progress(struct threads *t, uint64_t more);

void threads_stop(struct threads *t);

#endif
