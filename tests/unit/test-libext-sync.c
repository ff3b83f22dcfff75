// SPDX-License-Identifier: GPL-2.0
/* fuse_regions_fsync() of libfuse-regions: which backings it syncs, and when it returns. */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <fuse_lowlevel.h>

#include "fuse_regions.h"

#define NODE 5
#define RW (FUSE_REGION_READ | FUSE_REGION_WRITE)
#define FILES 2

static struct fuse_regions_conn *conn;
static int files[FILES];
static uint32_t ids[FILES];
static ino_t inodes[FILES];

/* The library finds these before libc's. */
#define interposed __attribute__((visibility("default")))

static atomic_uint syncs[FILES];
static atomic_bool hold_sync, hold_write;
static atomic_uint in_sync, in_write;
static atomic_int sync_err;
/* The first is told @err_once, and stays in the call while @hold_told. */
static atomic_int err_once;
static atomic_bool hold_told;

static void wait_while(atomic_bool *held)
{
	while (atomic_load(held))
		usleep(100);
}

static void wait_for(atomic_uint *count)
{
	for (int i = 0; i < 100000 && !atomic_load(count); i++)
		usleep(100);
	ck_assert_uint_gt(atomic_load(count), 0);
}

static int count_sync(int fd)
{
	int err = atomic_exchange(&err_once, 0);
	struct stat st;

	ck_assert_int_eq(fstat(fd, &st), 0);
	atomic_fetch_add(&in_sync, 1);
	wait_while(&hold_sync);
	if (err)
		wait_while(&hold_told);
	for (int i = 0; i < FILES; i++)
		if (inodes[i] == st.st_ino)
			atomic_fetch_add(&syncs[i], 1);
	errno = err ? err : atomic_load(&sync_err);
	return errno ? -1 : 0;
}

interposed int fsync(int fd)
{
	return count_sync(fd);
}

interposed int fdatasync(int fd)
{
	return count_sync(fd);
}

interposed ssize_t pwrite64(int fd, const void *data, size_t size, off64_t offset)
{
	atomic_fetch_add(&in_write, 1);
	wait_while(&hold_write);
	return syscall(SYS_pwrite64, fd, data, size, offset);
}

static void setup(void)
{
	const struct fuse_regions_config config = { .flags = FUSE_REGIONS_USER_MODE };

	ck_assert_int_eq(fuse_regions_open(NULL, &config, &conn), 0);
	for (int i = 0; i < FILES; i++) {
		struct stat st;
		int id;

		files[i] = memfd_create("test", MFD_CLOEXEC);
		ck_assert_int_eq(ftruncate(files[i], 100), 0);
		ck_assert_int_eq(fstat(files[i], &st), 0);
		inodes[i] = st.st_ino;
		id = fuse_regions_backing_open(conn, files[i]);
		ck_assert_int_gt(id, 0);
		ids[i] = (uint32_t)id;
		atomic_store(&syncs[i], 0);
	}
}

static void teardown(void)
{
	fuse_regions_close(conn);
	for (int i = 0; i < FILES; i++)
		close(files[i]);
}

static void bind_both(void)
{
	for (unsigned int i = 0; i < FILES; i++)
		ck_assert_int_eq(fuse_regions_bind(conn, NODE, i * 10, 10, ids[i], 0, RW), 0);
}

static void write_at(uint64_t offset)
{
	ck_assert_int_eq(fuse_regions_write(conn, NODE, "x", 1, (off_t)offset, NULL, NULL), 1);
}

static void expect_syncs(unsigned int first, unsigned int second)
{
	unsigned int got[] = { atomic_exchange(&syncs[0], 0), atomic_exchange(&syncs[1], 0) };

	ck_assert_uint_eq(got[0], first);
	ck_assert_uint_eq(got[1], second);
}

static void sync_now(void)
{
	ck_assert_int_eq(fuse_regions_fsync(conn, NODE, 0), 0);
}

START_TEST(what_was_written_once)
{
	sync_now(); /* nothing is known of the inode */
	bind_both();
	sync_now();
	expect_syncs(1, 1); /* as it may have been written before it was met */
	sync_now();
	expect_syncs(0, 0);
	write_at(0);
	write_at(1);
	sync_now();
	expect_syncs(1, 0);
	write_at(10);
	ck_assert_int_eq(fuse_regions_fsync(conn, NODE, 1), 0);
	expect_syncs(0, 1);
}
END_TEST

