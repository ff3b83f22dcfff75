// SPDX-License-Identifier: GPL-2.0
/*
 * What fuse_regions_rebind() tells the kernel: messages that make the
 * library's map of an empty one, and of the same one. Another connection, in
 * user mode, plays the kernel.
 */
#include "unit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/fuse.h>

#include "internal.h"

#define NODE 5
#define BACKINGS 3
#define FILE_SIZE 5000
#define READ FUSE_REGION_READ
#define WRITE FUSE_REGION_WRITE
#define REPLACE FUSE_REGION_REPLACE

static struct fuse_regions_conn *conn, *kernel;
static uint32_t ids[BACKINGS];
static int channel;
static unsigned int messages;

static unsigned int number(unsigned int below)
{
	static unsigned int seed = 1;

	return (unsigned int)rand_r(&seed) % below;
}

static void setup(void)
{
	const struct fuse_regions_config config = { .flags = FUSE_REGIONS_USER_MODE };

	ck_assert_int_eq(fuse_regions_open(NULL, &config, &conn), 0);
	ck_assert_int_eq(fuse_regions_open(NULL, &config, &kernel), 0);
	conn->attach.features = FUSE_REGIONS_FEATURE_READ | FUSE_REGIONS_FEATURE_WRITE;
	for (int i = 0; i < BACKINGS; i++) {
		int fd = memfd_create("test", MFD_CLOEXEC);
		int id = fuse_regions_backing_open(conn, fd);

		ck_assert_int_gt(id, 0);
		ck_assert_int_eq(fuse_regions_backing_open(kernel, fd), id);
		ids[i] = (uint32_t)id;
		close(fd);
	}
}

static void teardown(void)
{
	fuse_regions_close(conn);
	fuse_regions_close(kernel);
}

/* Take one message, and do what it says. */
static bool play_kernel(void)
{
	static struct {
		struct fuse_out_header out;
		struct fuse_notify_passthrough_out notify;
		struct fuse_passthrough_region records[USER_MAX_RECORDS];
	} msg;
	ssize_t n = recv(channel, &msg, sizeof(msg), MSG_DONTWAIT);

	if (n < 0)
		return false;
	ck_assert_int_eq(n, msg.out.len);
	ck_assert_uint_eq(msg.notify.nodeid, NODE);
	ck_assert_uint_le(msg.notify.count, conn->attach.max_records);
	ck_assert_int_eq(fuse_regions_apply(kernel, NODE, msg.records, msg.notify.count), 0);
	return true;
}

/* All that is said; what the library made of it */
static int rebind(void)
{
	int ends[2], size = 4 << 20, err;

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends), 0);
	ck_assert_int_eq(setsockopt(ends[0], SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size)), 0);
	conn->control = ends[0];
	channel = ends[1];
	err = fuse_regions_rebind(conn, NODE);
	conn->control = -1;
	for (messages = 0; play_kernel(); messages++)
		;
	close(ends[0]);
	close(ends[1]);
	return err;
}

static void expect_same(void)
{
	struct fuse_regions_extent mine, theirs;
	uint64_t offset = 0;

	do {
		ck_assert_int_eq(fuse_regions_find(conn, NODE, offset, &mine), 0);
		ck_assert_int_eq(fuse_regions_find(kernel, NODE, offset, &theirs), 0);
		ck_assert_uint_eq(mine.backing, theirs.backing);
		ck_assert_uint_eq(mine.flags, theirs.flags);
		ck_assert_uint_eq(mine.backing_offset, theirs.backing_offset);
		offset += mine.length < theirs.length ? mine.length : theirs.length;
	} while (offset <= FR_LAST_MAX);
}

static void must_bind(uint64_t offset, uint64_t length, unsigned int i, uint64_t to, uint32_t flags)
{
	ck_assert_int_eq(fuse_regions_bind(conn, NODE, offset, length, ids[i], to, flags | REPLACE),
			 0);
}

static void random_change(void)
{
	uint64_t offset = number(FILE_SIZE), length = 1 + number(FILE_SIZE / 10);

	if (number(4))
		must_bind(offset, length, number(BACKINGS), number(4) ? offset : number(FILE_SIZE),
			  1 + number(3));
	else
		ck_assert_int_eq(fuse_regions_unbind(conn, NODE, offset, length), 0);
}

/* A kernel that has forgotten all, one that has not, and one that has other regions */
static void expect_rebinds(void)
{
	fuse_regions_forget(kernel, NODE);
	ck_assert_int_eq(rebind(), 0);
	expect_same();
	ck_assert_int_eq(rebind(), 0);
	expect_same();
}

START_TEST(ranges_at_random)
{
	conn->attach.max_records = 7;
	for (int round = 0; round < 50; round++) {
		for (int i = 0; i < 5; i++)
			random_change();
		expect_rebinds();
	}
	ck_assert_uint_gt(messages, 1);
}
END_TEST

START_TEST(whole_at_random)
{
	for (int round = 0; round < 50; round++) {
		ck_assert_int_eq(fuse_regions_unbind(conn, NODE, 0, 0), 0);
		must_bind(0, 0, number(BACKINGS), number(2) * 77, READ);
		for (int i = 0; i < 20; i++)
			random_change();
		expect_rebinds();
		ck_assert_uint_eq(messages, 1);
	}
}
END_TEST

/* A base with many copied blocks: one record for each block, and one for the base. */
START_TEST(whole_with_many_holes)
{
	conn->attach.max_records = 101;
	must_bind(0, 0, 0, 0, READ);
	for (uint64_t i = 0; i < 100; i++)
		must_bind(i * 20, 10, 1, i * 10, READ | WRITE);
	expect_rebinds();
	must_bind(3000, 10, 1, 3000, READ | WRITE);
	ck_assert_int_eq(rebind(), -E2BIG);
	ck_assert_uint_eq(messages, 0);
}
END_TEST

START_TEST(nothing_to_say)
{
	ck_assert_int_eq(rebind(), 0);
	must_bind(0, 10, 0, 0, READ);
	ck_assert_int_eq(fuse_regions_unbind(conn, NODE, 0, 0), 0);
	ck_assert_int_eq(rebind(), 0);
	ck_assert_uint_eq(messages, 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("libext-rebind");

	unit_tcase_with(suite, "rebind", setup, teardown, ranges_at_random, whole_at_random,
			whole_with_many_holes, nothing_to_say);
	return unit_run(suite);
}
