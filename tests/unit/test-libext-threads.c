// SPDX-License-Identifier: GPL-2.0
/*
 * libfuse-regions' promises beside threads: no read sees half of a change (G3),
 * and what a change removed is not used when it has returned (G2).
 */
#include "unit.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fuse_regions.h"

#define NODE 1
#define PIECE 3000
#define SIZE (2 * PIECE)
#define READERS 3
#define CHANGES 3000

static struct fuse_regions_conn *conn;
static atomic_bool stop;
static atomic_uint reads;

static void fill(int fd, char letter)
{
	char data[SIZE];

	memset(data, letter, sizeof(data));
	must(pwrite(fd, data, sizeof(data), 0) == SIZE, "writing a backing failed");
}

static void *reader(void *arg)
{
	(void)arg;
	while (!atomic_load(&stop)) {
		char data[SIZE];
		ssize_t n = fuse_regions_read(conn, NODE, data, SIZE, 0, SIZE, NULL, NULL);

		must(n == SIZE, "a read was short");
		must(data[0] != '-', "a read used what was removed");
		for (size_t i = 1; i < SIZE; i++)
			must(data[i] == data[0], "a read saw half of a change");
		atomic_fetch_add(&reads, 1);
	}
	return NULL;
}

/* Both halves of the file move to another backing at once; the old one is then spoiled. */
static void change(uint32_t id)
{
	const struct fuse_passthrough_region records[] = {
		{ .length = PIECE, .backing_id = id, .flags = 1 | FUSE_REGION_REPLACE },
		{ .offset = PIECE,
		  .length = PIECE,
		  .backing_id = id,
		  .backing_offset = PIECE,
		  .flags = 1 | FUSE_REGION_REPLACE },
	};

	must(fuse_regions_apply(conn, NODE, records, 2) == 0, "a change failed");
}

START_TEST(changes_under_readers)
{
	const struct fuse_regions_config config = { .flags = FUSE_REGIONS_USER_MODE };
	pthread_t threads[READERS];
	int fds[2], ids[2];

	ck_assert_int_eq(fuse_regions_open(NULL, &config, &conn), 0);
	for (int i = 0; i < 2; i++) {
		fds[i] = memfd_create("test", MFD_CLOEXEC);
		ids[i] = fuse_regions_backing_open(conn, fds[i]);
		ck_assert_int_gt(ids[i], 0);
		fill(fds[i], 'a');
	}
	change((uint32_t)ids[0]);
	for (int i = 0; i < READERS; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, reader, NULL), 0);
	for (int i = 1; i < CHANGES || atomic_load(&reads) < 100; i++) {
		fill(fds[i % 2], (char)('a' + i % 26));
		change((uint32_t)ids[i % 2]);
		fill(fds[!(i % 2)], '-');
	}
	atomic_store(&stop, true);
	for (int i = 0; i < READERS; i++)
		pthread_join(threads[i], NULL);
	fuse_regions_close(conn);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("libext-threads");

	unit_tcase(suite, "threads", changes_under_readers);
	return unit_run(suite);
}
