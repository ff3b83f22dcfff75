// SPDX-License-Identifier: GPL-2.0
/*
 * usage: fuse-regions-agree MOUNTPOINT SEED OPERATIONS [user]
 *
 * A server with one file, whose regions the main thread changes at random.
 * After each change, what the kernel shows of the file is what the library
 * says that it is: the two maps agree. Failing changes must change neither.
 * In kernel mode, no request may reach the server for bytes that are bound.
 */
#define FUSE_USE_VERSION 312
#define _GNU_SOURCE

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <fuse_lowlevel.h>

#include "fuse_regions.h"

#define NODE 2
#define FILE_SIZE 60000
#define BACKINGS 3

static struct fuse_session *session;
static struct fuse_regions_conn *conn;
static struct fuse_regions_config config;
static int files[BACKINGS];
static uint32_t ids[BACKINGS];
static char gaps[FILE_SIZE];
static atomic_uint bound_requests; /* for bytes that the kernel should know */
static uint64_t state;
static unsigned long operation;
static const char *doing = "start";

static void __attribute__((noreturn)) die(const char *what)
{
	fprintf(stderr, "operation %lu, %s: %s (%s)\n", operation, doing, what, strerror(errno));
	if (session)
		fuse_session_unmount(session);
	_exit(1);
}

static uint64_t number(uint64_t below)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state % below;
}

static bool in_kernel(void)
{
	return fuse_regions_mode(conn) == FUSE_REGIONS_MODE_KERNEL;
}

/* --- the server --- */

static void serve_init(void *userdata, struct fuse_conn_info *info)
{
	(void)userdata;
	(void)info;
	if (fuse_regions_open(session, &config, &conn) < 0)
		die("fuse_regions_open");
	for (int i = 0; i < BACKINGS; i++) {
		int id = fuse_regions_backing_open(conn, files[i]);

		if (id < 0)
			die("fuse_regions_backing_open");
		ids[i] = (uint32_t)id;
	}
}

static void fill_stat(fuse_ino_t node, struct stat *st)
{
	*st = (struct stat){
		.st_ino = node,
		.st_mode = node == NODE ? S_IFREG | 0644 : S_IFDIR | 0755,
		.st_nlink = 1,
		.st_size = node == NODE ? FILE_SIZE : 0,
	};
}

static void serve_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct fuse_entry_param entry = { .ino = NODE, .entry_timeout = 1000 };

	(void)parent;
	if (strcmp(name, "file")) {
		fuse_reply_err(req, ENOENT);
		return;
	}
	fill_stat(NODE, &entry.attr);
	fuse_reply_entry(req, &entry);
}

static void serve_getattr(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *fi)
{
	struct stat st;

	(void)fi;
	fill_stat(node, &st);
	fuse_reply_attr(req, &st, 0);
}

static void serve_open(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *fi)
{
	(void)node;
	fi->direct_io = !in_kernel();
	fuse_reply_open(req, fi);
}

static int gap_read(void *ctx, uint64_t node, uint64_t offset, struct fuse_buf *buf)
{
	(void)ctx;
	(void)node;
	buf->mem = gaps + offset;
	return 0;
}

static ssize_t gap_write(void *ctx, uint64_t node, uint64_t offset, const void *data, size_t size,
			 unsigned int flags)
{
	(void)ctx;
	(void)node;
	(void)flags;
	memcpy(gaps + offset, data, size);
	return (ssize_t)size;
}

/* Then the file ends where a backing does, and what is written behind is ours, in all other regions. */
static bool has_whole_file_region(void)
{
	struct fuse_regions_extent extent;

	return fuse_regions_find(conn, NODE, INT64_MAX - 1, &extent) == 0 && extent.flags;
}

static void note(size_t size, off_t offset, uint32_t access)
{
	struct fuse_regions_extent extent;
	uint64_t end = (uint64_t)offset + size;

	for (uint64_t pos = (uint64_t)offset; pos < end; pos += extent.length) {
		if (fuse_regions_find(conn, NODE, pos, &extent) < 0)
			return;
		if (extent.flags & access)
			atomic_fetch_add(&bound_requests, 1);
	}
}

static void serve_read(fuse_req_t req, fuse_ino_t node, size_t size, off_t offset,
		       struct fuse_file_info *fi)
{
	(void)fi;
	if (offset + (off_t)size > FILE_SIZE)
		size = offset < FILE_SIZE ? (size_t)(FILE_SIZE - offset) : 0;
	note(size, offset, FUSE_REGION_READ);
	fuse_regions_reply_read(conn, req, node, size, offset, FILE_SIZE, gap_read, NULL);
}

static void serve_write_buf(fuse_req_t req, fuse_ino_t node, struct fuse_bufvec *in, off_t offset,
			    struct fuse_file_info *fi)
{
	ssize_t n;

	(void)fi;
	if (!has_whole_file_region())
		note(fuse_buf_size(in), offset, FUSE_REGION_WRITE);
	n = fuse_regions_write_buf(conn, node, in, offset, gap_write, NULL);
	if (n < 0)
		fuse_reply_err(req, (int)-n);
	else
		fuse_reply_write(req, (size_t)n);
}

static const struct fuse_lowlevel_ops ops = {
	.init = serve_init,
	.lookup = serve_lookup,
	.getattr = serve_getattr,
	.open = serve_open,
	.read = serve_read,
	.write_buf = serve_write_buf,
};

static void *serve(void *arg)
{
	(void)arg;
	fuse_session_loop(session);
	return NULL;
}

/* --- what is compared --- */

