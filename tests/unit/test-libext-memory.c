// SPDX-License-Identifier: GPL-2.0
/*
 * libfuse-regions without memory: each allocation of each call fails in turn. The
 * call says so, has changed nothing, and works when there is memory again.
 */
#include "unit.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <fuse_lowlevel.h>

#include "failing.h"
#include "internal.h"
#include "libext-unit.h"

#define SIZE 4000
#define PIECE 100 /* every other one is bound at first */
#define MOST 1000 /* allocations, after which a call is taken for one that never ends */

static char bound[SIZE], other[SIZE], gaps[SIZE];
static int files[2];
static uint32_t ids[2];

static int supply_gap(void *ctx, uint64_t nodeid, uint64_t offset, struct fuse_buf *buf)
{
	(void)ctx;
	(void)nodeid;
	memcpy(buf->mem, gaps + offset, buf->size);
	return 0;
}

static ssize_t take_gap(void *ctx, uint64_t nodeid, uint64_t offset, const void *data, size_t size,
			unsigned int flags)
{
	(void)ctx;
	(void)nodeid;
	(void)flags;
	memcpy(gaps + offset, data, size);
	return (ssize_t)size;
}

/* What the file is, byte for byte: also what the map is, for no two sources are alike */
static void content(char *now)
{
	ck_assert_int_eq(fuse_regions_read(conn, NODE, now, SIZE, 0, SIZE, supply_gap, NULL), SIZE);
}

static void crowded(void)
{
	conn_setup();
	memset(bound, 'b', SIZE);
	memset(other, 'o', SIZE);
	memset(gaps, 'g', SIZE);
	files[0] = make_file(bound, SIZE);
	files[1] = make_file(other, SIZE);
	for (int i = 0; i < 2; i++)
		ids[i] = make_backing(files[i]);
	for (uint64_t at = 0; at < SIZE; at += 2 * PIECE)
		must_bind(at, PIECE, ids[0], at, READ | WRITE);
}

static void leave(void)
{
	struct fuse_regions_info info;

	/* What was counted while calls failed is right. */
	fuse_regions_get_info(conn, &info);
	ck_assert_uint_eq(info.backings, 2);
	ck_assert_int_eq(fuse_regions_unbind(conn, NODE, 0, 0), 0);
	fuse_regions_get_info(conn, &info);
	ck_assert_uint_eq(info.regions, 0);
	conn_teardown();
	close(files[0]);
	close(files[1]);
}

/*
 * Call @go with the first, the second … allocation to fail, until none is left. It
 * fails with -ENOMEM, and @same, if there is one, finds nothing changed.
 */
static void each_fails(ssize_t (*go)(void), void (*same)(void))
{
	long n;

	for (n = 0; n < MOST; n++) {
		ssize_t res;

		failing_after(n);
		res = go();
		failing_after(-1);
		if (res >= 0)
			break;
		ck_assert_int_eq(res, -ENOMEM);
		if (same)
			same();
	}
	ck_assert_msg(n > 0 && n < MOST, "%ld allocations failed", n);
}

static char before[SIZE];

static void nothing_changed(void)
{
	char now[SIZE];

	content(now);
	ck_assert_mem_eq(now, before, SIZE);
}

static ssize_t open_and_close(void)
{
	const struct fuse_regions_config config = { .flags = FUSE_REGIONS_USER_MODE };
	struct fuse_regions_conn *one = NULL;
	int err = fuse_regions_open(NULL, &config, &one);

	ck_assert_int_eq(!one, err != 0);
	fuse_regions_close(one);
	return err;
}

START_TEST(opening)
{
	each_fails(open_and_close, NULL);
}
END_TEST

static ssize_t open_backings(void)
{
	int opened[40], nr = 0, res = 0;

	/* as many as make the table grow */
	while (nr < 40) {
		res = fuse_regions_backing_open(conn, files[nr % 2]);
		if (res < 0)
			break;
		opened[nr++] = res;
	}
	while (nr)
		ck_assert_int_eq(fuse_regions_backing_close(conn, (uint32_t)opened[--nr]), 0);
	return res;
}

START_TEST(registering)
{
	content(before);
	each_fails(open_backings, nothing_changed);
}
END_TEST

static ssize_t bind_anew(void)
{
	return fuse_regions_bind(conn, NODE + 1, 7, 70, ids[1], 3, READ);
}

static void no_such_inode(void)
{
	struct fuse_regions_info info;

	fuse_regions_get_info(conn, &info);
	ck_assert_uint_eq(info.inodes, 1);
}

START_TEST(binding_the_first)
{
	each_fails(bind_anew, no_such_inode);
	fuse_regions_forget(conn, NODE + 1);
}
END_TEST

/* Records of all kinds, over many leaves of the map */
static ssize_t change_many(void)
{
	struct fuse_regions_txn *txn = fuse_regions_txn_begin(conn, NODE);

	for (uint64_t i = 0; i < 20; i++) {
		uint64_t at = (i * 1171) % (SIZE - 2 * PIECE);

		if (i % 4 == 3)
			fuse_regions_txn_unbind(txn, at, PIECE);
		else
			fuse_regions_txn_bind(txn, at, PIECE + i, ids[1], at, READ | REPLACE);
	}
	return fuse_regions_txn_commit(txn);
}