START_TEST(written_before_forget)
{
	bind_both();
	sync_now();
	write_at(10);
	fuse_regions_forget(conn, NODE);
	bind_both();
	expect_syncs(1, 1);
	sync_now();
	expect_syncs(1, 1);
}
END_TEST

START_TEST(failed_sync_is_tried_again)
{
	bind_both();
	sync_now();
	expect_syncs(1, 1);
	write_at(0);
	atomic_store(&sync_err, EIO);
	ck_assert_int_eq(fuse_regions_fsync(conn, NODE, 0), -EIO);
	atomic_store(&sync_err, 0);
	expect_syncs(1, 0);
	sync_now();
	expect_syncs(1, 0);
}
END_TEST

static void *writer(void *arg)
{
	(void)arg;
	write_at(0);
	return NULL;
}

static void *syncer(void *arg)
{
	(void)arg;
	sync_now();
	return NULL;
}

/* It is on a file system that can't be written, and whose files can't be synced. */
START_TEST(what_cannot_be_synced)
{
	bind_both();
	atomic_store(&sync_err, EINVAL);
	ck_assert_int_eq(fuse_regions_fsync(conn, NODE, 0), 0);
	atomic_store(&sync_err, 0);
	expect_syncs(1, 1);
	sync_now();
	expect_syncs(0, 0);
}
END_TEST

/* What was written is nowhere: ext4 has given up the disk, and made itself read-only. */
START_TEST(read_only_since_the_write)
{
	bind_both();
	sync_now();
	expect_syncs(1, 1);
	write_at(0);
	atomic_store(&sync_err, EROFS);
	ck_assert_int_eq(fuse_regions_fsync(conn, NODE, 0), -EROFS);
	expect_syncs(1, 0);
	ck_assert_int_eq(fuse_regions_fsync(conn, NODE, 0), -EROFS);
	atomic_store(&sync_err, 0);
}
END_TEST

static uint32_t register_read_only(void)
{
	char path[32];
	int fd, id;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", files[0]);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	id = fuse_regions_backing_open(conn, fd);
	ck_assert_int_gt(id, 0);
	close(fd);
	return (uint32_t)id;
}

/* On a file system that is always so */
START_TEST(read_only_all_the_time)
{
	ck_assert_int_eq(
		fuse_regions_bind(conn, NODE, 0, 10, register_read_only(), 0, FUSE_REGION_READ), 0);
	atomic_store(&sync_err, EROFS);
	sync_now();
	atomic_store(&sync_err, 0);
	expect_syncs(1, 0);
}
END_TEST

/* The server wrote to it by other means. */
START_TEST(what_is_noted)
{
	bind_both();
	sync_now();
	expect_syncs(1, 1);
	ck_assert_int_eq(fuse_regions_note_write(conn, NODE, ids[1]), 0);
	ck_assert_int_eq(fuse_regions_note_write(conn, NODE, ids[1]), 0);
	sync_now();
	expect_syncs(0, 1);
	sync_now();
	expect_syncs(0, 0);
	ck_assert_int_eq(fuse_regions_note_write(conn, NODE, 12345), -ENOENT);
	ck_assert_int_eq(fuse_regions_note_write(conn, NODE + 1, ids[1]), -ENOENT);
}
END_TEST

/* Registered for reading, it was written to by the server all the same. */
START_TEST(read_only_but_noted)
{
	uint32_t id = register_read_only();

	ck_assert_int_eq(fuse_regions_bind(conn, NODE, 0, 10, id, 0, FUSE_REGION_READ), 0);
	sync_now();
	ck_assert_int_eq(fuse_regions_note_write(conn, NODE, id), 0);
	atomic_store(&sync_err, EROFS);
	ck_assert_int_eq(fuse_regions_fsync(conn, NODE, 0), -EROFS);
	atomic_store(&sync_err, 0);
}
END_TEST

static int sync_node(uint64_t node)
{
	return fuse_regions_fsync(conn, node, 0);
}