static void compare(int fd, off_t offset, size_t size)
{
	static char shown[FILE_SIZE], said[FILE_SIZE];
	ssize_t a, b;

	/* A whole-file region may end later, but we tell nobody. */
	if (offset + (off_t)size > FILE_SIZE)
		size = (size_t)(FILE_SIZE - offset);
	a = pread(fd, shown, size, offset);
	b = fuse_regions_read(conn, NODE, said, size, offset, FILE_SIZE, gap_read, NULL);
	if (a != b) {
		fprintf(stderr, "read of %zu at %ld: %zd bytes, not %zd\n", size, (long)offset, a,
			b);
		die("different lengths");
	}
	for (ssize_t i = 0; i < a; i++) {
		if (shown[i] == said[i])
			continue;
		fprintf(stderr, "byte %ld is %02x, not %02x\n", (long)(offset + i),
			(unsigned char)shown[i], (unsigned char)said[i]);
		die("different bytes");
	}
}

static struct fuse_passthrough_region random_record(void)
{
	struct fuse_passthrough_region record = {
		.offset = number(FILE_SIZE),
		.length = 1 + number(1ULL << number(16)),
	};

	if (number(30) == 0) {
		record.offset = 0;
		record.length = 0;
	}
	if (number(4) == 0) {
		record.flags = FUSE_REGION_UNBIND;
		return record;
	}
	record.backing_id = ids[number(BACKINGS)];
	record.backing_offset = number(FILE_SIZE);
	record.flags = (uint32_t)(1 + number(3)) | (number(8) ? FUSE_REGION_REPLACE : 0);
	return record;
}

/* Some fail, mostly with EEXIST, and then in the kernel and here alike. */
static void random_change(void)
{
	struct fuse_passthrough_region records[20];
	uint32_t count = 1 + (uint32_t)number(20);
	int err;

	for (uint32_t i = 0; i < count; i++)
		records[i] = random_record();
	if (number(20) == 0)
		records[count - 1].backing_id = 99999;
	err = fuse_regions_apply(conn, NODE, records, count);
	if (err && err != -EEXIST && err != -ENOENT && err != -EINVAL) {
		errno = -err;
		die("fuse_regions_apply");
	}
}

static void random_write(int fd)
{
	static char data[FILE_SIZE];
	off_t offset = (off_t)number(FILE_SIZE);
	size_t size = 1 + number((uint64_t)(FILE_SIZE - offset));

	for (size_t i = 0; i < size; i++)
		data[i] = (char)number(256);
	if (pwrite(fd, data, size, offset) != (ssize_t)size)
		die("write");
}

static void check(int ret, const char *what)
{
	if (ret < 0) {
		errno = -ret;
		die(what);
	}
}

static void do_one(int fd)
{
	switch (number(10)) {
	case 0:
		doing = "write";
		random_write(fd);
		break;
	case 1:
		doing = "rebind";
		check(fuse_regions_rebind(conn, NODE), "fuse_regions_rebind");
		break;
	case 2:
		doing = "truncate";
		check(fuse_regions_truncate(conn, NODE, number(FILE_SIZE)),
		      "fuse_regions_truncate");
		break;
	default:
		doing = "change";
		random_change();
	}
	compare(fd, (off_t)number(FILE_SIZE), 1 + number(1ULL << number(16)));
	if (operation % 16 == 0)
		compare(fd, 0, FILE_SIZE);
}

static void make_files(void)
{
	static const size_t sizes[BACKINGS] = { 1000, 40000, 2 * FILE_SIZE };
	static char data[2 * FILE_SIZE];

	for (int i = 0; i < BACKINGS; i++) {
		for (size_t j = 0; j < sizes[i]; j++)
			data[j] = (char)number(256);
		files[i] = memfd_create("backing", MFD_CLOEXEC);
		if (files[i] < 0 || pwrite(files[i], data, sizes[i], 0) != (ssize_t)sizes[i])
			die("cannot make a backing");
	}
	for (size_t j = 0; j < FILE_SIZE; j++)
		gaps[j] = (char)number(256);
}

static void run(const char *mountpoint, unsigned long count)
{
	char path[4096];
	int fd;

	snprintf(path, sizeof(path), "%s/file", mountpoint);
	fd = open(path, O_RDWR);
	if (fd < 0)
		die("open");
	for (operation = 0; operation < count; operation++)
		do_one(fd);
	close(fd);
	if (in_kernel() && atomic_load(&bound_requests))
		die("the server was asked for bytes that the kernel has");
	printf("%s mode: %lu operations\n", in_kernel() ? "kernel" : "user", count);
}

int main(int argc, char **argv)
{
	struct fuse_args args = FUSE_ARGS_INIT(1, argv);
	pthread_t thread;

	if (argc < 4) {
		fprintf(stderr, "usage: %s MOUNTPOINT SEED OPERATIONS [user]\n", argv[0]);
		return 2;
	}
	state = 0x9e3779b97f4a7c15ULL + strtoull(argv[2], NULL, 0);
	if (argc > 4)
		config.flags = FUSE_REGIONS_USER_MODE;
	make_files();
	session = fuse_session_new(&args, &ops, sizeof(ops), NULL);
	if (!session || fuse_session_mount(session, argv[1]) < 0)
		die("cannot mount");
	if (pthread_create(&thread, NULL, serve, NULL))
		die("cannot start the server");
	run(argv[1], strtoul(argv[3], NULL, 0));
	fuse_session_exit(session);
	fuse_session_unmount(session);
	pthread_join(thread, NULL);
	fuse_regions_close(conn);
	fuse_session_destroy(session);
	return 0;
}
