// SPDX-License-Identifier: GPL-2.0
/* libfuse-regions without the module: connections, backings, changes of maps. */
#include "unit.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <linux/fs.h>

#include "fuse_regions.h"

#define NODE 5

static struct fuse_regions_conn *conn;
static int backing;

static int make_file(size_t size)
{
	int fd = memfd_create("test", MFD_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(ftruncate(fd, (off_t)size), 0);
	return fd;
}

static void setup(void)
{
	const struct fuse_regions_config config = { .flags = FUSE_REGIONS_USER_MODE };
	int fd = make_file(1000);

	ck_assert_int_eq(fuse_regions_open(NULL, &config, &conn), 0);
	backing = fuse_regions_backing_open(conn, fd);
	ck_assert_int_gt(backing, 0);
	close(fd);
}

static void teardown(void)
{
	fuse_regions_close(conn);
}

static int bind_read(uint64_t offset, uint64_t length)
{
	return fuse_regions_bind(conn, NODE, offset, length, (uint32_t)backing, 0,
				 FUSE_REGION_READ);
}

static void expect_extent(uint64_t offset, uint64_t length, uint64_t backing_offset, uint32_t flags)
{
	struct fuse_regions_extent extent;

	ck_assert_int_eq(fuse_regions_find(conn, NODE, offset, &extent), 0);
	ck_assert_uint_eq(extent.offset, offset);
	ck_assert_uint_eq(extent.length, length);
	ck_assert_uint_eq(extent.backing_offset, backing_offset);
	ck_assert_uint_eq(extent.flags, flags);
	ck_assert_uint_eq(extent.backing, flags ? (uint32_t)backing : 0);
}

#define TO_THE_END(offset) ((uint64_t)INT64_MAX - (offset))

static uint64_t nr_regions(void)
{
	struct fuse_regions_info info;

	fuse_regions_get_info(conn, &info);
	return info.regions;
}

START_TEST(open_arguments)
{
	struct fuse_regions_config config = { .flags = 2 };
	struct fuse_regions_conn *other;

	ck_assert_int_eq(fuse_regions_open(NULL, NULL, &other), -EINVAL);
	ck_assert_int_eq(fuse_regions_open(NULL, &config, &other), -EINVAL);
	config = (struct fuse_regions_config){ .flags = 1, .reserved = { 0, 0, 0, 0, 0, 1 } };
	ck_assert_int_eq(fuse_regions_open(NULL, &config, &other), -EINVAL);
	fuse_regions_close(NULL);
}
END_TEST

START_TEST(user_mode)
{
	struct fuse_regions_info info;

	ck_assert_int_eq(fuse_regions_mode(conn), FUSE_REGIONS_MODE_USER);
	ck_assert_str_eq(fuse_regions_reason(conn), "asked to");
	fuse_regions_get_info(conn, &info);
	ck_assert_uint_eq(info.mode, FUSE_REGIONS_MODE_USER);
	ck_assert_uint_eq(info.abi_version, 0);
	ck_assert_uint_eq(info.features, 0);
	ck_assert_uint_gt(info.max_records, 0);
	ck_assert_uint_eq(info.backings, 1);
	ck_assert_uint_eq(info.inodes, 0);
}
END_TEST

START_TEST(backing_errors)
{
	int fds[2], fd;

	ck_assert_int_eq(fuse_regions_backing_open(conn, -1), -EBADF);
	ck_assert_int_eq(fuse_regions_backing_open(conn, 9999), -EBADF);
	fd = open("/", O_RDONLY);
	ck_assert_int_eq(fuse_regions_backing_open(conn, fd), -EISDIR);
	close(fd);
	fd = open("/proc/self/exe", O_PATH);
	ck_assert_int_eq(fuse_regions_backing_open(conn, fd), -EBADF);
	close(fd);
	ck_assert_int_eq(pipe(fds), 0);
	ck_assert_int_eq(fuse_regions_backing_open(conn, fds[0]), -EINVAL);
	close(fds[0]);
	close(fds[1]);
	ck_assert_int_eq(fuse_regions_backing_close(conn, 77), -ENOENT);
	ck_assert_int_eq(fuse_regions_backing_close(conn, (uint32_t)backing), 0);
	ck_assert_int_eq(fuse_regions_backing_close(conn, (uint32_t)backing), -ENOENT);
	ck_assert_int_eq(bind_read(0, 10), -ENOENT);
}
END_TEST

/* Regions keep a closed backing's file. */
START_TEST(closed_backing)
{
	char byte = 1;

	ck_assert_int_eq(bind_read(0, 10), 0);
	ck_assert_int_eq(fuse_regions_backing_close(conn, (uint32_t)backing), 0);
	ck_assert_int_eq(fuse_regions_read(conn, NODE, &byte, 1, 3, 10, NULL, NULL), 1);
	ck_assert_int_eq(byte, 0);
	expect_extent(0, 10, 0, FUSE_REGION_READ);
}
END_TEST

START_TEST(access_of_the_backing)
{
	char path[] = "/tmp/test-libext-XXXXXX";
	int fd = mkstemp(path), id;

	ck_assert_int_ge(fd, 0);
	close(fd);
	fd = open(path, O_RDONLY);
	id = fuse_regions_backing_open(conn, fd);
	close(fd);
	ck_assert_int_gt(id, 0);
	ck_assert_int_eq(fuse_regions_bind(conn, NODE, 0, 1, (uint32_t)id, 0,
					   FUSE_REGION_READ | FUSE_REGION_WRITE),
			 -EBADF);
	ck_assert_int_eq(fuse_regions_bind(conn, NODE, 0, 1, (uint32_t)id, 0, FUSE_REGION_READ), 0);
	fd = open(path, O_WRONLY);
	id = fuse_regions_backing_open(conn, fd);
	close(fd);
	ck_assert_int_eq(fuse_regions_bind(conn, NODE, 1, 1, (uint32_t)id, 0, FUSE_REGION_READ),
			 -EBADF);
	ck_assert_int_eq(fuse_regions_bind(conn, NODE, 1, 1, (uint32_t)id, 0, FUSE_REGION_WRITE),
			 0);
	unlink(path);
}
END_TEST

/* What can only be appended to can be lent for reading, as the kernel has it. */
START_TEST(append_only_backing)
{
	char path[] = "/var/tmp/libext-XXXXXX";
	int fd = mkostemp(path, O_APPEND | O_CLOEXEC), flags = FS_APPEND_FL, id;

	ck_assert_int_ge(fd, 0);
	if (ioctl(fd, FS_IOC_SETFLAGS, &flags) == 0) {
		id = fuse_regions_backing_open(conn, fd);
		ck_assert_int_gt(id, 0);
		ck_assert_int_eq(
			fuse_regions_bind(conn, NODE, 0, 10, (uint32_t)id, 0, FUSE_REGION_READ), 0);
		ck_assert_int_eq(fuse_regions_bind(conn, NODE, 20, 10, (uint32_t)id, 0,
						   FUSE_REGION_WRITE),
				 -EBADF);
		flags = 0;
		ck_assert_int_eq(ioctl(fd, FS_IOC_SETFLAGS, &flags), 0);
	}
	close(fd);
	unlink(path);
}
END_TEST

START_TEST(bind_errors)
{
	const uint32_t id = (uint32_t)backing, read = FUSE_REGION_READ;

	ck_assert_int_eq(bind_read(10, 10), 0);
	ck_assert_int_eq(bind_read(19, 1), -EEXIST);
	ck_assert_int_eq(bind_read(0, 0), -EEXIST);
	ck_assert_int_eq(bind_read(5, 0), -EINVAL);
	ck_assert_int_eq(bind_read(1, INT64_MAX), -EINVAL);
	ck_assert_int_eq(fuse_regions_bind(conn, NODE, 30, 1, id, INT64_MAX, read), -EINVAL);
	ck_assert_int_eq(fuse_regions_bind(conn, NODE, 30, 1, id, 0, 0), -EINVAL);
	ck_assert_int_eq(fuse_regions_bind(conn, NODE, 30, 1, id, 0, read | 1U << 9), -EINVAL);
	ck_assert_int_eq(fuse_regions_bind(conn, NODE, 30, 1, id + 1, 0, read), -ENOENT);
	ck_assert_int_eq(fuse_regions_unbind(conn, NODE, 5, 0), -EINVAL);
	ck_assert_int_eq(fuse_regions_apply(conn, NODE, NULL, 0), -EINVAL);
	ck_assert_uint_eq(nr_regions(), 1);
	expect_extent(0, 10, 0, 0);
	expect_extent(10, 10, 0, read);
	expect_extent(20, TO_THE_END(20), 0, 0);
	ck_assert_int_eq(fuse_regions_find(conn, NODE, INT64_MAX, NULL), -EINVAL);
}
END_TEST

/* Nothing is kept for an inode that has no regions, so that it need not be forgotten. */
START_TEST(failure_leaves_no_inode)
{
	struct fuse_regions_info info;

	ck_assert_int_eq(bind_read(5, 0), -EINVAL);
	ck_assert_int_eq(fuse_regions_bind(conn, NODE, 0, 1, 99, 0, FUSE_REGION_READ), -ENOENT);
	fuse_regions_get_info(conn, &info);
	ck_assert_uint_eq(info.inodes, 0);
}
END_TEST

START_TEST(all_or_nothing)
{
	const struct fuse_passthrough_region records[] = {
		{ .offset = 0, .length = 5, .flags = FUSE_REGION_UNBIND },
		{ .offset = 100, .length = 5, .backing_id = (uint32_t)backing, .flags = 1 },
		{ .offset = 104, .length = 5, .backing_id = (uint32_t)backing, .flags = 1 },
	};

	ck_assert_int_eq(bind_read(0, 10), 0);
	ck_assert_int_eq(fuse_regions_apply(conn, NODE, records, 3), -EEXIST);
	expect_extent(0, 10, 0, FUSE_REGION_READ);
	expect_extent(10, TO_THE_END(10), 0, 0);
	ck_assert_int_eq(fuse_regions_apply(conn, NODE, records, 2), 0);
	expect_extent(5, 5, 5, FUSE_REGION_READ);
	expect_extent(100, 5, 0, FUSE_REGION_READ);
	ck_assert_uint_eq(nr_regions(), 2);
}
END_TEST

START_TEST(transactions)
{
	struct fuse_regions_txn *txn = fuse_regions_txn_begin(conn, NODE);

	for (uint64_t i = 0; i < 1000; i++)
		fuse_regions_txn_bind(txn, i * 10, 5, (uint32_t)backing, i, FUSE_REGION_READ);
	fuse_regions_txn_unbind(txn, 12, 1);
	ck_assert_uint_eq(nr_regions(), 0);
	ck_assert_int_eq(fuse_regions_txn_commit(txn), 0);
	ck_assert_uint_eq(nr_regions(), 1001);
	expect_extent(10, 2, 1, FUSE_REGION_READ);
	expect_extent(13, 2, 4, FUSE_REGION_READ);

	txn = fuse_regions_txn_begin(conn, NODE);
	ck_assert_int_eq(fuse_regions_txn_commit(txn), 0); /* empty */
	txn = fuse_regions_txn_begin(conn, NODE);
	fuse_regions_txn_unbind(txn, 0, 0);
	fuse_regions_txn_abort(txn);
	ck_assert_uint_eq(nr_regions(), 1001);

	ck_assert_int_eq(fuse_regions_txn_commit(NULL), -ENOMEM);
	fuse_regions_txn_abort(NULL);
	fuse_regions_txn_unbind(NULL, 0, 0);
}
END_TEST

START_TEST(too_many_records)
{
	struct fuse_regions_txn *txn = fuse_regions_txn_begin(conn, NODE);
	struct fuse_regions_info info;

	fuse_regions_get_info(conn, &info);
	for (uint64_t i = 0; i <= info.max_records; i++)
		fuse_regions_txn_bind(txn, i, 1, (uint32_t)backing, i, FUSE_REGION_READ);
	ck_assert_int_eq(fuse_regions_txn_commit(txn), -E2BIG);
	ck_assert_uint_eq(nr_regions(), 0);
}
END_TEST

START_TEST(truncation)
{
	ck_assert_int_eq(fuse_regions_truncate(conn, NODE, 0), 0); /* unknown inode */
	ck_assert_int_eq(bind_read(10, 10), 0);
	ck_assert_int_eq(bind_read(30, 10), 0);
	ck_assert_int_eq(fuse_regions_truncate(conn, NODE, 40), 0);
	ck_assert_uint_eq(nr_regions(), 2);
	ck_assert_int_eq(fuse_regions_truncate(conn, NODE, 15), 0);
	ck_assert_uint_eq(nr_regions(), 1);
	expect_extent(10, 5, 0, FUSE_REGION_READ);
	ck_assert_int_eq(fuse_regions_truncate(conn, NODE, 0), 0);
	ck_assert_uint_eq(nr_regions(), 0);
}
END_TEST

START_TEST(truncation_of_a_whole_file)
{
	ck_assert_int_eq(bind_read(0, 0), 0);
	ck_assert_int_eq(fuse_regions_truncate(conn, NODE, 5), 0);
	expect_extent(0, TO_THE_END(0), 0, FUSE_REGION_READ);
	/* One that was cut in two stays where it says where the file ends. */
	ck_assert_int_eq(fuse_regions_bind(conn, NODE, 100, 10, (uint32_t)backing, 0,
					   FUSE_REGION_WRITE | FUSE_REGION_REPLACE),
			 0);
	ck_assert_int_eq(fuse_regions_truncate(conn, NODE, 50), 0);
	expect_extent(0, 50, 0, FUSE_REGION_READ);
	expect_extent(50, 60, 0, 0);
	expect_extent(110, TO_THE_END(110), 110, FUSE_REGION_READ);
}
END_TEST

START_TEST(forgetting)
{
	fuse_regions_forget(conn, NODE);
	ck_assert_int_eq(bind_read(0, 10), 0);
	ck_assert_int_eq(fuse_regions_rebind(conn, NODE), 0);
	fuse_regions_forget(conn, NODE);
	ck_assert_uint_eq(nr_regions(), 0);
	expect_extent(0, TO_THE_END(0), 0, 0);
	ck_assert_int_eq(bind_read(0, 10), 0);
}
END_TEST

START_TEST(many_inodes)
{
	struct fuse_regions_info info;

	for (uint64_t nodeid = 1; nodeid <= 10000; nodeid++)
		ck_assert_int_eq(fuse_regions_bind(conn, nodeid << 20, 0, 1, (uint32_t)backing, 0,
						   FUSE_REGION_READ),
				 0);
	fuse_regions_get_info(conn, &info);
	ck_assert_uint_eq(info.inodes, 10000);
	ck_assert_uint_eq(info.regions, 10000);
	for (uint64_t nodeid = 1; nodeid <= 10000; nodeid += 2)
		fuse_regions_forget(conn, nodeid << 20);
	fuse_regions_get_info(conn, &info);
	ck_assert_uint_eq(info.inodes, 5000);
	ck_assert_uint_eq(info.regions, 5000);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("libext");

	unit_tcase_with(suite, "connection", setup, teardown, open_arguments, user_mode);
	unit_tcase_with(suite, "backings", setup, teardown, append_only_backing, backing_errors,
			closed_backing, access_of_the_backing);
	unit_tcase_with(suite, "changes", setup, teardown, bind_errors, failure_leaves_no_inode,
			all_or_nothing, transactions, too_many_records, truncation,
			truncation_of_a_whole_file, forgetting, many_inodes);
	return unit_run(suite);
}