/* Both inodes have written to the first backing since they were synced. */
static void write_through_two(uint64_t other)
{
	bind_both();
	ck_assert_int_eq(fuse_regions_bind(conn, other, 0, 10, ids[0], 20, RW), 0);
	ck_assert_int_eq(sync_node(other), 0);
	sync_now();
	write_at(0);
	ck_assert_int_eq(fuse_regions_write(conn, other, "x", 1, 0, NULL, NULL), 1);
}

/* The kernel tells a backing's one descriptor of an error once. */
START_TEST(each_inode_is_told_of_an_error)
{
	const uint64_t other = NODE + 1, late = NODE + 2;

	write_through_two(other);
	atomic_store(&sync_err, ENOSPC);
	ck_assert_int_eq(sync_node(NODE), -ENOSPC);
	atomic_store(&sync_err, 0);
	ck_assert_int_eq(sync_node(other), -ENOSPC);
	ck_assert_int_eq(sync_node(other), 0);
	sync_now();
	ck_assert_int_eq(fuse_regions_bind(conn, late, 0, 10, ids[0], 20, RW), 0);
	ck_assert_int_eq(sync_node(late), 0);
}
END_TEST

static void *failing_syncer(void *arg)
{
	const uint64_t *node = arg;

	ck_assert_int_eq(sync_node(*node), -ENOSPC);
	return NULL;
}

/* Also while the one that the kernel told has not said so yet */
START_TEST(two_inodes_are_told_at_once)
{
	uint64_t other = NODE + 1, node = NODE;
	pthread_t first, second;

	write_through_two(other);
	atomic_store(&in_sync, 0);
	atomic_store(&hold_told, true);
	atomic_store(&err_once, ENOSPC);
	ck_assert_int_eq(pthread_create(&first, NULL, failing_syncer, &node), 0);
	wait_for(&in_sync);
	ck_assert_int_eq(pthread_create(&second, NULL, failing_syncer, &other), 0);
	usleep(50000);
	atomic_store(&hold_told, false);
	pthread_join(first, NULL);
	pthread_join(second, NULL);
}
END_TEST

/* A write that is under way during an fsync is synced by it, or by the next. */
START_TEST(write_under_way)
{
	pthread_t write_thread, sync_thread;

	bind_both();
	sync_now();
	expect_syncs(1, 1);
	atomic_store(&in_write, 0);
	atomic_store(&hold_write, true);
	ck_assert_int_eq(pthread_create(&write_thread, NULL, writer, NULL), 0);
	wait_for(&in_write);
	ck_assert_int_eq(pthread_create(&sync_thread, NULL, syncer, NULL), 0);
	usleep(50000);
	atomic_exchange(&syncs[0], 0); /* the byte was not there yet */
	atomic_store(&hold_write, false);
	pthread_join(write_thread, NULL);
	pthread_join(sync_thread, NULL);
	sync_now();
	ck_assert_uint_eq(atomic_load(&syncs[0]), 1);
}
END_TEST

/* Nobody returns before what another took upon itself is synced. */
START_TEST(two_at_once)
{
	pthread_t first, second;

	bind_both();
	sync_now();
	write_at(0);
	atomic_store(&in_sync, 0);
	atomic_store(&hold_sync, true);
	ck_assert_int_eq(pthread_create(&first, NULL, syncer, NULL), 0);
	wait_for(&in_sync);
	expect_syncs(1, 1);
	ck_assert_int_eq(pthread_create(&second, NULL, syncer, NULL), 0);
	usleep(50000);
	ck_assert_int_ne(pthread_tryjoin_np(second, NULL), 0);
	atomic_store(&hold_sync, false);
	pthread_join(second, NULL);
	expect_syncs(1, 0);
	pthread_join(first, NULL);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("libext-sync");

	unit_tcase_with(suite, "sync", setup, teardown, what_was_written_once,
			written_before_forget, failed_sync_is_tried_again, what_cannot_be_synced,
			read_only_since_the_write, read_only_all_the_time, what_is_noted,
			read_only_but_noted, each_inode_is_told_of_an_error,
			two_inodes_are_told_at_once, write_under_way, two_at_once);
	return unit_run(suite);
}