START_TEST(binding_many)
{
	content(before);
	each_fails(change_many, nothing_changed);
	content(gaps);
	ck_assert_mem_ne(gaps, before, SIZE);
}
END_TEST

static ssize_t truncate_in_the_middle(void)
{
	return fuse_regions_truncate(conn, NODE, SIZE / 2 + 7);
}

START_TEST(truncating)
{
	content(before);
	each_fails(truncate_in_the_middle, nothing_changed);
}
END_TEST

static ssize_t read_over_all(void)
{
	char now[SIZE];
	ssize_t n = fuse_regions_read(conn, NODE, now, SIZE, 0, SIZE, supply_gap, NULL);

	if (n >= 0) {
		ck_assert_int_eq(n, SIZE);
		ck_assert_mem_eq(now, before, SIZE);
	}
	return n;
}

START_TEST(reading)
{
	content(before);
	each_fails(read_over_all, nothing_changed);
}
END_TEST

/* Half of it from a file, so that what is in pieces has to be put together */
static ssize_t write_buf(const char *from, size_t size, off_t offset)
{
	int file = make_file(from, size);
	struct {
		struct fuse_bufvec vec;
		struct fuse_buf more;
	} in = { .vec = { .count = 2 } };
	struct fuse_buf *bufs = in.vec.buf;
	ssize_t n;

	bufs[0].size = size / 2;
	bufs[0].mem = (void *)from;
	bufs[1].size = size - size / 2;
	bufs[1].flags = FUSE_BUF_IS_FD | FUSE_BUF_FD_SEEK;
	bufs[1].fd = file;
	bufs[1].pos = (off_t)(size / 2);
	n = fuse_regions_write_buf(conn, NODE, &in.vec, offset, take_gap, NULL);
	close(file);
	return n;
}

static ssize_t written;
static char data[SIZE];

static ssize_t write_over_all(void)
{
	written = write_buf(data, SIZE, 0);
	return written >= 0 && written < SIZE ? -ENOMEM : written;
}

/*
 * What was written has its place, and what was not is as before, but for the
 * server's bytes. Then a new inode, for what is to be synced is remembered once.
 */
static void written_in_part(void)
{
	char now[SIZE];

	content(now);
	if (written > 0)
		ck_assert_mem_eq(now, data, (size_t)written);
	for (size_t i = written > 0 ? (size_t)written : 0; i < SIZE; i++)
		ck_assert_msg(now[i] == before[i] || gaps[i] == 'w', "byte %zu is '%c'", i, now[i]);
	leave();
	crowded();
}

START_TEST(writing)
{
	memset(data, 'w', SIZE);
	content(before);
	each_fails(write_over_all, written_in_part);
	content(before);
	ck_assert_mem_eq(before, data, SIZE);
}
END_TEST

static ssize_t sync_first(void)
{
	return fuse_regions_fsync(conn, NODE, 0);
}

static void still_dirty(void)
{
	struct inode *inode = inode_get(conn, NODE);

	ck_assert_ptr_nonnull(inode);
	ck_assert(!inode->synced);
	inode_put(inode);
}

START_TEST(syncing)
{
	/* more backings than the list has room for at first */
	for (uint64_t i = 0; i < 12; i++) {
		uint32_t id = make_backing(files[0]);

		must_bind(i * PIECE, PIECE, id, 0, READ | REPLACE);
		ck_assert_int_eq(fuse_regions_backing_close(conn, id), 0);
	}
	each_fails(sync_first, still_dirty);
	ck_assert_int_eq(fuse_regions_fsync(conn, NODE, 0), 0);
}
END_TEST

/* A kernel that takes reads alone is sent what is left of the records; none, where there was no memory. */
static int channel;

static unsigned int messages(void)
{
	char message[4096];
	unsigned int nr = 0;

	while (recv(channel, message, sizeof(message), MSG_DONTWAIT) > 0)
		nr++;
	return nr;
}

static void nothing_sent(void)
{
	ck_assert_uint_eq(messages(), 0);
	nothing_changed();
}

static ssize_t rebind_all(void)
{
	return fuse_regions_rebind(conn, NODE);
}

START_TEST(telling_the_kernel)
{
	int ends[2];

	content(before);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends), 0);
	channel = ends[1];
	conn->control = ends[0];
	conn->attach.features = FUSE_REGIONS_FEATURE_READ;
	each_fails(rebind_all, nothing_sent);
	ck_assert_uint_eq(messages(), 1);
	each_fails(change_many, nothing_sent);
	ck_assert_uint_eq(messages(), 1);
	conn->control = -1;
	close(ends[0]);
	close(ends[1]);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("libext without memory");

	unit_tcase(suite, "open", opening);
	unit_tcase_with(suite, "calls", crowded, leave, registering, binding_the_first,
			binding_many, truncating, reading, writing, syncing, telling_the_kernel);
	return unit_run(suite);
}
