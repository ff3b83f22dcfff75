// SPDX-License-Identifier: GPL-2.0
#include "libext-unit.h"

#include <sys/mman.h>
#include <unistd.h>

#include "unit.h"

struct fuse_regions_conn *conn;

void conn_setup(void)
{
	const struct fuse_regions_config config = { .flags = FUSE_REGIONS_USER_MODE };

	ck_assert_int_eq(fuse_regions_open(NULL, &config, &conn), 0);
}

void conn_teardown(void)
{
	fuse_regions_close(conn);
}

int make_file(const void *data, size_t size)
{
	int fd = memfd_create("test", MFD_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(pwrite(fd, data, size, 0), (ssize_t)size);
	return fd;
}

uint32_t make_backing(int fd)
{
	int id = fuse_regions_backing_open(conn, fd);

	ck_assert_int_gt(id, 0);
	return (uint32_t)id;
}

void must_bind(uint64_t offset, uint64_t length, uint32_t id, uint64_t backing_offset,
	       uint32_t flags)
{
	ck_assert_int_eq(fuse_regions_bind(conn, NODE, offset, length, id, backing_offset, flags),
			 0);
}
